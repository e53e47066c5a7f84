"""Loops whose tools run without leave: without a call row, without a grant, under another name or permission."""

from __future__ import annotations

from datetime import timedelta

import pytest

from safeloop.ledger import encode
from safeloop.ledger.rows import timestamp
from tests.review.auditing.loops import ALICE, BOB, Book, Loop, judged, trust_in

DELETE = ("delete_page", "destructive")


def deleting(book: Book) -> Loop:
    return Loop(book).begin().step().plan(*DELETE)


def test_a_tool_that_writes_runs_after_its_call_row() -> None:
    book = Book()
    Loop(book).begin().step().act()
    assert judged(book) == [("call", 5, "write_file (write) ran without a call row before it")]


def test_one_call_row_is_good_for_one_run() -> None:
    book = Book()
    Loop(book).begin().step().plan().act().act()
    assert judged(book) == [("call", 7, "write_file (write) ran without a call row before it")]


@pytest.mark.parametrize(("changes", "words"), [
    ({"arguments": {"bytes": 1, "salted_sha256": "0" * 64, "type": "x"}}, "arguments"), ({"turn": 2}, "turn"),
])
def test_a_tool_runs_with_what_its_call_row_states(changes: dict[str, object], words: str) -> None:
    book = Book()
    Loop(book).begin().step().plan().act(**changes)
    assert judged(book) == [("call", 6, f"write_file ran with another {words} than its call row states")]


def test_what_was_refused_needs_no_call_row_and_what_took_time_does() -> None:
    book = Book()
    loop = Loop(book).begin().step().act(error="NotGranted", ms=0).act("nope", "destructive", error="UnknownTool", ms=0)
    assert judged(book) == []
    loop.act(error="NotGranted", ms=1)
    assert judged(book) == [("call", 7, "write_file (write) ran without a call row before it")]


def test_a_failure_without_an_error_is_no_refusal() -> None:
    book = Book()
    Loop(book).begin().step().act(pass_fail=False, ms=0)
    assert [found[0] for found in judged(book)] == ["call"]


def test_a_destructive_tool_is_not_made_harmless_by_calling_it_read() -> None:
    book = Book()
    Loop(book).begin().step().act("delete_page", "read")
    assert judged(book) == [
        ("tool", 5, "delete_page is recorded as read, and the open row lists it as destructive"),
        ("call", 5, "delete_page (destructive) ran without a call row before it"),
        ("approval", 5, "delete_page ran without an approval"),
    ]


def test_a_tool_that_the_open_row_does_not_list_does_not_run() -> None:
    book = Book()
    Loop(book).begin().step().act("shell", "read").plan("shell").act("shell")
    words = "shell ran, and the open row does not list it"
    assert judged(book) == [("tool", 5, words), ("tool", 7, words)]


def test_a_granted_call_may_run_once() -> None:
    book = Book()
    loop = deleting(book).approve().act(*DELETE)
    assert judged(book) == []
    loop.plan(*DELETE).act(*DELETE)
    assert judged(book) == [("approval", 9, "delete_page ran without an approval")]


@pytest.mark.parametrize(("until_s", "ms", "is_late"), [(1, 0, False), (0, 0, True), (0.5, 600, False), (0.5, 400, True), (-20, 9, True)])
def test_a_grant_holds_until_it_expires_and_a_run_that_began_before_may_end(
    until_s: float, ms: int, is_late: bool
) -> None:
    book = Book()
    loop = deleting(book).approve(until_s=until_s)
    expires = loop.last.data["expires_at"]
    loop.act(*DELETE, ms=ms)
    words = f"delete_page ran after the approval in row 6 had expired at {expires}"
    assert judged(book) == [("approval", 7, words)] * is_late


@pytest.mark.parametrize(("began_s", "is_early"), [(0, False), (-1, False), (-1.001, True), (-3600, True)])
def test_a_run_did_not_begin_before_its_grant_was_recorded_but_for_a_second_of_a_clock_that_is_set(
    began_s: float, is_early: bool
) -> None:
    book = Book()
    loop = deleting(book).approve()
    at = loop.last.at
    book.now += timedelta(seconds=began_s - 1)
    loop.act(*DELETE, ms=0)
    words = f"delete_page ran before the approval in row 6 was recorded at {at}"
    assert judged(book) == [("approval", 7, words)] * is_early


AGAIN = "delete_page ran on the approval in row {row}, which a run before may have used: each is for one"


def test_a_grant_that_was_given_while_its_session_waited_is_for_the_next_resumption_only() -> None:
    book = Book()
    loop = deleting(book).end("suspended").approve().resume()
    again = Book()
    deleting(again).end("suspended").approve().resume().end("suspended").resume().act(*DELETE)
    assert judged(again) == [("approval", 11, AGAIN.format(row=7))]
    loop.act(*DELETE)
    assert judged(book) == []


def test_a_grant_that_was_given_at_a_terminal_is_for_that_process_only() -> None:
    book = Book()
    deleting(book).approve().resume().act(*DELETE)
    assert judged(book) == [("approval", 8, AGAIN.format(row=6))]


@pytest.mark.parametrize("others", [0, 1])
def test_a_copy_of_a_grant_is_no_second_one_however_many_were_given_since(others: int) -> None:
    book = Book()
    loop = deleting(book).end("suspended").approve()
    granted = loop.last.data
    loop.resume().end("suspended")
    for _ in range(others):
        loop.approve(by=BOB).resume().end("suspended")
    loop.row("approval", granted)
    loop.resume().act(*DELETE)
    assert judged(book) == [("approval", loop.last.id, AGAIN.format(row=10 if others else 7))]


def test_a_copy_beside_a_grant_that_was_not_used_takes_nothing_away() -> None:
    book = Book()
    loop = deleting(book).end("suspended").approve()
    loop.row("approval", loop.last.data)
    loop.resume().act(*DELETE)
    assert judged(book) == []


def test_a_call_that_is_passed_over_after_its_grant_was_used_is_no_second_run() -> None:
    book = Book()
    deleting(book).approve().resume().act(*DELETE, error="PassedOver", ms=0)
    assert judged(book) == []


@pytest.mark.parametrize("decision", ["refused", "expired"])
def test_what_was_not_granted_does_not_run_and_may_be_answered_with_an_error(decision: str) -> None:
    book = Book()
    loop = deleting(book).approve(decision).act(*DELETE, error="Refused", ms=0)
    assert judged(book) == []
    loop.plan(*DELETE).approve(decision).act(*DELETE)
    assert judged(book) == [("approval", 10, f"delete_page ran though row 9 says {decision}")]


def test_a_destructive_call_that_failed_at_once_ran_unless_somebody_decided() -> None:
    book = Book()
    deleting(book).act(*DELETE, error="E", ms=0)
    assert judged(book) == [("approval", 6, "delete_page ran without an approval")]


@pytest.mark.parametrize(("grant", "words"), [
    ({"signed": {"call": "0" * 64}}, "its statement is not about what its row states"),
    ({"signed": {"ledger": "safeloop.local/2"}}, "its statement is not about what its row states"),
    ({"signed": {"session": "two"}}, "its statement is not about what its row states"),
    ({"signed": {"expires_at": "2030-01-01T00:00:00.000000Z"}}, "its statement is not about what its row states"),
    ({"key": "operator"}, "is the operator's own key"),
    ({"key": "eve"}, f"is not pinned as a key of {ALICE} for approvals at this time"),
    ({"namespace": "safeloop-review"}, "signed for namespace b'safeloop-review', not for 'safeloop-approval'"),
    ({"signature": None}, "its name, its end, its statement or its signature is missing"),
    ({"signature": "none"}, "not an armored SSH signature"),
])
def test_a_grant_that_no_pinned_reviewer_signed_for_this_call_is_none(grant: dict[str, object], words: str) -> None:
    book = Book()
    deleting(book).approve(**grant).act(*DELETE)  # type: ignore[arg-type]  # verbs take any change of a row
    ((rule, row, said),) = judged(book)
    assert (rule, row) == ("approval", 7)
    assert said.startswith("delete_page ran on an approval, row 6, that counts for nothing: ")
    assert words in said


@pytest.mark.parametrize(("end", "words"), [("soon", "is no time"), ("2026-11-21", "names no time zone")])
def test_a_grant_has_an_end_that_is_a_time(end: str, words: str) -> None:
    book = Book()
    deleting(book).approve(expires_at=end, signed={"expires_at": end})
    book.rows[-1].data["statement"]  # what was signed says the same
    loop_row = book.rows[-1].data
    facts = {key: loop_row[key] for key in ("by", "call", "decision", "expires_at")}
    assert loop_row["statement"] == encode(facts | {"ledger": book.origin, "session": "one"}).decode()
    again = Loop(book)
    again.rows, again.asked = book.rows, 1
    again.act(*DELETE)
    assert words in judged(book)[0][2]


def test_a_grant_for_one_call_is_none_for_another() -> None:
    book = Book()
    loop = deleting(book).approve().plan(*DELETE, name="c2").act(*DELETE, name="c2")
    assert judged(book) == [("approval", 8, "delete_page ran without an approval")]
    assert loop.last.at > timestamp(book.now.replace(hour=0))


def test_reviewers_who_are_not_pinned_approve_nothing() -> None:
    book = Book()
    deleting(book).approve().act(*DELETE)
    assert [found[0] for found in judged(book, trust=trust_in())] == ["approval"]
