"""What one row proves by itself: its form, and its signature under a pinned writer.

Pure, and of one row only: an audit may judge rows in several processes and needs nothing from them but these values.
"""

from __future__ import annotations

from dataclasses import dataclass

from safeloop.errors import EncodingError
from safeloop.ledger import Row, ed25519, seal
from safeloop.ledger.rows import UnknownVersion, parse_row
from safeloop.ledger.trust import Trust
from safeloop.review.auditing.findings import Finding, Rule, finding


@dataclass(frozen=True, slots=True)
class Testimony:
    """One row, judged.

    Attributes:
        idx: Its position.
        row: The parsed row; None where the bytes are not one of this version.
        fault: Why its word does not count; None if it does.
        version: Why a row that a pinned writer signed could not be read; empty if it could.
    """

    idx: int
    row: Row | None
    fault: Finding | None = None
    version: str = ""


def leaf_of(body: object, signature: object) -> bytes:
    """Return the leaf of whatever is stored; what is not bytes counts as none."""
    return seal.leaf(body if isinstance(body, bytes) else b"", signature if isinstance(signature, bytes) else b"")


def judge(idx: int, body: object, signature: object, trust: Trust, origin: str | None) -> Testimony:
    """Judge one stored row by the pinned keys alone.

    Args:
        idx: Its position.
        body: What is stored as the body; a hostile file may hold anything.
        signature: What is stored as the signature.
        trust: The auditor's pins.
        origin: The ledger's origin, if a verified head says so; else each row's own claim bounds revocations.
    """
    if not isinstance(body, bytes) or not isinstance(signature, bytes):
        return _fault(idx, Rule.ENCODING, "body or signature is not stored as bytes")
    try:
        row = parse_row(idx, body, signature)
    except UnknownVersion as unknown:
        return _of_unknown_version(idx, body, signature, trust, origin, str(unknown))
    except EncodingError as error:
        signer = _signer(body, signature, trust)
        words = f"signed by writer {signer[:8]}" if signer else "no pinned writer signed these bytes"
        return _fault(idx, Rule.ENCODING, f"{error}; {words}")
    writer = trust.writer(row.writer)
    if writer is None:
        return _fault(idx, Rule.WRITER, f"writer {row.writer[:8]} is not pinned in {trust.path}", row)
    if not ed25519.verify(writer.raw, signature, seal.pae(body)):
        return _fault(idx, Rule.SIGNATURE, f"signature does not verify under writer {row.writer[:8]}", row)
    words = _revoked(idx, row.writer, trust, origin or row.ledger)
    return _fault(idx, Rule.REVOKED, words, row) if words else Testimony(idx, row)


def _of_unknown_version(
    idx: int, body: bytes, signature: bytes, trust: Trust, origin: str | None, words: str
) -> Testimony:
    """Verify a row as bytes: what its keys mean is not known, only who signed it."""
    signer = _signer(body, signature, trust)
    if not signer:
        return _fault(idx, Rule.SIGNATURE, f"{words}, and no pinned writer signed these bytes")
    revoked = _revoked(idx, signer, trust, origin or "")
    return _fault(idx, Rule.REVOKED, revoked) if revoked else Testimony(idx, None, version=words)


def _signer(body: bytes, signature: bytes, trust: Trust) -> str:
    """Return the id of the pinned writer whose signature this is; empty if it is nobody's."""
    message = seal.pae(body)
    pinned = ((key_id, signer.key.raw) for key_id, signer in trust.writers.items())
    return next((key_id for key_id, raw in pinned if ed25519.verify(raw, signature, message)), "")


def _revoked(idx: int, writer: str, trust: Trust, origin: str) -> str:
    size = trust.revoked_from(writer, origin)
    return "" if size is None or idx < size else f"writer {writer[:8]} was revoked from row {size + 1} on"


def _fault(idx: int, rule: Rule, words: str, row: Row | None = None) -> Testimony:
    session = None if row is None else row.session
    return Testimony(idx, row, finding(rule, f"row {idx + 1}: {words}", row=idx + 1, session=session))
