"""The gate: whether a session may be released. Pure, and the same rule for a release and for the audit of one.

Monotone: a reason to say no is only ever added, and without a valid accept the answer is no, whatever the policy.
What is counted are distinct raw public keys, each by its latest decision: one key under two names counts once.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from safeloop.ledger.visible import shell_word
from safeloop.review.attesting.eligibility import Invalid
from safeloop.review.cut import cut_of, is_governed, voiding_rows
from safeloop.spec.dry_run import is_dry_run

if TYPE_CHECKING:
    from safeloop.ledger import Row
    from safeloop.ledger.sshsig import PublicKey
    from safeloop.review.record import Record
    from safeloop.review.releasing.judging import Judged
    from safeloop.review.releasing.policy import ReleasePolicy

ACCEPT = "accept"
_COMPLETED, _BREACHED, _UNMET = "completed", "breached", "unmet"


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
        mends: What would make them count, where something would: commands.
    """

    released: bool
    reasons: tuple[Reason, ...]
    accepts: tuple[Row, ...]
    ignored: tuple[str, ...] = ()
    mends: tuple[str, ...] = ()

    @property
    def next_step(self) -> str:
        """What to do first, where it is not released, and what then."""
        return "; ".join(dict.fromkeys([*self.mends, *(reason.hint for reason in self.reasons)]))


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
    names: dict[bytes, dict[str, None]] = {}
    ignored: list[tuple[Row, Invalid]] = []
    for each in sorted(judged, key=lambda one: one.row.idx):
        found = _counted(each, frame, operator_keys)
        if isinstance(found, Invalid):
            ignored.append((each.row, found))
        else:
            latest[found.raw] = each.row
            names.setdefault(found.raw, {})[each.row.data["reviewer"]] = None
    accepts = sorted((row for row in latest.values() if row.data["decision"] == ACCEPT), key=lambda row: row.idx)
    rejects = [row for row in latest.values() if row.data["decision"] != ACCEPT]
    standing = tuple(_session_reasons(record, policy))
    rejected = tuple(_rejected(row) for row in rejects if policy.any_reject_blocks)
    first = (*standing, *rejected)
    reasons = (*first, *_missing_accepts(record.session, len(accepts), policy.accepts, tuple(names.values()), first))
    told = tuple(f"row {row.id} counts for nothing: {found.reason}" for row, found in ignored)
    mends = tuple(found.hint for _, found in ignored if found.hint and not standing)
    return Verdict(not reasons, reasons, tuple(accepts), told, tuple(dict.fromkeys(mends)))


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
                     f"do the work again: safeloop run; or let who pins the keys set {key} = true in release.toml")


def _rejected(row: Row) -> Reason:
    reviewer = row.data["reviewer"]
    return Reason(f"{reviewer} rejected it in row {row.id}",
                  f"safeloop review {row.session} shows the notes; the same key may sign again: "
                  f"safeloop attest {row.session} --as {shell_word(reviewer)}")


def _missing_accepts(
    session: str, found: int, wanted: int, signers: tuple[Iterable[str], ...], first: Sequence[Reason]
) -> Iterator[Reason]:
    """Say how many accepts are missing, and which names could be taken for several people.

    Args:
        session: The session.
        found: Accepts that count.
        wanted: How many the policy asks for.
        signers: The names under which each key has signed.
        first: What another's accept does not mend, and whose next step therefore comes first.
    """
    # A policy cannot ask for none; if one ever could, nothing would be released without a person all the same.
    if found < max(wanted, 1):
        shared = [" and ".join(names) for names in map(tuple, signers) if len(names) > 1]
        counted_once = "".join(f"; {names} signed with one key, which counts once" for names in shared)
        hint = first[0].hint if first else f"safeloop attest {session} --as NAME --key FILE"
        yield Reason(f"{found} of {wanted} accepts that count{counted_once}", hint)
