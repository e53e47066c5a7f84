"""A frame at a terminal, to its end: whoever is asked about it has had all of it on the screen.

No pager of others: one can be left before the end, searches, and runs commands, and nobody knows what it has shown.
Here a page is shown, and a key shows the next; no key leads to the question but past the last line.
"""

from __future__ import annotations

import os
import select
import sys
from typing import TextIO

from safeloop.cli.patience import await_quiet, keys_of
from safeloop.cli.screen import Screen
from safeloop.cli.sheets import Sheet, lines_of
from safeloop.errors import NotAttested
from safeloop.ledger.folding import COLUMNS

LONG = 5_000
"""Lines of a frame above which reading it elsewhere is offered."""

_NEXT, _ALL, _LEAVE = b" \r\n", b"aA", b"qQ"
_END = b"\x04"
_ESCAPES = b"\x1b\x9b\x8f"  # ESC; CSI and SS3 of terminals with eight bits
_SEQUENCE_S = 0.05  # what a key sends behind an escape is there by then, also from afar: it comes in one piece
_MARGIN = 2  # rows of a page that are left for the prompt and for what the last page ended with
_AT_ONCE = 1_000  # lines that are written together where nobody is asked between


def show_to_the_end(screen: Screen, text: str, *, err: bool, elsewhere: str) -> None:
    """Show a text, page by page where it is longer than the screen; return when its last line was shown.

    A terminal that does not tell its height is shown everything at once.

    Args:
        screen: Where notes go.
        text: Lines, each with its line feed.
        err: On stderr, because stdout is not the terminal.
        elsewhere: The command that gives the text as a file.

    Raises:
        NotAttested: The person left before the end, or keys keep coming.
        EOFError: The terminal is gone.
    """
    stream = sys.stderr if err else sys.stdout
    total = text.count("\n")
    _say_what_differs(screen, text, Sheet.of(stream), total, elsewhere)
    pages = _Pages(text, stream)
    pages.show()
    if pages.is_over:
        return
    keyboard = sys.stdin.fileno()
    with keys_of(keyboard):
        while not pages.is_over:
            pages.show(is_rest=_asked(keyboard, pages.lines, total, Sheet.of(stream).columns))


def show_at_once(text: str) -> None:
    """Show a text on the terminal of stdout, all of it, broken where `Sheet` says."""
    _Pages(text, sys.stdout).show(is_rest=True)


class _Pages:
    """The text, and how far it has been shown."""

    def __init__(self, text: str, stream: TextIO) -> None:
        self._lines, self._stream = lines_of(text), stream
        self._next = next(self._lines, None)
        self.lines = 0

    @property
    def is_over(self) -> bool:
        return self._next is None

    def show(self, *, is_rest: bool = False) -> None:
        """Write the next page, or all that is left; a line that alone is longer than the screen is a page too."""
        sheet = Sheet.of(self._stream)
        room = 0 if is_rest or not sheet.rows else max(1, sheet.rows - _MARGIN)
        used, written = 0, list[str]()
        while self._next is not None:
            pieces = sheet.shown(self._next)
            height = sum(map(sheet.height, pieces))
            if room and used and used + height > room:
                break
            used += height
            written += pieces
            self._next, self.lines = next(self._lines, None), self.lines + 1
            if len(written) >= _AT_ONCE:
                self._write(written, sheet)
                written = []
        self._write(written, sheet)

    def _write(self, pieces: list[str], sheet: Sheet) -> None:
        self._stream.flush()
        self._stream.buffer.write("".join(f"{piece}\n" for piece in pieces).encode(sheet.encoding))
        self._stream.buffer.flush()


def _say_what_differs(screen: Screen, text: str, sheet: Sheet, total: int, elsewhere: str) -> None:
    """Say beforehand in what way the screen is not the bytes, and where they can be read as they are."""
    if 0 < sheet.columns <= COLUMNS:
        screen.note(f"{sheet.columns} columns: longer lines go on behind >")
    if not sheet.can_write(text):
        screen.note(f"this terminal writes {sheet.encoding}: letters that it lacks stand as \\xe9 or \\u5b57; "
                    "the hash is of the UTF-8 bytes")
    if total > LONG:
        screen.note(f"the frame has {total:,} lines; to read it as a file: {elsewhere}")


def _asked(keyboard: int, shown: int, total: int, columns: int) -> bool:
    """Wait for a key that goes on; return whether it asks for all the rest. Keys pressed before do not count."""
    prompt = f"-- {shown:,} of {total:,} lines; space: next page, a: all the rest, q: leave --"
    if len(prompt) >= (columns or 80):
        prompt = f"-- {shown} of {total} (space, a, q) --"
    await_quiet(keyboard)
    _prompt(prompt)
    try:
        while True:
            key = _pressed(keyboard)
            if not key or key == _END:
                raise EOFError
            if key in _LEAVE:
                raise NotAttested("left before the end of the frame; nothing was signed", hint="safeloop inbox")
            if key in _NEXT or key in _ALL:
                return key in _ALL
    finally:
        _prompt(f"\r{' ' * len(prompt)}\r")  # no escape sequence: any terminal can do this


def _pressed(keyboard: int) -> bytes:
    """Wait for a key and return its first byte; of an arrow or F2 that is an escape, and its letters are no keys."""
    key = os.read(keyboard, 1)
    if key in _ESCAPES:
        while key and select.select([keyboard], [], [], _SEQUENCE_S)[0] and os.read(keyboard, 64):
            pass
    return key


def _prompt(text: str) -> None:
    sys.stderr.write(text)
    sys.stderr.flush()
