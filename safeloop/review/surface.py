"""The review surface: load a session's frame, show it, and record what a named person says about it."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from safeloop.errors import SessionNotFoundError, VerificationError
from safeloop.ledger import Ledger, visible
from safeloop.ledger.keys import KeyFolder
from safeloop.ledger.merkle import consistency_proof, verify_consistency
from safeloop.ledger.note import verify_checkpoint
from safeloop.ledger.reader import LedgerReader
from safeloop.ledger.signers import as_armor
from safeloop.ledger.site import MEMORY
from safeloop.ledger.sshsig import PublicKey
from safeloop.ledger.store.contents import LEFT_BEHIND, content_path, left_behind
from safeloop.ledger.trust import Trust, load_trust
from safeloop.review.attesting import signing
from safeloop.review.attesting.attestation import AttestationResult, parse_statement
from safeloop.review.framing.facts import Commitment, ReadContent, check_form
from safeloop.review.framing.frame import ReviewFrame, frame_of
from safeloop.review.framing.promise import find_session
from safeloop.review.framing.shown import ShownFrame, show
from safeloop.review.record import Record, load_record

FilePath = str | os.PathLike[str]
Clock = Callable[[], datetime]


class ReviewSurface:
    """Reads sessions with pinned keys and records attestations.

    Args:
        spec_db_path: Where a spec is looked for that the session's own ledger does not have.
        ledger_db_path: Where the session is.
        trust: The trust folder, or what was read from it; None is `self` in the key folder.
        keys: The key folder; None is `SAFELOOP_KEYS`, else the XDG config folder.
        create: Make ledgers and keys where they are missing, as the tutorial does; False never makes any.
        clock: Returns the time, aware and in UTC.

    Raises:
        LedgerError: `create`, and there is no ledger to be had at a path.
    """

    def __init__(
        self,
        spec_db_path: FilePath = "ledger.db",
        ledger_db_path: FilePath = "ledger.db",
        *,
        trust: FilePath | Trust | None = None,
        keys: FilePath | KeyFolder | None = None,
        create: bool = True,
        clock: Clock = lambda: datetime.now(UTC),
    ) -> None:
        self.spec_db_path = spec_db_path
        self.ledger_db_path = ledger_db_path
        self._trust = trust
        self._keys = keys
        self._clock = clock
        if create:
            for path in dict.fromkeys((spec_db_path, ledger_db_path)):
                Ledger(path, keys=keys).close()

    def show(self, session_id: str) -> ShownFrame:
        """Verify a session and render its frame: the value to show, to hash and to sign.

        Raises:
            SessionNotFoundError: No such session, or it lacks its spec or anything but its spec.
            NotAttested: It was opened and not closed, so that it has no frame.
            VerificationError: Something that was signed or committed does not hold.
        """
        with self._reader(session_id) as reader:
            trust = self.trust()
            record, spec = find_session(reader, trust, session_id, self.spec_db_path)
            return show(record, spec, trust, _reading(reader))

    def load(self, session_id: str) -> ReviewFrame:
        """Return the five elements as values; raises as `show` does."""
        return frame_of(self.show(session_id).facts)

    def render(self, session_id: str) -> str:
        """Return the frame's exact text; raises as `show` does.

        Where content was erased, it is the stored frame of an earlier attestation, if there is one.
        """
        return self.show(session_id).text

    def attest(self, session_id: str, reviewer: str, notes: str = "") -> AttestationResult:
        """Record an unsigned accept, as the tutorial does. It counts for nothing at the gate.

        Args:
            session_id: The session, which must be closed.
            reviewer: Any name that is not empty.
            notes: At most 4,000 UTF-8 bytes.

        Raises:
            SettingError: No name, or notes that cannot be kept.
            NotAttested: The session is not closed, content was erased, or a row after the cut voids the frame.
        """
        shown = self.show(session_id)
        stated = self.state(shown, "accept", reviewer, notes)
        with self._ledger() as ledger:
            return signing.attest_unsigned(ledger, shown, stated)

    def state(self, shown: ShownFrame, decision: str, reviewer: str, notes: str = "") -> bytes:
        """Return the exact statement to be signed; raises as `signing.state` does."""
        return signing.state(shown, decision, reviewer, notes, self._clock())

    def require_eligible(self, shown: ShownFrame, reviewer: str, key: PublicKey) -> None:
        """Refuse a reviewer and a key that can never count; raises as `signing.require_eligible` does."""
        signing.require_eligible(shown, reviewer, key, self.trust(), self._clock())

    def attest_signed(
        self, shown: ShownFrame, decision: str, reviewer: str, notes: str = "", *, sign: signing.Sign
    ) -> AttestationResult:
        """Sign the frame that was shown, and record it; raises as `signing.state` and `signing.attest_signed` do."""
        stated = self.state(shown, decision, reviewer, notes)
        with self._ledger() as ledger:
            return signing.attest_signed(ledger, shown, stated, sign, self.trust(), self._clock())

    def export_statement(
        self, shown: ShownFrame, decision: str, reviewer: str, notes: str = "", *, to: FilePath
    ) -> tuple[Path, ...]:
        """Write statement and subjects for a signature made elsewhere; raises as `signing.export` does."""
        return signing.export(shown, self.state(shown, decision, reviewer, notes), Path(to))

    def attest_with_signature(self, stated: bytes, signature: bytes) -> AttestationResult:
        """Record a signature that was made elsewhere over an exported statement.

        Args:
            stated: `statement.json` as it was exported.
            signature: The armored signature file.

        Raises:
            EncodingError: One of them is not what it should be.
            NotAttested: The statement is not about the frame as it is now, or the signature counts for nothing.
            VerificationError: The statement's checkpoint is not of this ledger's history.
        """
        found, armored = parse_statement(stated), as_armor(signature)
        shown = self.show(found.session)
        self._check_history(found.checkpoint, shown.record)
        with self._ledger() as ledger:
            return signing.attest_signed(ledger, shown, stated, lambda _: armored, self.trust(), self._clock())

    def get_attestations(self, session_id: str) -> list[AttestationResult]:
        """Return the attestations of a session, signed or not, oldest first; none if it is unknown.

        Raises:
            VerificationError: Something that was signed does not hold.
        """
        try:
            with self._reader(session_id) as reader:
                record = load_record(reader, self.trust(), session_id)
        except SessionNotFoundError:
            return []
        rows = record.kinds("attestation")
        for row in rows:
            check_form(row)
        return [AttestationResult.of(row) for row in rows]

    def trust(self) -> Trust:
        """Return the pinned keys as they are now.

        Raises:
            KeyUnusable: The trust folder is missing, or a file of it is not understood.
        """
        if isinstance(self._trust, Trust):
            return self._trust
        return load_trust(KeyFolder.of(self._keys).self_trust if self._trust is None else Path(self._trust))

    @contextmanager
    def _reader(self, session_id: str) -> Iterator[LedgerReader]:
        if self.ledger_db_path == MEMORY:
            raise SessionNotFoundError(
                f"session {visible(session_id, 60)} cannot be in a ledger in memory that nothing else can read",
                hint="keep the ledger in a file",
            )
        with LedgerReader(self.ledger_db_path) as reader:
            yield reader

    @contextmanager
    def _ledger(self) -> Iterator[Ledger]:
        ledger = Ledger(self.ledger_db_path, keys=self._keys, create=False, clock=self._clock)
        try:
            yield ledger
        finally:
            ledger.close()

    def _check_history(self, note: str, record: Record) -> None:
        """Check that a checkpoint from elsewhere is an earlier head of this ledger."""
        earlier = verify_checkpoint(note, self.trust().log_for(record.ledger, note))
        with LedgerReader(self.ledger_db_path) as reader:
            proof = consistency_proof(earlier.size, record.head.size, reader.node)
        verify_consistency(earlier.size, record.head.size, proof, earlier.root, record.head.root)


def _reading(reader: LedgerReader) -> ReadContent:
    """Read content, and tell a ledger that was moved without its content from one that lacks a piece of it."""

    def read(commitment: Commitment) -> bytes | None:
        data = reader.read_content(commitment)
        path = content_path(reader.path)
        if data is None and not path.exists():
            raise VerificationError(left_behind(path), hint=LEFT_BEHIND)
        return data

    return read
