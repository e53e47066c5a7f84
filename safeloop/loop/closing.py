"""Closing a session: criteria checked, files and output committed, one `close` row."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from safeloop.breaker import check_open
from safeloop.errors import AttemptFailed, LedgerError
from safeloop.ledger import Content, Draft, Ledger, Row, View, visible
from safeloop.ledger.content import BYTES, JSON, TEXT, manifest
from safeloop.spec import Criterion, Run, Verdict, check, spend_of
from safeloop.spec.dry_run import reason_of
from safeloop.tools import StagedFile

COMPLETED, UNMET, BREACHED = "completed", "unmet", "breached"
FAILED, REFUSED, SUSPENDED = "failed", "refused", "suspended"


@dataclass(frozen=True, slots=True)
class Ending:
    """How a session ends.

    Attributes:
        outcome: As a `close` row states it.
        reason: More precisely; at most what a row can hold.
    """

    outcome: str
    reason: str | None = None

    @classmethod
    def of(cls, error: BaseException) -> Ending:
        """Say how a session ends that this was raised in."""
        if isinstance(error, KeyboardInterrupt):
            return cls(SUSPENDED, str(error) or "interrupted")
        return cls(FAILED, error.error_class if isinstance(error, AttemptFailed) else type(error).__name__)

    def of_dry_run(self) -> Ending:
        """Return the same of a dry run: what it came to is its reason, and it keeps no promise that could be released.

        A ceiling that stopped it is no outcome either: nobody is to continue what was never done.
        """
        if self.outcome not in (COMPLETED, BREACHED):
            return self
        return Ending(FAILED, reason_of(self.reason or self.outcome))


@dataclass(frozen=True, slots=True)
class Product:
    """What a session leaves: its files, their versions in the workspace, and the text of its last reply.

    Attributes:
        before: The workspace's version of a staged file, where it has one.
        output: None if no reply had text.
    """

    files: tuple[StagedFile, ...] = ()
    before: Mapping[str, bytes] | None = None
    output: str | None = None


def close_session(
    ledger: Ledger,
    session: str,
    ending: Ending,
    product: Product,
    criteria: Iterable[Criterion],
    *,
    elapsed_ms: int,
    verdicts: tuple[Verdict, ...] | None = None,
    run_check: Run | None = None,
) -> Row:
    """Write `check` rows for the criteria and the `close` row, in one transaction; return the latter.

    A session that completed and does not meet a criterion is closed as `unmet`. Criteria are checked where there
    is something to judge: not in sessions that failed, were refused or are suspended. An attempt whose outcome
    could not be recorded gets its row now, in doubt.

    Args:
        verdicts: What was found about this very product; None checks the criteria now.
        run_check: Runs the commands of criteria.

    Raises:
        LedgerError: The session is closed for good already.
    """
    judged = ending.outcome in (COMPLETED, BREACHED)
    if verdicts is None or not judged:
        verdicts = verdicts_of(criteria, product, run_check) if judged else ()
    if ending.outcome == COMPLETED and not all(verdict.passed for verdict in verdicts):
        ending = Ending(UNMET, ending.reason)
    checks = [check_draft(ledger, session, verdict) for verdict in verdicts]
    listing, kept = _committed_files(ledger, product)
    output = None if product.output is None else ledger.content(product.output.encode("utf-8", "surrogatepass"), TEXT)
    contents = (*kept, listing) if output is None else (*kept, listing, output)

    def decide(view: View) -> tuple[Draft, ...]:
        rows = view.session(session)
        check_open(view, session)
        data = {
            "outcome": ending.outcome, "reason": None if ending.reason is None else visible(ending.reason),
            **_totals(rows), "elapsed_ms": elapsed_ms, "output": None if output is None else output.commitment,
            "files": listing.commitment, "file_count": len(product.files),
        }
        return (*doubtful(session, rows, "Unrecorded"), *checks, Draft(session, "close", data, contents))

    return ledger.append(decide)[-1]


def verdicts_of(
    criteria: Iterable[Criterion], product: Product, run_check: Run | None = None
) -> tuple[Verdict, ...]:
    """Judge each criterion over what a session leaves; `run_check` runs the commands of those that have one."""
    files = {file.name: file.data for file in product.files}
    return tuple(check(criterion, files, run=run_check) for criterion in criteria)


def check_draft(ledger: Ledger, session: str, verdict: Verdict) -> Draft:
    """Return the row of a verdict, with its detail."""
    detail = ledger.content(verdict.detail.encode("utf-8", "surrogatepass"), TEXT)
    data = {"criterion": visible(verdict.criterion), "pass_fail": verdict.passed, "detail": detail.commitment}
    return Draft(session, "check", data, (detail,))


def _committed_files(ledger: Ledger, product: Product) -> tuple[Content, tuple[Content, ...]]:
    """Return the manifest of the staged files, and everything that it names."""
    entries: list[dict[str, Any]] = []
    kept: list[Content] = []
    for file in product.files:
        after = ledger.content(file.data, BYTES)
        old = (product.before or {}).get(file.name)
        before = None if old is None else ledger.content(old, BYTES)
        kept += [after] if before is None else [before, after]
        entries.append(
            {"name": file.name, "before": None if before is None else before.commitment, "after": after.commitment}
        )
    return ledger.content(manifest(entries), JSON), tuple(kept)


def _totals(rows: tuple[Row, ...]) -> dict[str, int | None]:
    """Return what a session used; a cost is None if any part of it is unknown."""
    costs = [row.data["cost_microusd"] for row in rows if row.kind == "turn"]
    costs += [row.data["charged_microusd"] for row in rows if row.kind == "attempt"]
    costs += [row.data["reserved_microusd"] for row in open_intents(rows)]
    return {
        "turns": sum(row.kind == "turn" for row in rows), "total_tokens": spend_of(rows).tokens,
        "cost_microusd": None if None in costs else sum(costs),
    }


def open_intents(rows: tuple[Row, ...]) -> tuple[Row, ...]:
    """Return the intents of a session that nothing has settled."""
    settled = {row.data["intent"] for row in rows if row.kind in ("turn", "attempt")}
    return tuple(row for row in rows if row.kind == "intent" and row.n not in settled)


def abandon_session(ledger: Ledger, session: str) -> Row:
    """End a session that cannot go on: `failed`, reviewable, and whatever is in doubt stays charged in full.

    The caller holds the session's lock, so that nobody is running it.

    Raises:
        LedgerError: There is no such session, it never ran, or it is closed for good.
    """
    listing = ledger.content(manifest([]), JSON)

    def decide(view: View) -> tuple[Draft, ...]:
        rows = view.session(session)
        if not any(row.kind == "open" for row in rows):
            raise LedgerError(f"session {session} was never opened, so there is nothing to close")
        check_open(view, session)
        elapsed = max((row.data["elapsed_ms"] for row in rows if "elapsed_ms" in row.data), default=0)
        data = {
            "outcome": FAILED, "reason": "closed by the operator", **_totals(rows), "elapsed_ms": elapsed,
            "output": None, "files": listing.commitment, "file_count": 0,
        }
        return (*doubtful(session, rows, "ProcessGone"), Draft(session, "close", data, (listing,)))

    return ledger.append(decide)[-1]


def doubtful(session: str, rows: tuple[Row, ...], error_class: str) -> tuple[Draft, ...]:
    """Charge attempts without outcome in full: an intent that nothing settled may have been billed."""
    return tuple(
        Draft(session, "attempt", {
            "turn": intent.data["turn"], "attempt": intent.data["attempt"], "intent": intent.n,
            "charged_tokens": intent.data["reserved_tokens"], "charged_microusd": intent.data["reserved_microusd"],
            "error": {"class": error_class, "status": None, "detail": None}, "execution_time_ms": 0,
            "elapsed_ms": intent.data["elapsed_ms"], "in_doubt": True,
        })
        for intent in open_intents(rows)
    )
