"""Content in its own database beside the ledger, so that it can be erased without touching a row."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from safeloop.errors import LedgerError
from safeloop.ledger.content import Content, check_content
from safeloop.ledger.store import database, schema


def content_path(ledger: Path) -> Path:
    """Return where the content of a ledger lies: `NAME.content.db` beside `NAME.db`."""
    return ledger.with_name(f"{ledger.name.removesuffix('.db')}.content.db")


class ContentStore:
    """The open content of one ledger.

    Args:
        path: Where it lies; None keeps it in memory.
        read_only: Never change the file.
        timeout_s: How long to wait for another program's lock.
    """

    def __init__(
        self, path: Path | None, *, read_only: bool = False, timeout_s: float = database.BUSY_TIMEOUT_S
    ) -> None:
        self._name: Path | str = path or ":memory:"
        self._is_ours = False
        self._connection: sqlite3.Connection | None
        if path is None:
            self._connection = database.connect_memory()
            for statement in schema.CONTENT_STATEMENTS:
                self._connection.execute(statement)
        elif read_only:
            # Content may have been erased or left behind as a whole; what is missing is the judge's finding.
            self._connection = database.connect_read_only(path) if path.exists() else None
        else:
            self._connection = database.connect(path, timeout_s)
            with database.translated(path):
                self._connection.execute("PRAGMA secure_delete = ON")

    def close(self) -> None:
        """Close the file."""
        if self._connection is not None:
            self._connection.close()

    def put(self, contents: Iterable[Content]) -> None:
        """Keep contents durably, before the rows that name them."""
        values = [(content.digest, content.salt, content.data, content.type) for content in contents]
        if not values:
            return
        connection = self._opened()
        self._require_table(connection)
        with database.translated(self._name):
            try:
                connection.execute("BEGIN IMMEDIATE")
                connection.executemany(
                    "INSERT INTO content (salted_sha256, salt, bytes, type) VALUES (?, ?, ?, ?) "
                    "ON CONFLICT (salted_sha256) DO NOTHING",
                    values,
                )
                connection.execute("COMMIT")
            except BaseException:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                raise

    def get(self, commitment: Mapping[str, Any]) -> bytes | None:
        """Return the committed bytes, or None if they are not here.

        Raises:
            VerificationError: What is here is not what was committed.
            LedgerError: The file is damaged, or is not made as the format says.
        """
        if self._connection is None:
            return None
        self._require_table(self._connection)
        with database.translated(self._name):
            found = self._connection.execute(
                "SELECT salt, bytes FROM content WHERE salted_sha256 = ?",
                (bytes.fromhex(commitment["salted_sha256"]),),
            ).fetchone()
        if found is None:
            return None
        salt, data = (part if isinstance(part, bytes) else b"" for part in found)
        check_content(commitment, salt, data)
        return data

    def fold_log(self) -> None:
        """Fold the write-ahead log into the file; only under the writers' lock."""
        database.fold_log(self._name, self._opened())

    def _require_table(self, connection: sqlite3.Connection) -> None:
        """Refuse anything but the format's own table: a view of its name may have no end."""
        if self._is_ours:
            return
        with database.translated(self._name):
            found = connection.execute("SELECT sql FROM sqlite_master WHERE sql IS NOT NULL ORDER BY rowid")
            statements = tuple(sql for (sql,) in found)
        if statements != schema.CONTENT_STATEMENTS:
            raise LedgerError(
                f"{self._name} does not hold exactly the format's table of content", hint="restore it from a backup"
            )
        self._is_ours = True

    def _opened(self) -> sqlite3.Connection:
        if self._connection is None:
            raise LedgerError(f"there is no content database at {self._name}", hint="restore it from a backup")
        return self._connection
