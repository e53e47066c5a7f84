"""What is reported: one session, verified as `review` verifies it, or a whole ledger, whatever an audit says of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.metadata import version
from itertools import islice
from typing import TYPE_CHECKING

from safeloop.errors import SettingError
from safeloop.review.framing.promise import find_session
from safeloop.review.framing.shown import show
from safeloop.review.reporting.evidence import ledger_data, session_data
from safeloop.review.reporting.ledger import ledger_body, overview
from safeloop.review.reporting.page import document
from safeloop.review.reporting.session import session_body

if TYPE_CHECKING:
    from datetime import datetime
    from pathlib import Path

    from safeloop.ledger.reader import LedgerReader
    from safeloop.ledger.trust import Trust
    from safeloop.review.auditing.verdict import AuditReport
    from safeloop.review.statistics import Statistics

MOST_ROWS = 25_000
"""Rows of one page, inclusive: a browser holds so many in a few seconds and some hundred megabytes."""

_ONE_SESSION = "safeloop report SESSION makes a page of one session"


@dataclass(frozen=True, slots=True)
class Report:
    """A page that is ready to be written.

    Attributes:
        session: The session that it is about; None for the whole ledger.
        rows: How many rows it has.
        pieces: Yields its bytes, once; the ledger must stay open meanwhile.
    """

    session: str | None
    rows: int
    pieces: Callable[[], Iterator[bytes]]


def session_report(
    reader: LedgerReader, trust: Trust, session: str, spec_db_path: Path, now: datetime
) -> Report:
    """Report one session; nothing is rendered of one that does not verify.

    Args:
        reader: The session's ledger, without a snapshot in progress.
        trust: The pinned keys.
        session: Its id.
        spec_db_path: Where a spec is looked for that the session's own ledger does not have.
        now: The time that the page states.

    Raises:
        SessionNotFoundError: No such session, or it lacks its spec or anything but its spec.
        NotAttested: It was opened and not closed, so that it has no frame.
        VerificationError: Something that was signed or committed does not hold.
        SettingError: More rows than a page holds.
    """
    record, spec = find_session(reader, trust, session, spec_db_path)
    _require_room(len(record.rows), f"session {session}", "safeloop review, safeloop log and safeloop audit read it")
    shown = show(record, spec, trust, reader.read_content)
    data = list(session_data(record, reader, trust))  # proved before anything is written

    def pieces() -> Iterator[bytes]:
        yield from document(f"safeloop report of session {session}", session_body(shown, _about(now)), data)

    return Report(session, len(record.rows), pieces)


def require_room(reader: LedgerReader) -> None:
    """Refuse a ledger that no page holds, before an audit of it is begun.

    Raises:
        SettingError: More rows than a page holds.
    """
    _require_room(sum(1 for _ in islice(reader.rows(), MOST_ROWS + 1)), str(reader.path), _ONE_SESSION, " or more")


def ledger_report(
    reader: LedgerReader, trust: Trust, audited: AuditReport, glance: Statistics | str, now: datetime
) -> Report:
    """Report a whole ledger, one that does not verify too: the page says what the audit said, at its head.

    Args:
        reader: The ledger, in a snapshot.
        trust: The pinned keys.
        audited: What an audit of the same ledger found.
        glance: Its figures, or why there are none.
        now: The time that the page states.

    Raises:
        SettingError: More rows than a page holds.
    """
    view = overview(reader, audited, glance, most_rows=MOST_ROWS)
    _require_room(view.rows, str(reader.path), _ONE_SESSION, " or more")

    def pieces() -> Iterator[bytes]:
        data = ledger_data(view.origin, trust, view.signatures, reader.nodes_of(0))
        yield from document(f"safeloop report of ledger {view.name}", ledger_body(reader, view, _about(now)), data)

    return Report(None, view.rows, pieces)


def _require_room(rows: int, what: str, hint: str, more: str = "") -> None:
    if rows > MOST_ROWS:
        raise SettingError(f"{what} has {rows:,} rows{more}, and a page holds {MOST_ROWS:,} at most", hint=hint)


def _about(now: datetime) -> str:
    return f"{now:%Y-%m-%dT%H:%M:%SZ} by safeloop {version('safeloop')}"
