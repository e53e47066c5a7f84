"""What lies outside the rows and holds them: the signed head, the state file, and checkpoints that somebody kept."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from safeloop.errors import KeyUnusable, LedgerError, VerificationError
from safeloop.ledger import ed25519
from safeloop.ledger.note import Checkpoint, parse_checkpoint, verify_checkpoint
from safeloop.ledger.reader import LedgerReader
from safeloop.ledger.state import State
from safeloop.ledger.trust import Trust
from safeloop.review.auditing.findings import Finding, Rule, counted, finding
from safeloop.review.witnesses import open_head, witnessed

Roots = Mapping[int, bytes]


@dataclass(frozen=True, slots=True)
class Head:
    """The head as the pins judge it.

    Attributes:
        claimed: The origin that it states, verified or not; None if it is not a checkpoint.
        signed: The checkpoint, if it verifies under the pinned key of its log.
        findings: Why it does not.
        note: Its text, with whatever cosignatures it carries; empty where there is none.
        signer: The id of the key under which it verifies; empty if it does not.
    """

    claimed: str | None
    signed: Checkpoint | None
    findings: tuple[Finding, ...]
    note: str = ""
    signer: str = ""


NO_HEAD = Head(None, None, ())


@dataclass(frozen=True, slots=True)
class Kept:
    """A checkpoint that the auditor brought, verified.

    Attributes:
        number: Which of those given, from 1; 0 for the one up to which rows were audited before.
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
        log = trust.log_for(claimed, note)
        return Head(claimed, verify_checkpoint(note, log), (), note, ed25519.key_id(log.public))
    except KeyUnusable as error:
        return Head(claimed, None, (finding(Rule.TRUST, error.message, remedy=error.hint),))
    except VerificationError as error:
        return Head(claimed, None, (finding(Rule.HEAD, f"the head does not hold: {error}", remedy=error.hint),))


def verify_kept(notes: Sequence[str], trust: Trust) -> tuple[tuple[Kept, ...], tuple[Finding, ...]]:
    """Verify the checkpoints that the auditor brought, each under the pinned key of its own origin."""
    kept, findings = [], []
    for number, note in enumerate(notes, 1):
        try:
            origin = parse_checkpoint(note).origin
            kept.append(Kept(number, verify_checkpoint(note, trust.log_for(origin, note))))
        except (KeyUnusable, VerificationError) as error:
            words = f"checkpoint {number} cannot be used: {error}"
            findings.append(finding(Rule.CHECKPOINT, words, remedy=error.hint))
    return tuple(kept), tuple(findings)


def verify_since(
    note: str | None, head: Head, trust: Trust
) -> tuple[int, tuple[Kept, ...], tuple[Finding, ...]]:
    """Verify the checkpoint up to which rows were audited before.

    Returns:
        The number of rows before it, 0 where it is of no use; the checkpoint, to be compared as every kept one; and
        why it cannot be.
    """
    if note is None:
        return 0, (), ()
    try:
        origin = parse_checkpoint(note).origin
        checkpoint = verify_checkpoint(note, trust.log_for(origin, note))
    except (KeyUnusable, VerificationError) as error:
        words = f"the checkpoint to audit from cannot be used: {error}; every row was judged"
        return 0, (), (finding(Rule.CHECKPOINT, words, remedy=error.hint),)
    signed = head.signed
    is_of_use = signed is not None and origin == signed.origin and checkpoint.size <= signed.size
    return checkpoint.size if is_of_use else 0, (Kept(0, checkpoint),), ()


def judge_witnesses(
    head: Head, notes: Sequence[str], trust: Trust
) -> tuple[tuple[Finding, ...], tuple[str, ...]]:
    """Ask whether a checkpoint of this ledger has the cosignatures that the policy demands: the head, or one given.

    Args:
        head: The ledger's.
        notes: What the auditor brought; a note that does not verify is passed over here.
        trust: The auditor's pins.

    Returns:
        A finding if they lack; and what the reader should know: who saw which checkpoint when, and which of the
        cosignatures do not count.
    """
    heads = []
    for note in (head.note, *notes):
        try:
            opened = open_head(note, trust)
        except (KeyUnusable, VerificationError):
            continue  # `read_head` and `verify_kept` have said so
        if head.signed is None or opened.checkpoint.origin == head.signed.origin:
            heads.append(opened)
    found = witnessed(heads, trust)
    words = f"the policy demands the quorum {trust.policy.quorum}, and no checkpoint has cosignatures enough for it"
    lacking = () if found.is_enough else (finding(Rule.WITNESS, words),)
    return lacking, (*found.seen, *(f"not counted: {fault}" for fault in found.faults))


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
            name = f"checkpoint {each.number}" if each.number else "the checkpoint to audit from,"
            yield finding(Rule.CHECKPOINT, f"{name} of {counted(each.checkpoint.size, 'row')} {words}")


def compare_state(state: State, path: Path, size: int, roots: Roots) -> Iterator[Finding]:
    """Compare what this key folder last signed with the ledger; a state that is behind is harmless.

    A copy may end before it, and lie elsewhere; it must still be of the same history.
    """
    is_copy = _is_copy(state, path)
    if is_copy and state.size > size:
        return
    if state.path != path and not is_copy:
        yield finding(Rule.STATE, f"the ledger was last signed at {state.path}, and this one lies at {path}")
    words = _against(state.size, state.root, size, roots)
    if words:
        yield finding(Rule.STATE, f"the state of {counted(state.size, 'row')} {words}")


def copy_notes(state: State, path: Path, size: int) -> Iterator[str]:
    """Say that a ledger is a copy, if what this key folder last signed is still where it was signed."""
    if _is_copy(state, path):
        behind = f", and ends {counted(state.size - size, 'row')} before it" if state.size > size else ""
        yield f"this is a copy of {state.path}{behind}"


def _is_copy(state: State, path: Path) -> bool:
    return state.path != path and os.path.isfile(state.path)  # noqa: PTH113 - no error where it is out of reach


def _against(old: int, root: bytes, size: int, roots: Roots) -> str:
    if old > size:
        return f"is ahead of the ledger, which has {size:,}: an older file, or its end is cut off"
    if old not in roots:
        return "cannot be compared: rows before it are missing"
    return "" if roots[old] == root else "is of another history: the ledger's root at that size is another"
