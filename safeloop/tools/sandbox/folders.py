"""The folders of a sandbox, before and after a program had them: who owns what, ways out, and what cannot be kept."""

from __future__ import annotations

import errno
import os
import stat
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from safeloop.tools.beneath import OPEN_FOLDER
from safeloop.tools.clean import ToolError
from safeloop.tools.entries import is_left_unfinished
from safeloop.tools.relative import shown, staged_fault
from safeloop.tools.sandbox.limits import PROGRAM_USER

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

MOST_ENTRIES = 1_000_000
MOST_DOORS = 100
_MOST_TOLD = 20


def doors_of(workspace: Path) -> tuple[str, ...]:
    """Find sockets and pipes in a folder: a program could speak through them even where it can only read.

    Those that a program has no way to are left out: no sandbox could be made that covers them.

    Raises:
        ToolError: There are more than can be shut, or the folder is too large to look through.
    """
    found: list[str] = []
    for seen, entry in enumerate(_entries(str(workspace), _is_searchable)):
        if seen >= MOST_ENTRIES:
            raise ToolError(f"the workspace holds more than {MOST_ENTRIES} entries, too many to look for sockets in")
        if not (entry.is_file(follow_symlinks=False) or entry.is_dir(follow_symlinks=False) or entry.is_symlink()):
            found.append(os.path.relpath(entry.path, workspace))
    if len(found) > MOST_DOORS:
        raise ToolError(f"the workspace holds {len(found)} sockets, pipes and devices, more than {MOST_DOORS}")
    return tuple(found)


def give_to(folder: Path, user: int) -> None:
    """Make a user the owner of a folder and everything in it, following no link."""
    way: list[tuple[os.stat_result, list[str]]] = []  # the folders above, and what is left to do in each
    here = os.open(folder, OPEN_FOLDER)
    try:
        os.fchown(here, user, user)
        left = _given(here, user)
        while left or way:
            if left:
                way.append((os.fstat(here), left))
                here = _step(here, left.pop())
                left = _given(here, user)
                continue
            before, left = way.pop()
            here = _step(here, "..")
            if not os.path.samestat(before, os.fstat(here)):
                raise OSError(errno.ESTALE, os.strerror(errno.ESTALE))
    finally:
        os.close(here)


def _step(here: int, name: str) -> int:
    """Open a folder beside an open one that is closed then: however deep it is, this takes two descriptors."""
    there = os.open(name, OPEN_FOLDER, dir_fd=here)
    os.close(here)
    return there


def _given(folder: int, user: int) -> list[str]:
    """Make a user the owner of everything in an open folder, and return the names of its folders."""
    folders: list[str] = []
    with os.scandir(folder) as entries:
        for entry in entries:
            os.chown(entry.name, user, user, dir_fd=folder, follow_symlinks=False)
            if entry.is_dir(follow_symlinks=False):
                folders.append(entry.name)
    return folders


def leftovers(staging: Path) -> tuple[str, ...]:
    """Say what in the staging folder can never be collected, each by its name and why; at most 20 of them."""
    found: list[str] = []
    for entry in _entries(str(staging)):
        name = os.path.relpath(entry.path, staging)
        try:
            if is_left_unfinished(entry):
                continue
            fault = staged_fault(name) or _fault(entry.stat(follow_symlinks=False))
        except FileNotFoundError:  # somebody else's, who took it away meanwhile
            continue
        except OSError as error:
            fault = os.strerror(error.errno or 0).lower()
        if fault is not None:
            found.append(f"{shown(name)}: {fault}")
        if len(found) == _MOST_TOLD:
            break
    return tuple(found)


def _fault(found: os.stat_result) -> str | None:
    if stat.S_ISDIR(found.st_mode):
        return None
    if stat.S_ISLNK(found.st_mode):
        return "it is a symbolic link"
    if not stat.S_ISREG(found.st_mode):
        return "it is not a regular file"
    if found.st_mode & (stat.S_ISUID | stat.S_ISGID):
        return "it would run as its owner or group (setuid, setgid)"
    return None if found.st_nlink == 1 else f"it has {found.st_nlink} links, and only 1 is allowed"


def _is_searchable(folder: str) -> bool:
    """Say whether a program can reach what is in a folder."""
    if os.geteuid() != 0:
        return os.access(folder, os.X_OK, effective_ids=True)
    found = Path(folder).stat()
    of_owner, of_group = found.st_uid == PROGRAM_USER, found.st_gid == PROGRAM_USER
    if found.st_mode & (stat.S_IXUSR if of_owner else stat.S_IXGRP if of_group else stat.S_IXOTH):
        return True
    with suppress(OSError):  # of a file system that has none
        return "system.posix_acl_access" in os.listxattr(folder)  # it may let in whom the mode does not name
    return False


def _entries(folder: str, may_enter: Callable[[str], bool] | None = None) -> Iterator[os.DirEntry[str]]:
    """Give everything below a folder; what cannot be looked into is left to fail where it is used."""
    left = [folder]
    while left:
        here = left.pop()
        try:
            if may_enter is not None and not may_enter(here):
                continue
            listing = os.scandir(here)
        except OSError:
            continue
        with listing:
            for entry in listing:
                yield entry
                if entry.is_dir(follow_symlinks=False):
                    left.append(entry.path)
