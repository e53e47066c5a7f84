from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from safeloop.errors import VerificationError
from safeloop.ledger import Ledger
from safeloop.ledger.reader import LedgerReader
from safeloop.review import ReviewSurface
from safeloop.review.attesting.signers import sign_statement
from safeloop.review.inbox import Item, State, item_of, waiting
from safeloop.review.releasing.policy import ReleasePolicy
from safeloop.review.releasing.release import release
from tests.review.sessions import SessionBuilder, completed, paper

ALICE, BOB = "alice@example.org", "bob@example.org"
RESUME = {"after": 4, "in_doubt": [], "software": "safeloop 0.1.0"}


def inbox(path: Path, policy: ReleasePolicy | None = None) -> tuple[Item, ...]:
    with LedgerReader(path) as reader:
        return waiting(reader, policy)


def attested(
    builder: SessionBuilder, decision: str = "accept", reviewer: str = ALICE, *, signed: bool = True
) -> SessionBuilder:
    """Append an attestation that nobody has checked: the inbox does not either."""
    text = builder.book.content(b"frame", "text/plain")
    return builder.row("attestation", {
        "decision": decision, "reviewer": reviewer, "frame": "0" * 64, "frame_text": text.commitment, "notes": "",
        "statement": "{}", "signature": "armor" if signed else None,
    }, text)


def released(builder: SessionBuilder) -> SessionBuilder:
    close = next(row for row in builder.rows if row.kind == "close")
    return builder.row("release", {
        "attestations": [], "policy": ReleasePolicy().canonical, "files": close.data["files"],
        "file_count": close.data["file_count"], "destination": "/tmp/out",
    })


def state(builder: SessionBuilder, policy: ReleasePolicy | None = None) -> str | None:
    item = item_of(builder.rows, policy or ReleasePolicy())
    return None if item is None else str(item.state)


def closed(outcome: str = "completed") -> SessionBuilder:
    return paper().spec().open().turn().close(outcome)


def test_an_empty_ledger_has_nothing_that_waits(path: Path, ledger: Ledger) -> None:
    assert inbox(path) == ()


def test_a_closed_session_waits_for_a_reviewer_with_what_its_close_row_says(path: Path, ledger: Ledger) -> None:
    builder = completed(ledger)
    close = builder.last
    assert inbox(path) == (
        Item(builder.session, State.REVIEW, "completed", close.at, close.id, 3, 310, None, None,
             f"safeloop review {builder.session}"),
    )


def test_the_oldest_comes_first_by_the_row_since_which_it_waits(path: Path, ledger: Ledger) -> None:
    first = SessionBuilder(ledger).spec().open().turn()
    second = completed(ledger)
    first.close("breached")
    third = SessionBuilder(ledger).spec().open()
    ledger.write("by-hand", 1, "llm", "task", 10, 5, True)
    assert [item.session for item in inbox(path)] == [second.session, first.session, third.session, "by-hand"]


def test_an_open_session_is_listed_with_what_it_was_charged_so_far(path: Path, ledger: Ledger) -> None:
    builder = SessionBuilder(ledger).spec().open().turn(tokens=100).intent(5_000)
    (item,) = inbox(path)
    assert (item.state, item.outcome, item.turns, item.tokens) == (State.OPEN, None, 1, 5_100)
    assert item.next_command == f"safeloop resume {builder.session}"
    assert item.row == builder.rows[1].id


def test_a_suspended_session_is_listed_with_the_command_that_goes_on(path: Path, ledger: Ledger) -> None:
    builder = SessionBuilder(ledger).spec().open().turn(tokens=100).close("suspended")
    (item,) = inbox(path)
    assert (item.state, item.outcome, item.turns, item.tokens) == (State.SUSPENDED, "suspended", 1, 100)
    assert item.next_command == f"safeloop resume {builder.session}"


def test_a_resumed_session_is_open_again_and_its_turns_are_counted(path: Path, ledger: Ledger) -> None:
    builder = SessionBuilder(ledger).spec().open().turn(tokens=100).close("suspended").row("resume", RESUME)
    builder.turn(tokens=50)
    (item,) = inbox(path)
    assert (item.state, item.turns, item.tokens) == (State.OPEN, 2, 150)
    builder.close()
    (item,) = inbox(path)
    assert (item.state, item.outcome) == (State.REVIEW, "completed")


def test_rows_written_by_hand_wait_for_a_reviewer_too(path: Path, ledger: Ledger) -> None:
    ledger.write("by-hand", 1, "llm", "task", 10, 5, True)
    ledger.write("by-hand", 2, "llm", "task", 20, 5, True)
    ledger.write("by-hand", 3, "circuit_breaker", "task", 0, 0, False, "turn_ceiling")
    (item,) = inbox(path)
    assert (item.session, item.state, item.outcome, item.turns, item.tokens) == (
        "by-hand", State.REVIEW, "ungoverned", 2, 30
    )
    assert item.row == 3


def test_a_promise_that_nobody_has_run_is_not_an_errand(path: Path, ledger: Ledger) -> None:
    SessionBuilder(ledger).spec()
    assert inbox(path) == ()


def test_rows_about_the_ledger_itself_are_no_session(path: Path, ledger: Ledger) -> None:
    SessionBuilder(ledger, "ledger").row("limits", {"hour": {"tokens": 1}, "day": {}, "month": {}})
    assert inbox(path) == ()


def test_an_accepted_session_waits_for_its_release() -> None:
    item = item_of(attested(closed()).rows, ReleasePolicy())
    assert item is not None
    assert (item.state, item.next_command) == (State.ACCEPTED, f"safeloop release {item.session} --to DIR")
    assert item.row == 5  # since its close, so that a late accept does not push it to the end


def test_an_attestation_without_a_signature_is_none() -> None:
    assert state(attested(closed(), signed=False)) == "review"
    assert state(attested(closed(), "reject", signed=False)) == "review"


def test_as_many_accepts_are_awaited_as_the_policy_asks_for() -> None:
    two = ReleasePolicy(accepts=2)
    assert state(attested(closed()), two) == "review"
    assert state(attested(attested(closed())), two) == "review"
    assert state(attested(attested(closed()), reviewer=BOB), two) == "accepted"


def test_a_rejected_session_waits_for_nothing() -> None:
    assert state(attested(closed(), "reject")) is None
    assert state(attested(attested(closed()), "reject", BOB)) is None


def test_who_rejects_and_then_accepts_has_accepted() -> None:
    assert state(attested(attested(closed(), "reject"))) == "accepted"


def test_a_reject_that_the_policy_does_not_heed_leaves_it_waiting() -> None:
    lax = ReleasePolicy(any_reject_blocks=False)
    assert state(attested(closed(), "reject"), lax) == "review"
    assert state(attested(attested(closed(), "reject"), reviewer=BOB), lax) == "accepted"


def test_what_was_released_or_erased_waits_for_nothing() -> None:
    assert state(released(attested(closed()))) is None
    assert state(closed().erase()) is None


@pytest.mark.parametrize("outcome", ["failed", "refused"])
def test_what_failed_is_reviewed_and_then_done(outcome: str) -> None:
    generous = ReleasePolicy(accept_breach=True, accept_unmet=True)
    assert state(closed(outcome), generous) == "review"
    assert state(attested(closed(outcome)), generous) is None


@pytest.mark.parametrize(("outcome", "key"), [("breached", "accept_breach"), ("unmet", "accept_unmet")])
def test_what_did_not_complete_waits_for_a_release_only_where_the_policy_allows_one(outcome: str, key: str) -> None:
    assert state(closed(outcome)) == "review"
    assert state(attested(closed(outcome))) is None
    assert state(attested(closed(outcome)), ReleasePolicy(**{key: True})) == "accepted"  # type: ignore[arg-type]


def test_rows_by_hand_that_were_accepted_are_done_for_they_are_never_released() -> None:
    builder = paper().spec()
    builder.turn()
    assert state(builder) == "review"
    assert state(attested(builder)) is None


def test_an_item_stands_for_one_session_only(path: Path, ledger: Ledger) -> None:
    for _ in range(3):
        completed(ledger)
        SessionBuilder(ledger).spec().open().turn().close("suspended")
    assert len({item.session for item in inbox(path)}) == len(inbox(path)) == 6


def test_the_whole_walk_empties_the_inbox(
    path: Path, ledger: Ledger, surface: ReviewSurface, reviewer: Callable[[str], Path], tmp_path: Path
) -> None:
    session = completed(ledger).session
    key = reviewer(ALICE)
    surface.attest(session, ALICE)
    assert [item.state for item in inbox(path)] == ["review"]
    surface.attest_signed(surface.show(session), "accept", ALICE, sign=lambda data: sign_statement(data, key))
    assert [item.state for item in inbox(path)] == ["accepted"]
    release(ledger, surface.trust(), session, tmp_path / "out")
    assert inbox(path) == ()


def test_reading_the_inbox_writes_nothing(path: Path, ledger: Ledger) -> None:
    completed(ledger)
    ledger.close()
    before = {file.name: file.read_bytes() for file in path.parent.glob("ledger*.db")}
    assert len(inbox(path)) == 1
    assert {file.name: file.read_bytes() for file in path.parent.glob("ledger*.db")} == before


def tampered(path: Path, old: bytes, new: bytes) -> None:
    with sqlite3.connect(path) as connection:
        connection.execute("DROP TRIGGER row_update")
        connection.execute("UPDATE row SET body = replace(body, ?, ?)", (old.decode(), new.decode()))
    connection.close()


@pytest.mark.parametrize(("old", "new"), [
    (b'"kind":"close","ledger"', b'"kind":"close", "ledger"'), (b'"outcome":"completed"', b'"outcome":"splendid"'),
    (b'"outcome":"completed"', b'"outcome":17'),
])
def test_a_row_that_cannot_be_read_is_named_and_never_passed_over(
    path: Path, ledger: Ledger, old: bytes, new: bytes
) -> None:
    close = completed(ledger).last
    ledger.close()
    tampered(path, old, new)
    with pytest.raises(VerificationError, match=f"row {close.id} cannot be read") as refused:
        inbox(path)
    assert refused.value.hint == "safeloop audit"


def test_two_hundred_finished_sessions_do_not_hide_the_one_that_waits(path: Path, ledger: Ledger) -> None:
    def many(count: int) -> list[Any]:
        drafts = []
        for number in range(count):
            builder = SessionBuilder(Collector(ledger), f"done-{number}")
            attested(builder.spec().open().close(), "reject")
            drafts += builder.book.drafts  # type: ignore[attr-defined]
        return drafts

    drafts = many(200)
    ledger.append(lambda _: drafts)
    waits = completed(ledger)
    assert [item.session for item in inbox(path)] == [waits.session]


class Collector:
    """A book that keeps drafts, so that many sessions become one transaction."""

    def __init__(self, ledger: Ledger) -> None:
        self.drafts: list[Any] = []
        self._ledger = ledger
        self._last = paper().spec().last

    def append(self, decide: Callable[[Any], Any]) -> tuple[Any, ...]:
        made = tuple(decide(None))
        self.drafts += made
        return tuple(self._last._replace(kind=draft.kind, data=dict(draft.data)) for draft in made)

    def content(self, data: bytes, media_type: str) -> Any:
        return self._ledger.content(data, media_type)
