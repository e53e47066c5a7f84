"""The session lock: two processes cannot run one session, and a dead holder holds nothing.

POSIX record locks, because the kernel drops them with the process and children do not inherit them. They do not
exclude threads of one process, so a set does.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from safeloop.errors import LedgerError, LedgerLocked
from safeloop.ledger.guarded import guard
from safeloop.ledger.site import MEMORY
from safeloop.loop.place import lock_path, make_folder

# By process: a child made by fork inherits the set, but none of the locks.
_HELD: set[tuple[int, Path]] = set()
_HELD_GUARD = threading.Lock()
_PAUSE_S = 0.05


@dataclass(frozen=True, slots=True)
class Runner:
    """The process that runs a session. A child made by fork inherits the run, but neither its lock nor the right to it.

    Attributes:
        process: Its id.
    """

    process: int = field(default_factory=os.getpid)

    @property
    def is_here(self) -> bool:
        """This is the process, and not a child of it."""
        return os.getpid() == self.process

    def check(self) -> None:
        """Refuse to go on in a child.

        Raises:
            RuntimeError: This is another process than the one that began.
        """
        if not self.is_here:
            raise RuntimeError("a forked child cannot go on with its parent's session")


@contextlib.contextmanager
def held(path: Path, what: str, *, wait_s: float = 0.0) -> Iterator[None]:
    """Hold a lock file until the end; the file itself stays.

    Args:
        path: The lock file; its folder is made.
        what: What it protects, for the message.
        wait_s: How long to wait for another holder, in seconds.

    Raises:
        LedgerLocked: Somebody else holds it.
    """
    deadline = time.monotonic() + wait_s
    while True:
        try:
            descriptor = _acquire(path, what)
            break
        except LedgerLocked:
            if time.monotonic() >= deadline:
                raise
            time.sleep(_PAUSE_S)
    guarded = guard((path,))  # a tool that read and closed the file would drop the lock with it
    try:
        yield
    finally:
        del guarded
        os.close(descriptor)  # which drops the lock
        with _HELD_GUARD:
            _HELD.discard((os.getpid(), path))


def is_held(path: Path, what: str) -> bool:
    """Say whether anybody holds a lock file; to find out it is taken for a moment if nobody does."""
    if not path.exists():
        return False
    try:
        with held(path, what):
            return False
    except LedgerLocked:
        return True


def is_session_live(db_path: str | os.PathLike[str], session: str) -> bool:
    """Say whether a process runs a session, which is what its lock tells; one in memory lives as long as this does."""
    return db_path == MEMORY or is_held(lock_path(db_path, session), f"session {session}")


def _acquire(path: Path, what: str) -> int:
    with _HELD_GUARD:
        holder = (os.getpid(), path)
        if holder in _HELD:
            raise LedgerLocked(f"{what} is running in this process already")
        make_folder(path.parent)
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        except OSError as error:
            raise LedgerError(f"lock {path} cannot be made: {error.strerror}", hint=f"ls -ld {path.parent}") from None
        try:
            fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(descriptor)
            raise LedgerLocked(f"{what} is running in another process", hint=f"fuser -v {path}") from None
        _HELD.add(holder)
        return descriptor
