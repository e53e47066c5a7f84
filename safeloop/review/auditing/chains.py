"""Sessions as their rows tell them: each row follows the one before, and a session is opened once, on its own spec.

Pure, and fed row by row. It keeps one small record per session, never a row: memory grows with the number of
sessions, and with the number of rows that are damaged.

A damaged row must not condemn its neighbours. What followed it cannot be judged by its `prev`; it is taken to follow
if it names a leaf that is known to be lost, or comes right after a place that a damaged row claims.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from safeloop.ledger import Row
from safeloop.ledger.rows import LEDGER_SESSION, NO_ROW

_FIRST = bytes.fromhex(NO_ROW)


@dataclass(slots=True)
class _Session:
    """What is kept of a session.

    Attributes:
        size: The next row's `n`.
        leaf: The last row's leaf.
        specs: Leaves of its `spec` rows, until it is opened.
        is_opened: It has an `open` row.
        is_promise: It has `spec` rows and nothing else.
        is_broken: A row before one of its rows is not here or does not count: it may have been the `open` row.
    """

    size: int = 0
    leaf: bytes = _FIRST
    specs: tuple[bytes, ...] = ()
    is_opened: bool = False
    is_promise: bool = True
    is_broken: bool = False


class Chains:
    """All sessions of a ledger, as far as they have been read."""

    def __init__(self) -> None:
        self._sessions: dict[str, _Session] = {}
        self._lost: set[bytes] = set()
        self._damaged: dict[str, set[int]] = {}

    def lose(self, leaves: Iterable[bytes]) -> None:
        """Take note of leaves whose rows are not here, or cannot be read as rows."""
        self._lost.update(leaves)

    def damage(self, row: Row) -> None:
        """Take note of the place that a row claims whose word does not count."""
        self._damaged.setdefault(row.session, set()).add(row.n)

    def follow(self, row: Row, *, in_place: bool) -> str:
        """Add a row; return why it does not follow its session's rows, or nothing.

        Args:
            row: A row whose signature holds.
            in_place: False if another leaf is known to belong at its position: then it moves the chain only if
                it follows.
        """
        session = self._sessions.setdefault(row.session, _Session())
        session.is_promise = session.is_promise and row.kind == "spec"
        words = self._breach(row, session)
        if not words or (in_place and row.n >= session.size):
            session.size, session.leaf = row.n + 1, bytes.fromhex(row.leaf)
        return words

    def _breach(self, row: Row, session: _Session) -> str:
        prev = bytes.fromhex(row.prev)
        if (row.n, prev) == (session.size, session.leaf):
            return ""
        session.is_broken = True
        if row.n >= session.size and (prev in self._lost or row.n - 1 in self._damaged.get(row.session, ())):
            return ""
        if row.n != session.size:
            return f"is n {row.n} of session {row.session}, where n {session.size} should follow"
        return f"its prev {row.prev[:8]} is not the leaf of the row before it in session {row.session}"

    def tell(self, row: Row) -> str:
        """Take in what a row says of its session; return why an `open` row is not right, or nothing.

        Args:
            row: One that `follow` was given, and whose data has the form of its kind.
        """
        session = self._sessions[row.session]
        if row.kind == "spec" and not session.is_opened:
            session.specs += (bytes.fromhex(row.leaf),)
        if row.kind != "open":
            return ""
        spec = bytes.fromhex(row.data["spec"])
        words = ""
        if session.is_opened:
            words = f"opens session {row.session} a second time"
        elif not (spec in session.specs or spec in self._lost or row.session in self._damaged):
            words = f"opens session {row.session} on a spec row that the session does not have"
        session.is_opened, session.specs = True, ()
        return words

    def ungoverned(self) -> tuple[str, ...]:
        """Return the sessions that no loop opened, in the order of their first rows.

        A mere promise is not one, nor is a session of which a row is damaged: it may have been the `open` row.
        """
        return tuple(
            name for name, session in self._sessions.items()
            if not (session.is_opened or session.is_promise or session.is_broken)
            and name != LEDGER_SESSION and name not in self._damaged
        )

    def promises(self) -> int:
        """Return how many sessions are specified and have not run."""
        return sum(session.is_promise for session in self._sessions.values())
