"""`stats` as people, scripts and an empty ledger see it; and `--since`, which is shared with other durations."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta, timezone

import pytest

from safeloop.cli.moments import duration_of, moment_of
from safeloop.cli.words import lasting
from safeloop.errors import ExitCode, SettingError
from tests.cli.program import Program
from tests.cli.test_inbox import everything, stopped, writing
from tests.review.sessions import SessionBuilder, completed
from tests.review.test_inbox import attested, released

NOW = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)


@pytest.mark.parametrize(("text", "expected"), [
    ("7d", NOW - timedelta(days=7)), ("90m", NOW - timedelta(minutes=90)), ("0s", NOW),
    ("2026-11-01", datetime(2026, 11, 1, tzinfo=UTC)), ("2026-11-01T07:00Z", datetime(2026, 11, 1, 7, tzinfo=UTC)),
    ("2026-11-01T07:00:00.5+01:00", datetime(2026, 11, 1, 6, 0, 0, 500_000, tzinfo=UTC)),
])
def test_a_moment_is_a_duration_before_now_or_a_date_in_utc_or_a_time_with_its_zone(
    text: str, expected: datetime
) -> None:
    found = moment_of("--since", text, NOW)
    assert (found, found.utcoffset()) == (expected, timedelta(0))


@pytest.mark.parametrize("text", [
    "", "7", "d", "-7d", "7 d", "7w", "1.5h", "٧d", "99999999d", "9999999d", "yesterday", "2026-13-01", "2026-11-31", "20261101T07",
    "2026-11-01T07:00", "0001-01-01T00:00+14:00", "\x1b[2J", "2026-W01",
])
def test_what_is_no_moment_is_refused_with_three_that_are(text: str) -> None:
    with pytest.raises(SettingError) as refused:
        moment_of("--since", text, NOW)
    assert refused.value.hint == "--since 7d, 2026-11-01 (UTC), or 2026-11-01T07:00Z"
    assert "\x1b" not in str(refused.value)


@pytest.mark.parametrize("text", ["20261101", "2026-W01-1", "2026W011", "2026-W01"])
def test_a_date_in_another_form_is_not_told_to_be_a_time_of_day(text: str) -> None:
    with pytest.raises(SettingError) as refused:
        moment_of("--since", text, NOW)
    assert str(refused.value) == f"--since takes a date as 2026-11-01, not '{text}'"
    with pytest.raises(SettingError, match="has no zone: a time of day is nobody's without one"):
        moment_of("--since", "20261101T07", NOW)


def test_the_local_zone_of_the_clock_changes_nothing() -> None:
    there = NOW.astimezone(timezone(timedelta(hours=9)))
    assert moment_of("--since", "2026-11-01", there) == moment_of("--since", "2026-11-01", NOW)


def test_a_duration_names_its_flag_where_it_is_none() -> None:
    assert duration_of("--expires", "12h") == timedelta(hours=12)
    with pytest.raises(SettingError, match="--expires must be a number and s, m, h or d"):
        duration_of("--expires", "soon")


@pytest.mark.parametrize(("seconds", "expected"), [
    (0, "0 s"), (59, "59 s"), (60, "1 min"), (3_599, "59 min 59 s"), (3_600, "1 h"), (86_399, "23 h 59 min"),
    (90_000, "1 d 1 h"), (86_400 * 1_000 + 59, "1,000 d"),
])
def test_a_wait_is_told_in_its_two_largest_units(seconds: int, expected: str) -> None:
    assert lasting(seconds) == expected


def test_an_empty_ledger_is_said_to_be_empty_and_that_is_no_error(program: Program) -> None:
    done = program("stats")
    assert (done.code, done.err) == (0, "")
    assert done.out.startswith("the ledger is empty: nothing was promised, run or spent yet\n")
    assert program("stats", "--json").json["session_count"] == 0


def test_no_ledger_is_an_error_and_none_is_made(program: Program) -> None:
    assert program("stats", "--ledger", "none.db").code == ExitCode.UNUSABLE
    assert not (program.folder / "none.db").exists()


def test_each_session_is_counted_once_by_what_it_is(program: Program) -> None:
    everything(program)
    with writing(program) as ledger:
        SessionBuilder(ledger).spec().open(software="safeloop 0.1.0, dry run").turn().close("failed")
        SessionBuilder(ledger).spec().open().turn().breach("token_ceiling").close("breached")
        SessionBuilder(ledger).spec()
        ledger.write("by-hand", 1, "llm", "task", 10, 5, True)
    facts = program("stats", "--json").json
    assert {label: number for label, number in facts["sessions"].items() if number} == {
        "completed": 2, "breached": 1, "dry run": 1, "ungoverned": 1, "approval": 1, "call": 1, "quota": 1, "window": 1,
        "stopped": 1, "open": 2, "not run": 1,
    }
    assert (facts["session_count"], facts["verified"], facts["breaches"]) == (13, False, {"token_ceiling": 1})
    assert facts["attested"]["count"] == 1
    shown = program("stats").out
    assert shown.startswith("13 sessions\n  completed                2\n  breached                 1\n")
    assert "not verified: safeloop audit does that" in shown


def test_a_line_has_at_most_eighty_columns_whatever_the_figures(program: Program) -> None:
    most = 2**53 - 1
    limits = [f"--{window}-{unit}={most if unit != 'usd' else most // 1_000_000}"
              for window in ("hour", "day", "month") for unit in ("tokens", "usd", "sessions")]
    assert program("ledger", "limits", *limits).code == 0
    with writing(program) as ledger:
        for _ in range(2):
            SessionBuilder(ledger).spec().open().turn(tokens=most // 2).intent(most // 4).breach("token_ceiling")
        attested(completed(ledger))
    shown = program("stats").out
    assert max(map(len, shown.splitlines())) <= 80, shown
    assert "9,007,199,254,740,991" in shown


def test_what_was_released_or_erased_is_no_charge(program: Program) -> None:
    with writing(program) as ledger:
        completed(ledger)
    assert "of these" not in program("stats").out
    with writing(program) as ledger:
        completed(ledger).erase()
        for _ in range(2):
            released(attested(completed(ledger)))
    sections = {head: body for head, *body in (each.split("\n") for each in program("stats").out.split("\n\n"))}
    assert sections["of these"] == ["  released                 2", "  erased                   1"]
    assert [line.split()[0] for line in sections["charged"]] == ["turns", "tokens", "cost", "known", "not"]


def test_what_was_rejected_is_counted_as_that(program: Program) -> None:
    with writing(program) as ledger:
        attested(completed(ledger), "reject")
    assert "nothing waits" in program("inbox").out
    assert "\nof these\n  rejected                 1\n" in program("stats").out
    assert program("stats", "--json").json["rejected"] == 1


def test_limits_are_told_with_what_is_used_and_when_they_turn(program: Program) -> None:
    assert program("ledger", "limits", "--day-tokens", "1000", "--month-sessions", "1").code == 0
    with writing(program) as ledger:
        completed(ledger)
    day, month = program("stats", "--json").json["limits"]
    assert (day["unit"], day["limit"], day["charged"], day["part"]) == ("tokens", 1_000, 310, 0.31)
    assert datetime.fromisoformat(day["until"]) - datetime.now(UTC) < timedelta(days=1)
    assert (month["charged"], month["limit"]) == (1, 1)
    shown = program("stats").out
    assert re.search(r"  day, until 20\d\d-\d\d-\d\dT00:00Z\n    tokens +310 of +1,000 +31 %\n", shown)
    assert re.search(r"  month, until 20\d\d-\d\d-01T00:00Z\n    sessions +1 of +1 +full\n", shown)


def test_since_counts_what_began_then_or_later(program: Program) -> None:
    with writing(program, timedelta(days=3)) as ledger:
        completed(ledger)
    with writing(program, timedelta(hours=3)) as ledger:
        stopped(ledger, "interrupted by SIGTERM")
    assert program("stats", "--since", "4d").out.startswith("2 sessions since 20")
    assert program("stats", "--since", "2d", "--json").json["sessions"]["completed"] == 0
    late = program("stats", "--since", "1h")
    assert (late.code, late.out.startswith("no session since 20")) == (0, True)


def test_a_since_that_is_none_is_refused_before_the_ledger_is_read(program: Program) -> None:
    done = program("stats", "--since", "2026-11-01T07:00", "--ledger", "none.db")
    assert (done.code, done.out) == (ExitCode.USAGE, "")
    assert "has no zone" in done.err and "hint: --since 7d" in done.err


def test_costs_are_told_as_money_and_what_is_not_known_as_that(program: Program) -> None:
    with writing(program) as ledger:
        SessionBuilder(ledger).spec().open().turn(cost_microusd=1_234_500).close(cost_microusd=1_234_500)
    assert re.search(r"  cost +\$1\.2345\n", program("stats").out)
    with writing(program) as ledger:
        SessionBuilder(ledger).spec().open().turn().close()
    shown = program("stats").out
    assert re.search(r"  cost +not known\n    known of it +\$1\.2345\n    not known of +1 session\n", shown)
