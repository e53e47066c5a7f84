"""What rows charge to each hour, in SQLite: written in the transaction that adds the rows, and read by reservations."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from safeloop.ledger.charges import Held
from safeloop.ledger.store.database import translated

_HELD = "SELECT session, n, attempt, hour, tokens, microusd FROM held"


class StoredBook:
    """The tables `hour` and `held` of an open ledger file; see `charges.Book`.

    Args:
        connection: The file's.
        name: What messages call it.
    """

    def __init__(self, connection: sqlite3.Connection, name: Path | str) -> None:
        self._connection, self._name = connection, name

    def newest_hour(self) -> str:
        """Return the newest hour that any row has told of; empty if there is none."""
        with translated(self._name):
            found = self._connection.execute("SELECT max(hour) FROM hour").fetchone()[0]
        return "" if found is None else str(found)

    def charge(self, hour: str, tokens: int, microusd: int, sessions: int) -> None:
        """Add to an hour, which is made if it is new; less than nothing is given back."""
        with translated(self._name):
            self._connection.execute(
                "INSERT INTO hour (hour, tokens, microusd, sessions) VALUES (?, ?, ?, ?) ON CONFLICT (hour) DO UPDATE "
                "SET tokens = tokens + excluded.tokens, microusd = microusd + excluded.microusd, "
                "sessions = sessions + excluded.sessions", (hour, tokens, microusd, sessions),
            )

    def hold(self, held: Held) -> None:
        """Keep an open intent or an attempt in doubt, in place of what is kept of the same intent."""
        with translated(self._name):
            self._connection.execute(
                "INSERT OR REPLACE INTO held (session, n, attempt, hour, tokens, microusd) VALUES (?, ?, ?, ?, ?, ?)",
                (held.session, held.n, held.attempt, held.hour, held.tokens, held.microusd),
            )

    def found(self, session: str, n: int) -> Held | None:
        """Return what is kept of an intent, by its place or by that of its attempt in doubt."""
        return next(self._select("WHERE session = ? AND (n = ? OR attempt = ?)", session, n, n), None)

    def release(self, held: Held) -> None:
        """Keep it no longer."""
        with translated(self._name):
            self._connection.execute("DELETE FROM held WHERE session = ? AND n = ?", (held.session, held.n))

    def charged_since(self, begins: str) -> tuple[int, int, int]:
        """Return tokens, micro-dollars and sessions of all hours from one that begins so on."""
        sums = "SELECT coalesce(sum(tokens), 0), coalesce(sum(microusd), 0), coalesce(sum(sessions), 0) FROM hour"
        with translated(self._name):
            tokens, microusd, sessions = self._connection.execute(f"{sums} WHERE hour >= ?", (begins,)).fetchone()
        return tokens, microusd, sessions

    def open_since(self, begins: str) -> tuple[Held, ...]:
        """Return the open intents of all hours from one that begins so on."""
        return tuple(self._select("WHERE attempt IS NULL AND hour >= ?", begins))

    def doubts(self, session: str) -> tuple[Held, ...]:
        """Return a session's attempts in doubt."""
        return tuple(self._select("WHERE session = ? AND attempt IS NOT NULL", session))

    def charged_in(self, hour: str) -> tuple[Any, Any, Any] | None:
        """Return tokens, micro-dollars and sessions of one hour, whatever they are, if it is listed."""
        found = next(self._stream("SELECT tokens, microusd, sessions FROM hour WHERE hour = ?", hour), None)
        return None if found is None else (found[0], found[1], found[2])

    def hour_count(self) -> int:
        """Return how many hours are listed."""
        return int(next(self._stream("SELECT count(*) FROM hour"))[0])

    def everything_held(self) -> Iterator[tuple[Any, ...]]:
        """Yield what is kept of intents, by session and place, whatever it is."""
        return self._stream(f"{_HELD} ORDER BY session, n")

    def _select(self, where: str, *values: object) -> Iterator[Held]:
        return (Held(*found) for found in self._stream(f"{_HELD} {where}", *values))

    def _stream(self, sql: str, *values: object) -> Iterator[tuple[Any, ...]]:
        with translated(self._name):
            # Not `yield from`: that would close the cursor of a stream left early, perhaps after the file is closed.
            for found in self._connection.execute(sql, values):  # noqa: UP028
                yield found
