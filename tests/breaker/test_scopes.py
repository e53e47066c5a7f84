"""Parents: a child's spend counts in every ancestor, and nothing is set aside that would be lost."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from safeloop.breaker import FREE, Full, Granted, Refused, check_admission
from safeloop.errors import LedgerError, SettingError, Suspended
from safeloop.ledger import Draft
from safeloop.ledger.content import JSON, manifest
from safeloop.spec import Breach, Ceilings, Reason
from tests.breaker.family import DOLLARS, HASH, House, in_doubt, reconcile

NONE = Ceilings()


def family(house, *lines):
    """Open sessions: (name, ceilings, parent)."""
    for name, ceilings, parent in lines:
        house.open(name, ceilings, parent)


def close(house, session, outcome="completed"):
    listing = house.ledger.content(manifest([]), JSON)
    data = {
        "outcome": outcome, "reason": None, "turns": 0, "total_tokens": 0, "cost_microusd": 0, "elapsed_ms": 0,
        "output": None, "files": listing.commitment, "file_count": 0,
    }
    house.ledger.append(lambda _: (Draft(session, "close", data, (listing,)),))


def admitted(house, **more):
    def decide(view):
        check_admission(view, more.get("ceilings", NONE), parent=more.get("parent"), price=more.get("price", FREE))
        return ()

    house.ledger.append(decide)


def test_a_child_cannot_spend_what_its_parent_could_not(house):
    tight = Ceilings(tokens=1_000)
    family(house, ("p", tight, None), ("c", NONE, "p"))
    house.reply(house.ask("p", tight, 300), 400)
    granted = house.ask("c", Ceilings(tokens=9_000), 200, wanted=5_000)
    assert isinstance(granted, Refused), "1,024 is the smallest useful answer of so long a one"
    granted = house.ask("c", Ceilings(tokens=9_000), 200, wanted=400)
    assert (granted.max_tokens, granted.reserved_tokens) == (400, 600), "its parent's ceiling is reached exactly"
    house.reply(granted, 601)
    refused = house.ask("p", tight, 1, wanted=1)
    assert refused == Refused(Breach(Reason.TOKENS, 1_000, 1_001, 2, "session"), 1_001), "and the parent knows"


def test_the_answer_is_clamped_to_the_smallest_room_of_any_ancestor(house):
    family(house, ("a", Ceilings(tokens=5_000), None), ("b", Ceilings(tokens=3_000), "a"), ("c", NONE, "b"))
    granted = house.ask("c", Ceilings(tokens=8_000), 500, wanted=9_000)
    assert granted.max_tokens == 2_500
    house.reply(granted, 600)
    house.reply(house.ask("a", Ceilings(tokens=5_000), 2_000, wanted=1), 3_000)
    assert house.ask("c", Ceilings(tokens=8_000), 100, wanted=9_000).max_tokens == 1_300
    assert house.findings() == []


def test_a_breach_of_an_ancestors_ceiling_is_a_row_of_the_child_that_says_so(house):
    family(house, ("a", Ceilings(turns=1), None), ("b", NONE, "a"), ("c", NONE, "b"))
    house.reply(house.ask("b", NONE), 5)
    refused = house.ask("c", NONE)
    assert refused == Refused(Breach(Reason.TURNS, 1, 1, 1, "parent"), 5)
    row = house.ledger.rows("c")[-1]
    assert (row.kind, row.data["scope"], row.data["breach_reason"]) == ("breach", "parent", "turn_ceiling")


def test_what_a_sibling_holds_live_is_waited_for_and_what_a_dead_one_holds_is_charged(house):
    tight = Ceilings(tokens=1_000)
    family(house, ("p", tight, None), ("one", NONE, "p"), ("two", NONE, "p"))
    held = house.ask("one", NONE, 500, wanted=400)
    full = house.ask("two", NONE, 100, wanted=100)
    assert (type(full), full.scope, full.until) == (Full, "live", None)
    assert "session p" in full.words
    assert [row.kind for row in house.ledger.rows("two")] == ["spec", "open"], "waiting is no row"
    dead = house.ask("two", NONE, 100, wanted=100, is_live=lambda session: session != "one")
    assert isinstance(dead, Refused)
    house.reply(held, 100)
    assert not isinstance(house.ask("p", tight, 100, wanted=100), Full)


def test_what_a_session_holds_itself_is_never_waited_for(house):
    tight = Ceilings(tokens=1_000)
    house.open("s", tight)
    assert isinstance(house.ask("s", tight, 500, wanted=400), Granted)
    assert isinstance(house.ask("s", tight, 100, wanted=100), Refused), "nobody would ever give it back"


def test_costs_of_children_count_and_a_child_without_a_price_does_not_start(house):
    tight = Ceilings(microusd=1_000)
    family(house, ("p", tight, None), ("c", NONE, "p"))
    with pytest.raises(SettingError, match="no price"):
        house.ask("c", NONE, 10, wanted=10)
    with pytest.raises(SettingError, match="session p, whose spend this is too"):
        admitted(house, parent="c", price=None)
    granted = house.ask("c", NONE, 500, wanted=100, price=DOLLARS)
    assert (granted.max_tokens, granted.reserved_microusd) == (100, 1_000)
    refused = house.ask("c", NONE, 1, wanted=1, price=DOLLARS)
    assert refused.breach == Breach(Reason.COST, 1_000, 1_000, 6, "parent")
    assert house.findings() == []


def test_a_childs_time_counts_from_where_its_parent_stood(house):
    tight = Ceilings(elapsed_ms=10_000)
    house.open("p", tight)
    house.reply(house.ask("p", tight, elapsed_ms=8_000), 5)
    house.open("c", NONE, "p")
    assert isinstance(house.ask("c", NONE, elapsed_ms=1_999), Granted)
    assert house.ask("c", NONE, elapsed_ms=2_000).breach == Breach(Reason.TIME, 10_000, 10_000, 1, "parent")


@pytest.mark.parametrize("outcome", ["completed", "suspended"])
def test_nobody_spends_for_a_parent_that_has_ended(house, outcome):
    family(house, ("p", NONE, None), ("c", NONE, "p"))
    close(house, "p", outcome)
    with pytest.raises(LedgerError, match="session p is"):
        admitted(house, parent="p")
    if outcome == "completed":
        with pytest.raises(LedgerError, match="session p is closed already: completed"):
            house.ask("c", NONE)


def test_a_parent_that_was_stopped_gets_no_more_children(house):
    tight = Ceilings(turns=0)
    house.open("p", tight)
    assert isinstance(house.ask("p", tight), Refused)
    with pytest.raises(LedgerError, match="was stopped by its turn_ceiling"):
        admitted(house, parent="p")


def test_a_session_that_never_was_is_nobodys_parent_and_nobody_is_their_own(house):
    house.open("s", NONE)
    with pytest.raises(LedgerError, match="cannot be a parent"):
        admitted(house, parent="nobody")
    house.open("self", NONE, "self")  # rows that no loop writes
    with pytest.raises(LedgerError, match="cannot be a parent: it was not opened before its child"):
        house.ask("self", NONE)
    house.open("x", NONE, "y")
    house.open("y", NONE, "x")
    with pytest.raises(LedgerError, match="cannot be a parent"):
        house.ask("x", NONE)


def test_a_window_that_has_had_all_its_sessions_takes_no_more(house):
    house.limit(day_sessions=1)
    admitted(house)
    house.open("s", NONE)
    with pytest.raises(Suspended, match="the day's limit of 1 sessions is used up to 1"):
        admitted(house)
    house.clock.move(days=1)
    admitted(house)


def test_a_cost_ceiling_or_window_without_a_price_does_not_start(house):
    with pytest.raises(SettingError, match="the cost ceiling limits the cost"):
        admitted(house, ceilings=Ceilings(microusd=1), price=None)
    house.limit(month_microusd=5)
    with pytest.raises(SettingError, match="the month of the whole ledger"):
        admitted(house, price=None)
    house.open("s", NONE)
    with pytest.raises(SettingError, match="the month of the whole ledger"):
        house.ask("s", NONE)
    assert [row.kind for row in house.ledger.rows("s")] == ["spec", "open"]


def test_a_client_that_is_never_billed_passes_every_limit_on_costs(house):
    house.limit(hour_microusd=0)
    tight = Ceilings(microusd=0)
    house.open("s", tight)
    granted = house.ask("s", tight, 10**9, wanted=10**9, price=FREE)
    assert (granted.max_tokens, granted.reserved_microusd) == (10**9, 0)


sizes = st.integers(1, 400)


@given(
    tree=st.lists(st.tuples(st.integers(0, 5), st.none() | st.integers(0, 6_000), st.none() | st.integers(0, 9)),
                  min_size=1, max_size=5),
    steps=st.lists(st.tuples(st.integers(0, 4), sizes, sizes, st.none() | sizes), max_size=12),
)
@settings(max_examples=40, deadline=None)
def test_no_family_ever_spends_beyond_a_ceiling_of_any_of_its_sessions(tmp_path_factory, tree, steps):
    house = House(tmp_path_factory.mktemp("family"))
    opened = []
    for at, (parent, tokens, turns) in enumerate(tree):
        ceilings = Ceilings(tokens=tokens, turns=turns)
        above = opened[parent % len(opened)][0] if opened and parent < 5 else None
        house.open(f"s{at}", ceilings, above)
        opened.append((f"s{at}", ceilings))
    stopped = set()
    for at, tokens, wanted, used in steps:
        name, ceilings = opened[at % len(opened)]
        if name in stopped:
            continue
        decision = house.ask(name, ceilings, tokens, wanted=wanted, is_live=lambda _: False)
        if isinstance(decision, Refused):
            stopped.add(name)
        elif used is not None:
            house.reply(decision, min(used, decision.reserved_tokens))
    assert house.findings() == [], "the audit adds up every family by itself"


def test_the_place_that_a_breach_names_is_the_turn_that_was_refused(house):
    tight = Ceilings(turns=1)
    house.open("s", tight)
    house.reply(house.ask("s", tight), 5)
    house.ask("s", tight)
    row = house.ledger.rows("s")[-1]
    assert (row.data["turn"], row.data["input_hash"]) == (2, HASH)


def test_only_a_reconciliation_lowers_what_an_attempt_in_doubt_is_charged(house):
    tight = Ceilings(tokens=1_000, microusd=5_000)
    family(house, ("p", tight, None), ("c", NONE, "p"))
    granted = house.ask("c", NONE, 500, wanted=400, price=DOLLARS)
    doubt = in_doubt(house, granted)
    assert isinstance(house.ask("c", NONE, 150, wanted=150, price=DOLLARS), Refused), "time alone lowers nothing"
    house.open("d", NONE, "p")
    reconcile(house, "c", doubt.n, 700, 1_000)
    granted = house.ask("d", NONE, 150, wanted=150, price=DOLLARS)
    assert (granted.reserved_tokens, granted.reserved_microusd) == (300, 900)
    assert isinstance(house.ask("d", NONE, 1, wanted=1, price=DOLLARS, is_live=lambda _: False), Refused)
    assert house.findings() == []
