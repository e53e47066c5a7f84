"""A temporary copy of a database file and its log, for a place where SQLite can make no index of the log."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from safeloop.errors import LedgerError


def copy_with_log(path: Path, log: Path) -> tempfile.TemporaryDirectory[str]:
    """Copy a file and its `-wal` into a folder that nobody else can read; whoever asked removes it.

    Raises:
        LedgerError: It cannot be copied, or was written meanwhile.
    """
    folder = None
    try:
        folder = tempfile.TemporaryDirectory(prefix="safeloop-")
        before = [_version(each) for each in (path, log)]
        shutil.copyfile(path, Path(folder.name, path.name))
        shutil.copyfile(log, Path(folder.name, log.name))
        if before != [_version(each) for each in (path, log)]:
            raise LedgerError(f"{path} was written while it was copied", hint="try again when nothing writes to it")
    except BaseException as error:
        if folder is not None:
            folder.cleanup()
        if isinstance(error, OSError):
            raise LedgerError(
                f"{path} has a -wal but no -shm, and no temporary copy can be made: {error.strerror}",
                hint="set TMPDIR to a folder with room for both files",
            ) from error
        raise
    return folder


def _version(path: Path) -> tuple[int, int]:
    found = path.stat()
    return found.st_mtime_ns, found.st_size
