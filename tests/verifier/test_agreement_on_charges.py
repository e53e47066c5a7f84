"""Charges of real ledgers, whose sessions and clocks go any way: the page is enough to come to the same figures."""

from __future__ import annotations

import random
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from safeloop.breaker import Granted
from safeloop.ledger.keys import KeyFolder
from safeloop.spec import Ceilings
from tests.breaker.family import DOLLARS, House, in_doubt, reconcile
from tests.review.attacks import raw
from tests.verifier.test_agreement import Question, agreed

NONE = Ceilings()
WRONG = {"derived": {None}}


def lived(folder: Path, seed: int) -> Question:
    """Let three sessions ask, reply, fail and be reconciled while the clock goes back and forth over months."""
    chance, house = random.Random(seed), House(folder)
    waiting: list[Granted] = []
    doubts = []
    house.limit(month_tokens=10**9)
    for name, parent in (("a", None), ("b", "a"), ("c", "b")):
        house.open(name, NONE, parent)
    for _ in range(chance.randrange(24)):
        house.clock.now += timedelta(minutes=chance.randrange(-200, 4_000))
        what, price = chance.randrange(6), chance.choice([None, DOLLARS])
        if what <= 1:
            asked = house.ask(chance.choice("abc"), NONE, chance.randrange(900), price=price)
            assert isinstance(asked, Granted)
            waiting.append(asked)
        elif what == 2 and waiting:
            granted = waiting.pop()
            known = price if granted.reserved_microusd is None else DOLLARS
            house.reply(granted, chance.choice([None, chance.randrange(9_000)]), price=known)
        elif what == 3 and waiting:
            doubts.append(in_doubt(house, waiting.pop(), in_doubt=chance.random() < 0.8))
        elif doubts:
            doubt = chance.choice(doubts)
            n = chance.choice([doubt.n, doubt.data["intent"]])
            said_in = chance.choice(["ledger", doubt.session, "elsewhere"])
            reconcile(house, doubt.session, n, chance.randrange(1_000), chance.choice([None, 5]), in_session=said_in)
    house.ledger.close()
    return Question(folder / "ledger.db", KeyFolder(folder / "keys").self_trust)


@given(seed=st.integers(0, 10**6))
@settings(max_examples=25, deadline=None)
def test_both_come_to_the_figures_that_were_kept(tmp_path_factory: pytest.TempPathFactory, seed: int) -> None:
    assert agreed(lived(tmp_path_factory.mktemp("charges"), seed)).findings == {}


@pytest.mark.parametrize("statement", [
    "UPDATE hour SET tokens = tokens + 1 WHERE hour = (SELECT min(hour) FROM hour)",
    "UPDATE hour SET microusd = microusd - 1 WHERE hour = (SELECT max(hour) FROM hour)",
    "UPDATE hour SET sessions = sessions + 1 WHERE sessions > 0",
    "UPDATE held SET microusd = CASE WHEN microusd IS NULL THEN 0 END WHERE n = (SELECT min(n) FROM held)",
    "DELETE FROM held",
])
def test_both_find_what_was_changed_in_them(tmp_path: Path, statement: str) -> None:
    question = lived(tmp_path, 11)
    assert agreed(question).findings == {}
    with raw(question.ledger) as sql:
        assert sql.execute(statement).rowcount > 0
    assert agreed(question).findings == WRONG
