"""The file tools of a session: it reads its workspace, and writes into its staging folder.

Staging lies over the workspace (see `layers`). The workspace itself is never written.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from safeloop.tools.clean import ToolError, Verbatim
from safeloop.tools.contained import ContainmentError
from safeloop.tools.layers import MAX_FILE_BYTES, Layers
from safeloop.tools.permission import Permission
from safeloop.tools.registry import ToolRegistry
from safeloop.tools.relative import shown, staged_fault
from safeloop.tools.searching import search

if TYPE_CHECKING:
    from safeloop.tools.contained import Root


def file_tools(workspace: Root | None, staging: Root) -> ToolRegistry:
    """Give `list_files`, `read_file`, `search_files` (READ), `write_file` and `edit_file` (WRITE) for one session.

    Args:
        workspace: What the session may read; None if it has none.
        staging: Where it writes, and reads first.
    """
    files = _Files(Layers(workspace, staging))
    registry = ToolRegistry()
    registry.tool(permission=Permission.READ)(files.list_files)
    registry.tool(permission=Permission.READ)(files.read_file)
    registry.tool(permission=Permission.READ)(files.search_files)
    registry.tool(permission=Permission.WRITE, is_idempotent=True)(files.write_file)
    # Not idempotent: a replacement may hold the very text that it replaced.
    registry.tool(permission=Permission.WRITE)(files.edit_file)
    return registry


class _Files:
    """The handlers; their docstrings are what the model reads."""

    def __init__(self, layers: Layers) -> None:
        self._layers = layers

    def list_files(self, folder: str = "") -> dict[str, Any]:
        """List one folder: the files of the workspace and those you wrote.

        Args:
            folder: Relative to the workspace, without `.` or `..`; empty means the workspace itself.
        """
        seen, more = self._layers.list(folder)
        entries = [
            {"name": entry.name, "kind": entry.kind.value, "bytes": entry.size, "written": is_staged}
            for entry, is_staged in ((each.entry, each.is_staged) for each in seen)
        ]
        return {"entries": entries, "more": more}

    def read_file(self, path: str) -> str:
        """Read a text file of the workspace, or one you wrote.

        Args:
            path: Relative to the workspace, without `.` or `..`.
        """
        return Verbatim(self._layers.read_text(path))

    def search_files(self, query: str, folder: str = "", regular_expression: bool = False) -> dict[str, Any]:
        """Find the lines of text files that hold a text: in the workspace and in what you wrote.

        Args:
            query: What to find, compared exactly; each line is searched by itself.
            folder: Relative to the workspace, without `.` or `..`; empty means the workspace itself. Its folders too.
            regular_expression: Read the query as a regular expression of Python instead.
        """
        return search(self._layers, query, folder, is_pattern=regular_expression)

    def write_file(self, path: str, content: str) -> str:
        """Write a text file, whole; an older one of this name is replaced. Missing folders are made.

        Args:
            path: Relative to the workspace, without `.` or `..`.
            content: The whole text.
        """
        return f"wrote {self._write(path, content)} bytes to {shown(path)}"

    def edit_file(self, path: str, old: str, new: str) -> str:
        """Replace a piece of a text file, of the workspace or one you wrote; the rest stays as it is.

        Args:
            path: Relative to the workspace, without `.` or `..`.
            old: The piece as it stands there, white space and all; it must be there exactly once.
            new: What to put in its place.
        """
        text = self._layers.read_text(path)
        if old in ("", new):
            raise ToolError("`old` must not be empty, nor the same as `new`")
        at = text.find(old)
        if at < 0:
            raise ToolError(f"{shown(path)}: `old` is not in it; read_file shows what is")
        if text.find(old, at + 1) >= 0:  # also where the two overlap: it would not be clear which one is meant
            raise ToolError(f"{shown(path)}: `old` is in it more than once; take in more of what is around it")
        size = self._write(path, text[:at] + new + text[at + len(old):])
        return f"replaced one piece in line {text.count(chr(10), 0, at) + 1} of {shown(path)}, now {size} bytes"

    def _write(self, path: str, text: str) -> int:
        fault = staged_fault(path)
        if fault is not None:
            raise ContainmentError(f"{shown(path)}: {fault}")
        data = text.encode("utf-8")
        if len(data) > MAX_FILE_BYTES:
            raise ToolError(f"{shown(path)}: {len(data)} bytes, and at most {MAX_FILE_BYTES} are written")
        self._layers.staging.write(path, data)
        return len(data)
