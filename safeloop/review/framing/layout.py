r"""How a line of the frame is made: labels of our own, and the words of others where they cannot do harm.

The words of a model, a tool or a file are hostile. A text stands behind a gutter on every line, so that it cannot
imitate a heading; a name within a line has its line ends escaped, and stands in quotes unless it is plain.
Everything can be undone, so two texts never look alike: control, bidi and invisible characters are `\u{hex}`,
a backslash is two, and a byte that is not UTF-8 is the lone surrogate that Python reads it as.

A terminal breaks a long line by itself, and then words stand where no gutter is. So a line with words of others is
broken here, at 78 columns whatever the terminal, and goes on behind a gutter of its own, which no other line has.
"""

from __future__ import annotations

import re

from safeloop.ledger import escaped

INDENT = "    "
GUTTER = f"{INDENT}| "
CONTINUED = f"{INDENT}\\ "
COLUMNS = 78  # of a line with words of others; a terminal has 80
_TAB_COLUMNS = 8
_LABEL_WIDTH = 21  # the tutorial's column
_PLAIN = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.:/@+-]*\Z")


def field(label: str, value: str) -> str:
    """Return a labelled line of our own words; a value from outside belongs into `outside_field`."""
    return f"{INDENT}{label:<{_LABEL_WIDTH}}{escaped(value)}"


def outside_field(label: str, value: str) -> tuple[str, ...]:
    """Return a labelled value from outside; its line ends are escaped."""
    return folded(field(label, value))


def text_field(label: str, text: str) -> tuple[str, ...]:
    """Return a labelled text: on the label's line if it has only one, else behind the gutter below it."""
    return (f"{INDENT}{label}", *block(text)) if "\n" in text else outside_field(label, text)


def block(text: str) -> tuple[str, ...]:
    """Return a text behind the gutter; the text `a` is one line of it, `a` and a line feed are two."""
    lines = escaped(text, keep_lines=True).split("\n")
    return tuple(piece for line in lines for piece in folded(f"{GUTTER}{line}"))


def folded(line: str) -> tuple[str, ...]:
    """Break a line at 78 columns; what follows stands behind `CONTINUED`, and joined again it is the same line.

    It is broken before a space if there is one in its latter half. An ASCII character counts as one column, a
    tab as eight and any other as two: never fewer than a terminal takes, and the same under every version of
    Unicode.
    """
    if len(line) <= COLUMNS and line.isascii() and "\t" not in line:
        return (line,)
    pieces = [line[:_end(line, 0, COLUMNS)]]
    start = len(pieces[0])
    while start < len(line):
        end = _end(line, start, COLUMNS - len(CONTINUED))
        pieces.append(f"{CONTINUED}{line[start:end]}")
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


def word(text: str) -> str:
    """Return a name from outside as one word of a line: plain, or in quotes."""
    return text if _PLAIN.match(text) else '"' + escaped(text).replace('"', '\\"') + '"'


def decoded(data: bytes) -> str:
    """Read bytes as UTF-8; what is not UTF-8 becomes lone surrogates, which are then shown as escapes."""
    return data.decode("utf-8", "surrogateescape")
