r"""How a long text of lines stands on a terminal: nothing of it at the left edge that is not the beginning of a line.

A frame is made for 78 columns: what is longer is our own words, and others' words go on behind a margin. A terminal
that is narrower, or that writes `\xe9` for a letter that it does not have, would break lines where no margin is, and
somebody's padding could put a heading there. So such lines are broken here, and go on behind `> `, with which no line
of a frame begins. This is about what is seen; the bytes that are hashed never depend on it.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TextIO

from safeloop.ledger.folding import COLUMNS, folded_behind

GOES_ON = "> "
_NARROWEST = len(GOES_ON) + 8  # a tab must fit


@dataclass(frozen=True, slots=True)
class Sheet:
    """A terminal's size and letters.

    Attributes:
        columns: 0 where it does not tell; it is then taken to have more than 78, as nearly all have.
        rows: 0 where it does not tell.
        encoding: How it is written to.
    """

    columns: int
    rows: int
    encoding: str

    @classmethod
    def of(cls, stream: TextIO) -> Sheet:
        """Measure the terminal that a stream leads to, as it is now."""
        try:
            columns, rows = os.get_terminal_size(stream.fileno())
        except OSError:
            columns, rows = 0, 0
        return cls(max(columns, _NARROWEST) if columns else 0, rows, stream.encoding)

    def shown(self, line: str) -> tuple[str, ...]:
        """Return a line as the pieces that stand below each other, each as the terminal can write it."""
        if line.isascii():
            if len(line) <= self.columns and "\t" not in line:
                return (line,)
            if not self.columns or self.columns > COLUMNS:
                return (line,)  # longer than 78 columns are only words of ours, which the terminal may break
            return folded_behind(GOES_ON, line, self.columns)
        written = line.encode(self.encoding, "backslashreplace").decode(self.encoding)
        if written == line and (not self.columns or self.columns > COLUMNS):
            return (written,)  # others' words take 78 columns at most
        return folded_behind(GOES_ON, written, self.columns or COLUMNS)

    def height(self, piece: str) -> int:
        """Return how many rows of the terminal a piece takes, at most."""
        wide = len(piece.expandtabs()) * (1 if piece.isascii() else 2)
        return max(1, -(-wide // self.columns)) if self.columns else 1

    def can_write(self, text: str) -> bool:
        """Say whether every letter of a text is shown as itself."""
        try:
            text.encode(self.encoding)
        except UnicodeEncodeError:
            return False
        return True


def lines_of(text: str) -> Iterator[str]:
    """Yield the lines of a text that ends in a line feed, without copying all of them at once."""
    start = 0
    while start < len(text):
        end = text.find("\n", start)
        end = len(text) if end < 0 else end
        yield text[start:end]
        start = end + 1
