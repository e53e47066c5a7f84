"""What may come when: nothing runs after a breach, and nothing is done in the name of a session that has stopped."""

from __future__ import annotations

from collections.abc import Iterator

from safeloop.ledger import Row
from safeloop.review.auditing.findings import Finding, Rule, about
from safeloop.review.auditing.word.states import Governed

WORK = frozenset({"intent", "attempt", "turn", "call", "tool", "breach", "check", "close", "resume"})
"""Kinds that only a loop writes in its session's name."""

_RUNS = frozenset({"intent", "call", "tool", "resume"})
_WAITS = frozenset({"intent", "turn", "call", "tool", "breach", "check"})  # an attempt in doubt may be settled


def move(session: Governed, row: Row) -> Iterator[Finding]:
    """Take in a row and what it changes about what may follow."""
    wrong = _misplaced(session, row)
    if wrong is not None:
        yield about(row, *wrong)
    if row.kind == "resume":
        session.unused_from, session.suspended = session.suspended or row.id, 0
    elif row.kind == "breach":
        session.breach = session.breach or row.id


def _misplaced(session: Governed, row: Row) -> tuple[Rule, str] | None:
    """Say why a row must not come where it does, in a session that is not closed for good."""
    if session.breach and row.kind in _RUNS:
        return Rule.BREACH, f"{row.kind} after the breach in row {session.breach}"
    if session.suspended and row.kind in _WAITS:
        return Rule.CLOSED, f"{row.kind} after row {session.suspended} suspended the session, and before it resumed"
    return None
