"""Rows, tree and head in SQLite: few verbs, and every one of them inside the caller's transaction."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

from safeloop.errors import LedgerError
from safeloop.ledger.merkle import Node
from safeloop.ledger.store import database, schema
from safeloop.ledger.store.book import StoredBook

StoredRow = tuple[int, bytes, bytes]

Indexed = tuple[int, str, int, str, str | None]
"""What the indexes are made of: a row's position, session, place in it, kind, and parent."""

Searched = dict[str, tuple[int, int, int | None]]

# What judges may read: position, the stored bytes, the signature. Never a generated column or a view.
_STORED = "SELECT idx, CAST(body AS BLOB), sig FROM row"

# The rows that a search in an index does not find, and for each index whether it does: in one pass over the rows.
_SEARCHED = {
    "row_session": (
        "true",
        "EXISTS (SELECT 1 FROM row AS i INDEXED BY row_session "
        "WHERE i.session_id IS t.session_id AND i.n IS t.n AND i.idx = t.idx)",
    ),
    "row_kind": (
        "true",
        "EXISTS (SELECT 1 FROM row AS i INDEXED BY row_kind WHERE i.kind IS t.kind AND i.idx = t.idx)",
    ),
    "row_parent": (
        "t.parent IS NOT NULL",
        "EXISTS (SELECT 1 FROM row AS i INDEXED BY row_parent "
        "WHERE i.parent = t.parent AND i.parent IS NOT NULL AND i.idx = t.idx)",
    ),
}
"""By index: whether it is to list a row, and whether a search in it finds that row."""

_EACH = ", ".join(
    f"{wanted} AS wants_{index}, {wanted} AND NOT {found} AS lacks_{index}"
    for index, (wanted, found) in _SEARCHED.items()
)
_ALL = ", ".join(
    f"coalesce(sum(wants_{index}), 0), coalesce(sum(lacks_{index}), 0), min(idx) FILTER (WHERE lacks_{index})"
    for index in _SEARCHED
)


def _search(rows: str) -> str:
    # The limit keeps SQLite from merging the two, and from searching for each column that is made of a search.
    return f"SELECT {_ALL} FROM (SELECT t.idx, {_EACH} FROM {rows} LIMIT -1)"  # noqa: S608 - the words above


_SEARCH_STORED = _search("row AS t NOT INDEXED WHERE t.idx BETWEEN ? AND ?")
_COLUMNS = "idx, session_id, n, kind, parent"
_LISTED = {
    "row_session": "SELECT coalesce(sum(1), 0) FROM row INDEXED BY row_session",
    "row_kind": "SELECT coalesce(sum(1), 0) FROM row INDEXED BY row_kind",
    "row_parent": "SELECT coalesce(sum(1), 0) FROM row INDEXED BY row_parent WHERE parent IS NOT NULL",
}
"""By index: the number of its entries, summed, because SQLite answers a bare count(*) from whichever is smallest."""


def _by_index(found: Sequence[Any]) -> Searched:
    return dict(zip(_SEARCHED, zip(found[::3], found[1::3], found[2::3], strict=True), strict=True))


def copied(path: Path) -> tuple[int, str | None]:
    """Return size and head of a copy that nobody has opened yet, and leave no side files beside it."""
    with database.translated(path), contextlib.closing(database.connect_immutable(path)) as connection:
        size = connection.execute("SELECT coalesce(max(idx), -1) + 1 FROM row").fetchone()[0]
        head = connection.execute("SELECT note FROM head WHERE id = 0").fetchone()
        return int(size), None if head is None else str(head[0])


def _opened(path: Path, *, read_only: bool, timeout_s: float) -> sqlite3.Connection:
    database.check_file(path)
    if not read_only:
        return database.connect(path, timeout_s)
    connection = database.connect_read_only(path)
    try:
        database.check_ours(path, connection)
    except LedgerError:
        connection.close()
        raise
    return connection


class RowStore:
    """An open ledger file.

    Attributes:
        book: What its rows charge to each hour.

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
            self._connection = _opened(path, read_only=read_only, timeout_s=timeout_s)
        self.book = StoredBook(self._connection, self._name)

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
        """Read one state of the file, whatever others write meanwhile; within another snapshot, that one's."""
        if self._connection.in_transaction:
            yield
            return
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

    def searched(self, start: int, end: int) -> Searched:
        """Search rows from `start` up to but not `end` by every index, as SQLite reads them.

        Returns:
            By index: how many rows it is to list, how many of them it does not lead to, and the first such position.
        """
        return _by_index(self._one(_SEARCH_STORED, start, end - 1))

    def searched_for(self, rows: Sequence[Indexed]) -> Searched:
        """Search rows by every index, at least one: a third of the price, as SQLite need not parse their bodies.

        Args:
            rows: What the indexes are made of, by each row's own word.

        Returns:
            As `searched` does.
        """
        marks = ", ".join(["(?, ?, ?, ?, ?)"] * len(rows))
        told = f"WITH t({_COLUMNS}) AS (VALUES {marks}) {_search('t')}"
        return _by_index(self._one(told, *chain.from_iterable(rows)))

    def index_sizes(self) -> dict[str, int]:
        """Return by index how many entries it has.

        An index in which a search finds every row, and which has no more entries than that, is whole and sorted.
        """
        return {index: self._one(listed)[0] for index, listed in _LISTED.items()}

    def rows(self, start: int = 0) -> Iterator[StoredRow]:
        """Yield every row by position, from one position on, as its stored bytes."""
        if start == 0:
            return self._stream(f"{_STORED} ORDER BY idx")  # those at positions that cannot be, too
        return self._stream(f"{_STORED} WHERE idx >= ? ORDER BY idx", start)

    def copy_to(self, path: Path) -> None:
        """Copy the state that a snapshot holds to a new file."""
        database.copy(self._connection, path)

    def row(self, idx: int) -> StoredRow | None:
        """Return the row at a position, if there is one."""
        found = self._one(f"{_STORED} WHERE idx = ?", idx)
        return None if found is None else (found[0], found[1], found[2])

    def row_of(self, session: str, n: int) -> StoredRow | None:
        """Return a session's row by its place in the session, found by an index."""
        found = self._one(f"{_STORED} WHERE session_id = ? AND n = ? ORDER BY idx LIMIT 1", session, n)
        return None if found is None else (found[0], found[1], found[2])

    def rows_of(self, session: str, after: int = -1) -> Iterator[StoredRow]:
        """Yield a session's rows after a position, found by an index: quick, and no judge's evidence."""
        return self._stream(f"{_STORED} WHERE session_id = ? AND idx > ? ORDER BY idx", session, after)

    def rows_of_kinds(self, kinds: tuple[str, ...], start: int = 0) -> Iterator[StoredRow]:
        """Yield the rows of some kinds by position, from one position on, found by an index."""
        marks = ", ".join("?" * len(kinds))
        return self._stream(f"{_STORED} WHERE kind IN ({marks}) AND idx >= ? ORDER BY idx", *kinds, start)

    def sessions(self) -> Iterator[str]:
        """Yield the sessions in the order of their first rows, by an index: navigation, and no evidence."""
        sql = "SELECT session_id FROM row WHERE session_id IS NOT NULL GROUP BY session_id ORDER BY min(idx)"
        return (str(session) for (session,) in self._stream(sql))

    def places(self) -> Iterator[tuple[object, int]]:
        """Yield every row's session and position, by session and by the place in it; from one index, and no row."""
        return self._stream(
            "SELECT session_id, idx FROM row INDEXED BY row_session WHERE session_id IS NOT NULL ORDER BY session_id, n"
        )

    def places_of_kind(self, kind: str) -> Iterator[int]:
        """Yield the positions of the rows of a kind, in order, which is the index's own: nothing is sorted or read."""
        sql = "SELECT idx FROM row INDEXED BY row_kind WHERE kind = ? ORDER BY idx"
        return (idx for (idx,) in self._stream(sql, kind))

    def count_like(self, prefix: str) -> int:
        """Return how many rows there are of sessions whose id begins so, found by an index."""
        sql = "SELECT count(*) FROM row WHERE session_id >= ? AND session_id < ?"
        return int(self._one(sql, prefix, f"{prefix}\x7f")[0])

    def sessions_like(self, prefix: str) -> Iterator[str]:
        """Yield the sessions whose id begins so, in the order of their first rows; reads nothing of the others."""
        sql = ("SELECT session_id FROM row WHERE session_id >= ? AND session_id < ? "
               "GROUP BY session_id ORDER BY min(idx)")
        # Ids are ASCII, and DEL is behind all that they hold (SQLite compares bytes).
        return (str(session) for (session,) in self._stream(sql, prefix, f"{prefix}\x7f"))

    def newest_session(self, besides: str) -> str | None:
        """Return the session that began last, but never this one; reads back to its first row."""
        sql = "SELECT session_id FROM row WHERE n = 0 AND session_id IS NOT ? ORDER BY idx DESC LIMIT 1"
        found = self._one(sql, besides)
        return None if found is None else str(found[0])

    def has(self, session: str, kind: str) -> bool:
        """Say whether a session has a row of this kind, found by the session: of a kind there may be millions."""
        sql = "SELECT 1 FROM row INDEXED BY row_session WHERE session_id = ? AND kind = ?"
        return self._one(sql, session, kind) is not None

    def last_of_kind(self, kind: str) -> int | None:
        """Return the position of the newest row of a kind, found by an index."""
        found = self._one("SELECT idx FROM row WHERE kind = ? ORDER BY idx DESC LIMIT 1", kind)
        return None if found is None else int(found[0])

    def last_of_kind_in(self, kind: str, session: str) -> StoredRow | None:
        """Return the newest row of a kind in a session, found by the kind."""
        sql = f"{_STORED} INDEXED BY row_kind WHERE kind = ? AND session_id = ? ORDER BY idx DESC LIMIT 1"
        found = self._one(sql, kind, session)
        return None if found is None else (found[0], found[1], found[2])

    def children(self, session: str) -> tuple[str, ...]:
        """Return the sessions that name this one as their parent, in the order in which they were opened."""
        sql = (
            "SELECT DISTINCT session_id FROM row INDEXED BY row_parent "
            "WHERE parent = ? AND parent IS NOT NULL AND kind = 'open' ORDER BY idx"
        )
        return tuple(str(child) for (child,) in self._stream(sql, session))

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
