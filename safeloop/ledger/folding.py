"""Long lines with words of others, broken before a terminal does it: what a terminal breaks has no margin.

A line is broken at 78 columns whatever the terminal, and goes on behind a margin that its caller chooses.
"""

from __future__ import annotations

COLUMNS = 78  # a terminal has 80
_TAB_COLUMNS = 8


def folded_behind(continued: str, line: str, columns: int = COLUMNS) -> tuple[str, ...]:
    """Break a line at 78 columns; what follows stands behind `continued`, and joined again it is the same line.

    It is broken before a space if there is one in its latter half. An ASCII character counts as one column, a
    tab as eight and any other as two: never fewer than a terminal takes, and the same under every version of
    Unicode.

    Args:
        continued: A margin, of ASCII, that leaves room for eight columns.
        line: Without line feed.
        columns: Other than 78 only for what is shown and never hashed.
    """
    if len(line) <= columns and line.isascii() and "\t" not in line:
        return (line,)
    pieces = [line[:_end(line, 0, columns)]]
    start = len(pieces[0])
    while start < len(line):
        end = _end(line, start, columns - len(continued))
        pieces.append(f"{continued}{line[start:end]}")
        start = end
    return tuple(pieces)


def _end(line: str, start: int, columns: int) -> int:
    """Return where the piece ends that starts here and may take so many columns."""
    used, space = 0, start
    for at in range(start, len(line)):
        used += _TAB_COLUMNS if line[at] == "\t" else 1 if line[at].isascii() else 2
        if used > columns:
            return space if space > start else at
        if line[at] == " " and 2 * used > columns:
            space = at
    return len(line)
