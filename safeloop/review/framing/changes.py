"""The staged files in the frame: what each was, what it is now, and its SHA-256 over all of its bytes."""

from __future__ import annotations

import hashlib
from itertools import pairwise
from typing import TYPE_CHECKING

from safeloop.review.framing.diff import NO_NEWLINE, diff_lines, is_binary, shown_part
from safeloop.review.framing.facts import Erased, Kept, StagedFile
from safeloop.review.framing.layout import block, decoded, field, name_field

if TYPE_CHECKING:
    from collections.abc import Iterator


_CUT_LINE = "\\ The rest of this line is not shown"


def change_lines(files: tuple[StagedFile, ...] | Erased) -> Iterator[str]:
    """Return the lines of all staged files."""
    if isinstance(files, Erased):
        yield field("Files:", f"(their list was erased by row {files.row})")
        return
    yield field("Files:", str(len(files)))
    for file in files:
        yield from _file(file)


def _file(file: StagedFile) -> Iterator[str]:
    yield from name_field("File:", file.name)
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
    lines = _without_false_ends(lines, before, file.after)
    # A line of the file may hold anything but a line feed; the gutter is put before each after the diff was made.
    for line in lines:
        yield from block(line)


def _without_false_ends(lines: tuple[str, ...], before: bytes, after: bytes) -> tuple[str, ...]:
    """Say of a line that was cut in the middle that it was: it is not the end of a file without a line feed."""
    cut = {sign for sign, data in (("-", before), ("+", after)) if shown_part(data) != data}
    if not cut:
        return lines
    return tuple(
        _CUT_LINE if line == NO_NEWLINE and (last[0] in cut or last[0] == " ") else line
        for last, line in pairwise(("", *lines))
    )


def _digest(kept: Kept) -> str:
    if isinstance(kept, Erased):
        return f"(erased by row {kept.row}: {kept.size} bytes)"
    return f"{hashlib.sha256(kept).hexdigest()}, {len(kept)} bytes"
