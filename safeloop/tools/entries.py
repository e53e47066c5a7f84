"""What stands in a folder, looked at through its descriptor and never followed."""

from __future__ import annotations

import os
import stat
from contextlib import suppress
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

from safeloop.tools.relative import is_unfinished

if TYPE_CHECKING:
    from collections.abc import Iterator

LIST_LIMIT = 1_000
MAX_FOLDER_ENTRIES = 100_000


class EntryKind(Enum):
    """What stands under a name, without following it."""

    FILE = "file"
    FOLDER = "folder"
    LINK = "link"
    OTHER = "other"


@dataclass(frozen=True, slots=True)
class Entry:
    """One name in a folder.

    Args:
        name: Relative to the root, with `/`; lone surrogates stand for bytes that are not UTF-8.
        kind: What stands there now.
        size: Bytes of a regular file, else 0.
    """

    name: str
    kind: EntryKind
    size: int


@dataclass(frozen=True, slots=True)
class Listing:
    """The entries of one folder, in code point order of their names.

    Args:
        entries: At most as many as were asked for.
        total: How many there are.
    """

    entries: tuple[Entry, ...]
    total: int


def names_in(folder: int) -> list[str] | None:
    """Give the sorted names in an open folder, without unfinished files; None if they are too many."""
    names: list[str] = []
    with os.scandir(folder) as found:
        for each in found:
            if len(names) == MAX_FOLDER_ENTRIES:
                return None
            if not is_left_unfinished(each):
                names.append(each.name)
    return sorted(names)


def is_left_unfinished(entry: os.DirEntry[str]) -> bool:
    """Say whether this is a file that was still being written, which is no part of anything; no folder or link is."""
    return is_unfinished(entry.name) and entry.is_file(follow_symlinks=False)


def entries(prefix: str, folder: int, names: list[str]) -> Iterator[Entry]:
    """Look at each of the names in an open folder; `prefix` is the folder's own name."""
    for name in names:
        with suppress(FileNotFoundError):  # gone since the folder was read
            found = os.stat(name, dir_fd=folder, follow_symlinks=False)
            kind = _kind(found.st_mode)
            size = found.st_size if kind is EntryKind.FILE else 0
            yield Entry(f"{prefix}/{name}" if prefix else name, kind, size)


def _kind(mode: int) -> EntryKind:
    if stat.S_ISREG(mode):
        return EntryKind.FILE
    if stat.S_ISDIR(mode):
        return EntryKind.FOLDER
    return EntryKind.LINK if stat.S_ISLNK(mode) else EntryKind.OTHER
