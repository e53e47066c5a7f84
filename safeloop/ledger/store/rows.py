"""Rows, tree and head in SQLite: few verbs, and every one of them inside the caller's transaction."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from safeloop.errors import LedgerError
from safeloop.ledger.merkle import Node
from safeloop.ledger.store import database, schema

StoredRow = tuple[int, bytes, bytes]

# What judges may read: position, the stored bytes, the signature. Never a generated column or a view.
_STORED = "SELECT idx, CAST(body AS BLOB), sig FROM row"

# By index: the rows that a search in it does not find, and the number of its entries.
_INDEXES = (
    (
        "row_session",
        "SELECT idx FROM row AS t NOT INDEXED WHERE NOT EXISTS (SELECT 1 FROM row AS i INDEXED BY row_session "
        "WHERE i.session_id IS t.session_id AND i.n IS t.n AND i.idx = t.idx)",
        "SELECT coalesce(sum(1), 0) FROM row INDEXED BY row_session",
    ),
    (
        "row_kind",
        "SELECT idx FROM row AS t NOT INDEXED WHERE NOT EXISTS (SELECT 1 FROM row AS i INDEXED BY row_kind "
        "WHERE i.kind IS t.kind AND i.idx = t.idx)",
        "SELECT coalesce(sum(1), 0) FROM row INDEXED BY row_kind",
    ),
)


class RowStore:
    """An open ledger file.

    Args:
        path: Where it lies; None keeps it in memory.
        read_only: Never change the file.
        timeout_s: How long to wait for another program's lock.
    """

    def __init__(
        self, path: Path | None, *, read_only: bool = False, timeout_s: float = database.BUSY_TIMEOUT_S
    ) -> None:
        self.path = path
        self._name: Path | str = path or ":memory:"
        if path is None:
            self._connection = database.connect_memory()
            for statement in schema.STATEMENTS:
                self._connection.execute(statement)
        else:
            database.check_file(path)
            if not read_only:
                self._connection = database.connect(path, timeout_s)
                return
            self._connection = database.connect_read_only(path)
            try:
                database.check_ours(path, self._connection)
            except LedgerError:
                self._connection.close()
                raise

    def close(self) -> None:
        """Close the file; the last connection folds the write-ahead log into it."""
        self._connection.close()

    @contextlib.contextmanager
    def transaction(self) -> Iterator[None]:
        """Hold the write lock; commit at the end, or roll back if anything is raised."""
        try:
            with database.translated(self._name):
                self._connection.execute("BEGIN IMMEDIATE")
            yield
            with database.translated(self._name):
                self._connection.execute("COMMIT")
        except BaseException:
            self._roll_back()
            raise

    @contextlib.contextmanager
    def snapshot(self) -> Iterator[None]:
        """Read one state of the file, whatever others write meanwhile."""
        try:
            with database.translated(self._name):
                self._connection.execute("BEGIN")
            yield
        finally:
            self._roll_back()

    def data_version(self) -> int:
        """Return a number that changes when another connection has committed."""
        return int(self._one("PRAGMA data_version")[0])

    def schema(self) -> tuple[str, ...]:
        """Return the statements that made the file, in order, for comparison with `schema.STATEMENTS`."""
        with database.translated(self._name):
            found = self._connection.execute("SELECT sql FROM sqlite_master WHERE sql IS NOT NULL ORDER BY rowid")
            return tuple(sql for (sql,) in found)

    def size(self) -> int:
        """Return one more than the last row's position."""
        return int(self._one("SELECT coalesce(max(idx), -1) + 1 FROM row")[0])

    def head(self) -> str | None:
        """Return the signed note of the head, or None if the file has none."""
        found = self._one("SELECT note FROM head WHERE id = 0")
        return None if found is None else str(found[0])

    def node(self, level: int, index: int) -> bytes:
        """Return a stored hash of the tree.

        Raises:
            LedgerError: It is missing or not 32 bytes.
        """
        found = self._one("SELECT hash FROM node WHERE level = ? AND idx = ?", level, index)
        if found is None or not isinstance(found[0], bytes) or len(found[0]) != 32:
            raise LedgerError(
                f"{self._name}: the tree lacks the hash of level {level}, index {index}", hint="safeloop audit"
            )
        return found[0]

    def nodes(self) -> Iterator[tuple[int, int, object]]:
        """Yield every stored hash as (level, index, hash), by level."""
        return self._stream("SELECT level, idx, hash FROM node ORDER BY level, idx")

    def nodes_of(self, level: int) -> Iterator[tuple[int, object]]:
        """Yield the stored hashes of one level as (index, hash); several levels may be read side by side."""
        return self._stream("SELECT idx, hash FROM node WHERE level = ? ORDER BY idx", level)

    def node_count(self) -> int:
        """Return how many hashes are stored, at whatever level."""
        return int(self._one("SELECT count(*) FROM node")[0])

    def tables(self) -> frozenset[str]:
        """Return the names of what really is a table: a view may have a table's name, and no end."""
        with database.translated(self._name):
            found = self._connection.execute("PRAGMA main.table_list").fetchall()
            return frozenset(name for _, name, kind, *_ in found if kind == "table")

    def index_faults(self) -> Iterator[tuple[str, int | None]]:
        """Yield (index, row) for rows that an index does not lead to; (index, None) if it lists others than these.

        An index in which a search finds every row, and which has no more entries than that, is whole and sorted.
        The entries are summed, because SQLite answers a bare count(*) from whichever index is smallest.
        """
        total = self._one("SELECT count(*) FROM row NOT INDEXED")[0]
        for index, hidden, listed in _INDEXES:
            yield from ((index, idx) for (idx,) in self._stream(hidden))
            if self._one(listed)[0] != total:
                yield index, None

    def rows(self) -> Iterator[StoredRow]:
        """Yield every row by position, as its stored bytes."""
        return self._stream(f"{_STORED} ORDER BY idx")

    def rows_of(self, session: str, after: int = -1) -> Iterator[StoredRow]:
        """Yield a session's rows after a position, found by an index: quick, and no judge's evidence."""
        return self._stream(f"{_STORED} WHERE session_id = ? AND idx > ? ORDER BY idx", session, after)

    def rows_of_kinds(self, kinds: tuple[str, ...]) -> Iterator[StoredRow]:
        """Yield the rows of some kinds by position, found by an index."""
        marks = ", ".join("?" * len(kinds))
        return self._stream(f"{_STORED} WHERE kind IN ({marks}) ORDER BY idx", *kinds)

    def sessions(self) -> Iterator[str]:
        """Yield the sessions in the order of their first rows, by an index: navigation, and no evidence."""
        sql = "SELECT session_id FROM row WHERE session_id IS NOT NULL GROUP BY session_id ORDER BY min(idx)"
        return (str(session) for (session,) in self._stream(sql))

    def has(self, session: str, kind: str) -> bool:
        """Say whether a session has a row of this kind."""
        return self._one("SELECT 1 FROM row WHERE session_id = ? AND kind = ?", session, kind) is not None

    def last_row_of(self, session: str) -> StoredRow | None:
        """Return a session's newest row, if it has any."""
        found = self._one(f"{_STORED} WHERE session_id = ? ORDER BY n DESC LIMIT 1", session)
        return None if found is None else (found[0], found[1], found[2])

    def extend(self, rows: Iterable[StoredRow], nodes: Iterable[Node], head: str) -> None:
        """Add rows and hashes and replace the head, inside a transaction."""
        with database.translated(self._name):
            self._connection.executemany(
                "INSERT INTO row (idx, body, sig) VALUES (?, ?, ?)",
                ((idx, body.decode("utf-8"), signature) for idx, body, signature in rows),
            )
            self._connection.executemany("INSERT INTO node (level, idx, hash) VALUES (?, ?, ?)", nodes)
            self.set_head(head)

    def set_head(self, note: str) -> None:
        """Replace the head, inside a transaction."""
        with database.translated(self._name):
            self._connection.execute(
                "INSERT INTO head (id, note) VALUES (0, ?) ON CONFLICT (id) DO UPDATE SET note = excluded.note", (note,)
            )

    def fold_log(self) -> None:
        """Fold the write-ahead log into the file; only under the writers' lock."""
        database.fold_log(self._name, self._connection)

    def _roll_back(self) -> None:
        # An interrupt may come before BEGIN, and a failed COMMIT may have ended the transaction already.
        if self._connection.in_transaction:
            self._connection.execute("ROLLBACK")

    def _one(self, sql: str, *values: object) -> Any:
        """Return the first row found, or None."""
        with database.translated(self._name):
            return self._connection.execute(sql, values).fetchone()

    def _stream(self, sql: str, *values: object) -> Iterator[Any]:
        with database.translated(self._name):
            # Not `yield from`: that would close the cursor of a stream left early, perhaps after the file is closed.
            for row in self._connection.execute(sql, values):  # noqa: UP028
                yield row
