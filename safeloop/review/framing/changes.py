"""The staged files in the frame: what each was, what it is now, and its SHA-256 over all of its bytes."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from safeloop.review.framing.diff import diff_lines, is_binary, shown_part
from safeloop.review.framing.facts import Erased, Kept, StagedFile
from safeloop.review.framing.layout import block, decoded, field, outside_field

if TYPE_CHECKING:
    from collections.abc import Iterator


def change_lines(files: tuple[StagedFile, ...] | Erased) -> Iterator[str]:
    """Return the lines of all staged files."""
    if isinstance(files, Erased):
        yield field("Files:", f"(their list was erased by row {files.row})")
        return
    yield field("Files:", str(len(files)))
    for file in files:
        yield from _file(file)


def _file(file: StagedFile) -> Iterator[str]:
    yield from outside_field("File:", file.name)
    yield field("  before, SHA-256:", "none: a new file" if file.before is None else _digest(file.before))
    yield field("  after, SHA-256:", _digest(file.after))
    before = b"" if file.before is None else file.before
    if isinstance(before, Erased) or isinstance(file.after, Erased):
        return
    if is_binary(before) or is_binary(file.after):
        yield field("  binary:", "not shown")
        return
    for name, data in (("before", before), ("after", file.after)):
        hidden = len(data) - len(shown_part(data))
        if hidden:
            yield field(f"  cut, {name}:", f"its last {hidden} bytes are not shown")
    lines = diff_lines(decoded(shown_part(before)), decoded(shown_part(file.after)))
    if not lines:
        yield field("  diff:", "no difference in what is shown")
    # A line of the file may hold anything but a line feed; the gutter is put before each after the diff was made.
    for line in lines:
        yield from block(line)


def _digest(kept: Kept) -> str:
    if isinstance(kept, Erased):
        return f"(erased by row {kept.row}: {kept.size} bytes)"
    return f"{hashlib.sha256(kept).hexdigest()}, {len(kept)} bytes"
