r"""How a line of the frame is made: labels of our own, and the words of others where they cannot do harm.

The words of a model, a tool or a file are hostile. A text stands behind a gutter on every line, so that it cannot
imitate a heading; a name within a line has its line ends escaped, and stands in quotes unless it is plain.
Everything can be undone, so two texts never look alike: control, bidi and invisible characters are `\u{hex}`,
a backslash is two, and a byte that is not UTF-8 is the lone surrogate that Python reads it as.
"""

from __future__ import annotations

import re

from safeloop.ledger import escaped

INDENT = "    "
GUTTER = f"{INDENT}| "
_LABEL_WIDTH = 21  # the tutorial's column
_PLAIN = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.:/@+-]*\Z")


def field(label: str, value: str) -> str:
    """Return a labelled line; the value may come from outside and stays on its line."""
    return f"{INDENT}{label:<{_LABEL_WIDTH}}{escaped(value)}"


def text_field(label: str, text: str) -> tuple[str, ...]:
    """Return a labelled text: on the label's line if it has only one, else behind the gutter below it."""
    return (f"{INDENT}{label}", *block(text)) if "\n" in text else (field(label, text),)


def block(text: str) -> tuple[str, ...]:
    """Return a text behind the gutter; the text `a` is one line of it, `a` and a line feed are two."""
    return tuple(f"{GUTTER}{line}" for line in escaped(text, keep_lines=True).split("\n"))


def word(text: str) -> str:
    """Return a name from outside as one word of a line: plain, or in quotes."""
    return text if _PLAIN.match(text) else '"' + escaped(text).replace('"', '\\"') + '"'


def decoded(data: bytes) -> str:
    """Read bytes as UTF-8; what is not UTF-8 becomes lone surrogates, which are then shown as escapes."""
    return data.decode("utf-8", "surrogateescape")
