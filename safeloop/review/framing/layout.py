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
from safeloop.ledger.folding import folded_behind

INDENT = "    "
GUTTER = f"{INDENT}| "
CONTINUED = f"{INDENT}\\ "
_LABEL_WIDTH = 21  # the tutorial's column
# Drawn as a blank that is no U+0020; a table of our own, as that of `visible`.
_OTHER_BLANK = re.compile("[\u00a0\u1680\u2000-\u200a\u202f\u205f\u2800\u3000]")
_OUTER_BLANK = re.compile(r"\A +| +\Z")
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
    """Break a line at 78 columns; what follows stands behind `CONTINUED`, and joined again it is the same line."""
    return folded_behind(CONTINUED, line)


def word(text: str) -> str:
    """Return a name from outside as one word of a line: plain, or in quotes."""
    return text if _PLAIN.match(text) else quoted(text)


def quoted(text: str) -> str:
    """Return a text from outside in quotes, in one line."""
    return '"' + _told_apart(escaped(text)).replace('"', '\\"') + '"'


def name_field(label: str, name: str) -> tuple[str, ...]:
    r"""Return a labelled name of a file: its blanks are `\u{hex}` but for U+0020 within it, so that none look alike."""
    shown = _OUTER_BLANK.sub(lambda found: "\\u{20}" * len(found.group()), _told_apart(escaped(name)))
    return folded(f"{field(label, '')}{shown}")


def _told_apart(shown: str) -> str:
    """Escape the blanks that look like a space, in what was escaped before, so that it can still be undone."""
    return _OTHER_BLANK.sub(lambda found: f"\\u{{{ord(found.group()):x}}}", shown)


def decoded(data: bytes) -> str:
    """Read bytes as UTF-8; what is not UTF-8 becomes lone surrogates, which are then shown as escapes."""
    return data.decode("utf-8", "surrogateescape")
