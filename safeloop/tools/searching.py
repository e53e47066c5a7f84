"""A search through the files of a session, with an end: by size, by count and by time.

A regular expression runs in a process of its own, as those of criteria do: one that explodes is killed there. Files
are opened here and nowhere else, so that the fence around them is the same as for every other tool.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from safeloop.spec.search import SECONDS, answer_within
from safeloop.tools.clean import ToolError, unseen_made_visible
from safeloop.tools.contained import ContainmentError
from safeloop.tools.entries import EntryKind
from safeloop.tools.layers import MAX_FILE_BYTES, text_of
from safeloop.tools.limiting import unless_given_up

if TYPE_CHECKING:
    from collections.abc import Iterator

    from safeloop.tools.layers import Layers

MOST_FOUND = 200  # lines
MOST_FILES = 10_000  # looked at
MOST_PARTS = 200_000  # of the names of all files and folders looked at: what it costs to reach them
MOST_BYTES = 20_000_000  # searched, of all files together
LONGEST_QUERY = 1_000  # characters
LONGEST_LINE = 300  # characters of a line that are shown
MOST_SHOWN = 40_000  # characters of all lines as shown: less than what a result may have

_PROGRAM = """
import json, re, resource, sys
resource.setrlimit(resource.RLIMIT_AS, (1 << 30, 1 << 30))
pattern, texts, most = json.loads(sys.stdin.buffer.read())
try:
    search = re.compile(pattern).search
except (re.error, RecursionError, OverflowError) as error:
    json.dump(str(error), sys.stdout)
    sys.exit()
found = []
for at, text in enumerate(texts):
    for number, line in enumerate(text.split("\\n"), start=1):
        if search(line.removesuffix("\\r")):
            found.append((at, number))
            if len(found) > most:
                break
    if len(found) > most:
        break
json.dump(found, sys.stdout)
"""


@dataclass(slots=True)
class _Read:
    """The texts that are searched, and what was left out of them."""

    names: list[str] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)
    left_out: dict[str, int] = field(default_factory=dict)

    def leave_out(self, why: str) -> None:
        self.left_out[why] = self.left_out.get(why, 0) + 1


def search(layers: Layers, query: str, folder: str, *, is_pattern: bool) -> dict[str, Any]:
    """Find the lines of text files that hold a text, or that a regular expression matches.

    Args:
        layers: The files.
        query: The text, or the expression; each line is searched by itself.
        folder: Where; empty means everywhere.
        is_pattern: It is an expression, in the syntax of Python's `re`.

    Returns:
        `found`, at most `MOST_FOUND` lines with `name`, `line` (from 1) and `text`; `files_searched`; and, where there
        is something to say, `not_searched` (reasons and counts) and `cut`.

    Raises:
        ToolError: The query cannot be searched for, or the search did not end in time.
        ContainmentError: There is no such folder.
    """
    if not query or len(query) > LONGEST_QUERY or (not is_pattern and "\n" in query):
        raise ToolError(f"what is searched for must be one line of 1 to {LONGEST_QUERY} characters")
    read = _read(layers, folder)
    places = _matched(query, read.texts) if is_pattern else list(_containing(query, read.texts))
    found = _lines(read, places[:MOST_FOUND])
    answer: dict[str, Any] = {"found": found, "files_searched": len(read.texts)}
    if read.left_out:
        answer["not_searched"] = read.left_out
    if len(places) > len(found):
        answer["cut"] = f"there are more than these {len(found)} lines: search for less, or in one folder"
    return answer


def _read(layers: Layers, folder: str) -> _Read:
    read, files, parts, left = _Read(), MOST_FILES, MOST_PARTS, MOST_BYTES
    for entry in layers.walk(folder):
        with unless_given_up():
            pass
        if isinstance(entry, ContainmentError):
            read.leave_out("folders that cannot be listed")
            continue
        parts -= entry.name.count("/") + 1
        if parts < 0:
            read.leave_out("files and folders beyond those that can be looked at in one search")
            break
        if entry.kind is EntryKind.FOLDER:
            continue
        files -= 1
        if files < 0 or left <= 0:
            read.leave_out(f"files beyond {MOST_FILES} files or {MOST_BYTES} bytes")
            break
        if entry.kind is not EntryKind.FILE:
            read.leave_out("links and others that are no files")
        elif entry.size > MAX_FILE_BYTES:
            read.leave_out(f"files of more than {MAX_FILE_BYTES} bytes")
        else:
            left -= _take(layers, entry.name, read)
    return read


def _take(layers: Layers, name: str, read: _Read) -> int:
    """Read one file; return its bytes."""
    try:
        data = layers.read(name)
    except ContainmentError:
        read.leave_out("files that cannot be read")
        return 0
    text = text_of(data)
    if text is None:
        read.leave_out("binary files")
    else:
        read.names.append(name)
        read.texts.append(text)
    return len(data)


def _containing(query: str, texts: list[str]) -> Iterator[tuple[int, int]]:
    found = 0
    for at, text in enumerate(texts):
        if query not in text:
            continue
        for number, line in enumerate(text.split("\n"), start=1):
            if query in line:
                yield at, number
                found += 1
                if found > MOST_FOUND:
                    return


def _matched(pattern: str, texts: list[str]) -> list[tuple[int, int]]:
    answer = answer_within(_PROGRAM, [pattern, texts, MOST_FOUND], seconds=SECONDS)
    if answer is None:
        raise ToolError(f"the search did not end within {SECONDS:g} s: use a simpler expression, or one folder")
    if isinstance(answer, str):
        raise ToolError(f"this is no regular expression: {answer}")
    return [(at, number) for at, number in answer]


def _lines(read: _Read, places: list[tuple[int, int]]) -> list[dict[str, Any]]:
    """Show lines, as many as there is room for in one result."""
    split: dict[int, list[str]] = {}
    found, room = [], MOST_SHOWN
    for at, number in places:
        if at not in split:
            split = {at: read.texts[at].split("\n")}
        line = split[at][number - 1].removesuffix("\r")
        more = len(line) - LONGEST_LINE
        text = line if more <= 0 else f"{line[:LONGEST_LINE]} [cut: {more} of {len(line)} characters are not shown]"
        each = {"name": read.names[at], "line": number, "text": text}
        room -= len(unseen_made_visible(json.dumps(each, ensure_ascii=False)))
        if room < 0:
            break
        found.append(each)
    return found
