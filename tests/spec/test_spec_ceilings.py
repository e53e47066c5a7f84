"""Ceilings: what a limit may be, and how two sets of limits meet."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from safeloop.errors import SpecError
from safeloop.spec import Ceilings

NAMES = ("turns", "tokens", "microusd", "elapsed_ms", "tool_calls", "errors", "repeats")
limits = st.none() | st.integers(0, 2**53 - 1)
ceilings = st.builds(Ceilings, **dict.fromkeys(NAMES, limits))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("value", [-1, 2**53, True, False, 1.0, "8", [8], float("nan")])
def test_a_ceiling_that_is_no_whole_number_in_range_is_refused_by_name(name, value):
    with pytest.raises(SpecError, match=name) as caught:
        Ceilings(**{name: value})
    assert caught.value.hint


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("value", [0, 1, 2**53 - 1])
def test_the_ends_of_the_range_are_ceilings(name, value):
    assert Ceilings(**{name: value}).as_row() == {name: value}


def test_a_row_holds_only_the_ceilings_that_are_set():
    assert Ceilings().as_row() == {}
    assert Ceilings(turns=0, tokens=40000).as_row() == {"turns": 0, "tokens": 40000}


@given(ceilings)
def test_a_row_gives_the_same_ceilings_back(given_ceilings):
    assert Ceilings.of_row(given_ceilings.as_row()) == given_ceilings


def test_an_unknown_ceiling_in_a_row_is_refused_and_the_nearest_name_is_told():
    with pytest.raises(SpecError, match='"token" is unknown') as caught:
        Ceilings.of_row({"token": 5})
    assert '"tokens"' in caught.value.hint


def test_a_null_ceiling_in_a_row_is_refused_and_not_read_as_unlimited():
    with pytest.raises(SpecError, match="tokens is null"):
        Ceilings.of_row({"tokens": None})


@given(ceilings, ceilings)
def test_tightening_never_loosens_a_ceiling_of_either_side(one, other):
    tight = one.tightened(other)
    assert tight == other.tightened(one)
    for name in NAMES:
        bounds = [value for value in (getattr(one, name), getattr(other, name)) if value is not None]
        assert getattr(tight, name) == min(bounds, default=None)
