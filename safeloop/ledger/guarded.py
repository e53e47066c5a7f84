"""What no tool of this process may open: its ledgers' files, its lock files, its keys.

The kernel drops a process's POSIX locks on a file as soon as the process closes any descriptor of that file,
SQLite's locks and the session's alike. So such a file must be known before it is opened; and it is known by
device and inode, or a hard link or a bind mount would be another way to it.
"""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True, weakref_slot=True, eq=False)
class Guard:
    """Keeps tools from files and folders, for as long as it is referred to.

    Attributes:
        paths: They need not exist: what stands there counts when a tool comes.
    """

    paths: tuple[Path, ...]


_LOCK = threading.Lock()
_GUARDS: weakref.WeakSet[Guard] = weakref.WeakSet()


def _renew_lock() -> None:
    global _LOCK  # noqa: PLW0603 - a child made while another thread held the lock could never take it
    _LOCK = threading.Lock()


os.register_at_fork(after_in_child=_renew_lock)


def guard(paths: Iterable[Path]) -> Guard:
    """Guard files and folders until the returned value is gone."""
    made = Guard(tuple(paths))
    with _LOCK:
        _GUARDS.add(made)
    return made


def is_guarded(found: os.stat_result) -> bool:
    """Say whether this is now one of the guarded files or folders, under whatever name it was found."""
    with _LOCK:
        guards = tuple(_GUARDS)
    return any(_is_at(path, found) for each in guards for path in each.paths)


def _is_at(path: Path, found: os.stat_result) -> bool:
    with suppress(OSError):  # nothing there, or nothing that can be reached
        return os.path.samestat(path.stat(), found)
    return False
