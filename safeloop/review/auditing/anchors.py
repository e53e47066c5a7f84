"""What lies outside the rows and holds them: the signed head, the state file, and checkpoints that somebody kept."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from safeloop.errors import KeyUnusable, LedgerError, VerificationError
from safeloop.ledger.note import Checkpoint, parse_checkpoint, verify_checkpoint
from safeloop.ledger.reader import LedgerReader
from safeloop.ledger.state import State
from safeloop.ledger.trust import Trust
from safeloop.review.auditing.findings import Finding, Rule, counted, finding

Roots = Mapping[int, bytes]


@dataclass(frozen=True, slots=True)
class Head:
    """The head as the pins judge it.

    Attributes:
        claimed: The origin that it states, verified or not; None if it is not a checkpoint.
        signed: The checkpoint, if it verifies under the pinned key of its log.
        findings: Why it does not.
    """

    claimed: str | None
    signed: Checkpoint | None
    findings: tuple[Finding, ...]


NO_HEAD = Head(None, None, ())


@dataclass(frozen=True, slots=True)
class Kept:
    """A checkpoint that the auditor brought, verified.

    Attributes:
        number: Which of those given, from 1.
    """

    number: int
    checkpoint: Checkpoint


def read_head(reader: LedgerReader, trust: Trust) -> Head:
    """Read and verify the ledger's head."""
    try:
        note = reader.head()
    except LedgerError as error:
        return Head(None, None, (finding(Rule.HEAD, f"the head cannot be read: {error}"),))
    if note is None:
        return Head(None, None, (finding(Rule.HEAD, "the ledger has no head"),))
    try:
        claimed = parse_checkpoint(note).origin
    except VerificationError as error:
        return Head(None, None, (finding(Rule.HEAD, f"the head is not a checkpoint: {error}"),))
    try:
        return Head(claimed, verify_checkpoint(note, trust.log_for(claimed)), ())
    except KeyUnusable as error:
        return Head(claimed, None, (finding(Rule.TRUST, error.message, remedy=error.hint),))
    except VerificationError as error:
        return Head(claimed, None, (finding(Rule.HEAD, f"the head does not hold: {error}"),))


def verify_kept(notes: Sequence[str], trust: Trust) -> tuple[tuple[Kept, ...], tuple[Finding, ...]]:
    """Verify the checkpoints that the auditor brought, each under the pinned key of its own origin."""
    kept, findings = [], []
    for number, note in enumerate(notes, 1):
        try:
            origin = parse_checkpoint(note).origin
            kept.append(Kept(number, verify_checkpoint(note, trust.log_for(origin))))
        except (KeyUnusable, VerificationError) as error:
            findings.append(finding(Rule.CHECKPOINT, f"checkpoint {number} cannot be used: {error}"))
    return tuple(kept), tuple(findings)


def compare_kept(kept: Sequence[Kept], origin: str | None, size: int, roots: Roots) -> Iterator[Finding]:
    """Compare kept checkpoints with the ledger.

    Args:
        kept: Verified.
        origin: The ledger's, if known.
        size: The ledger's.
        roots: Its roots by size; one that lacks could not be computed.
    """
    for each in kept:
        words = _against(each.checkpoint.size, each.checkpoint.root, size, roots)
        if origin is not None and each.checkpoint.origin != origin:
            words = f"is of {each.checkpoint.origin}, not of {origin}"
        if words:
            name = f"checkpoint {each.number} of {counted(each.checkpoint.size, 'row')}"
            yield finding(Rule.CHECKPOINT, f"{name} {words}")


def compare_state(state: State, path: Path, size: int, roots: Roots) -> Iterator[Finding]:
    """Compare what this key folder last signed with the ledger; a state that is behind is harmless."""
    if state.path != path:
        yield finding(Rule.STATE, f"the ledger was last signed at {state.path}, and this one lies at {path}")
    words = _against(state.size, state.root, size, roots)
    if words:
        yield finding(Rule.STATE, f"the state of {counted(state.size, 'row')} {words}")


def _against(old: int, root: bytes, size: int, roots: Roots) -> str:
    if old > size:
        return f"is ahead of the ledger, which has {size:,}: an older file, or its end is cut off"
    if old not in roots:
        return "cannot be compared: rows before it are missing"
    return "" if roots[old] == root else "is of another history: the ledger's root at that size is another"
