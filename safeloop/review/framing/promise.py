"""A session and its promise: the rows that were verified, and the spec that they are held against."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from safeloop.errors import NotAttested, SessionNotFoundError, VerificationError
from safeloop.ledger.reader import LedgerReader
from safeloop.ledger.site import MEMORY, real_path
from safeloop.review.cut import cut_of, rows_to_cut
from safeloop.review.record import Record, load_record
from safeloop.spec import SpecResult, from_row

if TYPE_CHECKING:
    from safeloop.ledger import Row
    from safeloop.ledger.trust import Trust

FilePath = str | os.PathLike[str]


def find_session(
    reader: LedgerReader, trust: Trust, session_id: str, spec_db_path: FilePath
) -> tuple[Record, SpecResult]:
    """Verify a session and find its spec: the row that the loop bound, else the newest, else another ledger's.

    Args:
        reader: The session's ledger.
        trust: The pinned keys, for both ledgers.
        session_id: The session.
        spec_db_path: The ledger where a spec is looked for that this one does not have.

    Raises:
        SessionNotFoundError: No such session, or it lacks its spec or anything but its spec.
        NotAttested: It was opened and not closed.
        VerificationError: Something that was signed does not hold.
    """
    try:
        record = load_record(reader, trust, session_id)
    except SessionNotFoundError:
        if _other_spec(reader, trust, session_id, spec_db_path) is None:
            raise
        raise _has_not_run(session_id) from None
    if all(row.kind == "spec" for row in record.rows):
        raise _has_not_run(session_id)
    row = _spec_row(record) or _other_spec(reader, trust, session_id, spec_db_path)
    if row is None:
        raise SessionNotFoundError(
            f"session {session_id} has rows, but no spec in {reader.path} or {spec_db_path}",
            hint="name the ledger that has its spec",
        )
    return record, from_row(session_id, row.data)


def require_cut(record: Record) -> Row:
    """Return the row at the cut.

    Raises:
        NotAttested: The session was opened and not closed.
    """
    cut = cut_of(record.rows)
    if cut is None:
        raise NotAttested(
            f"session {record.session} was opened and not closed: it has no frame yet",
            hint=f"safeloop resume {record.session} goes on with it, safeloop close {record.session} ends it",
        )
    return cut


def _spec_row(record: Record) -> Row | None:
    """Return the spec in the session's own ledger."""
    specs = [row for row in rows_to_cut(record.rows, require_cut(record)) if row.kind == "spec"]
    opened = record.kinds("open")
    if not opened:
        return specs[-1] if specs else None
    bound = next((row for row in specs if row.leaf == opened[0].data.get("spec")), None)
    if bound is None:
        raise VerificationError(f"row {opened[0].id} binds a spec that its session does not have",
                                hint="safeloop audit says which rows stand")
    return bound


def _other_spec(reader: LedgerReader, trust: Trust, session_id: str, spec_db_path: FilePath) -> Row | None:
    """Return the newest spec row of the other ledger, if there is another; verified in the same way."""
    if spec_db_path == MEMORY or real_path(spec_db_path) == reader.path:
        return None
    try:
        with LedgerReader(spec_db_path) as other:
            specs = load_record(other, trust, session_id).kinds("spec")
    except SessionNotFoundError:
        return None
    return specs[-1] if specs else None


def _has_not_run(session_id: str) -> SessionNotFoundError:
    return SessionNotFoundError(f"session {session_id} has a spec and no other row: it has not run",
                                hint=f"safeloop run {session_id}")
