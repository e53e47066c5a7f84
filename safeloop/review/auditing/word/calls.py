"""Tool calls: which ran, which may have run, and what had to be written down and signed before.

That a call did not run is believed only where nothing says otherwise: no `call` row, no time in its handler, an
error. Whether a tool only reads is what the `open` row pinned, never what the `tool` row says of itself. Where calls
are limited, a read too is counted by the row that was written before it: sessions of one family race for what is left.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

from safeloop.errors import VerificationError
from safeloop.ledger import Row, encode, sshsig
from safeloop.ledger.trust import APPROVAL_NAMESPACE, Trust
from safeloop.review.auditing.findings import Finding, Rule, about
from safeloop.review.auditing.word.scopes import too_many_calls
from safeloop.review.auditing.word.states import Approval, Call, Governed

_READ, _DESTRUCTIVE, _GRANTED = "read", "destructive", "granted"
_SHARED = ("turn", "tool", "permission", "arguments")


def begin(session: Governed, row: Row, *, is_whole: bool) -> Iterator[Finding]:
    """Take in a `call` row.

    Args:
        is_whole: Every row of the ledger was shown so far.
    """
    session.calls[row.data["call"]] = Call(row.leaf, _facts(row))
    yield from _counted(session, row, is_whole=is_whole)


def decide(session: Governed, row: Row, trust: Trust) -> None:
    """Take in an `approval` row; whether it was one is asked when its call runs."""
    data = row.data
    session.approvals[data["call"]] = Approval(
        row.id, data["decision"], data["expires_at"] or "", _fault(row, trust) if data["decision"] == _GRANTED else ""
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
    session.failed_results += not data["pass_fail"]
    if call is None and may_not_have_run:
        return
    tool, pinned = data["tool"], session.tools.get(data["tool"])
    if pinned is None:
        yield about(row, Rule.TOOL, f"{tool} ran, and the open row does not list it")
        return
    if pinned != data["permission"]:
        claimed = data["permission"]
        yield about(row, Rule.TOOL, f"{tool} is recorded as {claimed}, and the open row lists it as {pinned}")
    if call is None:
        yield from _counted(session, row, is_whole=is_whole)
    if pinned == _READ and (call is not None or not session.account.limits_calls()):
        return
    if call is None:
        yield about(row, Rule.CALL, f"{tool} ({pinned}) ran without a call row before it")
    elif call.facts != _facts(row):
        wrong = [name for name, one, other in zip(_SHARED, call.facts, _facts(row), strict=True) if one != other]
        yield about(row, Rule.CALL, f"{tool} ran with another {', '.join(wrong)} than its call row states")
    if pinned == _DESTRUCTIVE and not (may_not_have_run and approval is not None and approval.decision != _GRANTED):
        words = _unapproved(row, approval)
        if words:
            yield about(row, Rule.APPROVAL, f"{tool} ran {words}")


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
    if approval.decision != _GRANTED:
        return f"though row {approval.row} says {approval.decision}"
    if approval.fault:
        return f"on an approval, row {approval.row}, that counts for nothing: {approval.fault}"
    late = datetime.fromisoformat(row.at) - datetime.fromisoformat(approval.expires_at)
    if late > timedelta(milliseconds=row.data["execution_time_ms"]):
        return f"after the approval in row {approval.row} had expired at {approval.expires_at}"
    return ""


def _fault(row: Row, trust: Trust) -> str:
    """Say why a grant is none."""
    data = row.data
    if None in (data["by"], data["expires_at"], data["statement"], data["signature"]):
        return "its name, its end, its statement or its signature is missing"
    facts = {key: data[key] for key in ("by", "call", "decision", "expires_at")}
    if data["statement"].encode() != encode(facts | {"ledger": row.ledger, "session": row.session}):
        return "its statement is not about what its row states"
    try:
        at = datetime.fromisoformat(row.at)
        if datetime.fromisoformat(data["expires_at"]).tzinfo is None:
            return "its end names no time zone"
        key = sshsig.verify(data["signature"], APPROVAL_NAMESPACE, data["statement"].encode())
    except ValueError:
        return "its end is no time"
    except VerificationError as error:
        return str(error)
    if key.raw in trust.operator_keys:
        return f"{key.fingerprint} is the operator's own key"
    if key not in trust.reviewer_keys(data["by"], APPROVAL_NAMESPACE, at):
        return f"{key.fingerprint} is not pinned as a key of {data['by']} for approvals at this time"
    return ""
