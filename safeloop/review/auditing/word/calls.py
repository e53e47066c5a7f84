"""Tool calls: which ran, which may have run, and what had to be written down and signed before.

That a call did not run is believed only where nothing says otherwise: no `call` row, no time in its handler, an
error. Whether a tool only reads is what the `open` row pinned, never what the `tool` row says of itself. Where calls
are limited, a read too is counted by the row that was written before it: sessions of one family race for what is left.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

from safeloop.ledger import Row
from safeloop.ledger.approval import GRANTED, Where, grant_fault
from safeloop.ledger.trust import Trust
from safeloop.review.auditing.findings import Finding, Rule, about
from safeloop.review.auditing.word.scopes import too_many_calls
from safeloop.review.auditing.word.states import Approval, Call, Governed
from safeloop.spec.dry_run import is_not_run

_READ, _DESTRUCTIVE = "read", "destructive"
_CLOCK_STEP = timedelta(seconds=1)  # a clock that is set may go back so far, and nobody has cheated
_SHARED = ("turn", "tool", "permission", "arguments")


def begin(session: Governed, row: Row, *, is_whole: bool) -> Iterator[Finding]:
    """Take in a `call` row.

    Args:
        is_whole: Every row of the ledger was shown so far.
    """
    session.calls[row.data["call"]] = Call(row.leaf, _facts(row))
    yield from _counted(session, row, is_whole=is_whole)


def decide(session: Governed, row: Row, trust: Trust) -> None:
    """Take in an `approval` row; whether it was one is asked when its call runs. A copy of a grant is none."""
    data, before = row.data, session.approvals.get(row.data["call"])
    stated = () if before is None else before.stated
    is_grant, statement = data["decision"] == GRANTED, data["statement"]
    if is_grant and statement in stated:
        return
    session.approvals[data["call"]] = Approval(
        row.id, row.at, data["decision"], data["expires_at"] or "", _fault(row, trust) if is_grant else "",
        stated if statement is None else (*stated, statement),
    )


def outcome(session: Governed, row: Row, *, is_whole: bool) -> Iterator[Finding]:
    """Take in a `tool` row.

    Args:
        is_whole: Every row of the ledger was shown so far.
    """
    data = row.data
    call = session.calls.pop(data["call"], None)
    approval = None if call is None else session.approvals.pop(call.leaf, None)
    may_not_have_run = not data["pass_fail"] and data["execution_time_ms"] == 0 and data["error"] is not None
    session.passed_results += data["pass_fail"]
    session.failed_results += not data["pass_fail"] and not is_not_run(data)
    if call is None and may_not_have_run:
        return
    tool, pinned = data["tool"], session.tools.get(data["tool"])
    if pinned is None:
        yield about(row, Rule.TOOL, f"{tool} ran, and the open row does not list it")
        return
    yield from _pretended(session, row, pinned)
    if call is None:
        yield from _counted(session, row, is_whole=is_whole)
    if pinned == _READ and (call is not None or not session.account.limits_calls()):
        return
    if call is None:
        yield about(row, Rule.CALL, f"{tool} ({pinned}) ran without a call row before it")
    elif call.facts != _facts(row):
        wrong = [name for name, one, other in zip(_SHARED, call.facts, _facts(row), strict=True) if one != other]
        yield about(row, Rule.CALL, f"{tool} ran with another {', '.join(wrong)} than its call row states")
    if pinned == _DESTRUCTIVE and not (may_not_have_run and approval is not None and approval.decision != GRANTED):
        words = _unapproved(row, approval) or ("" if may_not_have_run else _misused(session, row, approval))
        if words:
            yield about(row, Rule.APPROVAL, f"{tool} ran {words}")


def _pretended(session: Governed, row: Row, pinned: str) -> Iterator[Finding]:
    """Hold what ran against what the `open` row says of it: its permission, and that nothing but reads is to run."""
    tool, claimed = row.data["tool"], row.data["permission"]
    if pinned != claimed:
        yield about(row, Rule.TOOL, f"{tool} is recorded as {claimed}, and the open row lists it as {pinned}")
    if session.is_dry_run and pinned != _READ:
        yield about(row, Rule.CALL, f"{tool} ({pinned}) ran in a dry run")


def _facts(row: Row) -> tuple[Any, ...]:
    data = row.data
    return data["turn"], data["tool"], data["permission"], data["arguments"]["salted_sha256"]


def _counted(session: Governed, row: Row, *, is_whole: bool) -> Iterator[Finding]:
    own = session.account
    own.call()
    if is_whole or not own.has_children:  # what a child's lost rows called is not known
        yield from (about(row, Rule.CEILING, words) for words in too_many_calls(own))
    for account in own.line() if is_whole else ():
        if account is not own:
            for words in too_many_calls(account):
                yield about(row, Rule.PARENT, f"of session {account.session}: {words}")


def _unapproved(row: Row, approval: Approval | None) -> str:
    """Say why a destructive call must not have run; the grant must have held when it began."""
    if approval is None:
        return "without an approval"
    if approval.decision != GRANTED:
        return f"though row {approval.row} says {approval.decision}"
    if approval.fault:
        return f"on an approval, row {approval.row}, that counts for nothing: {approval.fault}"
    late = datetime.fromisoformat(row.at) - datetime.fromisoformat(approval.expires_at)
    if late > timedelta(milliseconds=row.data["execution_time_ms"]):
        return f"after the approval in row {approval.row} had expired at {approval.expires_at}"
    return ""


def _misused(session: Governed, row: Row, approval: Approval | None) -> str:
    """Say why a grant was not for this run: an earlier one may have used it, or this began before it was given."""
    if approval is None:
        return ""
    if approval.row < session.unused_from:
        return f"on the approval in row {approval.row}, which a run before may have used: each is for one"
    began = datetime.fromisoformat(row.at) - timedelta(milliseconds=row.data["execution_time_ms"])
    if datetime.fromisoformat(approval.at) - began > _CLOCK_STEP:
        return f"before the approval in row {approval.row} was recorded at {approval.at}"
    return ""


def _fault(row: Row, trust: Trust) -> str:
    """Say why a grant is none, judged at the row's own claim of the time."""
    where = Where(row.ledger, row.session, row.idx)
    return grant_fault(row.data, where, trust, datetime.fromisoformat(row.at))
