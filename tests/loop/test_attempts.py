"""The Retries table as a rule: whether there is another attempt, and when."""

import math
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from safeloop.breaker import Full
from safeloop.errors import AttemptFailed
from safeloop.loop.attempts import FIRST_S, LONGEST_S, Again, Effort, GiveUp, Limits, Suspend, after_failure, after_full
from safeloop.spec.suspension import Cause, suspension_of

NOW = datetime(2026, 11, 21, 17, 0, tzinfo=UTC)
ENDLESS = Limits(math.inf)


def failed(status=None, *, in_doubt=False, retry_after_s=None, error_class="E", is_final=False):
    return AttemptFailed("it failed", error_class=error_class, status=status, in_doubt=in_doubt,
                         retry_after_s=retry_after_s, is_final=is_final)  # fmt: skip


def after(failure, effort=None, limits=ENDLESS, chance=0.5):
    return after_failure(failure, effort or Effort(), limits, chance=chance, now=NOW)


@pytest.mark.parametrize("status", [408, 409, 429, 500, 502, 503, 504, 529, 599])
def test_what_may_go_better_is_tried_again(status):
    assert isinstance(after(failed(status)), Again)


@pytest.mark.parametrize("status", [200, 302, 400, 401, 403, 404, 413, 422, 451])
def test_other_statuses_fail_at_once(status):
    assert after(failed(status)) == GiveUp()


def test_a_lost_connection_is_tried_again_and_what_nobody_knows_is_not():
    assert isinstance(after(failed(in_doubt=True)), Again)
    assert after(failed(in_doubt=True, is_final=True)) == GiveUp()
    assert after(failed(error_class="UnsendableRequest")) == GiveUp()
    assert after(failed(error_class="SettingError")) == GiveUp()


@given(st.floats(0.2, 1_000), st.floats(0, 0.999))
def test_a_wait_that_the_server_asks_for_is_kept_to_the_second(seconds, chance):
    assert after(failed(429, retry_after_s=seconds), chance=chance).wait_s == seconds


@given(st.integers(0, 10_000), st.floats(0, 0.999))
def test_without_one_the_wait_is_drawn_from_an_interval_that_doubles_up_to_the_longest(tries, chance):
    longest = min(LONGEST_S, FIRST_S * 2.0 ** min(tries, 40))
    assert after(failed(529), Effort(tries), chance=chance).wait_s == pytest.approx(chance * longest)


@pytest.mark.parametrize("asked", [0.0, 0.001])
def test_a_server_that_says_at_once_for_ever_comes_to_the_end_of_the_wait(asked):
    effort, limits = Effort(), Limits(60)
    for _ in range(2_000):
        step = after(failed(429, retry_after_s=asked), effort, limits)
        if isinstance(step, Suspend):
            break
        effort = effort.after(step.wait_s)
    assert isinstance(step, Suspend)
    assert effort.tries < 200


def test_a_wait_of_exactly_the_longest_is_waited_and_a_longer_one_suspends_until_then():
    assert after(failed(429, retry_after_s=60), limits=Limits(60)) == Again(60, "it failed")
    step = after(failed(429, retry_after_s=60.5), limits=Limits(60))
    assert step == Suspend("waiting: until 2026-11-21T17:01:01Z, it failed")
    assert suspension_of(step.reason).until == NOW + timedelta(seconds=61)


def test_the_waits_of_one_turn_count_together():
    assert isinstance(after(failed(429, retry_after_s=30), Effort(1, 30.0), Limits(60)), Again)
    assert isinstance(after(failed(429, retry_after_s=30), Effort(1, 30.1), Limits(60)), Suspend)


def test_a_wait_longer_than_the_time_ceiling_leaves_suspends():
    assert isinstance(after(failed(429, retry_after_s=10), limits=Limits(60, 10.0)), Again)
    assert isinstance(after(failed(429, retry_after_s=10), limits=Limits(60, 9.9)), Suspend)


@pytest.mark.parametrize("seconds", [1e300, 1e12])
def test_a_server_that_asks_for_the_end_of_time_is_not_an_exception(seconds):
    step = after(failed(429, retry_after_s=seconds), limits=Limits(60))
    assert suspension_of(step.reason).until == datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)


def test_a_full_window_suspends_until_it_turns_and_what_others_hold_is_waited_for():
    turns = datetime(2026, 11, 22, tzinfo=UTC)
    step = after_full(Full("day", turns, "the day is full"), Effort(), ENDLESS, chance=0.5)
    assert step == Suspend("window: until 2026-11-22T00:00:00Z, the day is full")
    assert suspension_of(step.reason).cause is Cause.WINDOW
    live = Full("live", None, "others hold it")
    assert after_full(live, Effort(), Limits(60), chance=0.5) == Again(0.25, "others hold it")
    assert after_full(live, Effort(3, 60.0), Limits(60), chance=0.5) == Suspend("waiting: others hold it")
