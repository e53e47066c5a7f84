"""The file tools of a session: it reads its workspace, and writes into its staging folder.

Staging lies over the workspace: what the session wrote is what it reads back, and a staged file hides one of
the same name (a staged file named `a` also hides the folder `a`). The workspace itself is never written.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from safeloop.tools.clean import ToolError
from safeloop.tools.contained import FileMissingError
from safeloop.tools.entries import LIST_LIMIT
from safeloop.tools.permission import Permission
from safeloop.tools.registry import ToolRegistry
from safeloop.tools.relative import shown

if TYPE_CHECKING:
    from safeloop.tools.contained import Root
    from safeloop.tools.entries import Listing

MAX_FILE_BYTES = 1_000_000  # of one file, read or written, inclusive


def file_tools(workspace: Root | None, staging: Root) -> ToolRegistry:
    """Give `list_files`, `read_file` (READ) and `write_file` (WRITE) for one session.

    Args:
        workspace: What the session may read; None if it has none.
        staging: Where it writes, and reads first.
    """
    files = _Files(workspace, staging)
    registry = ToolRegistry()
    registry.tool(permission=Permission.READ)(files.list_files)
    registry.tool(permission=Permission.READ)(files.read_file)
    registry.tool(permission=Permission.WRITE, is_idempotent=True)(files.write_file)
    return registry


class _Files:
    """The handlers; their docstrings are what the model reads."""

    def __init__(self, workspace: Root | None, staging: Root) -> None:
        self._staging = staging
        self._layers = (staging,) if workspace is None else (staging, workspace)

    def list_files(self, folder: str = "") -> dict[str, Any]:
        """List one folder: the files of the workspace and those you wrote.

        Args:
            folder: Relative to the workspace, without `.` or `..`; empty means the workspace itself.
        """
        listings = [self._listing(root, folder) for root in self._layers]
        if not any(listings):
            raise FileMissingError(f"{shown(folder)}: there is no such folder")
        entries: dict[str, dict[str, Any]] = {}
        for root, listing in zip(self._layers, listings, strict=True):
            for entry in listing.entries if listing else ():
                staged = root is self._staging
                facts = {"name": entry.name, "kind": entry.kind.value, "bytes": entry.size, "written": staged}
                entries.setdefault(entry.name, facts)
        names = sorted(entries)[:LIST_LIMIT]
        more = len(names) < len(entries) or any(each.total > LIST_LIMIT for each in listings if each)
        return {"entries": [entries[name] for name in names], "more": more}

    def read_file(self, path: str) -> str:
        """Read a text file of the workspace, or one you wrote.

        Args:
            path: Relative to the workspace, without `.` or `..`.
        """
        data = self._read(path)
        try:
            text = data.decode("utf-8")
        except UnicodeDecodeError:
            text = "\0"
        if "\0" in text:
            raise ToolError(f"{shown(path)}: it is a binary file of {len(data)} bytes, not text in UTF-8")
        return text

    def write_file(self, path: str, content: str) -> str:
        """Write a text file, whole; an older one of this name is replaced. Missing folders are made.

        Args:
            path: Relative to the workspace, without `.` or `..`.
            content: The whole text.
        """
        data = content.encode("utf-8")
        if len(data) > MAX_FILE_BYTES:
            raise ToolError(f"{shown(path)}: {len(data)} bytes, and at most {MAX_FILE_BYTES} are written")
        self._staging.write(path, data)
        return f"wrote {len(data)} bytes to {shown(path)}"

    def _read(self, path: str) -> bytes:
        for root in self._layers[:-1]:
            try:
                return root.read(path, MAX_FILE_BYTES)
            except FileMissingError:
                continue
        return self._layers[-1].read(path, MAX_FILE_BYTES)

    def _listing(self, root: Root, folder: str) -> Listing | None:
        """List one layer; None where it has no such folder."""
        try:
            return root.list(folder)
        except FileMissingError:
            return None
