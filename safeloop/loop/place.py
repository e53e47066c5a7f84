"""Where a session keeps what is not in the ledger: its lock and its staging folder, beside the ledger."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from safeloop.errors import LedgerError, SettingError
from safeloop.ledger import Ledger
from safeloop.ledger.site import MEMORY


def sessions_folder(db_path: str | os.PathLike[str]) -> Path:
    """Return `NAME.sessions` beside `NAME.db`."""
    path = Path(os.path.realpath(db_path))
    return path.with_name(f"{path.name.removesuffix('.db')}.sessions")


def session_folder(db_path: str | os.PathLike[str], session: str) -> Path:
    """Return a session's folder, named by the SHA-256 of its id and never by the id itself."""
    return sessions_folder(db_path) / hashlib.sha256(session.encode("utf-8", "surrogatepass")).hexdigest()


def lock_path(db_path: str | os.PathLike[str], session: str) -> Path:
    """Return a session's lock file."""
    return session_folder(db_path, session) / "lock"


def staging_path(db_path: str | os.PathLike[str], session: str) -> Path:
    """Return a session's staging folder: tools write there and nowhere else."""
    return session_folder(db_path, session) / "staging"


def job_lock_path(db_path: str | os.PathLike[str], spec_file: str | os.PathLike[str]) -> Path:
    """Return the lock file of a job: the runs of one spec file on one ledger."""
    name = hashlib.sha256(os.fsencode(os.path.realpath(spec_file))).hexdigest()
    return sessions_folder(db_path) / f"job-{name}.lock"


def check_workspace(workspace: Path, ledger: Ledger, what: str = "workspace") -> None:
    """Check that a folder for tools to read holds nothing of the ledger: not its files, its sessions or its keys.

    Folders are compared by what they are, so that neither a link nor a mount hides one.

    Args:
        workspace: The folder.
        ledger: Whose files are meant.
        what: What the folder is called, for the error.

    Raises:
        SettingError: It does.
    """
    sessions = () if ledger.db_path == MEMORY else (sessions_folder(ledger.db_path),)
    for path in (*ledger.protected_paths, *sessions):
        if any(_same(workspace, folder) for folder in (path, *path.parents)):
            raise SettingError(
                f"{what} {workspace} holds {path}, which no tool may reach",
                hint="name a folder of its own, for example one below it, or put the ledger elsewhere with --ledger",
            )


def _same(workspace: Path, folder: Path) -> bool:
    try:
        return workspace.samefile(folder)
    except OSError:  # what is not there holds nothing
        return False


def make_folder(path: Path) -> None:
    """Make a folder and what is missing above it, each for its owner alone; one that is there stays as it is.

    Raises:
        LedgerError: It cannot be made.
    """
    try:
        for folder in reversed((path, *path.parents)):
            if not folder.exists():
                folder.mkdir(mode=0o700, exist_ok=True)
    except OSError as error:
        raise LedgerError(f"folder {path} cannot be made: {error.strerror}", hint=f"ls -ld {path.parent}") from None


def make_staging(path: Path) -> None:
    """Make the staging folder of a session that begins.

    Raises:
        LedgerError: Something is there that this session cannot have written, or the folder cannot be made.
    """
    if os.path.lexists(path) and (path.is_symlink() or not path.is_dir() or any(path.iterdir())):
        raise LedgerError(f"{path} is not an empty folder, and its session has not begun", hint=f"ls -la {path}")
    make_folder(path)


def find_staging(path: Path) -> None:
    """Find the staging folder of a session that goes on: what it wrote so far is in it, and nowhere else.

    Raises:
        LedgerError: It is not there any more.
    """
    if path.is_symlink() or not path.is_dir():
        raise LedgerError(
            f"{path}, where the session wrote its files, is gone: it cannot go on",
            hint="put the folder back; or end the session: safeloop close SESSION",
        )
