"""Proofs out of a ledger, in O(log n): receipts of rows, and consistency between two sizes.

The stored hashes are derived data: a proof made of them is worth what its verification says, so that every proof is
verified under the pinned log key before it is handed out. A damaged tree gives an error, never a wrong proof. The
head is read first, and what it signs never changes: no snapshot is needed while others append.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from safeloop.errors import LedgerError, ProofError, SettingError, VerificationError
from safeloop.ledger import merkle
from safeloop.ledger.consistency import Consistency
from safeloop.ledger.note import Checkpoint, Receipt, Verifier, verify_checkpoint, verify_receipt

if TYPE_CHECKING:
    from safeloop.ledger.reader import LedgerReader
    from safeloop.ledger.store.rows import StoredRow

_AUDIT = "safeloop audit says what stands; restore the ledger from a backup"


def receipt(reader: LedgerReader, idx: int, log: Verifier) -> Receipt:
    """Prove that the row at a position is in the ledger, under its head.

    Args:
        reader: The ledger; in a snapshot where several receipts shall lead to one head.
        idx: The position, from 0.
        log: The pinned key of the log.

    Raises:
        SignatureMismatch: The head is not signed by `log`; whether the row's writer counts is the caller's question.
        ProofError: There is no such row, or the stored tree does not lead from it to the head.
    """
    row = reader.row(idx)
    if row is None:
        raise ProofError(f"{reader.path} has no row {idx + 1}", hint="safeloop log")
    return prove(reader, row, log)


def prove(reader: LedgerReader, row: StoredRow, log: Verifier) -> Receipt:
    """Prove a row that was read already; the other arguments and the errors are those of `receipt`."""
    idx, body, signature = row
    note, head = _head(reader, log)
    try:
        if not isinstance(body, bytes) or not isinstance(signature, bytes):
            raise ProofError("it is not stored as bytes")
        made = Receipt(idx, merkle.inclusion_proof(idx, head.size, reader.node), note, body, signature)
        verify_receipt(made, log)
    except (LedgerError, ProofError) as error:
        raise ProofError(f"row {idx + 1} of {reader.path} cannot be proved: {error}", hint=_AUDIT) from None
    return made


def consistency(
    reader: LedgerReader, old: Checkpoint | int, new: Checkpoint | int | None, log: Verifier, note: str = ""
) -> Consistency:
    """Prove that the ledger at one size grew into the ledger at another.

    Args:
        reader: The ledger.
        old: The older checkpoint, verified by whoever calls, or a size.
        new: The newer one, or a size, or None for the head.
        log: The pinned key of the log.
        note: The signed note of `new`, where it is a checkpoint.

    Returns:
        The proof; its note is unsigned text where `new` is a size of which the ledger keeps no signature.

    Raises:
        SettingError: A size that is no size of this ledger, or the two in the wrong order.
        SignatureMismatch: The head is not signed by `log`.
        ProofError: A checkpoint is ahead of the ledger or of another history, or the stored tree is damaged.
    """
    head_note, head = _head(reader, log)
    older = _at(reader, head, old)
    newer = head if new is None else _at(reader, head, new)
    if older.size > newer.size:
        raise SettingError(f"size {older.size} is not older than size {newer.size}", hint="--since OLD --to NEW")
    try:
        # From the newer one on; the proof that is handed out does the rest, and the head vouches for both.
        merkle.verify_consistency(
            newer.size, head.size, merkle.consistency_proof(newer.size, head.size, reader.node), newer.root, head.root
        )
        proof = merkle.consistency_proof(older.size, newer.size, reader.node)
        merkle.verify_consistency(older.size, newer.size, proof, older.root, newer.root)
    except (LedgerError, ProofError) as error:
        raise ProofError(f"{reader.path} cannot prove that it grew so: {error}", hint=_AUDIT) from None
    return Consistency(older.size, proof, note or (head_note if newer == head else newer.text))


def _head(reader: LedgerReader, log: Verifier) -> tuple[str, Checkpoint]:
    note = reader.head() or ""
    try:
        return note, verify_checkpoint(note, log)
    except VerificationError as error:
        raise type(error)(f"{reader.path}: the head does not hold: {error}", hint=error.hint or _AUDIT) from None


def _at(reader: LedgerReader, head: Checkpoint, wanted: Checkpoint | int) -> Checkpoint:
    """Return what is meant as a checkpoint; one of a mere size is made of stored hashes and proves nothing yet."""
    if isinstance(wanted, Checkpoint):
        if wanted.origin != head.origin:
            raise ProofError(f"the checkpoint is of {wanted.origin[:80]!a}, not of {head.origin}",
                             hint="name the ledger that it came from: --ledger PATH")
        if wanted.size > head.size:
            raise ProofError(f"the checkpoint of {wanted.size} rows is ahead of the ledger, which has {head.size}: "
                             "an older file, or its end is cut off", hint=_AUDIT)
        return wanted
    if not 0 <= wanted <= head.size:
        raise SettingError(f"{reader.path} has {head.size} rows, and never had {wanted}", hint="safeloop checkpoint")
    try:
        return Checkpoint(head.origin, wanted, merkle.root_at(wanted, reader.node))
    except LedgerError as error:
        raise ProofError(f"{reader.path} has no root at size {wanted}: {error}", hint=_AUDIT) from None
