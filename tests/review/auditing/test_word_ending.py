"""Loops that go on when they must not, and that say of themselves what their rows do not."""

from __future__ import annotations

import pytest

from tests.review.auditing.loops import Book, Loop, judged, noted, trust_in


def test_nothing_runs_after_a_breach() -> None:
    book = Book()
    Loop(book).begin().step().breach().ask().fail().plan().act().end("breached")
    assert judged(book) == [
        ("breach", 6, "intent after the breach in row 5"), ("breach", 8, "call after the breach in row 5"),
        ("breach", 9, "tool after the breach in row 5"),
    ]


def test_after_a_breach_what_was_open_is_settled_criteria_are_checked_and_the_session_is_closed() -> None:
    book = Book()
    Loop(book).begin().ask().breach().fail(5_000, in_doubt=True).check("x", passed=False).end("breached")
    assert judged(book) == []


@pytest.mark.parametrize("outcome", ["completed", "unmet"])
def test_a_breached_session_is_not_called_completed(outcome: str) -> None:
    book = Book()
    Loop(book).begin().breach().end(outcome)
    assert judged(book) == [("outcome", 4, f"states {outcome}, and row 3 is a breach")]


def test_a_breach_that_nobody_wrote_is_found() -> None:
    book = Book()
    Loop(book).begin().end("breached")
    assert judged(book) == [("outcome", 3, "states breached, and there is no breach row")]


def test_a_session_is_completed_only_if_every_criterion_passed() -> None:
    book = Book()
    loop = Loop(book).begin(criteria=("a", "b"))
    loop.check("a").check("b", passed=False)
    loop.end()
    assert judged(book) == [("outcome", 5, "states completed, and the check in row 4 failed")]
    other = Book()
    loop = Loop(other).begin(criteria=("a", "b"))
    loop.check("a")
    loop.end()
    assert judged(other) == [("outcome", 4, "states completed, and no check passed for b")]


def test_of_several_checks_of_one_criterion_the_last_counts() -> None:
    """Work goes on after a check that failed; what passed once may fail in the end."""
    mended = Book()
    loop = Loop(mended).begin(criteria=("a", "b")).check("a", passed=False).check("b")
    loop.step().check("a").check("b").end()
    assert judged(mended) == []
    broken = Book()
    loop = Loop(broken).begin(criteria=("a", "b")).check("a").check("b", passed=False)
    loop.step().check("a", passed=False).check("b").end()
    assert judged(broken) == [("outcome", 9, "states completed, and the check in row 7 failed")]


def test_work_goes_on_after_a_check_that_failed_only_as_often_as_its_criterion_may_be_retried() -> None:
    """Three times where the spec does not say; what another criterion failed does not count."""
    book = Book()
    loop = Loop(book).begin(criteria=("a", "b"))
    for _ in range(3):
        loop.check("a", passed=False).check("b").step()
    loop.check("b", passed=False).step()
    assert judged(book) == []
    loop.check("a", passed=False).step().end("unmet")
    asked = loop.rows[-3]
    assert judged(book) == [("ceiling", asked.id, "asks on after criterion a failed with no retry left")]


def test_a_check_of_what_is_no_criterion_is_not_made_good_by_a_later_one() -> None:
    book = Book()
    Loop(book).begin(criteria=("a",)).check("a").check("b", passed=False).check("b").end()
    assert judged(book) == [("outcome", 6, "states completed, and the check in row 4 failed")]


@pytest.mark.parametrize("kind", ["ask", "plan", "act", "breach", "resume", "end"])
def test_nothing_is_done_in_the_name_of_a_closed_session(kind: str) -> None:
    book = Book()
    loop = Loop(book).begin().step().end()
    getattr(loop, kind)()
    assert judged(book) == [("closed", 6, f"{loop.last.kind} after the session was closed as completed")]


def test_what_comes_after_a_close_by_right_is_not_accused() -> None:
    book = Book()
    loop = Loop(book).begin().step().end()
    loop.attest().erase().release()
    book.reconcile("one", 3, 1, 1, said_in="one")
    assert judged(book) == []


@pytest.mark.parametrize("kind", ["ask", "plan", "act", "breach", "check"])
def test_a_suspended_session_works_only_after_it_resumed(kind: str) -> None:
    book = Book()
    loop = Loop(book).begin().step().end("suspended")
    getattr(loop, kind)(*(("x",) if kind == "check" else ()))
    assert judged(book)[0] == (
        "closed", 6, f"{loop.last.kind} after row 5 suspended the session, and before it resumed"
    )
    other = Book()
    loop = Loop(other).begin().step().end("suspended").resume()
    getattr(loop, kind)(*(("x",) if kind == "check" else ()))
    assert [found for found in judged(other) if found[0] == "closed"] == []


def test_a_suspended_session_may_be_closed_by_the_operator_with_what_is_in_doubt_charged() -> None:
    book = Book()
    Loop(book).begin().ask().end("suspended").fail(5_000, in_doubt=True, status=None).end("failed")
    assert judged(book) == []


def test_resuming_does_not_undo_a_breach() -> None:
    book = Book()
    Loop(book).begin().breach().end("suspended").resume().ask()
    assert [found[:2] for found in judged(book)] == [("breach", 5), ("breach", 6)]


@pytest.mark.parametrize(("changes", "words"), [
    ({"turns": 2}, "states turns 2, and its rows add up to 1"),
    ({"total_tokens": 99}, "states total_tokens 99, and its rows add up to 5,100"),
    ({"cost_microusd": 1}, "states cost_microusd 1, and its rows add up to 0"),
    ({"cost_microusd": None}, "states cost_microusd unknown, and its rows add up to 0"),
])
def test_a_close_states_the_sums_of_its_sessions_rows(changes: dict[str, int | None], words: str) -> None:
    book = Book()
    Loop(book).begin().step(100).ask().end("failed", **changes)
    assert judged(book) == [("totals", 6, words)]


def test_a_cost_is_unknown_where_any_part_of_it_is() -> None:
    book = Book()
    Loop(book).begin().step().ask(reserved_microusd=None).reply(cost_microusd=None).end()
    assert judged(book) == [("totals", 7, "states cost_microusd 0, and its rows add up to unknown")]


@pytest.mark.parametrize("kind", ["spec", "open", "intent", "turn", "close"])
def test_nothing_is_done_in_the_name_of_the_ledger_itself(kind: str) -> None:
    book = Book()
    Loop(book, "ledger").begin().step().end()
    row = next(row for row in book.rows if row.kind == kind)
    said = [("begun", row.id, f"{kind} in session ledger, which no loop opens")]
    assert [each for each in judged(book) if each[1] == row.id] == ([] if kind == "spec" else said)


def test_a_release_in_the_name_of_the_ledger_is_found_and_what_tells_of_the_ledger_is_not() -> None:
    book = Book()
    book.limits(day={"tokens": 5})
    Loop(book, "ledger").release()
    assert judged(book) == [("begun", 2, "release in session ledger, which no loop opens")]


def test_work_before_the_open_row_is_found_and_an_ungoverned_session_is_not_judged() -> None:
    book = Book()
    hand = Loop(book)
    hand.ask().reply(token_delta=1).end(total_tokens=7)
    assert judged(book) == []
    hand.begin()
    assert ("begun", 5, "opens session one, whose work began in row 1") in judged(book)


@pytest.mark.parametrize("lost", range(1, 8))
def test_a_row_that_is_not_shown_accuses_nobody(lost: int) -> None:
    book = Book()
    book.limits(hour={"tokens": 40_000})
    Loop(book).begin().step().plan().act().end()
    Loop(book, "two").begin(parent="one").step(1, 40_000).end()
    assert [found for found in judged(book, without=(lost,)) if found[0] != "parent"] == []
    assert judged(book)[0][:2] == ("parent", 10)
    assert [found[0] for found in judged(book, without=(lost,))] == []


def test_a_session_of_which_a_row_follows_another_than_was_shown_is_judged_no_further() -> None:
    book = Book()
    Loop(book).begin().step().breach().ask().end("breached")
    assert [found[:2] for found in judged(book)] == [("breach", 6)]
    book.rows[5] = book.rows[5]._replace(prev="f" * 64)
    assert judged(book) == []
    assert book.rows[5].kind == "intent"


def test_a_note_says_up_to_where_limits_and_parents_were_judged() -> None:
    book = Book()
    book.limits()
    Loop(book).begin().step().end()
    assert noted(book, trust_in()) == []
    assert noted(book, trust_in(), without=(3,)) == [
        "limits of hours, days and months, and ceilings of parents, were judged only up to row 3, which was not shown"
    ]


def test_a_parent_is_not_judged_by_the_reservations_of_a_child_whose_rows_were_lost() -> None:
    book = Book()
    top = Loop(book, "top").begin({"tokens": 10_000, "turns": 8})
    Loop(book, "low").begin(parent="top").ask(9_000).reply(10)
    top.ask(2_000)
    assert judged(book) == []
    assert judged(book, without=(6,)) == []


def test_a_later_row_that_does_not_follow_the_close_ends_the_judgement_of_its_session() -> None:
    book = Book()
    Loop(book).begin().end().attest().release()
    assert judged(book) == []
    assert judged(book, without=(4,)) == []


def test_sessions_are_not_counted_against_a_limit_once_a_row_was_not_shown() -> None:
    book = Book()
    book.limits(day={"sessions": 1})
    Loop(book, "one").begin().step()
    Loop(book, "two").begin()
    assert [found[0] for found in judged(book)] == ["window"]
    assert judged(book, without=(4,)) == []
