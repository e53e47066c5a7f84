"""What is reported: one session, verified as `review` verifies it, or a whole ledger, whatever an audit says of it."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from importlib.metadata import version
from typing import TYPE_CHECKING

from safeloop.errors import SettingError
from safeloop.ledger.visible import moment_text
from safeloop.review.auditing.audit import audit
from safeloop.review.framing.promise import find_session
from safeloop.review.framing.shown import show
from safeloop.review.reporting.evidence import ledger_data, session_data
from safeloop.review.reporting.ledger import glance_at, ledger_body, overview
from safeloop.review.reporting.page import document
from safeloop.review.reporting.session import session_body

if TYPE_CHECKING:
    from datetime import datetime
    from pathlib import Path

    from safeloop.ledger.reader import LedgerReader
    from safeloop.ledger.state import State
    from safeloop.ledger.trust import Trust

MOST_ROWS = 25_000
"""Rows of one page, inclusive: a browser holds so many in a few seconds and some hundred megabytes."""
MOST_BYTES = 50_000_000
"""Bytes of all bodies of one page, inclusive, for the same reason."""
MOST_FRAME_BYTES = 10_000_000
"""Bytes of a frame, inclusive: a browser lays out so long a text in some ten seconds."""

_IN_A_TERMINAL = "safeloop review, safeloop log and safeloop audit read it"
_ONE_SESSION = "safeloop report SESSION makes a page of one session"


@dataclass(frozen=True, slots=True)
class Report:
    """A page that is ready to be written.

    Attributes:
        session: The session that it is about; None for the whole ledger.
        rows: How many rows it has.
        holds: False for a ledger that fails its audit, as the page says.
        pieces: Yields its bytes, once; the ledger must stay open meanwhile.
    """

    session: str | None
    rows: int
    holds: bool
    pieces: Callable[[], Iterator[bytes]]


class Digested:
    """Hands pieces on, once, and digests them as they pass."""

    def __init__(self, pieces: Iterable[bytes]) -> None:
        self._pieces = pieces
        self._digest = hashlib.sha256()

    def __iter__(self) -> Iterator[bytes]:
        for piece in self._pieces:
            self._digest.update(piece)
            yield piece

    @property
    def sha256(self) -> str:
        """The digest of what has passed, in hex."""
        return self._digest.hexdigest()


def session_report(
    reader: LedgerReader, trust: Trust, session: str, spec_db_path: Path, now: datetime
) -> Report:
    """Report one session; nothing is rendered of one that does not verify.

    Args:
        reader: The session's ledger.
        trust: The pinned keys.
        session: Its id.
        spec_db_path: Where a spec is looked for that the session's own ledger does not have.
        now: The time that the page states.

    Raises:
        SessionNotFoundError: No such session, or it lacks its spec or anything but its spec.
        NotAttested: It was opened and not closed, so that it has no frame.
        VerificationError: Something that was signed or committed does not hold.
        SettingError: More rows, bytes of bodies, or bytes of a frame than a page holds.
    """
    record, spec = find_session(reader, trust, session, spec_db_path)
    what = f"session {session}"
    _require_room([row.body for row in record.rows], what, _IN_A_TERMINAL)
    shown = show(record, spec, trust, reader.read_content)
    if (size := len(shown.text.encode())) > MOST_FRAME_BYTES:
        raise SettingError(f"the frame of {what} has {size:,} bytes, and a page holds {MOST_FRAME_BYTES:,} at most",
                           hint=_IN_A_TERMINAL)
    data = list(session_data(record, reader, trust))  # proved before anything is written

    def pieces() -> Iterator[bytes]:
        yield from document(f"safeloop report of session {session}", session_body(shown, _about(now)), data)

    return Report(session, len(record.rows), holds=True, pieces=pieces)


@contextlib.contextmanager
def ledger_report(
    reader: LedgerReader, trust: Trust, state: State | None, now: datetime, *, processes: int = 1
) -> Iterator[Report]:
    """Audit a whole ledger and report it, one that does not verify too: the page says at its head what was found.

    Verdict, figures and rows are of one state of the ledger, which is held until the page is written.

    Args:
        reader: The ledger.
        trust: The pinned keys.
        state: As for `audit`: read before this is called.
        now: The time that the page states.
        processes: How many judge rows.

    Raises:
        SettingError: More rows or bytes of bodies than a page holds; nothing is audited then.
    """
    with reader.snapshot():
        _require_room((body for _, body, _ in reader.rows()), str(reader.path), _ONE_SESSION, " or more")
        audited = audit(reader, trust, state=state, processes=processes)
        view = overview(reader, audited, glance_at(reader, now))

        def pieces() -> Iterator[bytes]:
            data = ledger_data(view.origin, trust, view.signatures, reader.nodes_of(0))
            yield from document(f"safeloop report of ledger {view.name}", ledger_body(reader, view, _about(now)), data)

        yield Report(None, view.rows, holds=not audited.findings, pieces=pieces)


def _require_room(bodies: Iterable[object], what: str, hint: str, more: str = "") -> None:
    rows = size = 0
    for body in bodies:
        rows += 1
        size += len(body) if isinstance(body, (bytes, str)) else 0
        if size > MOST_BYTES:
            raise SettingError(f"{what} has bodies of more than the {MOST_BYTES:,} bytes that a page holds", hint=hint)
        if rows > MOST_ROWS and more:
            break  # of a ledger they are not counted to the end
    if rows > MOST_ROWS:
        raise SettingError(f"{what} has {rows:,} rows{more}, and a page holds {MOST_ROWS:,} at most", hint=hint)


def _about(now: datetime) -> str:
    return f"{moment_text(now)} by safeloop {version('safeloop')}"
