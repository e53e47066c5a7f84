"""A question at a terminal, to be answered after it was shown; it may wait only so long.

Who has gone away must not keep a run, or be taken for a yes.
"""

from __future__ import annotations

import os
import select
import sys
import termios
import time

_MOST_BYTES = 4_096


def typed(question: str, patience_s: float | None = None) -> str | None:
    """Ask, and return the line that is typed, without its end; None where none came in time.

    What was typed before the question was shown is thrown away: it cannot be an answer to it.

    Args:
        patience_s: Seconds; None waits for ever.

    Raises:
        EOFError: The end of input.
    """
    descriptor = sys.stdin.fileno()
    termios.tcflush(descriptor, termios.TCIFLUSH)
    sys.stderr.write(question)
    sys.stderr.flush()
    line, until = b"", None if patience_s is None else time.monotonic() + patience_s
    while not line.endswith(b"\n"):
        left = None if until is None else max(0.0, until - time.monotonic())
        if not select.select([descriptor], [], [], left)[0]:
            return None
        piece = os.read(descriptor, _MOST_BYTES)
        if not piece:
            raise EOFError
        line += piece
    return line.decode("utf-8", "replace").strip()
