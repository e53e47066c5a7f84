"""A ledger of the tutorial, read as a stranger's file: never written, nothing of it run, nothing of it believed."""

from __future__ import annotations

import contextlib
import hashlib
import sqlite3
from collections.abc import Iterator, Mapping
from pathlib import Path

from safeloop.errors import LedgerError
from safeloop.ledger.store import database, schema
from safeloop.ledger.visible import visible

Value = int | float | str | bytes | None
OldRow = Mapping[str, Value]

COLUMNS: Mapping[str, tuple[str, ...]] = {
    "spec": ("id", "session_id", "what_it_does", "what_it_does_not", "done_looks_like", "created_at"),
    "ledger": (
        "id", "session_id", "turn_count", "state_origin", "input_hash", "token_delta", "execution_time_ms",
        "pass_fail", "breach_reason", "created_at",
    ),
    "attestations": ("id", "session_id", "reviewer", "attested_at", "notes", "frame_hash"),
}
"""By table, in the order of an import: the columns that it must have. Others are read as well."""

_LONGEST_VALUE = 4_000_000  # bytes: far beyond what the tutorial writes, and no burden
_CHUNK = 1 << 20
_WHICH = "safeloop ledger import FILE, with the file that the tutorial wrote"


class TutorialFile:
    """An open ledger of the tutorial.

    Args:
        path: Where it lies; nobody may write it meanwhile.

    Raises:
        LedgerError: It is none, or still has a log that SQLite must play in first.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            database.check_file(path)
        except LedgerError as error:  # whose own hint would have one made at this place
            raise type(error)(error.message, hint=_WHICH) from None
        for side in ("-wal", "-journal"):
            log = Path(f"{path}{side}")
            if log.exists() and log.stat().st_size:
                raise LedgerError(
                    f"{log} holds what is not in the file yet: somebody uses it, or a program died",
                    hint=f"end that program, then: sqlite3 {path} 'PRAGMA journal_mode = DELETE; SELECT 1'",
                )
        self.sha256 = _sha256(path)
        self._before = _stamp(path)
        self._connection = database.connect_immutable(path)
        try:
            with _translated(path):
                self._open()
        except BaseException:
            self._connection.close()
            raise

    def __enter__(self) -> TutorialFile:
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()

    def rows(self, table: str) -> Iterator[OldRow]:
        """Yield a table's rows by `id`, each with all its columns; none if the file lacks the table."""
        if table not in self._columns:
            return
        names = self._columns[table]
        sql = f"SELECT {', '.join(map(_quoted, names))} FROM {_quoted(table)} NOT INDEXED ORDER BY id"  # noqa: S608
        with _translated(self.path):
            for values in self._connection.execute(sql):
                yield dict(zip(names, values, strict=True))

    def others(self) -> tuple[str, ...]:
        """Return the names of tables that are not the tutorial's ledger: they are not imported."""
        return self._others

    def require_unchanged(self) -> None:
        """Refuse a file that was written while it was read.

        Raises:
            LedgerError: It was.
        """
        if _stamp(self.path) != self._before:
            raise LedgerError(f"{self.path} changed while it was read", hint="end the program that writes it")

    def _open(self) -> None:
        connection = self._connection
        # Bytes that are no UTF-8 become lone surrogates, and go into the kept original as such.
        connection.text_factory = lambda data: data.decode("utf-8", "surrogateescape")
        connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, _LONGEST_VALUE)
        connection.execute("PRAGMA trusted_schema = OFF")
        connection.execute("PRAGMA cell_size_check = ON")
        if connection.execute("PRAGMA application_id").fetchone()[0] == schema.APPLICATION_ID:
            raise LedgerError(f"{self.path} is a signed ledger already: there is nothing to import", hint="")
        listed = connection.execute("PRAGMA main.table_list").fetchall()
        tables = {name for _, name, kind, *_ in listed if kind == "table" and not name.startswith("sqlite_")}
        self._columns = {table: self._names(table) for table in COLUMNS if table in tables}
        self._others = tuple(sorted(tables - COLUMNS.keys()))
        if "ledger" not in self._columns and not self._columns.keys() >= {"spec"}:
            raise LedgerError(f"{self.path} is not a ledger of the tutorial: it has no table of rows or specs",
                              hint=_WHICH)

    def _names(self, table: str) -> tuple[str, ...]:
        """Return the columns that are stored: what a generated one would compute is its author's code."""
        found = self._connection.execute(f"PRAGMA main.table_xinfo({_quoted(table)})").fetchall()
        names = tuple(name for _, name, _, _, _, _, hidden in found if hidden == 0)
        lacking = [name for name in COLUMNS[table] if name not in names]
        if lacking:
            raise LedgerError(
                f"{self.path}: table {table} lacks {', '.join(lacking)}: not a ledger of the tutorial", hint=""
            )
        return names


@contextlib.contextmanager
def _translated(path: Path) -> Iterator[None]:
    """Turn SQLite's errors into ours; their hints are for ledgers of ours, and none of them mends a stranger's file."""
    try:
        with database.translated(path):
            yield
    except LedgerError as error:
        if not isinstance(error.__cause__, sqlite3.Error):
            raise
        raise type(error)(error.message, hint=_WHICH) from error.__cause__


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _stamp(path: Path) -> tuple[int, ...]:
    found = path.stat()
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    try:
        with path.open("rb") as file:
            while chunk := file.read(_CHUNK):
                digest.update(chunk)
    except OSError as error:
        raise LedgerError(f"{visible(str(path))} cannot be read: {error.strerror}", hint=f"ls -l {path}") from None
    return digest.hexdigest()


