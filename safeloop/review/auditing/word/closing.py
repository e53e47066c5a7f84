"""What a `close` row says of its session: its figures are the sums of the rows, and its outcome is what they show."""

from __future__ import annotations

from collections.abc import Iterator

from safeloop.ledger import Row
from safeloop.review.auditing.findings import Finding, Rule, about
from safeloop.review.auditing.word.states import PASSED, UNCHECKED, Governed
from safeloop.spec.counts import LARGEST

_COMPLETED, _UNMET, _BREACHED = "completed", "unmet", "breached"


def check_criterion(session: Governed, row: Row) -> Iterator[Finding]:
    """Take in a `check` row: of several of one criterion the last counts, because work may go on after one failed."""
    name, passed = row.data["criterion"], row.data["pass_fail"]
    if name in session.checks:
        session.checks[name] = PASSED if passed else row.id
        session.retries[name] -= not passed
        if session.retries[name] < 0:
            session.used_up = name
    elif not passed:
        session.failed_check = row.id
    return iter(())


def close(session: Governed, row: Row) -> Iterator[Finding]:
    """Hold a `close` row against its session."""
    own, data = session.account.own, row.data
    sums = {
        "turns": own.replies, "total_tokens": min(own.tokens, LARGEST),
        "cost_microusd": None if own.unpriced else own.microusd,
    }
    for name, value in sums.items():
        if data[name] != value:
            yield about(row, Rule.TOTALS, f"states {name} {_figure(data[name])}, and its rows add up to "
                        f"{_figure(value)}")
    words = _false_outcome(session, data["outcome"])
    if words:
        yield about(row, Rule.OUTCOME, words)


def _figure(value: int | None) -> str:
    return "unknown" if value is None else f"{value:,}"


def _false_outcome(session: Governed, stated: str) -> str:
    if session.is_dry_run and stated in (_COMPLETED, _UNMET, _BREACHED):
        return f"states {stated}, and its open row says that it was a dry run"
    if stated in (_COMPLETED, _UNMET) and session.breach:
        return f"states {stated}, and row {session.breach} is a breach"
    if stated == _BREACHED and not session.breach:
        return "states breached, and there is no breach row"
    if stated != _COMPLETED:
        return ""
    failed = max(session.failed_check, *session.checks.values(), 0)
    if failed:
        return f"states completed, and the check in row {failed} failed"
    unmet = sorted(name for name, last in session.checks.items() if last == UNCHECKED)
    return f"states completed, and no check passed for {', '.join(unmet)[:200]}" if unmet else ""
