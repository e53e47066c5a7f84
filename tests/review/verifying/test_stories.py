"""Rows that receipts prove, put together: what a writer who signs anything could make of them."""

from __future__ import annotations

import pytest

from safeloop.ledger import Row
from safeloop.ledger.rows import NO_ROW
from safeloop.review.verifying.stories import Story, story_of
from safeloop.review.verifying.verification import Findings
from tests.review.sessions import paper

SPEC, OPEN, CLOSE, FIRST, SECOND, RELEASE = range(6)


def rows() -> list[Row]:
    """The rows that a bundle has: spec, open, close, two attestations, release; the turn between is not among them."""
    builder = paper().spec().open().turn().close(output="done")
    for kind in ("attestation", "attestation", "release"):
        builder.row(kind, {})
    return [row for row in builder.rows if row.kind not in ("intent", "turn")]


def judge(changed: list[Row]) -> tuple[Story | None, list[str]]:
    findings = Findings()
    return story_of(changed, findings), [each.message for each in findings.faults]


def test_the_honest_rows_are_a_story_in_whatever_order_they_come() -> None:
    honest = rows()
    story, faults = judge(honest[::-1])
    assert faults == []
    assert story is not None
    assert (story.rows, story.cut, story.release) == (tuple(honest), honest[CLOSE], honest[RELEASE])
    assert story.attestations == (honest[FIRST], honest[SECOND])


@pytest.mark.parametrize(("at", "change", "reason"), [
    (FIRST, {"session": "another"}, "is of session another"),
    (SPEC, {"prev": "1" * 64}, "does not begin its session as its place says"),
    (OPEN, {"prev": NO_ROW}, "does not begin its session as its place says"),
    (OPEN, {"prev": "1" * 64}, "does not follow row 1"),
    (SECOND, {"prev": "1" * 64}, "does not follow row 6"),
    (SECOND, {"n": 5}, "does not follow row 6"),
    (FIRST, {"n": 2}, "does not follow row 5"),
    (RELEASE, {"n": 9}, "has no receipt: it could be a reject"),
    (OPEN, {"data": {"spec": "1" * 64}}, "opened the session on another spec than row 1"),
    (SPEC, {"kind": "turn"}, "in place of its spec and open rows"),
    (RELEASE, {"kind": "reconcile"}, "is no release"),
    (CLOSE, {"data": {"outcome": "suspended"}}, "no receipt of the session's close"),
])
def test_a_row_that_does_not_belong_is_named(at: int, change: dict[str, object], reason: str) -> None:
    changed = rows()
    changed[at] = changed[at]._replace(**change)  # type: ignore[arg-type]
    story, faults = judge(changed)
    assert story is None
    assert any(reason in fault for fault in faults), faults


def test_a_row_of_another_session_is_one_fault_and_a_session_without_a_beginning_another() -> None:
    changed = rows()
    changed[RELEASE] = changed[RELEASE]._replace(session="another")
    assert judge(changed)[1] == [f"row 8 is of session another, and row 1 of {changed[SPEC].session}"]
    assert judge(rows()[CLOSE:])[1] == [
        "before the session's close the bundle has receipts of nothing, in place of its spec and open rows"
    ]


@pytest.mark.parametrize("missing", range(6))
def test_no_row_can_be_left_out(missing: int) -> None:
    story, faults = judge([row for at, row in enumerate(rows()) if at != missing])
    assert story is None
    assert faults


def test_a_release_of_a_session_that_was_never_opened_is_none() -> None:
    builder = paper().turn()
    for kind in ("attestation", "release"):
        builder.row(kind, {})
    assert judge(builder.rows)[0] is None
