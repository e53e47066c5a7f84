"""What rows charge to each hour: kept with the rows, by the same arithmetic that audits use."""

import random
from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from safeloop.errors import LedgerError
from safeloop.ledger import Ledger
from safeloop.ledger.charges import Held
from safeloop.ledger.reader import LedgerReader
from safeloop.spec import Ceilings
from tests.attacks.tables import earlier, make_again
from tests.breaker.family import DOLLARS, House, in_doubt, reconcile

NONE = Ceilings()


@pytest.fixture
def house(tmp_path):
    return House(tmp_path)


def charged(house, hour):
    with LedgerReader(house.folder / "ledger.db") as reader:
        return reader.charged_in(hour)


def held(house):
    with LedgerReader(house.folder / "ledger.db") as reader:
        return [Held(*each) for each in reader.everything_held()]


def test_an_intent_is_charged_in_its_hour_until_a_row_settles_it(house):
    house.open("s", NONE)
    granted = house.ask("s", NONE, 300, wanted=200, price=DOLLARS)
    assert charged(house, "2026-11-21T07") == (500, 1_300, 1)
    assert held(house) == [Held("s", granted.intent.n, None, "2026-11-21T07", 500, 1_300)]
    house.clock.move(hours=2)
    house.reply(granted, 40, price=DOLLARS)
    assert charged(house, "2026-11-21T07") == (40, 40, 1)
    assert charged(house, "2026-11-21T09") == (0, 0, 0), "the newest hour is listed"
    assert charged(house, "2026-11-21T08") is None
    assert held(house) == []


def test_an_attempt_in_doubt_stays_charged_until_it_is_reconciled_and_never_rises(house):
    house.open("s", NONE)
    doubt = in_doubt(house, house.ask("s", NONE, 300, wanted=200, price=DOLLARS))
    assert charged(house, "2026-11-21T07") == (500, 1_300, 1)
    reconcile(house, "s", doubt.n, 120, 700)
    assert charged(house, "2026-11-21T07") == (120, 700, 1)
    reconcile(house, "s", 2, 900, 900)  # by the intent's own place; more than is charged
    assert charged(house, "2026-11-21T07") == (120, 700, 1)
    reconcile(house, "s", 2, 100)
    assert charged(house, "2026-11-21T07") == (100, 700, 1)
    assert held(house) == [Held("s", 2, doubt.n, "2026-11-21T07", 100, 700)]
    assert house.findings() == []


def test_a_reconciliation_in_anothers_name_or_of_what_is_not_in_doubt_lowers_nothing(house):
    house.open("s", NONE)
    house.ask("s", NONE, 300, wanted=200)
    reconcile(house, "s", 2, 0)
    house.open("t", NONE)
    doubt = in_doubt(house, house.ask("t", NONE, 300, wanted=200))
    reconcile(house, "t", doubt.n, 0, in_session="s")
    assert charged(house, "2026-11-21T07") == (1_000, 0, 2)


def test_an_attempt_that_cost_nothing_gives_its_reservation_back(house):
    house.open("s", NONE)
    in_doubt(house, house.ask("s", NONE, 300, wanted=200), 0, 0, in_doubt=False)
    assert (charged(house, "2026-11-21T07"), held(house)) == ((0, 0, 1), [])


def test_a_second_word_about_an_attempt_counts_for_nothing(house):
    house.open("s", NONE)
    granted = house.ask("s", NONE, 300, wanted=200)
    in_doubt(house, granted)
    in_doubt(house, granted, 0, 0, in_doubt=False)
    assert charged(house, "2026-11-21T07") == (500, 0, 1)


def test_rows_that_were_written_by_hand_charge_nothing(house):
    house.ledger.write("by-hand", 1, "llm", "task", 10**6, 5, pass_fail=True)
    assert charged(house, "2026-11-21T07") == (0, 0, 0)


def test_a_clock_that_is_set_back_charges_the_newest_hour(house):
    house.open("s", NONE)
    house.clock.move(hours=-3)
    house.ask("s", NONE, 300, wanted=200)
    assert charged(house, "2026-11-21T07") == (500, 0, 1)


def test_charges_go_the_way_of_their_rows(house):
    house.open("s", NONE)

    def breaks_off(view):
        raise ZeroDivisionError

    house.ask("s", NONE, 300, wanted=200)
    with pytest.raises(ZeroDivisionError):
        house.ledger.append(breaks_off)
    assert charged(house, "2026-11-21T07") == (500, 0, 1)


def test_a_ledger_of_a_time_before_these_tables_is_refused_in_words_and_left_as_it_is(house, tmp_path):
    """It is not filled in: figures that appear out of nothing are what an audit looks for."""
    house.open("s", NONE)
    house.ask("s", NONE, 300, wanted=200)
    house.ledger.close()
    path = tmp_path / "ledger.db"
    make_again(path, earlier(path))
    before = path.read_bytes()
    for create in (True, False):
        with pytest.raises(LedgerError, match="the schema is not the format's"):
            Ledger(path, keys=tmp_path / "keys", create=create)
    assert path.read_bytes() == before
    assert [words.partition(":")[0] for words in house.findings()] == ["schema"], "its rows are judged as ever"


def test_children_are_found_by_their_parent_and_nobody_elses(house):
    found = []
    for name, parent in (("a", None), ("b", "a"), ("c", "a"), ("d", "b"), ("e", None)):
        house.open(name, NONE, parent)
    house.ledger.append(lambda view: found.extend(view.children(each) for each in "abcde") or ())
    assert found == [("b", "c"), ("d",), (), (), ()]


@given(seed=st.integers(0, 10**6))
@settings(max_examples=30, deadline=None)
def test_however_rows_and_clocks_go_the_audit_comes_to_the_same_figures(tmp_path_factory, seed):
    chance, house = random.Random(seed), House(tmp_path_factory.mktemp("charges"))
    waiting, doubts = [], []
    for name in "abc":
        house.open(name, NONE)
    for _ in range(chance.randrange(20)):
        house.clock.now += timedelta(minutes=chance.randrange(-200, 4_000))
        what = chance.randrange(5)
        if what <= 1:
            waiting.append(house.ask(chance.choice("abc"), NONE, chance.randrange(900), price=chance.choice([None, DOLLARS])))
        elif what == 2 and waiting:
            house.reply(waiting.pop(), chance.randrange(100), price=DOLLARS)
        elif what == 3 and waiting:
            doubts.append(in_doubt(house, waiting.pop()))
        elif doubts:
            doubt = chance.choice(doubts)
            reconcile(house, doubt.session, doubt.n, chance.randrange(1_000), chance.choice([None, 5]))
    assert [words for words in house.findings() if words.startswith("derived")] == []
    house.ledger.close()
