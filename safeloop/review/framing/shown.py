"""The frame that was shown, and everything that is signed with it: rendered once, never loaded again."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from safeloop.errors import EncodingError, NotAttested, VerificationError
from safeloop.ledger.sshsig import PublicKey
from safeloop.ledger.visible import has_unseen
from safeloop.review.attesting.attestation import Digests, parse_statement
from safeloop.review.attesting.judgement import Claim, check_claim
from safeloop.review.attesting.sums import sums
from safeloop.review.cut import later_rows, voiding_rows
from safeloop.review.framing.facts import Facts, ReadContent, gather
from safeloop.review.framing.frame import render
from safeloop.review.framing.promise import require_cut
from safeloop.review.framing.reconciled import reconciliation_lines

if TYPE_CHECKING:
    from safeloop.ledger import Row
    from safeloop.ledger.trust import Trust
    from safeloop.review.record import Record
    from safeloop.spec import SpecResult


@dataclass(frozen=True, slots=True)
class ShownFrame:
    """A frame as a reviewer sees it.

    Attributes:
        record: The verified session that it was rendered from.
        facts: What it is a function of.
        text: The frame.
        stored_in: Where content was erased: the attestation row whose stored frame `text` is, if there is one.
        reconciled: What reconciliations with the bill say of the session, in lines: shown beside the frame too.
    """

    record: Record
    facts: Facts
    text: str
    stored_in: Row | None = None
    reconciled: tuple[str, ...] = ()

    @property
    def data(self) -> bytes:
        """The exact bytes that are hashed."""
        return self.text.encode()

    @property
    def sha256(self) -> str:
        """The frame's hash, hex."""
        return hashlib.sha256(self.data).hexdigest()

    @property
    def later(self) -> tuple[Row, ...]:
        """What followed the cut: shown beside the frame, never in it."""
        return later_rows(self.record.rows, self.facts.cut)

    @property
    def files(self) -> tuple[tuple[str, bytes], ...]:
        """What may be released, as (name, bytes); only of a frame whose content is whole."""
        files = self.facts.files if isinstance(self.facts.files, tuple) else ()
        return tuple((file.name, file.after) for file in files if isinstance(file.after, bytes))

    @property
    def sums(self) -> bytes:
        """`SHA256SUMS`; only of a frame whose content is whole."""
        return sums(self.files)

    @property
    def output(self) -> bytes | None:
        """The model's last answer, if there is one; only of a frame whose content is whole."""
        return self.facts.output if isinstance(self.facts.output, bytes) else None

    @property
    def digests(self) -> Digests:
        """What a statement about this frame names as its subjects."""
        output = self.output
        return Digests(
            self.sha256, hashlib.sha256(self.sums).hexdigest(),
            None if output is None else hashlib.sha256(output).hexdigest(),
        )

    def require_attestable(self) -> None:
        """Refuse to attest what is not whole or not this session's end.

        Raises:
            NotAttested: Content was erased, or a row came after the cut that voids the frame.
        """
        if not self.facts.is_whole:
            raise NotAttested(
                f"session {self.facts.session}: content of the frame was erased, so that nobody can attest it any more",
                hint="an earlier attestation keeps the frame that it was made for",
            )
        for row in voiding_rows(self.record.rows, self.facts.cut):
            raise NotAttested(
                f"session {self.facts.session}: row {row.id} ({row.kind}) came after the cut, row {self.facts.cut.id}: "
                "the frame is not of the whole session",
                hint="safeloop log shows the rows; the work needs a session of its own",
            )


def show(record: Record, spec: SpecResult, trust: Trust, read: ReadContent) -> ShownFrame:
    """Render the frame of a verified session.

    Raises:
        NotAttested: The session was opened and not closed: it has no frame.
        VerificationError: Content is missing, or not what was committed.
    """
    cut = require_cut(record)
    facts = gather(record.ledger, spec, record.rows, cut, read)
    reconciled = reconciliation_lines(record, trust, read)
    if facts.is_whole:
        return ShownFrame(record, facts, render(facts), reconciled=reconciled)
    row = stored_frame(record, trust, read)
    return ShownFrame(record, facts, render(facts) if row is None else stored_text(row, read), row, reconciled)


def stored_frame(record: Record, trust: Trust, read: ReadContent) -> Row | None:
    """Return the attestation whose stored frame stands where the frame cannot be rendered any more.

    Only a pinned reviewer's signature makes it one: anyone who can write rows can store a text.
    """
    kept = (row for row in record.kinds("attestation") if _keeps_frame(row, read))
    return next((row for row in kept if _is_signed(row, record, trust)), None)


def stored_text(row: Row, read: ReadContent) -> str:
    """Return the frame that an attestation keeps.

    Raises:
        VerificationError: It is not UTF-8, or holds what a frame would have escaped.
    """
    try:
        text: str | None = (read(row.data["frame_text"]) or b"").decode()
    except UnicodeDecodeError:
        text = None
    if text is None or has_unseen(text):
        raise VerificationError(
            f"row {row.id}: the frame that it keeps is no text that can be shown", hint="safeloop audit"
        )
    return text


def _keeps_frame(row: Row, read: ReadContent) -> bool:
    data = read(row.data["frame_text"])
    return data is not None and hashlib.sha256(data).hexdigest() == row.data["frame"]


def _is_signed(row: Row, record: Record, trust: Trust) -> bool:
    try:
        digests = parse_statement(row.data["statement"].encode()).digests
    except EncodingError:
        return False
    at = datetime.fromisoformat(row.at)
    return isinstance(check_claim(Claim(row.data, row.idx), record, digests, trust, at), PublicKey)
