"""What one row proves by itself: its form, and its signature under a pinned writer.

Pure, and of one row only: an audit may judge rows in several processes and needs nothing from them but these values.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace

from safeloop.errors import EncodingError
from safeloop.ledger import Row, ed25519, seal
from safeloop.ledger.kinds import KINDS, check_data
from safeloop.ledger.quick import Claims
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
        form: Why its data has not the form of its kind; empty if it has, or if that was not asked.
    """

    idx: int
    row: Row | None
    fault: Finding | None = None
    version: str = ""
    form: str = ""


def as_bytes(stored: Iterable[object]) -> list[bytes]:
    """Return whatever is stored as bodies or signatures as bytes; what is none counts as empty."""
    return [each if type(each) is bytes else b"" for each in stored]


def signer(claims: Claims, trust: Trust, origin: str | None) -> tuple[bytes, float]:
    """Return the raw key of the writer that rows claim, and the position from which on it does not count.

    Args:
        claims: As `quick.plain_claims` returned them.
        trust: The auditor's pins; whoever is not pinned counts nowhere.
        origin: As for `judge`.
    """
    ledger, writer = (claim.decode("ascii") for claim in claims)
    pinned = trust.writers.get(writer)
    if pinned is None:
        return b"", 0
    size = trust.revoked_from(writer, origin or ledger)
    return pinned.key.raw, math.inf if size is None else size


def doubts(idx: int, body: object, signature: object, trust: Trust, origin: str | None) -> Testimony | None:
    """Judge one stored row by the pinned keys and by its kind; None if there is nothing to say of it.

    Then it is a row of a known kind, canonical and of its form, that a pinned writer signed.

    Args:
        idx: Its position.
        body: What is stored as the body.
        signature: What is stored as the signature.
        trust: The auditor's pins.
        origin: As for `judge`.
    """
    return _of_a_form(judge(idx, body, signature, trust, origin))


def replayed(idx: int, body: object, signature: object) -> Testimony | None:
    """Read a row whose signature was checked in an earlier audit; None if there is nothing to say of it.

    It is not accused of anything: what is not a row has no `row`, and no more is said.
    """
    if not isinstance(body, bytes) or not isinstance(signature, bytes):
        return Testimony(idx, None)
    try:
        return _of_a_form(Testimony(idx, parse_row(idx, body, signature)))
    except UnknownVersion as unknown:
        return Testimony(idx, None, version=str(unknown))
    except EncodingError:
        return Testimony(idx, None)


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


def _of_a_form(testimony: Testimony) -> Testimony | None:
    """Add what the kind's form says; None if nothing is left to say."""
    row = testimony.row
    if testimony.fault is not None or row is None or row.kind not in KINDS:
        return testimony
    try:
        check_data(row.kind, row.data)
    except EncodingError as error:
        return replace(testimony, form=str(error))
    return None


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
    size = trust.revoked_from(writer, origin) if trust.revoked else None
    return "" if size is None or idx < size else f"writer {writer[:8]} was revoked from row {size + 1} on"


def _fault(idx: int, rule: Rule, words: str, row: Row | None = None) -> Testimony:
    session = None if row is None else row.session
    return Testimony(idx, row, finding(rule, f"row {idx + 1}: {words}", row=idx + 1, session=session))
