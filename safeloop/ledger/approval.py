"""Approvals: what a reviewer signs about one call of a destructive tool, and whether what is signed holds.

    {"by":"alice@example.org","call":"64 hex","decision":"granted","expires_at":"2026-11-22T08:00:00.000000Z",
     "ledger":"safeloop.local/6f1c…","session":"uuid"}

The exact bytes are canonical (JCS), without a newline at the end; `call` is the leaf of the `call` row, which commits
to the arguments. They are signed as SSHSIG, namespace `safeloop-approval`. Pure: whoever asks brings pins and time.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from safeloop.errors import EncodingError, VerificationError
from safeloop.ledger import sshsig
from safeloop.ledger.ed25519 import key_id
from safeloop.ledger.encoding import encode, parse
from safeloop.ledger.kinds import digest, name
from safeloop.ledger.trust import APPROVAL_NAMESPACE, Standing

if TYPE_CHECKING:
    from safeloop.ledger.trust import Trust

GRANTED, REFUSED, EXPIRED = "granted", "refused", "expired"
_STATED = ("by", "call", "decision", "expires_at")  # what the row and its statement both say


@dataclass(frozen=True, slots=True)
class Decision:
    """What a reviewer decided about one call.

    Attributes:
        by: The name under which their key is pinned.
        call: Leaf of the `call` row, hex.
        decision: `granted` or `refused`.
        expires_at: RFC 3339, UTC: a grant holds until then, exclusive; None for a refusal, which holds for good.
        ledger: The origin.
        session: The session's id.
    """

    by: str
    call: str
    decision: str
    expires_at: str | None
    ledger: str
    session: str

    @property
    def statement(self) -> bytes:
        """The exact bytes to be signed.

        Raises:
            EncodingError: The name cannot be stated.
        """
        return encode(asdict(self))

    def row_data(self, signature: str) -> dict[str, Any]:
        """Return the data of the `approval` row that records it, signed."""
        stated = {key: getattr(self, key) for key in _STATED}
        return {**stated, "statement": self.statement.decode(), "signature": signature}


def parse_statement(data: bytes) -> Decision:
    """Read a statement back.

    Raises:
        EncodingError: Not the canonical bytes of a decision.
    """
    found = parse(data)
    if not isinstance(found, dict) or found.keys() != Decision.__dataclass_fields__.keys():
        raise EncodingError("not the statement of an approval: exactly by, call, decision, expires_at, ledger, session")
    is_formed = (
        all(name(found[key]) for key in ("by", "ledger", "session")) and digest(found["call"])
        and found["decision"] in (GRANTED, REFUSED)
        and (isinstance(found["expires_at"], str) if found["decision"] == GRANTED else found["expires_at"] is None)
    )
    if not is_formed:
        raise EncodingError("not the statement of an approval: a value is of another form")
    return Decision(**found)


def unsigned_data(call: str, decision: str, expires_at: str | None = None) -> dict[str, Any]:
    """Return the data of an `approval` row that nobody signed: a no, or the end of a grant, lets nothing happen."""
    return {"call": call, "decision": decision, "by": None, "expires_at": expires_at, "statement": None,
            "signature": None}


@dataclass(frozen=True, slots=True)
class Where:
    """Where an `approval` row stands, or is going to.

    Attributes:
        ledger: The origin.
        session: The session that holds it.
        idx: Its position in the ledger, from 0.
    """

    ledger: str
    session: str
    idx: int


def grant_fault(data: Mapping[str, Any], where: Where, trust: Trust, at: datetime) -> str:
    """Say why an `approval` row that states `granted` grants nothing; nothing where it does, until it expires.

    Args:
        data: The row's.
        where: The row's place.
        trust: Who may approve.
        at: The moment at which the reviewer's key must be pinned, aware.
    """
    if None in (data["by"], data["expires_at"], data["statement"], data["signature"]):
        return "its name, its end, its statement or its signature is missing"
    facts = {key: data[key] for key in _STATED}
    if data["statement"].encode() != encode(facts | {"ledger": where.ledger, "session": where.session}):
        return "its statement is not about what its row states"
    try:
        if datetime.fromisoformat(data["expires_at"]).tzinfo is None:
            return "its end names no time zone"
    except ValueError:
        return "its end is no time"
    return signature_fault(data, where, trust, at)


def signature_fault(data: Mapping[str, Any], where: Where, trust: Trust, at: datetime) -> str:
    """Say why a signed statement counts for nothing, whatever it states; nothing where it counts.

    Args:
        data: Of a row with `by`, `statement` and `signature`; the others are those of `grant_fault`.
    """
    try:
        key = sshsig.verify(data["signature"], APPROVAL_NAMESPACE, data["statement"].encode())
    except VerificationError as error:
        return str(error)
    match trust.standing(key, data["by"], APPROVAL_NAMESPACE, at, where.ledger, where.idx):
        case Standing.COUNTS:
            return ""
        case Standing.OPERATOR:
            return f"{key.fingerprint} is the operator's own key"
        case Standing.UNPINNED:
            return f"{key.fingerprint} is not pinned as a key of {data['by']} for approvals at this time"
        case Standing.REVOKED:
            size = trust.revoked_from(key_id(key.raw), where.ledger)
            return f"{key.fingerprint} is revoked for all rows after the first {size}"
