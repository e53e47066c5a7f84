"""A session that was opened as a dry run and was none, or that ends as if it had kept its promise."""

from __future__ import annotations

import pytest

from tests.review.auditing.loops import Book, Loop, judged

SOFTWARE = "safeloop 0.1.0, dry run"


def begun(book: Book) -> Loop:
    return Loop(book).begin(software=SOFTWARE, ceilings={"turns": 9, "tokens": 90_000, "errors": 3})


def pretended(loop: Loop, name: str = "c1") -> Loop:
    return loop.act(name=name, error="dry run", ms=0)


def test_an_honest_dry_run_is_not_accused() -> None:
    book = Book()
    pretended(begun(book).step()).step().end("failed")
    assert judged(book) == []


@pytest.mark.parametrize("outcome", ["completed", "unmet"])
def test_a_dry_run_that_says_it_kept_its_promise_is_found(outcome: str) -> None:
    book = Book()
    begun(book).step().end(outcome)
    assert judged(book) == [("outcome", 5, f"states {outcome}, and its open row says that it was a dry run")]


def test_a_dry_run_that_says_a_ceiling_stopped_it_could_be_continued_and_is_found() -> None:
    book = Book()
    begun(book).step().breach().end("breached")
    assert judged(book) == [("outcome", 6, "states breached, and its open row says that it was a dry run")]


def test_a_call_that_wrote_in_a_dry_run_is_found_though_it_was_announced() -> None:
    book = Book()
    begun(book).step().plan().act().end("failed")
    assert judged(book) == [("call", 6, "write_file (write) ran in a dry run")]


def test_a_call_that_took_time_was_run_whatever_its_row_calls_it() -> None:
    book = Book()
    begun(book).step().plan().act(error="dry run", ms=7).end("failed")
    assert judged(book) == [("call", 6, "write_file (write) ran in a dry run")]


def test_a_call_that_reads_is_run_in_a_dry_run_by_right() -> None:
    book = Book()
    begun(book).step().act("read_file", "read").end("failed")
    assert judged(book) == []


def test_calls_that_were_not_run_are_no_errors_and_those_that_failed_still_are() -> None:
    book = Book()
    loop = begun(book)
    for at in range(6):
        pretended(loop.step(), f"c{at}")
    loop.step()
    assert judged(book) == []
    other = Book()
    loop = begun(other)
    for at in range(4):
        loop.step().act(name=f"c{at}", error="NotGranted", ms=0)
    loop.step()
    assert [found[0] for found in judged(other)] == ["ceiling"]
