"""A receipt under pinned keys: the log's signature, the row's place, its form, its writer's signature. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from safeloop.errors import EncodingError, VerificationError
from safeloop.ledger import Row, visible
from safeloop.ledger.kinds import KINDS, check_data
from safeloop.ledger.note import parse_receipt, verify_receipt
from safeloop.ledger.trust import Trust
from safeloop.review.auditing.findings import Finding, Rule
from safeloop.review.auditing.testimony import judge
from safeloop.review.witnesses import SignedHead

_ANOTHER = "ask whoever keeps the ledger for another: safeloop receipt SESSION:N"


@dataclass(frozen=True, slots=True)
class Receipted:
    """A row that a receipt proves.

    Attributes:
        row: The row, at its proved position.
        head: The checkpoint that vouches for it.
        is_known: The row's kind is known, and its data has the kind's form.
    """

    row: Row
    head: SignedHead
    is_known: bool


def open_receipt(text: str, trust: Trust) -> Receipted:
    """Verify a receipt with everything that it can prove by itself.

    Raises:
        KeyUnusable: The trust folder pins no log of its origin.
        VerificationError: Something does not hold; the message says what, and of which row.
    """
    receipt = parse_receipt(text)
    # The origin that the note states chooses the key; only that key's signature makes it true.
    origin = receipt.note.partition("\n")[0]
    checkpoint = verify_receipt(receipt, trust.log_for(origin, receipt.note))
    testimony = judge(receipt.index, receipt.body, receipt.signature, trust, checkpoint.origin)
    if testimony.fault is not None:
        raise VerificationError(testimony.fault.message, hint=_hint(testimony.fault, trust))
    row = testimony.row
    if row is None:
        raise VerificationError(f"row {receipt.index + 1}: {testimony.version}", hint="pip install --upgrade safeloop")
    if row.ledger != checkpoint.origin:
        raise VerificationError(f"row {row.id} was written for ledger {row.ledger}, and the receipt is of "
                                f"{checkpoint.origin}", hint=_ANOTHER)
    return Receipted(row, SignedHead(checkpoint, receipt.note), _is_known(row))


def _hint(fault: Finding, trust: Trust) -> str:
    """Return the step that helps somebody who has pins and no ledger."""
    if fault.rule is Rule.WRITER:
        return f"if that key is known to you, pin it: safeloop trust import FILE --trust {visible(str(trust.path))}"
    return f"rely on nothing of it, and ask whoever keeps the ledger: safeloop audit {fault.session or ''}".rstrip()


def _is_known(row: Row) -> bool:
    if row.kind not in KINDS:
        return False
    try:
        check_data(row.kind, row.data)
    except EncodingError as error:
        raise VerificationError(f"row {row.id}: {error}", hint="safeloop audit, where the ledger is") from None
    return True
