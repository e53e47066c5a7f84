"""What a session staged, collected as bytes: the only way in which files leave the staging folder.

Here hard links matter: a second name outside could change a file after it was looked at, or bring in one
that the session never wrote. What is returned is what was read, once; nothing is read again later.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from safeloop.tools.contained import ContainmentError
from safeloop.tools.entries import MAX_FOLDER_ENTRIES, EntryKind
from safeloop.tools.relative import shown, staged_fault

if TYPE_CHECKING:
    from collections.abc import Iterator

    from safeloop.tools.contained import Root
    from safeloop.tools.entries import Entry

MAX_STAGED_FILES = 1_000
MAX_STAGED_BYTES = 100_000_000


@dataclass(frozen=True, slots=True)
class StagedFile:
    """One file to be committed.

    Args:
        name: Relative to the staging folder, with `/`, as it is on disk.
        data: Its bytes.
    """

    name: str
    data: bytes


def collect(
    root: Root, *, max_files: int = MAX_STAGED_FILES, max_bytes: int = MAX_STAGED_BYTES
) -> tuple[StagedFile, ...]:
    """Read every staged file, sorted by the UTF-8 bytes of the names.

    Folders count only by what is in them. Unfinished files that a crash left are not part of the result.

    Args:
        root: The staging folder.
        max_files: Files, inclusive.
        max_bytes: Bytes of all files together, inclusive.

    Raises:
        ContainmentError: Something is not a regular file with exactly one link, has a name that cannot be
            written down or released, or a limit was crossed. The message names it; nothing is left out silently.
    """
    found: list[str] = []
    total = 0
    for entry in _files(root, ""):
        found.append(entry.name)
        total += entry.size
        if len(found) > max_files:
            raise ContainmentError(f"the staging folder holds more than {max_files} files")
        if total > max_bytes:
            last = shown(entry.name)
            raise ContainmentError(f"the staging folder holds more than {max_bytes} bytes, with {last}")
    files: list[StagedFile] = []
    left = max_bytes  # again, while reading: a file may have grown since it was listed
    for name in sorted(found, key=str.encode):
        files.append(StagedFile(name, root.read(name, left, one_link=True)))
        left -= len(files[-1].data)
    return tuple(files)


def _files(root: Root, prefix: str) -> Iterator[Entry]:
    for entry in root.list(prefix, limit=MAX_FOLDER_ENTRIES).entries:
        fault = staged_fault(entry.name)
        if fault is not None:
            raise ContainmentError(f"{shown(entry.name)}: {fault}")
        if entry.kind is EntryKind.FOLDER:
            yield from _files(root, entry.name)
        elif entry.kind is EntryKind.FILE:
            yield entry
        else:
            raise ContainmentError(f"{shown(entry.name)}: it is not a regular file")
