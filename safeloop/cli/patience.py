"""A question at a terminal, to be answered after it was shown; it may wait only so long.

Who has gone away must not keep a run, or be taken for a yes. Nor must what was typed or pasted before: a terminal holds
4 KB of it, and the rest comes when that was read. So nothing is asked before the keyboard has been quiet, and a line
is an answer only if it is quiet behind it too. On a slow line a paste may still pause for that long, which nobody
can tell from a person: then its lines answer one question each, at most.
"""

from __future__ import annotations

import contextlib
import os
import select
import sys
import termios
import time
import tty
from collections.abc import Iterator

from safeloop.errors import NotAttested

QUIET_S = 0.2
"""Seconds without a key before a question and behind an answer: longer than between keys of one who holds one down."""

_LOUDEST_S = 5.0  # whoever has put something on a key finds out; a person has long taken the hand off it
_MOST_BYTES = 4_096
_AGAIN = "\nmore was typed behind that answer, so it does not count. Once more:\n"


def typed(question: str, patience_s: float | None = None) -> str | None:
    """Ask, and return the line that is typed, without its end; None where none came in time.

    What was typed before the question was shown is thrown away: it cannot be an answer to it. Where more is typed
    within `QUIET_S` behind an answer, it is none, and is asked for again.

    Args:
        patience_s: Seconds; None waits for ever.

    Raises:
        EOFError: The end of input.
        NotAttested: Keys keep coming.
    """
    keyboard = sys.stdin.fileno()
    until = None if patience_s is None else time.monotonic() + patience_s
    while True:
        await_quiet(keyboard)
        sys.stderr.write(question)
        sys.stderr.flush()
        line = _line(keyboard, until)
        if line is None or not _is_followed(keyboard):
            return line
        sys.stderr.write(_AGAIN)


def await_quiet(keyboard: int) -> None:
    """Throw away what is typed until nothing has been for `QUIET_S`; none of it is shown.

    Args:
        keyboard: Descriptor of a terminal.

    Raises:
        EOFError: The terminal is gone.
        NotAttested: It is not quiet for many seconds.
    """
    until = time.monotonic() + _LOUDEST_S
    with keys_of(keyboard):
        while _is_loud(keyboard):
            if not os.read(keyboard, _MOST_BYTES):
                raise EOFError
            if time.monotonic() > until:
                raise NotAttested(
                    f"keys kept coming for {_LOUDEST_S:.0f} s, and nothing is asked meanwhile: nothing was recorded",
                    hint="the same command again, and type nothing before it asks",
                )


@contextlib.contextmanager
def keys_of(keyboard: int) -> Iterator[None]:
    """Have keys read as they are pressed, and do not show them, until the end; Ctrl-C still interrupts.

    What was not read by then is thrown away.
    """
    before = termios.tcgetattr(keyboard)
    try:
        tty.setcbreak(keyboard, termios.TCSANOW)
        yield
    finally:
        termios.tcsetattr(keyboard, termios.TCSAFLUSH, before)


def _line(keyboard: int, until: float | None) -> str | None:
    line = b""
    while not line.endswith(b"\n"):
        left = None if until is None else max(0.0, until - time.monotonic())
        if not select.select([keyboard], [], [], left)[0]:
            return None
        piece = os.read(keyboard, _MOST_BYTES)
        if not piece:
            raise EOFError
        line += piece
    return line.decode("utf-8", "replace").strip()


def _is_followed(keyboard: int) -> bool:
    with keys_of(keyboard):  # of a line that is not ended, a terminal that edits lines tells nothing
        return _is_loud(keyboard)


def _is_loud(keyboard: int) -> bool:
    return bool(select.select([keyboard], [], [], QUIET_S)[0])
