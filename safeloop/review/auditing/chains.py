"""Sessions as their rows tell them: each row follows the one before, and a session is opened once, on its own spec.

Pure, and fed row by row. It keeps one small packed record per session, never a row: memory grows with the number of
sessions, by some 200 bytes each, and with the number of rows that are damaged.

A damaged row must not condemn its neighbours. What followed it cannot be judged by its `prev`; it is taken to follow
if it names a leaf that is known to be lost, or comes right after a place that a damaged row claims.
"""

from __future__ import annotations

import re
import struct
import uuid
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Protocol

from safeloop.ledger import Row
from safeloop.ledger.rows import LEDGER_SESSION, NO_ROW

_FIRST = bytes.fromhex(NO_ROW)
_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\Z")

SessionKey = bytes | str
"""A session as it is remembered, where there may be millions."""

TELLING = ("open", "spec")
"""Kinds that say more of a session than that it goes on."""

_OPENED = 1  # it has an `open` row
_PROMISE = 2  # it has `spec` rows and nothing else
_BROKEN = 4  # a row before one of its rows is not here or does not count: it may have been the `open` row
_RECORD = struct.Struct("<Q32sB")  # the next row's `n`, the last row's leaf, and these marks
_NEW = _RECORD.pack(0, _FIRST, _PROMISE)


class Link(Protocol):
    """What of a row joins it to its session; `prev` and `leaf` are hex."""

    @property
    def kind(self) -> str:
        """As in `Row`, and so are the others."""

    @property
    def n(self) -> int:
        """The place in the session."""

    @property
    def prev(self) -> str:
        """The leaf before it in the session."""

    @property
    def session(self) -> str:
        """The session's id."""

    @property
    def leaf(self) -> str:
        """Its own leaf."""


@dataclass(slots=True)
class _Run:
    """Rows of one session, each following the one before, up to this `n` and leaf; all `spec` rows if a promise."""

    first: Row
    n: int
    leaf: str
    is_promise: bool


class Chains:
    """All sessions of a ledger, as far as they have been read."""

    def __init__(self) -> None:
        self._sessions: dict[SessionKey, bytes] = {}
        self._specs: dict[SessionKey, tuple[bytes, ...]] = {}  # leaves of `spec` rows of sessions not opened yet
        self._lost: set[bytes] = set()
        self._damaged: dict[str, set[int]] = {}

    def lose(self, leaves: Iterable[bytes]) -> None:
        """Take note of leaves whose rows are not here, or cannot be read as rows."""
        self._lost.update(leaves)

    def damage(self, row: Row) -> None:
        """Take note of the place that a row claims whose word does not count."""
        self._damaged.setdefault(row.session, set()).add(row.n)

    def follow(self, row: Link, *, in_place: bool) -> str:
        """Add a row; return why it does not follow its session's rows, or nothing.

        Args:
            row: A row whose signature holds, or is not asked for.
            in_place: False if another leaf is known to belong at its position: then it moves the chain only if
                it follows.
        """
        key = session_key(row.session)
        size, leaf, marks = _RECORD.unpack(self._sessions.get(key, _NEW))
        if row.kind != "spec":
            marks &= ~_PROMISE
        words = ""
        prev = bytes.fromhex(row.prev)
        if row.n != size or prev != leaf:
            marks |= _BROKEN
            words = self._breach(row, prev, size)
        if not words or (in_place and row.n >= size):
            size, leaf = row.n + 1, bytes.fromhex(row.leaf)
        self._sessions[key] = _RECORD.pack(size, leaf, marks)
        return words

    def follow_all(self, rows: Iterable[Row]) -> bool:
        """Add rows in whose order there is no doubt, all in place; False, and none is added, if one must be looked at.

        Each session among them is looked up once, however many of its rows there are.
        """
        runs = _runs(rows)
        if not all(self.follows(run.first.session, run.first.n, bytes.fromhex(run.first.prev)) for run in runs):
            return False
        for run in runs:
            self.advance(run.first.session, run.n, bytes.fromhex(run.leaf), is_promise=run.is_promise)
        return bool(runs)

    def follows(self, session: str, n: int, prev: bytes) -> bool:
        """Say whether a row would follow its session's rows without any doubt."""
        record = self._sessions.get(session_key(session), _NEW)
        return record.startswith(_RECORD.pack(n, prev, 0)[:-1])

    def advance(self, session: str, n: int, leaf: bytes, *, is_promise: bool = True) -> None:
        """Take in that a session has gone on, each row after the other, to a row with this `n` and this leaf.

        Args:
            session: Its id.
            n: Of the last row.
            leaf: Of the last row.
            is_promise: All of these rows are `spec` rows, or it is not asked for promises.
        """
        key = session_key(session)
        marks = _RECORD.unpack(self._sessions.get(key, _NEW))[2]
        self._sessions[key] = _RECORD.pack(n + 1, leaf, marks if is_promise else marks & ~_PROMISE)

    def _breach(self, row: Link, prev: bytes, size: int) -> str:
        if row.n >= size and (prev in self._lost or row.n - 1 in self._damaged.get(row.session, ())):
            return ""
        if row.n != size:
            return f"is n {row.n} of session {row.session}, where n {size} should follow"
        return f"its prev {row.prev[:8]} is not the leaf of the row before it in session {row.session}"

    def tell(self, row: Row) -> str:
        """Take in what a row says of its session; return why an `open` row is not right, or nothing.

        Args:
            row: One that `follow` was given, and whose data has the form of its kind.
        """
        if row.kind not in TELLING:
            return ""
        key = session_key(row.session)
        size, leaf, marks = _RECORD.unpack(self._sessions[key])
        if row.kind == "spec":
            if not marks & _OPENED:
                self._specs[key] = (*self._specs.get(key, ()), bytes.fromhex(row.leaf))
            return ""
        spec, specs = bytes.fromhex(row.data["spec"]), self._specs.pop(key, ())
        self._sessions[key] = _RECORD.pack(size, leaf, marks | _OPENED)
        if marks & _OPENED:
            return f"opens session {row.session} a second time"
        if spec in specs or spec in self._lost or row.session in self._damaged:
            return ""
        return f"opens session {row.session} on a spec row that the session does not have"

    def ungoverned(self) -> Iterator[str]:
        """Yield the sessions that no loop opened, in the order of their first rows.

        A mere promise is not one, nor is a session of which a row is damaged: it may have been the `open` row.
        """
        for key, record in self._sessions.items():
            if not record[-1] & (_OPENED | _PROMISE | _BROKEN):
                name = _name(key)
                if name != LEDGER_SESSION and name not in self._damaged:
                    yield name

    def promises(self) -> int:
        """Return how many sessions are specified and have not run."""
        return sum(bool(record[-1] & _PROMISE) for record in self._sessions.values())


def _runs(rows: Iterable[Row]) -> Collection[_Run]:
    """Return the rows as runs, one for each session; none if any of them does not follow the one before it."""
    runs: dict[str, _Run] = {}
    for row in rows:
        _, _, _, _, _, kind, _, n, prev, session, _, leaf = row
        run = runs.get(session)
        if run is None:
            runs[session] = _Run(row, n, leaf, kind == "spec")
        elif n == run.n + 1 and prev == run.leaf:
            run.n, run.leaf = n, leaf
            if run.is_promise:
                run.is_promise = kind == "spec"
        else:
            return ()
    return runs.values()


@lru_cache(maxsize=1_024)
def session_key(session: str) -> SessionKey:
    """Return a session's id as it is kept: a UUID in 16 bytes, any other as it is."""
    return bytes.fromhex(session.replace("-", "")) if _UUID.match(session) else session


def _name(key: SessionKey) -> str:
    return key if isinstance(key, str) else str(uuid.UUID(bytes=key))
