"""How a destructive call stands: what was decided about it, and whether a run can have used that."""

from __future__ import annotations

import pytest

from safeloop.review.inbox import Item, State, item_of
from safeloop.review.releasing.policy import ReleasePolicy
from safeloop.spec import standing
from safeloop.spec.standing import standing_of, suspended_by, undecided_call
from safeloop.spec.suspension import Cause, reason_of, suspension_of
from tests.review.auditing.loops import Book, Loop

DELETE = ("delete_page", "destructive")
ASKED = "approval: 0123456789ab of delete_page waits for a reviewer's decision"
MAYBE = "call: c1 of delete_page may have run already"


def played(*steps: str) -> Loop:
    """Play rows after a call that destroys: decisions, `resume`, and reasons to be suspended."""
    loop = Loop(Book()).begin().step().plan(*DELETE)
    for step in steps:
        if step == "resume":
            loop.resume()
        elif step in ("granted", "refused"):
            loop.approve(step)
        elif step == "expired":
            loop.approve(step, by="alice@example.org")
        elif step == "done":
            loop.act(*DELETE)
        else:
            loop.end("suspended", reason=step)
    return loop


def inbox_item(loop: Loop) -> Item:
    item = item_of(tuple(loop.rows), ReleasePolicy())
    assert item is not None
    return item


@pytest.mark.parametrize(("steps", "state"), [
    ((), "waits"), ((ASKED,), "waits"), (("interrupted by SIGINT",), "waits"), ((ASKED, "resume"), "waits"),
    ((ASKED, "granted"), "granted"), (("interrupted by SIGINT", "granted"), "granted"),
    ((ASKED, "granted", "granted"), "granted"),
    ((ASKED, "granted", "refused"), "refused"), ((ASKED, "refused", "granted"), "refused"), ((ASKED, "refused"), "refused"),
    (("granted",), "used"), ((ASKED, "granted", "resume"), "used"), ((ASKED, "granted", "resume", MAYBE), "used"),
    ((ASKED, "granted", "resume", "interrupted by SIGTERM"), "used"),
    ((ASKED, "granted", "resume", MAYBE, "resume", ASKED), "waits"),
    ((ASKED, "granted", "resume", MAYBE, "resume", ASKED, "granted"), "granted"),
    ((ASKED, "granted", "resume", "expired"), "expired"), (("refused",), "refused"),
    ((ASKED, "refused", "resume"), "refused"), ((ASKED, "refused", "resume", "interrupted by SIGTERM"), "refused"),
])
def test_a_grant_is_unused_only_while_nobody_can_have_run_the_call_on_it(steps: tuple[str, ...], state: str) -> None:
    loop = played(*steps)
    call = undecided_call(loop.rows)
    assert call is not None
    found = standing_of(loop.rows, call)
    assert found.state == state
    assert (found.row is None) == (state == "waits")
    assert found.row is None or found.row.data["decision"] == ("granted" if state == "used" else state)


@pytest.mark.parametrize(("steps", "state"), [
    (("granted", "copy"), "granted"), (("granted", "resume", "copy"), "used"), (("granted", "resume", ASKED, "copy"), "waits"),
    (("granted", "resume", MAYBE, "copy"), "used"), (("granted", "resume", ASKED, "granted", "copy"), "granted"),
    (("granted", "resume", ASKED, "copy", "refused"), "refused"),
])
def test_a_copy_of_a_grant_is_no_decision(steps: tuple[str, ...], state: str) -> None:
    loop = played(ASKED, "granted")
    granted = loop.last
    for step in steps[1:]:
        if step == "copy":
            loop.row("approval", granted.data)
        elif step == "resume":
            loop.resume()
        elif step in ("granted", "refused"):
            loop.approve(step)
        else:
            loop.end("suspended", reason=step)
    call = undecided_call(loop.rows)
    assert call is not None
    found = standing_of(loop.rows, call)
    assert found.state == state
    assert found.row is None or found.row.data["statement"] != granted.data["statement"] or found.row == granted


def test_a_grant_of_another_call_decides_nothing() -> None:
    loop = played(ASKED, "granted", "resume", "done").plan(*DELETE, name="c2").end("suspended", reason=ASKED)
    call = undecided_call(loop.rows)
    assert call is not None and call.data["call"] == "c2"
    assert standing_of(loop.rows, call).state == standing.State.WAITS


def test_only_an_open_call_that_destroys_is_undecided() -> None:
    assert undecided_call(()) is None
    assert undecided_call(Loop(Book()).begin().step().plan().rows) is None
    assert undecided_call(played("granted", "done").rows) is None


def test_a_session_is_suspended_until_it_is_resumed_or_closed_for_good() -> None:
    assert suspended_by(()) is None
    assert suspended_by(played().rows) is None
    assert suspended_by(played(ASKED, "granted").rows) is not None
    assert suspended_by(played(ASKED, "resume").rows) is None
    assert suspended_by(played().end("failed").rows) is None


@pytest.mark.parametrize(("steps", "state", "command"), [
    ((ASKED,), State.APPROVAL, "safeloop approve "), (("interrupted by SIGINT",), State.APPROVAL, "safeloop approve "),
    ((ASKED, "granted"), State.SUSPENDED, "safeloop resume one"), ((ASKED, "refused"), State.SUSPENDED, "safeloop resume one"),
    ((ASKED, "granted", "resume"), State.OPEN, "safeloop resume one"),
    ((ASKED, "granted", "resume", MAYBE), State.SUSPENDED, "safeloop resume one --rerun c1, or --skip c1"),
    ((ASKED, "granted", "resume", "interrupted by SIGTERM"), State.SUSPENDED, "safeloop resume one"),
])
def test_the_inbox_says_who_is_awaited(steps: tuple[str, ...], state: State, command: str) -> None:
    loop = played(*steps)
    item = inbox_item(loop)
    call = undecided_call(loop.rows)
    assert call is not None
    wanted = command + call.leaf[:12] if state is State.APPROVAL else command
    assert (item.state, item.next_command) == (state, wanted)


def test_a_reason_names_the_call_and_needs_a_person() -> None:
    reason = reason_of(Cause.APPROVAL, ASKED.removeprefix("approval: "))
    found = suspension_of(reason)
    assert (found.cause, found.call, found.needs_person) == (Cause.APPROVAL, "0123456789ab", True)
    assert suspension_of("approval: of nothing").call is None
