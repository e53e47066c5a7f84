"""Regular expressions over a file that a model wrote, with an end.

A harmless-looking pattern can take longer than the universe on a text that was written to make it so
(`(a+)+$` on forty letters), and Python's `re` cannot be interrupted from another thread. So the search runs
in a process of its own, without environment and without this program's memory, which is killed at the limit.
"""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

SECONDS = 5.0
"""How long all searches of one criterion may take together."""

_PROGRAM = """
import json, re, sys
patterns, text = json.loads(sys.stdin.buffer.read())
json.dump([re.search(pattern, text, re.MULTILINE) is not None for pattern in patterns], sys.stdout)
"""


def search_within(
    patterns: Sequence[str], text: str, *, seconds: float = SECONDS
) -> tuple[bool, ...] | None:
    """Say for each pattern whether it is found in the text (`re.search` with `re.MULTILINE`).

    Returns:
        One answer a pattern; None if the searches did not all end within `seconds` or could not be run.
        None is never a pass.
    """
    answer = answer_within(_PROGRAM, [list(patterns), text], seconds=seconds)
    return None if answer is None else tuple(answer)


def answer_within(program: str, task: object, *, seconds: float) -> Any:
    """Run a small program of ours in a process of its own, and kill it at the limit.

    Args:
        program: Python that reads a JSON value from stdin and writes another to stdout; it has the standard library,
            no environment, and none of this program's memory.
        task: The value; no lone surrogate is lost on the way.
        seconds: How long it may take, its start included.

    Returns:
        The other value; None if it did not end in time or failed.
    """
    command = [sys.executable, "-I", "-S", "-c", program]
    try:
        done = subprocess.run(  # noqa: S603 (our own interpreter and program; the text is data on stdin)
            command, input=json.dumps(task).encode("ascii"), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env={},
            timeout=seconds, check=True,
        )
    except (subprocess.SubprocessError, OSError):
        return None
    return json.loads(done.stdout)
