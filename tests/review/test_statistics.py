"""The ledger at a glance: every kind of session has its place, and nothing strange brings the figures down."""

from __future__ import annotations

import contextlib
import gc
import sqlite3
import tracemalloc
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from safeloop.errors import VerificationError
from safeloop.ledger import Draft, Ledger
from safeloop.ledger.reader import LedgerReader
from safeloop.ledger.upkeep.limiting import set_limits
from safeloop.review.statistics import LABELS, Attested, Statistics, account_of, statistics
from tests.bench.building import Built, build
from tests.review.sessions import SessionBuilder, completed, paper
from tests.review.test_inbox import attested, released, tampered

BEGAN = datetime(2026, 11, 21, 7, 30, tzinfo=UTC)


class Clock:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.now = BEGAN

    def __call__(self) -> datetime:
        return self.now

    def turn(self, **by: float) -> None:
        self.now += timedelta(**by)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def book(path: Path, keys: Path, clock: Clock) -> Iterator[Ledger]:
    with contextlib.closing(Ledger(path, keys=keys, clock=clock)) as made:
        yield made


def counted(path: Path, since: datetime | None = None, now: datetime = BEGAN) -> Statistics:
    with LedgerReader(path) as reader:
        return statistics(reader, since, now)


def some(found: Statistics) -> dict[str, int]:
    return {label: number for label, number in found.sessions if number}


def label(builder: SessionBuilder) -> str | None:
    account = account_of(builder.rows)
    return None if account is None else account.label


def begun() -> SessionBuilder:
    return paper().spec().open().turn()


def test_an_empty_ledger_is_counted_as_nothing(path: Path, book: Ledger) -> None:
    found = counted(path)
    assert (found.session_count, found.turns, found.tokens, found.cost_microusd) == (0, 0, 0, 0)
    assert found.attested == Attested(0, None, None, 0, 0)
    assert [name for name, _ in found.sessions] == list(LABELS)
    assert (found.breaches, found.windows) == ((), ())


@pytest.mark.parametrize("outcome", ["completed", "unmet", "breached", "failed", "refused"])
def test_a_session_that_ended_is_counted_by_its_outcome(outcome: str) -> None:
    assert label(begun().close(outcome)) == outcome


@pytest.mark.parametrize(("reason", "expected"), [
    ("window: until 2026-11-22T00:00:00Z, the day's tokens are used up", "window"),
    ("waiting: until 2026-11-21T17:02:30Z, the server asks to slow down (status 429)", "quota"),
    ("call: toolu_1 of send_report may have run", "call"), ("interrupted by SIGTERM", "stopped"),
    ("windowless", "stopped"), (None, "stopped"),
])
def test_a_suspended_session_is_counted_by_what_it_waits_for(reason: str | None, expected: str) -> None:
    assert label(begun().close("suspended", reason=reason)) == expected


def test_a_session_that_waits_for_a_reviewer_of_a_call_is_counted_so() -> None:
    builder = begun().call("delete_page", "destructive")
    reason = f"approval: {builder.last.leaf[:12]} of delete_page waits for a reviewer's decision"
    assert label(builder.close("suspended", reason=reason)) == "approval"


def test_a_resumed_session_is_open_again() -> None:
    builder = begun().close("suspended").row("resume", {"after": 4, "in_doubt": [], "software": "safeloop 0.1.0"})
    assert label(builder) == "open"
    assert label(builder.close()) == "completed"


def test_a_dry_run_is_no_failure() -> None:
    builder = paper().spec().open(software="safeloop 0.1.0, dry run").turn()
    assert label(builder.close("failed", reason="dry run: completed")) == "dry run"
    assert label(begun().close("failed", reason="dry run: completed")) == "failed", "the open row says what it was"


def test_a_promise_that_nobody_has_run_is_counted_as_that() -> None:
    assert label(paper().spec()) == "not run"


def test_rows_by_hand_have_turns_and_tokens_and_no_known_cost(path: Path, book: Ledger) -> None:
    book.write("by-hand", 1, "llm", "task", 10, 5, True)
    book.write("by-hand", 2, "circuit_breaker", "task", 0, 0, False, "because I said so")
    found = counted(path)
    assert some(found) == {"ungoverned": 1}
    assert (found.turns, found.tokens, found.cost_microusd, found.unpriced) == (1, 10, None, 1)
    assert found.breaches == (("other", 1),), "reasons are a closed set, or a stranger's words would fill the page"
    assert found.attested.awaited == 1


def test_imported_sessions_are_counted_apart_and_their_record_is_none(path: Path, book: Ledger) -> None:
    book.write("import:old", 1, "import", "file", 0, 0, True)
    book.write("import:old:s1", 1, "llm", "task", 10, 5, True)
    SessionBuilder(book, "import:old:s2").spec()
    assert some(counted(path)) == {"imported": 1, "not run": 1}


def test_rows_about_the_ledger_are_no_session(path: Path, book: Ledger) -> None:
    set_limits(book, {("hour", "tokens"): 5})
    assert counted(path).session_count == 0


def test_what_was_spent_is_added_up_by_close_rows_and_where_there_is_none_by_turns(path: Path, book: Ledger) -> None:
    SessionBuilder(book).spec().open().turn(tokens=100, cost_microusd=7).close(cost_microusd=7)
    SessionBuilder(book).spec().open().turn(tokens=20, cost_microusd=2).turn(tokens=3, cost_microusd=1)
    found = counted(path)
    assert (found.turns, found.tokens, found.cost_microusd, found.unpriced) == (3, 123, 10, 0)
    SessionBuilder(book).spec().open().turn(tokens=1).close()
    found = counted(path)
    assert (found.tokens, found.cost_microusd, found.known_microusd, found.unpriced) == (124, None, 10, 1)


def test_an_intent_without_outcome_is_charged_at_its_worst_and_said_to_be_in_doubt(path: Path, book: Ledger) -> None:
    SessionBuilder(book).spec().open().turn(tokens=100, cost_microusd=7).intent(5_000, reserved_microusd=90)
    found = counted(path)
    assert (found.tokens, found.tokens_in_doubt) == (5_100, 5_000)
    assert (found.cost_microusd, found.microusd_in_doubt) == (7, 90)
    SessionBuilder(book).spec().open().intent(1)
    assert counted(path).microusd_in_doubt is None


def test_what_was_reconciled_is_in_doubt_no_more_and_its_difference_is_taken_off(path: Path, book: Ledger) -> None:
    builder = SessionBuilder(book).spec().open().intent(5_000).attempt(charged=5_000, in_doubt=True)
    doubtful = builder.last
    builder.turn(tokens=100).close()
    assert (counted(path).tokens, counted(path).tokens_in_doubt) == (5_100, 5_000)
    findings = book.content(b"[]", "application/json")
    SessionBuilder(book, "ledger").row("reconcile", {
        "source": "usage report", "window": "2026-11", "findings": findings.commitment, "settled": [{
            "session": builder.session, "n": doubtful.n, "charged_tokens": 5_000, "billed_tokens": 700,
            "charged_microusd": None, "billed_microusd": None,
        }],
    }, findings)
    assert (counted(path).tokens, counted(path).tokens_in_doubt) == (800, 0)


def test_breaches_are_counted_by_reason_most_first(path: Path, book: Ledger) -> None:
    for reason in ("token_ceiling", "cost_ceiling", "token_ceiling"):
        SessionBuilder(book).spec().open().breach(reason).close("breached", reason=reason)
    assert counted(path).breaches == (("token_ceiling", 2), ("cost_ceiling", 1))


def test_what_was_erased_or_released_stays_counted_as_what_it_is(path: Path, book: Ledger) -> None:
    completed(book).erase()
    released(attested(completed(book)))
    found = counted(path)
    assert some(found) == {"completed": 2}
    assert (found.erased, found.released) == (1, 1)
    assert found.attested.awaited == 0, "nobody can attest what was erased"


def test_a_session_is_rejected_while_the_latest_word_of_some_reviewer_is_a_reject(path: Path, book: Ledger) -> None:
    attested(attested(completed(book), "reject"))
    attested(attested(completed(book), "reject"), reviewer="bob@example.org")
    attested(attested(completed(book)), "reject")
    attested(completed(book), "reject", signed=False)
    assert counted(path).rejected == 2


def test_reviewers_are_timed_from_the_close_to_the_first_who_signed(path: Path, book: Ledger, clock: Clock) -> None:
    for hours in (1, 2, 30):
        builder = completed(book)
        clock.turn(minutes=1)
        attested(builder, signed=False)
        clock.turn(minutes=-1, hours=hours)
        attested(builder, "reject")
        clock.turn(days=5)
        attested(builder)
    completed(book)
    assert counted(path).attested == Attested(3, 7_200, 108_000, 0, 1)


def test_a_clock_that_was_set_back_makes_no_wait_of_less_than_nothing(path: Path, book: Ledger, clock: Clock) -> None:
    builder = completed(book)
    clock.turn(hours=-3)
    attested(builder)
    assert counted(path).attested == Attested(1, None, None, 1, 0)
    clock.turn(hours=4)
    builder = completed(book)
    clock.turn(seconds=10)
    attested(builder)
    assert counted(path).attested == Attested(2, 10, 10, 1, 0)


def test_since_is_inclusive_and_goes_by_the_first_row(path: Path, book: Ledger, clock: Clock) -> None:
    builder = SessionBuilder(book).spec()
    clock.turn(hours=2)
    builder.open().turn().close()
    assert counted(path, BEGAN).session_count == 1
    assert counted(path, BEGAN + timedelta(microseconds=1)).session_count == 0
    assert counted(path, BEGAN).since == "2026-11-21T07:30:00.000000Z"


def test_since_is_a_moment_in_whatever_zone(path: Path, book: Ledger) -> None:
    completed(book)
    local = datetime.fromisoformat("2026-11-21T08:30:00+01:00")
    assert counted(path, local).session_count == 1
    assert counted(path, local + timedelta(seconds=1)).session_count == 0


def test_rows_whose_time_goes_backwards_are_counted_by_what_they_claim(
    path: Path, book: Ledger, clock: Clock
) -> None:
    completed(book)
    clock.turn(days=-400)
    early = completed(book)
    clock.turn(days=400)
    assert counted(path).session_count == 2
    assert counted(path, BEGAN).session_count == 1, "the later row claims to be older"
    assert early.rows[0].at < "2026"


def test_windows_are_those_open_now_whatever_since_says(path: Path, book: Ledger) -> None:
    set_limits(book, {("hour", "tokens"): 1_000, ("day", "microusd"): 0, ("month", "sessions"): 4})
    completed(book)
    found = counted(path, BEGAN + timedelta(days=1))
    assert found.session_count == 0
    assert [(each.window, each.unit, each.limit, each.charged, each.part) for each in found.windows] == [
        ("hour", "tokens", 1_000, 310, 0.31), ("day", "microusd", 0, 0, 1.0), ("month", "sessions", 4, 1, 0.25),
    ]
    assert [f"{each.until:%Y-%m-%dT%H}" for each in found.windows] == ["2026-11-21T08", "2026-11-22T00", "2026-12-01T00"]


def test_a_window_of_yesterday_is_not_that_of_now(path: Path, book: Ledger) -> None:
    set_limits(book, {("day", "tokens"): 1_000})
    completed(book)
    (day,) = counted(path, now=BEGAN + timedelta(days=1)).windows
    assert (day.begins, day.charged) == ("2026-11-22", 0)


def test_a_row_that_cannot_be_read_is_named(path: Path, book: Ledger) -> None:
    close = completed(book).last
    book.close()
    tampered(path, b'"outcome":"completed"', b'"outcome":"splendid"')
    with pytest.raises(VerificationError, match=f"row {close.id} cannot be read"):
        counted(path)


def test_counting_writes_nothing(path: Path, book: Ledger) -> None:
    completed(book)
    book.close()
    before = {file.name: file.read_bytes() for file in path.parent.glob("ledger*.db")}
    assert counted(path).session_count == 1
    assert {file.name: file.read_bytes() for file in path.parent.glob("ledger*.db")} == before


def peak_of(path: Path, sessions: int) -> int:
    """The fewest bytes at the peak of a count, of several: others fill caches and what Python keeps of freed objects."""
    gc.collect()
    gc.disable()  # a collection would empty what the first counts filled
    peaks = []
    try:
        for _ in range(8):
            tracemalloc.start()
            assert counted(path).session_count == sessions
            peaks.append(tracemalloc.get_traced_memory()[1])
            tracemalloc.stop()
    finally:
        tracemalloc.stop()
        gc.enable()
    return min(peaks)


def attested_at_once(built: Built) -> None:
    """Append to each session of a ledger an attestation that nobody has checked."""
    with contextlib.closing(Ledger(built.path, keys=built.keys, create=False)) as ledger:
        text = ledger.content(b"frame", "text/plain")
        data = {"decision": "accept", "reviewer": "alice", "frame": "0" * 64, "frame_text": text.commitment, "notes": "",
                "statement": "{}", "signature": "armor"}
        names = list(dict.fromkeys(row.session for row in ledger.rows_of_kinds("close")))
        ledger.append(lambda _: [Draft(name, "attestation", data, (text,)) for name in names])


def test_memory_grows_by_eight_bytes_for_a_telling_row_and_less_than_a_hundred_for_an_attested_session(
    tmp_path: Path,
) -> None:
    peaks: dict[int, tuple[int, int]] = {}
    for sessions in (100, 200):
        built = build(tmp_path, 20 * sessions)
        plain = peak_of(built.path, sessions)
        attested_at_once(built)
        peaks[sessions] = (plain, peak_of(built.path, sessions))
    grown, grown_attested = ((more - less) / 100 for less, more in zip(peaks[100], peaks[200], strict=True))
    assert grown < 2 * 8 * 1.5, f"{grown:.0f} bytes a session, with two telling rows and room to grow"
    assert grown_attested < 100, f"{grown_attested:.0f} bytes an attested session"


def test_positions_come_by_the_index_of_kinds_as_they_lie_there_and_nothing_is_sorted(path: Path, book: Ledger) -> None:
    for _ in range(3):
        completed(book)
    explained: list[str] = []
    with LedgerReader(path) as reader, contextlib.closing(sqlite3.connect(path)) as beside:
        reader._rows._connection.set_trace_callback(explained.append)
        found = dict(reader.by_session("open", "close", "spec", besides=("release", "erase")))
        plans = [detail for sql in set(explained) if sql.startswith("SELECT")
                 for *_, detail in beside.execute(f"EXPLAIN QUERY PLAN {sql}")]
    assert [len(rows) for rows in found.values()] == [3, 3, 3]
    assert any("row_kind (kind=?)" in plan for plan in plans)
    assert not [plan for plan in plans if "TEMP B-TREE" in plan]
