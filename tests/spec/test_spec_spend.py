"""Spend and the breach rule: nothing that is admitted can cross a ceiling."""

from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from safeloop.spec import (
    Breach,
    Ceilings,
    Reason,
    Spend,
    breach_before,
    clamp,
    room,
    smallest_useful,
    spend_of,
)

LARGEST = 2**53 - 1


@dataclass(frozen=True)
class Line:
    """A row as the rule sees it."""

    kind: str
    n: int
    data: dict[str, Any]


def intent(n, turn, reserved, attempt=1):
    return Line("intent", n, {"turn": turn, "attempt": attempt, "reserved_tokens": reserved})


def turn(n, number, tokens, of):
    return Line("turn", n, {"turn": number, "token_delta": tokens, "intent": of})


def attempt(n, number, tokens, of):
    return Line("attempt", n, {"turn": number, "charged_tokens": tokens, "intent": of})


counts = st.integers(0, 100_000)
spends = st.builds(Spend, turns=st.integers(0, 20), tokens=counts)
absurd = st.one_of(
    st.integers(max_value=-1), st.none(), st.text(), st.booleans(), st.floats(allow_nan=True), st.just([5])
)


def charged(rows):
    spend = spend_of(rows)
    return spend.turns, spend.tokens


def test_an_empty_session_has_spent_nothing():
    assert spend_of([]) == Spend(0, 0)


def test_rows_of_other_kinds_cost_nothing():
    rows = [Line("spec", 0, {}), Line("open", 1, {}), Line("breach", 2, {"turn": 9, "token_delta": 0})]
    assert charged(rows) == (0, 0)


def test_an_open_intent_is_charged_at_its_reservation():
    assert charged([intent(2, 1, 5000)]) == (1, 5000)


def test_a_settled_turn_is_charged_at_its_real_usage_and_not_twice():
    assert charged([intent(2, 1, 5000), turn(3, 1, 700, of=2)]) == (1, 700)


def test_a_turn_that_was_billed_more_than_reserved_is_charged_what_was_billed():
    assert charged([intent(2, 1, 100), turn(3, 1, 700, of=2)]) == (1, 700)


def test_an_attempt_in_doubt_stays_charged_beside_the_retry_of_the_same_turn():
    rows = [intent(2, 1, 900), attempt(3, 1, 900, of=2), intent(4, 1, 900, 2), turn(5, 1, 300, of=4)]
    assert charged(rows) == (1, 1200)


def test_an_attempt_that_cost_nothing_frees_its_reservation():
    assert charged([intent(2, 1, 900), attempt(3, 1, 0, of=2)]) == (1, 0)


def test_a_second_settlement_of_one_intent_adds_and_never_replaces():
    rows = [intent(2, 1, 900), turn(3, 1, 300, of=2), turn(4, 1, 400, of=2)]
    assert charged(rows) == (1, 700)


def test_a_row_cannot_settle_an_intent_that_comes_after_it():
    assert charged([turn(2, 1, 0, of=3), intent(3, 1, 900)]) == (1, 900)


def test_a_row_of_another_kind_cannot_settle_an_intent():
    assert charged([intent(2, 1, 900), Line("tool", 3, {"intent": 2, "token_delta": 0})]) == (1, 900)


def test_turns_written_by_hand_are_counted_by_their_numbers():
    rows = [turn(0, 0, 10, of=None), turn(1, 1, 10, of=None), turn(2, 1, 10, of=None)]
    assert charged(rows) == (2, 30)


@given(absurd)
def test_an_absurd_usage_leaves_the_reservation_charged(figure):
    assert charged([intent(2, 1, 900), turn(3, 1, figure, of=2)]) == (1, 900)
    assert charged([intent(2, 1, 900), attempt(3, 1, figure, of=2)]) == (1, 900)


@given(absurd)
def test_an_absurd_reservation_leaves_no_room_under_any_ceiling(figure):
    spend = spend_of([intent(2, 1, figure)])
    assert spend.tokens == LARGEST
    assert breach_before(spend, Ceilings(tokens=LARGEST), turn=2, bound=1, smallest=1) is not None


@given(absurd)
def test_an_absurd_turn_number_counts_as_a_turn(figure):
    assert charged([turn(2, figure, 5, of=None), turn(3, 1, 5, of=None)]) == (2, 10)


@given(absurd)
def test_a_settlement_that_names_no_intent_leaves_the_intent_charged(name):
    assert charged([intent(0, 1, 900), turn(1, 1, 5, of=name)]) == (1, 905)


@given(
    st.lists(st.tuples(st.sampled_from(["intent", "turn", "attempt"]), absurd | counts, absurd | counts)),
    absurd | counts,
    absurd | counts,
)
def test_a_further_settled_or_reserved_row_never_lowers_what_was_charged(history, figure, number):
    rows = [
        Line(kind, n, {"turn": at, "token_delta": f, "charged_tokens": f, "reserved_tokens": f})
        for n, (kind, f, at) in enumerate(history)
    ]
    before = spend_of(rows)
    for kind in ("intent", "turn", "attempt"):
        data = {"turn": number, "token_delta": figure, "charged_tokens": figure, "reserved_tokens": figure}
        after = spend_of([*rows, Line(kind, len(rows), data)])
        assert after.tokens >= before.tokens
        assert after.turns >= before.turns


def test_a_breach_stays_within_what_a_row_can_hold():
    breach = breach_before(Spend(0, LARGEST), Ceilings(tokens=5), turn=1, bound=LARGEST, smallest=LARGEST)
    assert breach == Breach(Reason.TOKENS, 5, LARGEST, LARGEST)


def test_the_sum_stays_within_what_a_row_can_hold():
    assert spend_of([intent(0, 1, LARGEST), intent(1, 2, LARGEST)]).tokens == LARGEST


@pytest.mark.parametrize(("number", "stops"), [(1, False), (5, False), (6, True)])
def test_the_limit_itself_is_allowed_and_the_next_turn_is_not(number, stops):
    breach = breach_before(Spend(number - 1, 0), Ceilings(turns=5), turn=number)
    assert breach == (Breach(Reason.TURNS, limit=5, spent=5, next_at_most=1) if stops else None)


def test_a_retry_of_the_last_allowed_turn_is_the_same_turn():
    assert breach_before(Spend(5, 0), Ceilings(turns=5), turn=5) is None


def test_a_caller_that_counts_backwards_cannot_get_more_turns():
    assert breach_before(Spend(6, 0), Ceilings(turns=5), turn=1) == Breach(Reason.TURNS, 5, 5, 1)


def test_a_ceiling_of_no_turns_refuses_the_first():
    assert breach_before(Spend(0, 0), Ceilings(turns=0), turn=1) == Breach(Reason.TURNS, 0, 0, 1)


def test_a_breach_names_the_ceiling_what_was_spent_and_what_the_call_could_add():
    breach = breach_before(Spend(3, 33_112), Ceilings(8, 40_000), turn=4, bound=7_204, smallest=1_024)
    assert breach == Breach(Reason.TOKENS, limit=40_000, spent=33_112, next_at_most=8_228)
    assert breach.as_row() == {
        "breach_reason": "token_ceiling", "scope": "session", "limit": 40_000, "spent": 33_112, "next_at_most": 8_228,
    }
    assert type(breach.as_row()["breach_reason"]) is str


def test_turns_are_decided_before_tokens():
    breach = breach_before(Spend(9, 99), Ceilings(turns=8, tokens=5), turn=9, bound=1, smallest=1)
    assert breach.reason == "turn_ceiling"


def test_without_ceilings_nothing_is_refused():
    assert breach_before(Spend(10**6, LARGEST), Ceilings(), turn=10**6, bound=LARGEST, smallest=4096) is None
    assert room(Spend(0, LARGEST), Ceilings(turns=1), 0) is None
    assert clamp(4096, None) == 4096


def test_spending_exactly_the_ceiling_is_allowed_and_one_token_more_is_not():
    exact = Ceilings(tokens=10_000)
    assert breach_before(Spend(1, 7_000), exact, turn=2, bound=1_976, smallest=1_024) is None
    assert breach_before(Spend(1, 7_001), exact, turn=2, bound=1_976, smallest=1_024) is not None
    assert breach_before(Spend(1, 10_000), exact, turn=2) is None
    assert breach_before(Spend(1, 10_001), exact, turn=2) is not None


def test_a_bound_beyond_the_ceiling_is_refused_even_for_an_answer_of_nothing():
    assert breach_before(Spend(0, 0), Ceilings(tokens=10), turn=1, bound=11, smallest=0) is not None


@given(spends, st.integers(0, 300_000), counts, st.integers(1, 100_000), st.booleans())
def test_an_admitted_call_cannot_cross_the_ceiling_and_gets_a_useful_answer(
    spend, ceiling, bound, wanted, thinks
):
    ceilings = Ceilings(tokens=ceiling)
    smallest = smallest_useful(wanted, None, thinks)
    granted = clamp(wanted, room(spend, ceilings, bound))
    if breach_before(spend, ceilings, turn=spend.turns + 1, bound=bound, smallest=smallest) is None:
        assert spend.tokens + bound + granted <= ceiling
        assert smallest <= granted <= wanted
    else:
        assert spend.tokens + bound + smallest > ceiling


@given(spends, st.integers(0, 300_000), counts, st.integers(1, 100_000), st.integers(0, 100_000))
def test_an_admitted_call_with_a_thinking_budget_keeps_its_budget_or_all_it_wanted(
    spend, ceiling, bound, wanted, budget
):
    ceilings = Ceilings(tokens=ceiling)
    smallest = smallest_useful(wanted, budget, thinks=True)
    if breach_before(spend, ceilings, turn=1 + spend.turns, bound=bound, smallest=smallest) is None:
        granted = clamp(wanted, room(spend, ceilings, bound))
        assert spend.tokens + bound + granted <= ceiling
        assert granted >= min(wanted, budget + 1024)


@given(spends, spends, st.integers(0, 10), st.integers(0, 200_000), st.integers(1, 12), counts, counts)
def test_more_spent_is_never_more_allowed(one, other, turns, tokens, number, bound, smallest):
    less = Spend(min(one.turns, other.turns), min(one.tokens, other.tokens))
    more = Spend(max(one.turns, other.turns), max(one.tokens, other.tokens))
    ceilings = Ceilings(turns=turns, tokens=tokens)
    if breach_before(less, ceilings, turn=number, bound=bound, smallest=smallest) is not None:
        assert breach_before(more, ceilings, turn=number, bound=bound, smallest=smallest) is not None


@given(st.integers(-(10**6), -1), st.integers(-(10**6), -1), st.integers(-(10**6), -1))
def test_negative_figures_make_no_room(spent, bound, smallest):
    ceilings = Ceilings(tokens=1000)
    assert room(Spend(0, spent), ceilings, bound) == 1000
    assert breach_before(Spend(0, 1001), ceilings, turn=1, bound=bound, smallest=smallest) == Breach(
        Reason.TOKENS, 1000, 1001, 0
    )
    assert breach_before(Spend(0, spent), ceilings, turn=1, bound=bound, smallest=1001) == Breach(
        Reason.TOKENS, 1000, 0, 1001
    )


def test_a_clamp_is_never_negative():
    assert clamp(4096, -5) == 0
    assert clamp(-1, None) == 0


@pytest.mark.parametrize(
    ("wanted", "budget", "thinks", "useful"),
    [
        (8192, None, False, 1024),
        (1024, None, False, 1024),
        (300, None, False, 300),
        (8192, None, True, 4096),
        (300, None, True, 300),
        (8192, 2000, True, 3024),
        (8192, 2000, False, 3024),
        (8192, 0, True, 1024),
        (8192, -50, True, 1024),
        (-1, None, False, 0),
    ],
)
def test_the_smallest_useful_answer(wanted, budget, thinks, useful):
    assert smallest_useful(wanted, budget, thinks) == useful


def test_the_reasons_are_the_ones_of_the_table():
    assert {reason.value for reason in Reason} == {
        "turn_ceiling", "token_ceiling", "cost_ceiling", "time_ceiling", "tool_ceiling", "error_ceiling",
        "repeat_ceiling",
    }
