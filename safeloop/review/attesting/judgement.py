"""Whether an attestation counts: a pure rule, and the one that gate, audit and release share.

An attestation counts if a pinned reviewer, never the operator, signed exactly this frame of exactly this session.
Everything that its row says must be what the statement says, and the statement must be about these rows: a row can
be written by the operator, a signature cannot. Nor can an old accept be put in place of a newer reject: an
accept that was stated no later than something its key signed in an earlier row counts for nothing. An earlier accept
that is dated ahead of its own row is passed over, lest one wrong clock lock its owner out: by its row's time and not by
the judge's, so that everybody passes over the same ones, at any time.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from safeloop.errors import EncodingError, VerificationError
from safeloop.ledger import sshsig
from safeloop.ledger.kinds import check_data
from safeloop.ledger.note import parse_checkpoint
from safeloop.ledger.sshsig import PublicKey
from safeloop.ledger.trust import REVIEW_NAMESPACE, Trust
from safeloop.ledger.visible import moment_text, shell_word
from safeloop.review.attesting.attestation import Digests, Statement, parse_statement
from safeloop.review.attesting.eligibility import Invalid, pinned
from safeloop.review.cut import cut_of, voiding_rows

if TYPE_CHECKING:
    from collections.abc import Mapping

    from safeloop.ledger import Draft, Row
    from safeloop.review.record import Record


SKEW = timedelta(minutes=5)
"""By how much a reviewer's clock may be ahead of the one that judges."""


@dataclass(frozen=True, slots=True)
class Claim:
    """An attestation before or after it has become a row.

    Attributes:
        data: The data of the row.
        size: Rows of the ledger before it: an upper bound of what its checkpoint can have seen.
    """

    data: Mapping[str, Any]
    size: int


@dataclass(frozen=True, slots=True)
class Subject:
    """The rows of a session that a review is about.

    Attributes:
        head: Leaf of the row at the cut, hex.
        rows: Rows up to it, that one included.
        idx: Its position in the ledger.
    """

    ledger: str
    session: str
    head: str
    rows: int
    idx: int


def check_attestation(
    row: Row, record: Record, frame_hash: str, sums_hash: str, output_hash: str | None, trust: Trust, at: datetime
) -> PublicKey | Invalid:
    """Return the key of the reviewer whose attestation this is, or why it counts for nothing.

    Args:
        row: An `attestation` row of the record.
        record: The verified session.
        frame_hash: SHA-256 of the frame as it is rendered now, hex.
        sums_hash: The same of `SHA256SUMS`.
        output_hash: The same of the output; None where there is none.
        trust: Who may review.
        at: The moment at which the reviewer's key must be pinned, aware: now for a release, the row's for an audit.
    """
    cut = cut_of(record.rows)
    if row not in record.rows or row.kind != "attestation" or cut is None or row.n <= cut.n:
        return Invalid("it is no attestation of this session after its cut")
    return check_claim(Claim(row.data, row.idx), record, Digests(frame_hash, sums_hash, output_hash), trust, at)


def check_claim(
    claim: Claim, record: Record, digests: Digests, trust: Trust, at: datetime
) -> PublicKey | Invalid:
    """Judge an attestation that may not be a row yet; the other arguments are those of `check_attestation`."""
    key = _signer(claim, record, digests, trust, at)
    if isinstance(key, Invalid) or claim.data["decision"] == "reject":
        return key  # a reject always counts: whoever repeats one can only keep the gate shut
    stated_at = parse_statement(claim.data["statement"].encode()).stated_at
    for row in record.kinds("attestation"):
        if row.idx >= claim.size or row.data.get("signature") is None:
            continue
        other = _signer(Claim(row.data, row.idx), record, digests, trust, at)
        if not isinstance(other, PublicKey) or other.raw != key.raw:
            continue
        earlier = parse_statement(row.data["statement"].encode()).stated_at
        if is_overtaken(stated_at, earlier, is_dated_ahead=is_dated_ahead(row)):
            return Invalid(f"the same key signed row {row.id}, which was stated no earlier",
                           f"safeloop log {row.session} tells when; sign after that, or with another pinned key")
    return key


def is_overtaken(stated_at: str, earlier: str, *, is_dated_ahead: bool) -> bool:
    """Say whether an accept counts for nothing because of what its key signed in an earlier row.

    Args:
        stated_at: The moment that the accept states.
        earlier: The moment that the earlier one states.
        is_dated_ahead: Of the earlier one, as `is_dated_ahead` says.
    """
    # A copy of what was dated ahead, put behind a reject, is overtaken all the same.
    return earlier == stated_at or (earlier > stated_at and not is_dated_ahead)


def is_dated_ahead(row: Row) -> bool:
    """Say whether an attestation is an accept that is stated later than its own row, by more than `SKEW`."""
    return row.data["decision"] == "accept" and ahead(row, datetime.fromisoformat(row.at)) is not None


def ahead(attestation: Row | Draft, at: datetime) -> Invalid | None:
    """Return why an accept counts for nothing yet: it is stated later than a moment, by more than `SKEW`."""
    stated = moment_stated(attestation.data)
    if stated is not None and stated <= at + SKEW:
        return None
    when = "no moment" if stated is None else moment_text(stated)
    return Invalid(
        f"it is stated at {when}, and it is {moment_text(at)} now",
        "date -u shows this machine's clock; if it is right, its reviewer signs again on a machine whose clock is: "
        f"safeloop attest {attestation.session} --as {shell_word(str(attestation.data['reviewer']))} --key FILE",
    )


def moment_stated(data: Mapping[str, Any]) -> datetime | None:
    """Return the moment that an attestation's statement claims; None where it claims none."""
    try:
        stated = parse_statement(str(data.get("statement")).encode("utf-8", "surrogatepass")).stated_at
        return datetime.fromisoformat(stated)
    except (EncodingError, ValueError):
        return None


def _signer(
    claim: Claim, record: Record, digests: Digests, trust: Trust, at: datetime
) -> PublicKey | Invalid:
    """Judge an attestation by itself, whatever else its reviewer signed."""
    data = claim.data
    try:
        check_data("attestation", data)
        stated = parse_statement(data["statement"].encode("utf-8", "surrogatepass"))
    except EncodingError as error:
        return Invalid(str(error))
    cut = cut_of(record.rows)
    fault = "the session has no cut" if cut is None else next(_misfits(stated, claim, record, cut, digests), None)
    if fault is not None:
        return Invalid(fault)
    if data["signature"] is None:
        return Invalid("it is not signed")
    try:
        key = sshsig.verify(data["signature"], REVIEW_NAMESPACE, data["statement"].encode())
    except VerificationError as error:
        return Invalid(str(error))
    return pinned(key, stated.reviewer, trust, at, record.ledger, claim.size)


def _misfits(stated: Statement, claim: Claim, record: Record, cut: Row, digests: Digests) -> Iterator[str]:
    """Say what a statement claims that its row, the session or the frame does not bear out."""
    for row in voiding_rows(record.rows, cut):
        yield f"row {row.id} ({row.kind}) came after the cut and voids the frame"
    subject = Subject(record.ledger, record.session, cut.leaf, cut.n + 1, cut.idx)
    yield from binding_misfits(stated, claim, subject)
    for name, one, other in (
        ("frame", stated.digests.frame, digests.frame),
        ("SHA256SUMS", stated.digests.sums, digests.sums),
        ("output", stated.digests.output, digests.output),
    ):
        if one != other:
            yield f"the {name} that was signed is not the session's"
    yield from checkpoint_misfits(stated, claim, subject)


def binding_misfits(stated: Statement, claim: Claim, subject: Subject) -> Iterator[str]:
    """Say what binds a statement to another row, session or stretch of rows than these."""
    data = claim.data
    for key in ("decision", "reviewer", "notes"):
        if getattr(stated, key) != data[key]:
            yield f"its row states another {key} than was signed"
    if (stated.ledger, stated.session) != (subject.ledger, subject.session):
        yield "it was made for another ledger or session"
    if (stated.session_head, stated.session_rows) != (subject.head, subject.rows):
        yield "it was made for other rows of the session"
    if data["frame"] != stated.digests.frame:
        yield "its row states another frame than was signed"


def checkpoint_misfits(stated: Statement, claim: Claim, subject: Subject) -> Iterator[str]:
    """Say what is wrong with the checkpoint that a statement names."""
    size = claim.size
    try:
        checkpoint = parse_checkpoint(stated.checkpoint)
    except VerificationError as error:
        yield f"its checkpoint is none: {error}"
        return
    if checkpoint.origin != stated.ledger:
        yield "its checkpoint is of another ledger"
    if not subject.idx < checkpoint.size <= size:
        yield f"its checkpoint of size {checkpoint.size} was not made between the cut and the attestation"
