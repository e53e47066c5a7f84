"""Which names may be opened below a folder at all; pure, and the same for every file system."""

from __future__ import annotations

import re

from safeloop.ledger.visible import visible
from safeloop.spec.released import released_fault

MAX_NAME_BYTES = 4_096  # Linux PATH_MAX
MAX_PART_BYTES = 255  # Linux NAME_MAX
MAX_PARTS = 100
# A file that is being written; after a crash one may be left. No tool can name it, and nothing collects it.
_UNFINISHED = re.compile(r"\.safeloop-[0-9a-f]{32}\.part\Z")


def name_fault(name: object) -> str | None:
    """Say why a name is not a plain relative one, if it is not: parts joined by `/`, each as it is on disk.

    Refused: empty, absolute, a NUL, not UTF-8, an empty part (`a//b`, `a/`), `.` and `..`, more than 255
    bytes in a part, 4,096 bytes or 100 parts in all, and names of unfinished files. A backslash and every
    other character stand for themselves; nothing is normalised.
    """
    if not isinstance(name, str):
        return "a name must be text"
    if not name or name.startswith("/"):
        return "a name must be relative and not empty"
    if "\0" in name:
        return "a name cannot hold NUL"
    try:
        size = len(name.encode("utf-8"))
    except UnicodeEncodeError:
        return "a name must be UTF-8"
    if size > MAX_NAME_BYTES:
        return f"a name has at most {MAX_NAME_BYTES} bytes"
    parts = name.split("/")
    if len(parts) > MAX_PARTS:
        return f"a name has at most {MAX_PARTS} parts"
    return next((fault for fault in map(_part_fault, parts) if fault), None)


def staged_fault(name: str) -> str | None:
    """Say why a file of this name cannot be staged: a tool could not name it (`name_fault`), or no release hold it."""
    return name_fault(name) or released_fault(name)


def is_unfinished(part: str) -> bool:
    """Say whether this is the name of a file that was still being written."""
    return _UNFINISHED.match(part) is not None


def shown(name: object) -> str:
    """Give a name for an error message."""
    return visible(name) if isinstance(name, str) else visible(f"[{type(name).__name__}]")


def _part_fault(part: str) -> str | None:
    if part in {"", ".", ".."}:
        return "a name cannot hold empty parts, `.` or `..`"
    if len(part.encode("utf-8")) > MAX_PART_BYTES:
        return f"each part of a name has at most {MAX_PART_BYTES} bytes"
    return "this name is reserved for unfinished files" if is_unfinished(part) else None
