"""Opening SQLite files the one way that is safe here, and saying what is wrong with them in our own words."""

from __future__ import annotations

import contextlib
import os
import re
import sqlite3
import stat
import tempfile
from pathlib import Path
from typing import TypeVar

from safeloop.errors import LedgerError, LedgerLocked, LedgerNotFound
from safeloop.ledger.store import schema
from safeloop.ledger.store.temporary import copy_with_log

_Connection = TypeVar("_Connection", bound=sqlite3.Connection)
BUSY_TIMEOUT_S = 30.0
_PAGES_TO_FOLD = 4_096  # 16 MiB of log; a quarter of it would fold the same pages four times as often
_SIDES = ("-wal", "-shm", "-journal")
_OCTAL = re.compile(rb"\\([0-7]{3})")  # how the kernel writes spaces in its table of mounts
# WAL keeps its index in shared memory, which these do not share between machines (sqlite.org/wal.html).
_REMOTE = frozenset({
    "9p", "afpfs", "afs", "beegfs", "ceph", "cifs", "davfs", "fuse.davfs", "fuse.glusterfs", "fuse.rclone", "fuse.s3fs",
    "fuse.sshfs", "glusterfs", "gpfs", "lustre", "ncpfs", "nfs", "nfs4", "ocfs2", "smb3", "smbfs",
})


class translated:  # noqa: N801 - used as a function is; a class, because a generator costs more than many a statement
    """Turn SQLite's errors into ours, naming the file."""

    __slots__ = ("_path",)

    def __init__(self, path: Path | str) -> None:
        self._path = path

    def __enter__(self) -> None:
        """Promise nothing yet."""

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        """Raise our error for SQLite's; let any other pass."""
        if error is None:
            return
        if isinstance(error, sqlite3.Error):
            raise _explained(self._path, error) from error
        if isinstance(error, UnicodeDecodeError | OverflowError):
            # The module itself stumbles over names that are not UTF-8 and over numbers beyond 64 bits.
            raise _damaged(self._path, str(error)) from error


def connect(path: Path, timeout_s: float = BUSY_TIMEOUT_S) -> sqlite3.Connection:
    """Open one of our database files for reading and writing, in WAL mode, durable at every commit.

    Raises:
        LedgerError: It is not ours, and was not touched; or it cannot be written.
    """
    check_regular(path)
    with translated(path):
        connection = sqlite3.connect(
            f"{_uri(path)}?mode=rw", uri=True, isolation_level=None, timeout=timeout_s, check_same_thread=False
        )
        try:
            check_ours(path, connection)
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = FULL")
            # Folding happens within COMMIT, and so under the writers' lock: SQLite below 3.51.3 may lose a reset of
            # the log when two connections fold it at once (sqlite.org/wal.html#walresetbug). A commit does not fail
            # where only its folding does. The log keeps its length: to overwrite is quicker than to grow.
            connection.execute(f"PRAGMA wal_autocheckpoint = {_PAGES_TO_FOLD}")
        except BaseException:
            connection.close()
            raise
        return connection


def connect_memory() -> sqlite3.Connection:
    """Open a database that is gone with the process."""
    return sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)


def connect_read_only(path: Path) -> sqlite3.Connection:
    """Open a database file without ever changing it.

    In a folder that can be written, SQLite's side files may appear. Elsewhere a file without `-wal` is read as
    immutable, one with `-wal` and `-shm` beside it as it is, and one with a `-wal` alone from a temporary copy of both,
    which is gone when the connection is closed.

    Raises:
        LedgerError: It cannot be opened, or a copy is needed and cannot be made.
    """
    check_regular(path)
    wal = Path(f"{path}-wal")
    if os.access(path.parent, os.W_OK):
        return _connect_to_read(path, "mode=ro", sqlite3.Connection)
    if not wal.exists() or not wal.stat().st_size:
        return connect_immutable(path)
    if Path(f"{path}-shm").exists():
        return _connect_to_read(path, "mode=ro", sqlite3.Connection)
    return _connect_to_copy(path, wal)


def connect_immutable(path: Path) -> sqlite3.Connection:
    """Open a database file that nobody writes, whoever made it: nothing is written beside it either."""
    return _connect_to_read(path, "immutable=1", sqlite3.Connection)


class _CopyConnection(sqlite3.Connection):
    """A connection to a temporary copy, which goes when it is closed."""

    folder: tempfile.TemporaryDirectory[str] | None = None

    def close(self) -> None:
        """Close the copy, and remove it."""
        super().close()
        if self.folder is not None:
            self.folder.cleanup()


def _connect_to_copy(path: Path, wal: Path) -> sqlite3.Connection:
    folder = copy_with_log(path, wal)
    try:
        connection = _connect_to_read(Path(folder.name, path.name), "mode=ro", _CopyConnection)
    except BaseException:
        folder.cleanup()
        raise
    connection.folder = folder
    return connection


def _connect_to_read(path: Path, mode: str, kind: type[_Connection]) -> _Connection:
    with translated(path):
        return sqlite3.connect(
            f"{_uri(path)}?mode=ro&{mode}", uri=True, isolation_level=None, timeout=BUSY_TIMEOUT_S,
            check_same_thread=False, factory=kind,
        )


def create(path: Path, statements: tuple[str, ...], first_rows: tuple[tuple[str, tuple[object, ...]], ...]) -> None:
    """Make a database file with this schema and these rows, whole or not at all.

    Raises:
        LedgerError: There is something at this path, or it cannot be made.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.{os.urandom(4).hex()}")
    try:
        os.close(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
        with translated(path), contextlib.closing(sqlite3.connect(temporary, isolation_level=None)) as connection:
            connection.execute("PRAGMA encoding = 'UTF-8'")
            connection.execute(f"PRAGMA application_id = {schema.APPLICATION_ID}")
            connection.execute(f"PRAGMA user_version = {schema.USER_VERSION}")
            connection.execute("PRAGMA secure_delete = ON")
            connection.execute("BEGIN")
            for statement in statements:
                connection.execute(statement)
            for statement, values in first_rows:
                connection.execute(statement, values)
            connection.execute("COMMIT")
            connection.execute("PRAGMA journal_mode = WAL")  # now, while nobody else can be in the way
        _place(temporary, path)
    except OSError as error:
        raise LedgerError(
            f"{path} cannot be made: {error.strerror}", hint=f"ls -ld {path.parent}; df {path.parent}"
        ) from None
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink()


def fold_log(path: Path | str, connection: sqlite3.Connection) -> None:
    """Fold the write-ahead log into the file; only under the writers' lock."""
    with translated(path):
        connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()


def _place(temporary: Path, path: Path) -> None:
    os.link(temporary, path)  # fails where replace would overwrite
    descriptor = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def check_file(path: Path) -> None:
    """Say what is wrong with a file that is to be opened as a ledger, before SQLite touches it.

    The file is looked at and never opened: closing any descriptor of it would drop the locks that SQLite holds
    for this process, and another process could then take the log from under an open ledger
    (sqlite.org/howtocorrupt.html, 2.2).

    Raises:
        LedgerNotFound: There is nothing at this path.
        LedgerError: A folder, a device, an empty file, or out of reach.
    """
    try:
        found = path.stat()
    except FileNotFoundError:
        raise LedgerNotFound(f"there is no ledger at {path}", hint=f"safeloop init --ledger {path}") from None
    except OSError as error:
        raise LedgerError(f"{path} cannot be reached: {error.strerror}", hint=f"ls -ld {path.parent}") from None
    if stat.S_ISDIR(found.st_mode):
        hint = f"safeloop init --ledger {path}/ledger.db"
        raise LedgerError(f"{path} is a folder, not a ledger", hint=hint)
    if not stat.S_ISREG(found.st_mode):
        raise LedgerError(f"{path} is not a regular file", hint="choose another path with --ledger")
    if not found.st_size:
        raise LedgerError(f"{path} is empty, not a ledger", hint="restore it from a backup, or choose another path")


def check_regular(path: Path) -> None:
    """Refuse a database file, or a file that SQLite keeps beside one, that is a folder, a pipe or a device.

    SQLite would open a pipe and wait for ever.

    Raises:
        LedgerError: One of them is, or is out of reach.
    """
    for each in (path, *(Path(f"{path}{side}") for side in _SIDES)):
        try:
            mode = each.stat().st_mode
        except FileNotFoundError:
            continue
        except OSError as error:
            raise LedgerError(f"{each} cannot be reached: {error.strerror}", hint=f"ls -ld {each}") from None
        if not stat.S_ISREG(mode):
            what = "a folder, not" if stat.S_ISDIR(mode) else "not"
            restore = ", and restore the file from a backup" if each == path else ""
            raise LedgerError(f"{each} is {what} a regular file", hint=f"ls -ld {each}; move it away{restore}")


def check_ours(path: Path, connection: sqlite3.Connection) -> None:
    """Refuse another program's database, another version of the format, or another text encoding.

    Raises:
        LedgerError: Any of these, or no database at all.
    """
    with translated(path):
        pragmas = ("application_id", "user_version", "encoding")
        application, version, encoding = (connection.execute(f"PRAGMA {name}").fetchone()[0] for name in pragmas)
        if application != schema.APPLICATION_ID:
            raise _foreign(path, connection)
    if version != schema.USER_VERSION:
        raise _other_version(path, version)
    if encoding != "UTF-8":
        raise LedgerError(f"{path} is encoded in {encoding}, not UTF-8", hint="restore it from a backup")


def check_version(path: Path, connection: sqlite3.Connection) -> None:
    """Refuse a file of ours that is of another version; what else may be wrong with it is not asked.

    Raises:
        LedgerError: It is of another version.
    """
    try:
        application, version = (
            connection.execute(f"PRAGMA {name}").fetchone()[0] for name in ("application_id", "user_version")
        )
    except sqlite3.Error:
        return  # whoever reads on finds out, and says so with its own words
    if application == schema.APPLICATION_ID and version != schema.USER_VERSION:
        raise _other_version(path, version)


def copy(source: sqlite3.Connection, path: Path) -> None:
    """Copy what a connection sees to a file that is there and empty, durably; side files are not made.

    Within a transaction it is the transaction's snapshot that is copied, whatever others commit meanwhile.
    """
    with translated(path):
        with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as target:
            target.execute("PRAGMA journal_mode = OFF")  # a copy that fails is thrown away
            target.execute("PRAGMA synchronous = OFF")  # synced once, below
            source.backup(target)
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def check_local(path: Path) -> None:
    """Refuse a folder on a network file system, where WAL cannot keep its promises.

    Raises:
        LedgerError: The folder is on one of those.
    """
    kind = file_system_of(path, Path("/proc/self/mountinfo"))
    if kind in _REMOTE:
        raise LedgerError(
            f"{path} is on {kind}, a network file system, where SQLite cannot keep a ledger safe",
            hint="keep the ledger on a local disk: --ledger PATH",
        )


def file_system_of(path: Path, mounts: Path) -> str | None:
    """Return the type of the file system that holds `path`, by the kernel's table of mounts; None if unknown."""
    try:
        lines = mounts.read_bytes().split(b"\n")
    except OSError:
        return None  # no such table on this system; SQLite's own checks remain
    deepest, kind = 0, None
    for line in filter(None, lines):
        fields, _, rest = line.partition(b" - ")
        point = Path(os.fsdecode(_OCTAL.sub(lambda code: bytes([int(code[1], 8)]), fields.split(b" ")[4])))
        # The later of two mounts on one point hides the earlier.
        if path.is_relative_to(point) and len(point.parts) >= deepest:
            deepest, kind = len(point.parts), rest.split(b" ")[0].decode("ascii", "replace")
    return kind


def _uri(path: Path) -> str:
    return path.absolute().as_uri()


def _other_version(path: Path, version: int) -> LedgerError:
    return LedgerError(
        f"{path} is of format version {version}; this safeloop reads version {schema.USER_VERSION}",
        hint="pip install --upgrade safeloop",
    )


def _foreign(path: Path, connection: sqlite3.Connection) -> LedgerError:
    """Tell the tutorial's ledger from any other database."""
    columns = {name for _, name, *_ in connection.execute("PRAGMA table_info(ledger)")}
    tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    if "turn_count" in columns or tables >= {"spec", "attestations"}:
        return LedgerError(
            f"{path} is a ledger of the tutorial: unsigned, and left as it is",
            hint="take it over into a signed one: safeloop init --ledger new.db, then "
            f"safeloop ledger import {path} --ledger new.db",
        )
    return LedgerError(f"{path} is another program's database, not a ledger", hint="choose another path with --ledger")


def _explained(path: Path | str, error: sqlite3.Error) -> LedgerError:
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    words = str(error)
    if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        return LedgerLocked(f"{path} is locked by another process: {words}", hint=f"fuser -v {path}")
    if code == sqlite3.SQLITE_FULL:
        return LedgerError(f"{path}: the disk is full; nothing of this was recorded", hint=f"df {path}")
    if getattr(error, "sqlite_errorcode", 0) == sqlite3.SQLITE_READONLY_ROLLBACK:
        return LedgerError(
            f"{path} cannot be read: {path}-journal lies beside it, which is none of ours and would be played in",
            hint=f"move {path}-journal away, then safeloop audit",
        )
    if code == sqlite3.SQLITE_READONLY:
        return LedgerError(f"{path} is read-only; nothing of this was recorded", hint=f"ls -l {path}")
    if code == sqlite3.SQLITE_NOTADB:
        return LedgerError(f"{path} is not a database", hint="choose another path with --ledger, or restore a backup")
    if code == sqlite3.SQLITE_CORRUPT:
        return _damaged(path, words)
    if code == sqlite3.SQLITE_CANTOPEN:
        return LedgerError(f"{path} cannot be opened: {words}", hint=f"ls -l {path}")
    return LedgerError(f"{path}: {words}", hint=f"safeloop audit --ledger {path}")


def _damaged(path: Path | str, words: str) -> LedgerError:
    return LedgerError(f"{path} is damaged: {words}", hint=f"safeloop audit --ledger {path}, and restore a backup")
