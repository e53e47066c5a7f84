"""The unified diff of one staged file, as lines that a reviewer can trust to be lines.

Lines end at a line feed and nowhere else: the many characters that Python counts as line ends would let a file
show lines that it does not have.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from difflib import SequenceMatcher

LONGEST_SHOWN = 200_000
"""Bytes of each version of a file that are compared and shown; what is beyond is announced."""

_CONTEXT = 3
_MOST_WORK = 50_000_000  # a few seconds at worst
_FEW = 200  # below so many lines difflib looks at all of them, above it passes over those that are in every corner
NO_NEWLINE = "\\ No newline at end of file"


def is_binary(data: bytes) -> bool:
    """Say whether these bytes are no text: not UTF-8, or with a NUL."""
    if b"\0" in data:
        return True
    try:
        data.decode("utf-8")
    except UnicodeDecodeError:
        return True
    return False


def shown_part(data: bytes) -> bytes:
    """Return the leading bytes that are shown, at most `LONGEST_SHOWN`, without cutting a character."""
    if len(data) <= LONGEST_SHOWN:
        return data
    end = LONGEST_SHOWN
    while data[end] & 0xC0 == 0x80:  # within a character of UTF-8
        end -= 1
    return data[:end]


def diff_lines(before: str, after: str) -> tuple[str, ...]:
    """Return the hunks of the unified diff of two texts, without line ends; none if they are equal.

    Where the search for common lines could take minutes, what lies between the common beginning and the common
    end is shown as wholly replaced.
    """
    old, new = _lines(before), _lines(after)
    if old == new:
        return ()
    skip, stop = _common_ends(old, new)
    first, second = old[skip:len(old) - stop], new[skip:len(new) - stop]
    return tuple(line for hunk in _hunks(first, second) for line in _shown(hunk, first, second, skip))


_Hunk = list[tuple[str, int, int, int, int]]


def _lines(text: str) -> list[str]:
    lines = text.split("\n")
    last = lines.pop()
    return [f"{line}\n" for line in lines] + ([last] if last else [])


def _common_ends(old: list[str], new: list[str]) -> tuple[int, int]:
    """Count the equal lines at the beginning and at the end, less the context that belongs to a hunk."""
    shorter = min(len(old), len(new))
    skip = next((at for at in range(shorter) if old[at] != new[at]), shorter)
    stop = next((at for at in range(shorter - skip) if old[-1 - at] != new[-1 - at]), shorter - skip)
    return max(skip - _CONTEXT, 0), max(stop - _CONTEXT, 0)


def _hunks(old: list[str], new: list[str]) -> list[_Hunk]:
    if not _is_quick(old, new):
        return [[("replace", 0, len(old), 0, len(new))]]
    return [list(group) for group in SequenceMatcher(None, old, new).get_grouped_opcodes(_CONTEXT)]


def _is_quick(old: list[str], new: list[str]) -> bool:
    """Bound the steps of difflib, which a model could drive into hours: for each line kept, every pair alike."""
    wanted, found = Counter(old), Counter(new)
    popular = len(new) if len(new) < _FEW else len(new) // 100 + 1
    pairs = sum(wanted[line] * times for line, times in found.items() if times <= popular)
    return (len(old) + len(new) + pairs) * min(len(old), len(new)) <= _MOST_WORK


def _shown(hunk: _Hunk, old: list[str], new: list[str], skip: int) -> Iterator[str]:
    _, old_begin, _, new_begin, _ = hunk[0]
    _, _, old_end, _, new_end = hunk[-1]
    yield f"@@ -{_range(old_begin, old_end, skip)} +{_range(new_begin, new_end, skip)} @@"
    for tag, i, i_end, j, j_end in hunk:
        if tag == "equal":
            yield from _signed(" ", old[i:i_end])
        else:
            yield from _signed("-", old[i:i_end])
            yield from _signed("+", new[j:j_end])


def _signed(sign: str, lines: list[str]) -> Iterator[str]:
    for line in lines:
        yield sign + line.removesuffix("\n")
        if not line.endswith("\n"):
            yield NO_NEWLINE


def _range(begin: int, end: int, skip: int) -> str:
    """Return a range of a hunk as diff -u writes it: the first line from 1, and how many if not one."""
    first = skip + begin + 1
    return str(first) if end - begin == 1 else f"{first if end > begin else first - 1},{end - begin}"
