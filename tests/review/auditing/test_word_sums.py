"""The audit's sums are the breaker's: each adds up the same rows by itself, and they must come to the same."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from safeloop.ledger import Row
from safeloop.ledger.charges import Held, charged
from safeloop.review.auditing.charges import _Recount
from safeloop.review.auditing.word.closing import close
from safeloop.review.auditing.word.scopes import Account, Pending
from safeloop.review.auditing.word.states import Governed
from safeloop.spec import Ceilings, Tally
from safeloop.spec.counts import LARGEST

COUNTS = st.integers(0, LARGEST) | st.integers(0, 9)
PRICES = st.none() | COUNTS
TURNS = st.integers(1, 6)
INTENTS = st.fixed_dictionaries({
    "turn": TURNS, "attempt": st.just(1), "reserved_tokens": COUNTS, "reserved_microusd": PRICES, "elapsed_ms": COUNTS,
})  # fmt: skip
NAMED = st.none() | st.integers(0, 12)  # open, settled, later, or no intent at all
REPLIES = st.fixed_dictionaries({
    "turn": st.integers(0, 6), "intent": NAMED, "token_delta": COUNTS, "cost_microusd": PRICES, "elapsed_ms": PRICES,
})  # fmt: skip
ATTEMPTS = st.fixed_dictionaries({
    "turn": TURNS, "intent": NAMED, "charged_tokens": COUNTS, "charged_microusd": PRICES, "elapsed_ms": COUNTS,
    "error": st.just({"class": "Timeout", "status": None, "detail": None}),
})  # fmt: skip
ROWS = st.lists(
    st.tuples(st.just("intent"), INTENTS) | st.tuples(st.just("turn"), REPLIES) | st.tuples(st.just("attempt"), ATTEMPTS),
    max_size=12,
)


def row(n: int, kind: str, data: dict[str, Any]) -> Row:
    return Row(n, b"", b"", "", data, kind, "", n, "", "s", "", "")


@given(drafts=ROWS)
def test_what_a_session_was_charged_is_what_the_breaker_counts(drafts: list[tuple[str, dict[str, Any]]]) -> None:
    account, tally, pending, changes = Account("s", Ceilings(), None), Tally(), dict[int, Pending](), [0, 0]
    for each in (row(n, *draft) for n, draft in enumerate(drafts)):
        tally.add(each)
        if each.kind == "intent":
            tokens, price = each.data["reserved_tokens"], each.data["reserved_microusd"]
            account.reserve(each.data["turn"], tokens, price)
            pending[each.n] = Pending(each.data["turn"], 1, tokens, price, "")
            change = tokens, price or 0
        else:
            change = account.settle(each, charged(each), pending.pop(each.data["intent"], None))
        changes = [one + more for one, more in zip(changes, change, strict=True)]
        own = account.own
        assert (own.replies, own.unpriced, own.microusd) == (tally.replies, tally.unpriced, tally.microusd)
        assert min(own.tokens, LARGEST) == tally.tokens
        assert [account.tokens, account.microusd] == [own.tokens, own.microusd] == changes
        assert account.turns == tally.turns


@given(drafts=ROWS)
def test_a_childs_charges_are_its_parents_and_its_grandparents(drafts: list[tuple[str, dict[str, Any]]]) -> None:
    first = Account("a", Ceilings(), None)
    second = Account("b", Ceilings(), first)
    third = Account("c", Ceilings(), second)
    for each in (row(n, *draft) for n, draft in enumerate(drafts)):
        if each.kind == "intent":
            third.reserve(each.data["turn"], each.data["reserved_tokens"], each.data["reserved_microusd"])
        else:
            third.settle(each, charged(each), None)
    sums = [(each.turns, each.tokens, each.microusd) for each in (first, second, third)]
    assert sums[0] == sums[1] == sums[2]
    assert first.own.tokens == second.own.tokens == 0
    assert first.has_children and second.has_children and not third.has_children


@pytest.mark.parametrize(("stated", "wrong"), [(LARGEST, False), (LARGEST - 1, True)])
def test_a_sum_beyond_what_a_row_can_hold_is_stated_as_the_largest(stated: int, wrong: bool) -> None:
    account = Account("s", Ceilings(), None)
    session = Governed(3, "", "m", account, {}, {}, {})
    for n in range(2):
        reply = row(n, "turn", {"turn": n + 1, "intent": None, "token_delta": LARGEST, "cost_microusd": 0})
        account.settle(reply, charged(reply), None)
    data = {"turns": 2, "total_tokens": stated, "cost_microusd": 0, "outcome": "failed"}
    said = [found.message for found in close(session, row(2, "close", data))]
    assert said == ([f"row 3: states total_tokens {stated:,}, and its rows add up to {LARGEST:,}"] if wrong else [])


def test_an_attempt_in_doubt_is_found_by_its_own_place_and_by_its_intents_while_others_are_open() -> None:
    book = _Recount()
    doubted, still_open = Held("s", 1, 2, "h", 5, None), Held("s", 3, None, "h", 7, None)
    for held in (still_open, doubted):
        book.hold(held)
    assert [book.found("s", n) for n in range(4)] == [None, doubted, doubted, still_open]
    assert _Recount().found("s", 1) is None
