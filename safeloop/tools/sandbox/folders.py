"""The folders of a sandbox, before and after a program had them: who owns what, ways out, and what cannot be kept."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

from safeloop.tools.clean import ToolError
from safeloop.tools.relative import name_fault, shown

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

MOST_ENTRIES = 1_000_000
MOST_DOORS = 100
_MOST_TOLD = 20


def doors_of(workspace: Path) -> tuple[str, ...]:
    """Find sockets and pipes in a folder: a program could speak through them even where it can only read.

    Raises:
        ToolError: There are more than can be shut, or the folder is too large to look through.
    """
    found: list[str] = []
    for seen, entry in enumerate(_entries(str(workspace))):
        if seen >= MOST_ENTRIES:
            raise ToolError(f"the workspace holds more than {MOST_ENTRIES} entries, too many to look for sockets in")
        if not (entry.is_file(follow_symlinks=False) or entry.is_dir(follow_symlinks=False) or entry.is_symlink()):
            found.append(os.path.relpath(entry.path, workspace))
    if len(found) > MOST_DOORS:
        raise ToolError(f"the workspace holds {len(found)} sockets, pipes and devices, more than {MOST_DOORS}")
    return tuple(found)


def give_to(folder: Path, user: int) -> None:
    """Make a user the owner of a folder and everything in it, following no link."""
    for _, folders, files, here in os.fwalk(folder, follow_symlinks=False):
        os.fchown(here, user, user)
        for name in (*folders, *files):
            os.chown(name, user, user, dir_fd=here, follow_symlinks=False)


def leftovers(staging: Path) -> tuple[str, ...]:
    """Say what in the staging folder can never be collected, each by its name and why; at most 20 of them."""
    found: list[str] = []
    for entry in _entries(str(staging)):
        name = os.path.relpath(entry.path, staging)
        try:
            fault = name_fault(name) or _fault(entry.stat(follow_symlinks=False))
        except FileNotFoundError:  # somebody else's, who took it away meanwhile
            continue
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


def _entries(folder: str) -> Iterator[os.DirEntry[str]]:
    """Give everything below a folder; what cannot be looked into is left to fail where it is used."""
    left = [folder]
    while left:
        here = left.pop()
        try:
            listing = os.scandir(here)
        except OSError:
            continue
        with listing:
            for entry in listing:
                yield entry
                if entry.is_dir(follow_symlinks=False):
                    left.append(entry.path)
