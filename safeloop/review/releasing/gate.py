"""The gate: whether a session may be released. Pure, and the same rule for a release and for the audit of one.

Monotone: a reason to say no is only ever added, and without a valid accept the answer is no, whatever the policy.
What is counted are distinct raw public keys, each by its latest decision: one key under two names counts once.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from safeloop.review.attesting.judgement import Invalid, check_attestation
from safeloop.review.cut import cut_of, is_governed, voiding_rows
from safeloop.spec.dry_run import is_dry_run

if TYPE_CHECKING:
    from safeloop.ledger import Row
    from safeloop.ledger.sshsig import PublicKey
    from safeloop.ledger.trust import Trust
    from safeloop.review.attesting.attestation import Digests
    from safeloop.review.record import Record
    from safeloop.review.releasing.policy import ReleasePolicy

ACCEPT = "accept"
_COMPLETED, _BREACHED, _UNMET = "completed", "breached", "unmet"


@dataclass(frozen=True, slots=True)
class Judged:
    """An attestation row, and whose key signed it or why it counts for nothing."""

    row: Row
    by: PublicKey | Invalid


@dataclass(frozen=True, slots=True)
class Reason:
    """One reason why the gate stays shut, and what to do next."""

    message: str
    hint: str

    def __str__(self) -> str:
        return f"{self.message}; next: {self.hint}"


@dataclass(frozen=True, slots=True)
class Verdict:
    """The gate's decision.

    Attributes:
        reasons: All that speak against it; none if it is released.
        accepts: The attestations that count as accepts, in order.
        ignored: Attestations that count for nothing, each as a clause with its row and its reason.
    """

    released: bool
    reasons: tuple[Reason, ...]
    accepts: tuple[Row, ...]
    ignored: tuple[str, ...] = ()


def judge_attestations(
    record: Record, digests: Digests, trust: Trust, at: datetime | None = None
) -> tuple[Judged, ...]:
    """Judge every attestation of a session.

    Args:
        record: The verified session.
        digests: Of the frame, the sums and the output as they are now.
        trust: Who may review.
        at: The (aware) moment at which a reviewer's key must be pinned; None is each row's own time, as an audit
            judges.
    """
    return tuple(
        Judged(row, check_attestation(
            row, record, digests.frame, digests.sums, digests.output, trust, at or datetime.fromisoformat(row.at)
        ))
        for row in record.kinds("attestation")
    )


def decide(
    record: Record,
    judged: Sequence[Judged],
    policy: ReleasePolicy,
    *,
    frame: str,
    operator_keys: frozenset[bytes],
) -> Verdict:
    """Decide whether a session may be released.

    Args:
        record: The session as it was verified.
        judged: Its attestations, in any order.
        policy: What the pinning side asks for.
        frame: Hash of the frame as it is now, hex: a decision about another frame is none about this one.
        operator_keys: Raw writer and log keys, which never count as a reviewer's.
    """
    latest: dict[bytes, Row] = {}
    ignored = []
    for each in sorted(judged, key=lambda one: one.row.idx):
        found = _counted(each, frame, operator_keys)
        if isinstance(found, Invalid):
            ignored.append(f"row {each.row.id} counts for nothing: {found.reason}")
        else:
            latest[found.raw] = each.row
    accepts = tuple(row for row in latest.values() if row.data["decision"] == ACCEPT)
    rejects = [row for row in latest.values() if row.data["decision"] != ACCEPT]
    reasons = (
        *_session_reasons(record, policy),
        *(_rejected(row) for row in rejects if policy.any_reject_blocks),
        *_missing_accepts(record.session, len(accepts), policy.accepts),
    )
    in_order = tuple(sorted(accepts, key=lambda row: row.idx))
    return Verdict(not reasons, reasons, in_order, tuple(ignored))


def _counted(each: Judged, frame: str, operator_keys: frozenset[bytes]) -> PublicKey | Invalid:
    """Return whose decision it is, or why it is nobody's; what its judge decided is decided here once more."""
    if isinstance(each.by, Invalid):
        return each.by
    if each.row.data["signature"] is None:
        return Invalid("it is not signed")
    if each.row.data["frame"] != frame:
        return Invalid("it is about another frame than the session's")
    if each.by.raw in operator_keys:
        return Invalid(f"{each.by.fingerprint} is the operator's own key")
    return each.by


def _session_reasons(record: Record, policy: ReleasePolicy) -> Iterator[Reason]:
    """Say what about the session itself keeps the gate shut, whoever accepted it."""
    session = record.session
    if not is_governed(record.rows):
        yield Reason(f"session {session} is ungoverned: rows written by hand are never released",
                     "let a loop do the work in a session of its own: safeloop run")
        return
    cut = cut_of(record.rows)
    if cut is None:
        closes = record.kinds("close")
        state = "is suspended" if closes and closes[-1] is record.rows[-1] else "was opened and not closed"
        yield Reason(
            f"session {session} {state}",
            f"safeloop resume {session} goes on with it, safeloop close {session} ends it: then it can be reviewed",
        )
        return
    if any(is_dry_run(row.data) for row in record.kinds("open")):
        yield Reason(f"session {session} was a dry run, which is never released", "do the work: safeloop run")
    for row in voiding_rows(record.rows, cut):
        yield Reason(f"row {row.id} ({row.kind}) came after the session's close, row {cut.id}, and voids it",
                     f"safeloop log {session}; the work needs a session of its own")
    yield from outcome_reasons(session, str(cut.data.get("outcome")), policy)


def outcome_reasons(session: str, outcome: str, policy: ReleasePolicy) -> Iterator[Reason]:
    """Say what about a session's outcome keeps the gate shut, whoever accepted it."""
    allowed = {_COMPLETED: True, _BREACHED: policy.accept_breach, _UNMET: policy.accept_unmet}
    if outcome not in allowed:
        yield Reason(f"session {session} ended as {outcome}, which is never released",
                     "run the work again in a session of its own: safeloop run")
    elif not allowed[outcome]:
        key = "accept_breach" if outcome == _BREACHED else "accept_unmet"
        yield Reason(f"session {session} ended as {outcome}, which the policy does not release",
                     f"run it again, or let who pins the keys set {key} = true in release.toml")


def _rejected(row: Row) -> Reason:
    reviewer = row.data["reviewer"]
    return Reason(f"{reviewer} rejected it in row {row.id}",
                  f"read the notes: safeloop log {row.session}; the same key may sign again: "
                  f"safeloop attest {row.session} --as {reviewer}")


def _missing_accepts(session: str, found: int, wanted: int) -> Iterator[Reason]:
    # A policy cannot ask for none; if one ever could, nothing would be released without a person all the same.
    if found < max(wanted, 1):
        yield Reason(f"{found} of {wanted} accepts that count", f"safeloop attest {session} --as NAME --key FILE")
