"""A session's rows, verified: what frame, gate and release stand on.

One pass over the stored bytes: the whole tree is computed again and compared with the head, so that no row can be
missing or changed; the session's own rows are parsed, and their signatures and chain checked, with pinned keys.
"""

from __future__ import annotations

from dataclasses import dataclass

from safeloop.errors import SessionNotFoundError, SignatureMismatch, VerificationError
from safeloop.ledger import Row, ed25519, seal
from safeloop.ledger.merkle import Frontier
from safeloop.ledger.note import Checkpoint, verify_checkpoint
from safeloop.ledger.reader import LedgerReader
from safeloop.ledger.rows import LEDGER_SESSION, NO_ROW, is_session_id, parse_row
from safeloop.ledger.trust import Trust

_AUDIT = "safeloop audit says which rows stand"
_RECONCILE = b'"kind":"reconcile"'


@dataclass(frozen=True, slots=True)
class Record:
    """A session as a pinned log and pinned writers vouch for it.

    Attributes:
        ledger: The origin.
        rows: The session's rows in order; at least one.
        head: The checkpoint that they were checked against.
        note: That checkpoint, signed.
        reconciled: Rows of session `ledger` that compared a bill since the session began; their place in the tree is
            checked, their signatures are not.
    """

    ledger: str
    session: str
    rows: tuple[Row, ...]
    head: Checkpoint
    note: str
    reconciled: tuple[Row, ...] = ()

    def kinds(self, *kinds: str) -> tuple[Row, ...]:
        """Return the rows of these kinds, in order."""
        return tuple(row for row in self.rows if row.kind in kinds)

    @property
    def governed(self) -> bool:
        """Whether a loop opened the session; rows written by hand are never releasable."""
        return any(row.kind == "open" for row in self.rows)


def load_record(reader: LedgerReader, trust: Trust, session: str) -> Record:
    """Read and verify one session.

    Raises:
        SessionNotFoundError: The ledger has no row of this session.
        VerificationError: The schema, the head, the tree, or a row of the session does not hold.
        KeyUnusable: The trust folder pins no log of this origin.
    """
    if not is_session_id(session):
        raise SessionNotFoundError(f"{session[:60]!a} cannot be a session's id", hint="safeloop inbox")
    with reader.snapshot():
        if not reader.schema_is_intact():
            raise VerificationError(f"{reader.path}: the schema is not the format's", hint=_AUDIT)
        note = reader.head() or ""
        head = verify_checkpoint(note, trust.log_for(reader.origin(), note))
        rows, reconciled = _session_rows(reader, head, session)
    if not rows:
        raise SessionNotFoundError(f"no session {session} in {reader.path}", hint="safeloop inbox, or safeloop log")
    _check_chain(rows, head.origin)
    for row in rows:
        check_signature(row, trust)
    return Record(head.origin, session, rows, head, note, tuple(row for row in reconciled if row.idx > rows[0].idx))


def check_signature(row: Row, trust: Trust) -> None:
    """Check one row under the pinned writers.

    Raises:
        SignatureMismatch: Its writer is not pinned, was revoked before it, or did not sign it.
    """
    name = f"row {row.id}"
    writer = trust.writer(row.writer)
    if writer is None:
        raise SignatureMismatch(f"{name}: writer {row.writer[:8]} is not pinned in {trust.path}", hint=_AUDIT)
    revoked = trust.revoked_from(row.writer, row.ledger)
    if revoked is not None and row.idx >= revoked:
        raise SignatureMismatch(f"{name}: writer {row.writer[:8]} was revoked from row {revoked + 1} on", hint=_AUDIT)
    if not ed25519.verify(writer.raw, row.sig, seal.pae(row.body)):
        raise SignatureMismatch(f"{name}: signature does not verify under writer {row.writer[:8]}", hint=_AUDIT)


def _session_rows(reader: LedgerReader, head: Checkpoint, session: str) -> tuple[tuple[Row, ...], tuple[Row, ...]]:
    """Compute the tree over every row; parse those that may be the session's, and those that compared a bill."""
    needle = b'"session":"%s"' % session.encode("ascii")
    frontier = Frontier()
    rows = []
    for idx, body, signature in reader.rows():
        if idx != frontier.size:
            raise VerificationError(f"row {frontier.size + 1} is missing", hint=_AUDIT)
        frontier.append(seal.leaf(body, signature))
        if needle in body or _RECONCILE in body:
            rows.append(_parsed(idx, body, signature))
    if frontier.size != head.size or frontier.root() != head.root:
        raise VerificationError(
            f"the {frontier.size} rows of {reader.path} are not the {head.size} that its head signs", hint=_AUDIT
        )
    reconciled = tuple(row for row in rows if (row.kind, row.session) == ("reconcile", LEDGER_SESSION))
    return tuple(row for row in rows if row.session == session), reconciled


def _parsed(idx: int, body: bytes, signature: bytes) -> Row:
    try:
        return parse_row(idx, body, signature)
    except VerificationError as error:
        raise VerificationError(f"row {idx + 1}: {error}", hint=_AUDIT) from None


def _check_chain(rows: tuple[Row, ...], origin: str) -> None:
    prev = NO_ROW
    for n, row in enumerate(rows):
        if row.ledger != origin:
            raise VerificationError(f"row {row.id} is of ledger {row.ledger}, not of {origin}", hint=_AUDIT)
        if row.n != n or row.prev != prev:
            raise VerificationError(f"row {row.id} does not follow the session's row before it", hint=_AUDIT)
        prev = row.leaf
