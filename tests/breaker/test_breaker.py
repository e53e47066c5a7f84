"""The breaker by itself: limits, banner, error."""

import inspect

import pytest
from hypothesis import given
from hypothesis import strategies as st

from safeloop.breaker import CircuitBreaker
from safeloop.errors import CircuitBreakerError, SettingError
from safeloop.spec import Breach, Ceilings, Reason

COUNTS = st.integers(0, 30)


def test_a_limit_is_inclusive_and_one_more_trips():
    breaker = CircuitBreaker(3, 100, output_fn=lambda _: None)
    breaker.check(3, 100)
    with pytest.raises(CircuitBreakerError) as over:
        breaker.check(4, 100)
    assert (over.value.reason, over.value.turn_count, over.value.accumulated_tokens) == ("turn_ceiling", 4, 100)
    with pytest.raises(CircuitBreakerError) as dear:
        breaker.check(3, 101)
    assert dear.value.reason == "token_ceiling"


@given(COUNTS, COUNTS, COUNTS, COUNTS)
def test_exactly_what_is_beyond_a_limit_trips_and_turns_come_first(turn_limit, token_limit, turn, tokens):
    expected = "turn_ceiling" if turn > turn_limit else "token_ceiling" if tokens > token_limit else None
    found = None
    try:
        CircuitBreaker(turn_limit, token_limit, output_fn=lambda _: None).check(turn, tokens)
    except CircuitBreakerError as error:
        found = error.reason
    assert found == expected


@pytest.mark.parametrize("limit", [-1, 1.0, "5", None, True, 2**53])
@pytest.mark.parametrize("name", ["turn_limit", "token_limit"])
def test_a_limit_that_no_row_can_hold_is_refused_at_once_and_by_name(name, limit):
    with pytest.raises(SettingError, match=rf"^{name} must be an integer from 0 to 2\*\*53 - 1, not "):
        CircuitBreaker(**{name: limit})


def test_the_largest_limit_that_a_row_can_hold_is_allowed():
    most = 2**53 - 1
    ceilings = CircuitBreaker(most, most, tool_call_limit=most, error_limit=most, repeat_limit=most).ceilings
    assert ceilings == Ceilings(turns=most, tokens=most, tool_calls=most, errors=most, repeats=most)


def test_the_banner_has_plain_numbers_and_comes_before_the_error():
    shown = []
    with pytest.raises(CircuitBreakerError):
        CircuitBreaker(1_000, 1_234_567, output_fn=shown.append).check(1_001, 1_234_567)
    assert len(shown) == 1
    assert "CIRCUIT BREAKER CHECKPOINT" in shown[0]
    assert "turn_count   : 1001 / limit 1000" in shown[0]
    assert "tokens_used  : 1234567 / limit 1234567\n" in shown[0]


def test_the_banner_says_how_far_the_refused_call_could_have_reached():
    shown = []
    with pytest.raises(CircuitBreakerError):
        CircuitBreaker(5, 2_000, output_fn=shown.append).trip(Breach(Reason.TOKENS, 2_000, 900, 1_500), 2, 900)
    assert "tokens_used  : 900 / limit 2000 (the next call could reach 2400)" in shown[0]


def test_a_banner_that_cannot_be_shown_does_not_hide_the_breach():
    def closed_pipe(_):
        raise BrokenPipeError("nobody reads")

    with pytest.raises(CircuitBreakerError) as tripped:
        CircuitBreaker(0, 0, output_fn=closed_pipe).check(1, 0)
    assert isinstance(tripped.value.__cause__, BrokenPipeError)


def test_an_interrupt_while_the_banner_is_shown_stays_an_interrupt():
    def interrupted(_):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        CircuitBreaker(0, 0, output_fn=interrupted).check(1, 0)


@given(COUNTS, COUNTS, st.none() | COUNTS, st.none() | COUNTS)
def test_tightening_takes_the_smaller_of_both_and_never_loosens(turn_limit, token_limit, turns, tokens):
    tight = CircuitBreaker(turn_limit, token_limit, output_fn=str).tightened(Ceilings(turns=turns, tokens=tokens))
    assert tight.turn_limit == (turn_limit if turns is None else min(turns, turn_limit))
    assert tight.token_limit == (token_limit if tokens is None else min(tokens, token_limit))
    assert tight.output_fn is str


def test_tightening_a_subclass_keeps_what_it_adds_and_leaves_the_original_as_it_was():
    class Mine(CircuitBreaker):
        def check(self, turn_count, accumulated_tokens):
            raise CircuitBreakerError("mine", turn_count, self.turn_limit)

    mine = Mine(5, 100)
    tight = mine.tightened(Ceilings(turns=2))
    assert (mine.turn_limit, tight.has_own_check, CircuitBreaker().has_own_check) == (5, True, False)
    with pytest.raises(CircuitBreakerError) as raised:
        tight.check(1, 0)
    assert (raised.value.reason, raised.value.accumulated_tokens) == ("mine", 2)


def test_the_default_limits_are_the_tutorials():
    breaker = CircuitBreaker()
    assert (breaker.turn_limit, breaker.token_limit, breaker.output_fn) == (5, 15000, print)


def test_the_constructor_is_the_tutorials_and_everything_more_is_a_keyword_with_a_default():
    assert str(inspect.signature(CircuitBreaker)) == (
        "(turn_limit: 'int' = 5, token_limit: 'int' = 15000, *, cost_limit_usd: 'object' = None, "
        "time_limit_s: 'float | None' = None, tool_call_limit: 'int | None' = None, error_limit: 'int | None' = 3, "
        "repeat_limit: 'int | None' = 3, output_fn: 'Callable[[str], object]' = <built-in function print>) -> 'None'"
    )
