"""A question at a terminal that waits only so long: who has gone away must not keep a run, or be taken for a yes."""

from __future__ import annotations

import os
import select
import sys
import termios
import time

_MOST_BYTES = 4_096


def typed(question: str, patience_s: float) -> str | None:
    """Ask, and return the line that is typed, without its end; None where none came in time.

    What was typed before the question was shown is thrown away: it cannot be an answer to it.

    Args:
        patience_s: Seconds.

    Raises:
        EOFError: The end of input.
    """
    descriptor = sys.stdin.fileno()
    termios.tcflush(descriptor, termios.TCIFLUSH)
    sys.stderr.write(question)
    sys.stderr.flush()
    line, until = b"", time.monotonic() + patience_s
    while not line.endswith(b"\n"):
        if not select.select([descriptor], [], [], max(0.0, until - time.monotonic()))[0]:
            return None
        piece = os.read(descriptor, _MOST_BYTES)
        if not piece:
            raise EOFError
        line += piece
    return line.decode("utf-8", "replace").strip()
