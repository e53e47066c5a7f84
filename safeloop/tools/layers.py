"""The files of a session as one view: staging lies over the workspace.

What the session wrote is what it reads back, and a staged file hides whatever the workspace has of the same name
(a staged file named `a` also hides the folder `a`). Folders of one name are one folder.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from safeloop.tools.clean import ToolError
from safeloop.tools.contained import ContainmentError, FileMissingError
from safeloop.tools.entries import LIST_LIMIT, MAX_FOLDER_ENTRIES, EntryKind
from safeloop.tools.relative import shown

if TYPE_CHECKING:
    from collections.abc import Iterator

    from safeloop.tools.contained import Root
    from safeloop.tools.entries import Entry

MAX_FILE_BYTES = 1_000_000  # of one file, read or written, inclusive


@dataclass(frozen=True, slots=True)
class Seen:
    """One name in the view.

    Attributes:
        entry: What stands there.
        is_staged: The session wrote it; else it is the workspace's.
    """

    entry: Entry
    is_staged: bool


@dataclass(frozen=True, slots=True)
class Layers:
    """A staging folder over a workspace, if there is one."""

    workspace: Root | None
    staging: Root

    @property
    def roots(self) -> tuple[Root, ...]:
        """The folders, from the one that hides to the one that is hidden."""
        return (self.staging,) if self.workspace is None else (self.staging, self.workspace)

    def read(self, path: str) -> bytes:
        """Read a file, of at most `MAX_FILE_BYTES`.

        Raises:
            FileMissingError: There is none.
            ContainmentError: It cannot be read.
        """
        *hiding, last = self.roots
        for root in hiding:
            try:
                return root.read(path, MAX_FILE_BYTES)
            except FileMissingError:
                continue
        return last.read(path, MAX_FILE_BYTES)

    def read_text(self, path: str) -> str:
        """Read a file as UTF-8, every character as it is.

        Raises:
            ToolError: It is no text.
            ContainmentError: As in `read`.
        """
        data = self.read(path)
        text = text_of(data)
        if text is None:
            raise ToolError(f"{shown(path)}: it is a binary file of {len(data)} bytes, not text in UTF-8")
        return text

    def list(self, folder: str, *, limit: int = LIST_LIMIT) -> tuple[tuple[Seen, ...], bool]:
        """List one folder of the view, sorted by name; and say whether there is more than that.

        Raises:
            FileMissingError: There is no such folder.
            ContainmentError: It cannot be listed.
        """
        seen: dict[str, Seen] = {}
        is_there = has_more = False
        for root in self.roots:
            try:
                listing = root.list(folder, limit=limit)
            except FileMissingError:
                continue
            except ContainmentError:
                if is_there:  # a folder that the session made hides what is no folder
                    continue
                raise
            is_there, has_more = True, has_more or listing.total > limit
            for entry in listing.entries:
                seen.setdefault(entry.name, Seen(entry, root is self.staging))
        if not is_there:
            raise FileMissingError(f"{shown(folder)}: there is no such folder")
        names = sorted(seen)
        return tuple(seen[name] for name in names[:limit]), has_more or len(names) > limit

    def walk(self, folder: str) -> Iterator[Entry | ContainmentError]:
        """Go through everything below a folder, in the order of the names, each folder before what is in it.

        Where a folder below it cannot be listed, the error stands after it.

        Raises:
            FileMissingError: There is no such folder.
            ContainmentError: It cannot be listed.
        """
        for each in self.list(folder, limit=MAX_FOLDER_ENTRIES)[0]:
            yield each.entry
            if each.entry.kind is not EntryKind.FOLDER:
                continue
            try:
                yield from self.walk(each.entry.name)
            except ContainmentError as error:
                yield error


def text_of(data: bytes) -> str | None:
    """Return bytes as text, if they are UTF-8 without a NUL."""
    if b"\0" in data:
        return None
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        return None
