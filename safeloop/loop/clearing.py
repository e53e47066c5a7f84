"""Taking away what a session left beside the ledger: its staging folder, once nobody runs it."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from safeloop.errors import LedgerError
from safeloop.loop.lock import held
from safeloop.loop.place import lock_path, session_folder, staging_path
from safeloop.tools.removing import remove_tree


@contextlib.contextmanager
def resting(db_path: str | os.PathLike[str], session: str) -> Iterator[None]:
    """Hold a session's lock until the end, where it has left anything beside the ledger: nobody runs it meanwhile.

    Raises:
        LedgerLocked: Somebody runs it.
    """
    if not session_folder(db_path, session).is_dir():
        yield
        return
    with held(lock_path(db_path, session), f"session {session}"):
        yield


def has_staging(db_path: str | os.PathLike[str], session: str) -> bool:
    """Say whether a session's staging folder is there."""
    return os.path.lexists(staging_path(db_path, session))


def remove_staging(db_path: str | os.PathLike[str], session: str) -> Path | None:
    """Remove a session's staging folder with all that is in it; its lock file stays, and no link is followed.

    Files are unlinked, and not overwritten. Whoever calls holds the session: see `resting`.

    Returns:
        The folder that is gone; None where there was none.

    Raises:
        LedgerError: It cannot be removed, and what is left of it is still there.
    """
    folder = staging_path(db_path, session)
    if not os.path.lexists(folder):
        return None
    try:
        if folder.is_symlink() or not folder.is_dir():
            folder.unlink()
        else:
            remove_tree(folder)
    except OSError as error:
        raise LedgerError(f"{folder} cannot be removed: {error.strerror}", hint=f"rm -r {folder}") from error
    return folder
