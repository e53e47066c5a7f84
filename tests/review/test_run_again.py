"""Calls that may have run before their session was resumed: the reviewer is told, whatever their result says."""

from __future__ import annotations

import pytest

from safeloop.review.framing.frame import frame_of
from tests.review.auditing.loops import BOB, Book, Loop
from tests.review.sessions import facts_of

DELETE, WRITE, READ = ("delete_page", "destructive"), ("write_file", "write"), ("read_file", "read")
ASKED = "approval: 0123456789ab of delete_page waits for a reviewer's decision"
MAYBE = "call: c1 of delete_page may have run already"
GRANTED_AT_A_TERMINAL, GRANTED_MEANWHILE = ("granted",), (ASKED, "granted", "resume")


def played(tool: tuple[str, str], *steps: str, **outcome: object) -> tuple[str, ...]:
    """Play rows between a call and its outcome; return what the reviewer has to take on trust of the call."""
    loop = Loop(Book()).begin().step().plan(*tool)
    for step in steps:
        if step == "resume":
            loop.resume()
        elif step == "granted":
            loop.approve()
        elif step == "granted by bob":
            loop.approve(by=BOB)
        else:
            loop.end("suspended", reason=step)
    loop.act(*tool, **outcome).close()  # type: ignore[arg-type]  # verbs take any change of a row
    said = frame_of(facts_of(loop)).unresolved_assumptions
    return tuple(each for each in said if not each.endswith("its staged files were not watched in between"))


@pytest.mark.parametrize(("tool", "steps", "row"), [
    (DELETE, (*GRANTED_AT_A_TERMINAL, "resume", "granted by bob"), 7),
    (DELETE, (*GRANTED_MEANWHILE, "resume", ASKED, "granted by bob", "resume"), 9),
    (DELETE, (*GRANTED_MEANWHILE, MAYBE, "resume", ASKED, "granted by bob", "resume"), 10),
    (WRITE, ("resume",), 6), (WRITE, (MAYBE, "resume"), 7),
])
def test_a_call_that_was_run_again_is_named_with_the_row_before_which_it_may_have_run(
    tool: tuple[str, str], steps: tuple[str, ...], row: int
) -> None:
    said = f"turn 1: tool {tool[0]} may have run before row {row} resumed the session"
    assert played(tool, *steps) == (f"{said} besides, so that it may have run twice",)
    refused = played(tool, *steps, error="ApprovalRefused", ms=0)
    assert refused == (f"turn 1: tool {tool[0]} was refused or failed: ApprovalRefused", said)


@pytest.mark.parametrize(("tool", "steps"), [
    (DELETE, GRANTED_AT_A_TERMINAL), (DELETE, GRANTED_MEANWHILE), (DELETE, (ASKED, "resume", *GRANTED_MEANWHILE)),
    (DELETE, ("resume", "granted")), (WRITE, ()), (READ, ("resume",)),
])
def test_a_call_that_no_process_before_can_have_run_is_not_named(tool: tuple[str, str], steps: tuple[str, ...]) -> None:
    assert played(tool, *steps) == ()
