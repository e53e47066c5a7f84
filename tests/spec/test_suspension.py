"""Why a session waits: written by the loop, read by the inbox and by cron."""

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from safeloop.spec.suspension import Cause, Suspension, reason_of, suspension_of

SECOND = timedelta(seconds=1)
FIRST, LAST = datetime.fromisoformat("1000-01-01"), datetime.fromisoformat("9999-12-31")


@given(
    cause=st.sampled_from([Cause.WINDOW, Cause.WAITING]), words=st.text(max_size=300),
    until=st.none() | st.datetimes(FIRST, LAST, timezones=st.just(UTC)),
)
def test_what_was_written_is_read_and_never_earlier(cause, words, until):
    found = suspension_of(reason_of(cause, words, until))
    assert found.cause is cause
    if until is not None:
        assert found.until is not None
        assert timedelta(0) <= found.until - until < SECOND


def test_an_end_in_another_time_zone_is_told_in_utc():
    east = datetime(2026, 11, 22, 1, 30, tzinfo=timezone(timedelta(hours=1)))
    assert reason_of(Cause.WINDOW, "full", east) == "window: until 2026-11-22T00:30:00Z, full"


@pytest.mark.parametrize(
    ("reason", "suspension", "goes_on"),
    [
        ("window: until 2026-11-22T00:00:00Z, full", Suspension(Cause.WINDOW, datetime(2026, 11, 22, tzinfo=UTC)), False),
        ("waiting: others hold it", Suspension(Cause.WAITING), True),
        ("interrupted by SIGTERM", Suspension(Cause.SIGNAL), True),
        ("interrupted", Suspension(Cause.SIGNAL), True),
        ("call: s1 of send may have run", Suspension(Cause.CALL), False),
        ("call: x until 2000-01-01T00:00:00Z of send", Suspension(Cause.CALL), False),
        ("waiting: it said until 2030-01-01T00:00:00Z", Suspension(Cause.WAITING), True),
        ("windowless", Suspension(None), True), (None, Suspension(None), True),
        ("waiting: until 2026-99-99T00:00:00Z, x", Suspension(Cause.WAITING), True),
    ],
)
def test_each_reason_says_who_or_what_it_waits_for(reason, suspension, goes_on):
    assert suspension_of(reason) == suspension
    assert suspension.is_over(datetime(2026, 11, 21, tzinfo=UTC)) is goes_on


def test_a_window_is_over_at_its_very_end():
    suspension = suspension_of("window: until 2026-11-22T00:00:00Z, full")
    assert not suspension.is_over(datetime(2026, 11, 22, tzinfo=UTC) - SECOND)
    assert suspension.is_over(datetime(2026, 11, 22, tzinfo=UTC))
