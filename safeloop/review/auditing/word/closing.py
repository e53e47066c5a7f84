"""What a `close` row says of its session: its figures are the sums of the rows, and its outcome is what they show."""

from __future__ import annotations

from collections.abc import Iterator

from safeloop.ledger import Row
from safeloop.review.auditing.findings import Finding, Rule, about
from safeloop.review.auditing.word.states import Governed

_COMPLETED, _UNMET, _BREACHED = "completed", "unmet", "breached"


def check_criterion(session: Governed, row: Row) -> Iterator[Finding]:
    """Take in a `check` row."""
    if row.data["pass_fail"]:
        session.unmet.discard(row.data["criterion"])
    else:
        session.failed_check = row.id
    return iter(())


def close(session: Governed, row: Row) -> Iterator[Finding]:
    """Hold a `close` row against its session."""
    tally, data = session.account.tally, row.data
    sums = {
        "turns": tally.replies, "total_tokens": tally.tokens,
        "cost_microusd": None if tally.unpriced else tally.microusd,
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
    if stated in (_COMPLETED, _UNMET) and session.breach:
        return f"states {stated}, and row {session.breach} is a breach"
    if stated == _BREACHED and not session.breach:
        return "states breached, and there is no breach row"
    if stated == _COMPLETED and session.failed_check:
        return f"states completed, and the check in row {session.failed_check} failed"
    if stated == _COMPLETED and session.unmet:
        return f"states completed, and no check passed for {', '.join(sorted(session.unmet))[:200]}"
    return ""
