"""Content in its own database beside the ledger, so that it can be erased without touching a row."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from safeloop.errors import LedgerError, LedgerLocked
from safeloop.ledger.content import Content, check_content, is_claimed
from safeloop.ledger.kinds import Claim
from safeloop.ledger.store import database, schema

_AT_ONCE = 64  # always as many, so that SQLite keeps the statement
_SOME = (
    "SELECT salted_sha256, salt, bytes, type FROM content WHERE length(bytes) <= ? "  # noqa: S608 - question marks
    f"AND salted_sha256 IN ({', '.join('?' * _AT_ONCE)})"
)


LEFT_BEHIND = "the two files move together: bring it from where the ledger was, or from a backup"


def left_behind(path: Path) -> str:
    """Say that a ledger is here and its content is not."""
    return f"there is no {path}: a ledger's content lies in a file of its own beside it"


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
            self._connection = _opened_to_read(path) if path.exists() else None
        else:
            if not path.exists():
                raise LedgerError(left_behind(path), hint=LEFT_BEHIND)
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
                "SELECT salt, bytes, type FROM content WHERE salted_sha256 = ?",
                (bytes.fromhex(commitment["salted_sha256"]),),
            ).fetchone()
        return None if found is None else _committed(commitment, *found)

    def whole(self, claims: Iterable[Claim], most_bytes: int) -> Iterator[tuple[Claim, bytes]]:
        """Yield what is here as it was committed, with the claim, in any order.

        It says nothing of others, nor of what is longer than `most_bytes`; and it is quicker than one by one.
        """
        wanted = {bytes.fromhex(claim[1]): claim for claim in claims}
        if self._connection is None:
            return
        self._require_table(self._connection)
        digests = list(wanted)
        for first in range(0, len(digests), _AT_ONCE):
            some = digests[first : first + _AT_ONCE]
            with database.translated(self._name):
                rows = self._connection.execute(_SOME, (most_bytes, *some, *some[:1] * (_AT_ONCE - len(some))))
                for digest, salt, data, media_type in rows:
                    claim = wanted[digest]
                    if type(salt) is type(data) is bytes and is_claimed(claim, salt, data, media_type):
                        yield claim, data

    def holds(self, digest: bytes) -> bool:
        """Say whether there are bytes under this digest; they are not looked at."""
        if self._connection is None:
            return False
        self._require_table(self._connection)
        with database.translated(self._name):
            sql = "SELECT 1 FROM content WHERE salted_sha256 = ?"
            return self._connection.execute(sql, (digest,)).fetchone() is not None

    def salted(self, digest: bytes) -> tuple[bytes, bytes] | None:
        """Return salt and bytes as they are stored, not compared with any commitment; None if they are not here."""
        if self._connection is None:
            return None
        self._require_table(self._connection)
        with database.translated(self._name):
            sql = "SELECT salt, bytes FROM content WHERE salted_sha256 = ?"
            found = self._connection.execute(sql, (digest,)).fetchone()
        return None if found is None else (bytes(found[0]), bytes(found[1]))

    def erase(self, digests: Iterable[bytes]) -> int:
        """Delete salts and bytes until no trace of them is in the files; only under the writers' lock.

        The file is written anew: moving entries between pages leaves copies behind that `secure_delete` does not
        know of. Doing it again, after a crash or for no digest at all, clears away what an earlier one left.

        Returns:
            How many there were.

        Raises:
            LedgerLocked: They are deleted, but somebody still reads, so that the log keeps their bytes.
        """
        connection = self._opened()
        self._require_table(connection)
        with database.translated(self._name):
            before = connection.total_changes
            connection.executemany("DELETE FROM content WHERE salted_sha256 = ?", ((digest,) for digest in digests))
            erased = connection.total_changes - before
            connection.execute("VACUUM")
            is_read = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]
        if is_read:
            raise LedgerLocked(
                f"{self._name} is being read: what was erased is still in its -wal", hint=f"fuser -v {self._name}"
            )
        return erased

    @contextlib.contextmanager
    def snapshot(self) -> Iterator[None]:
        """Read one state of the file, whatever others write meanwhile; it is taken at once."""
        if self._connection is None:
            yield
            return
        try:
            with database.translated(self._name):
                self._connection.execute("BEGIN")
                self._connection.execute("SELECT 1 FROM content LIMIT 1").fetchone()
            yield
        finally:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")

    @contextlib.contextmanager
    def reading(self) -> Iterator[None]:
        """Let what is read until the end share one state of the file: it spares a lock for each; keep it short.

        Whoever erases must wait for the end of it.
        """
        if self._connection is None:
            yield
            return
        self._connection.execute("BEGIN")  # touches no file before something is read
        try:
            yield
        finally:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")

    def copy_to(self, path: Path) -> bool:
        """Copy the state that a snapshot holds to a new file; False if there is no file to copy."""
        if self._connection is None:
            return False
        database.copy(self._connection, path)
        return True

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


def _committed(commitment: Mapping[str, Any], salt: object, data: object, media_type: object) -> bytes:
    """Return what is stored if it is what was committed, whatever a hostile file holds in its place."""
    kept = data if isinstance(data, bytes) else b""
    check_content(commitment, salt if isinstance(salt, bytes) else b"", kept, media_type)
    return kept


def _opened_to_read(path: Path) -> sqlite3.Connection:
    connection = database.connect_read_only(path)
    try:
        database.check_version(path, connection)
    except LedgerError:
        connection.close()
        raise
    return connection
