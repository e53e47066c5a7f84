"""Identical calls in a row: the same tool, arguments and result. The model is told at the limit, and stopped beyond it.

Decided on content, because equal bytes have different commitments in every row; so rows alone cannot tell, and a
session that goes on counts again from what its content holds.
"""

from __future__ import annotations

import hashlib
from typing import Any

from safeloop.models.shapes import compact_json
from safeloop.tools.canonical import canonical

NOTE = (
    "\n\n[This call, with these arguments, has now returned this same result {count} times in a row. "
    "Once more, and the work is stopped: do something else, or finish.]"
)
STOPPED = "calls before it in the same reply were identical too often, so this one was not run"


class Repeats:
    """Counts identical calls in a row.

    Args:
        limit: Inclusive; None is no limit.

    Attributes:
        count: How often the last call was made in a row, itself included; 0 before the first.
    """

    def __init__(self, limit: int | None) -> None:
        self._limit = limit
        self._last = b""
        self.count = 0

    @property
    def is_beyond(self) -> bool:
        """The limit was passed: no further call is run."""
        return self._limit is not None and self.count > self._limit

    def hear(self, tool: str, arguments: Any, result: str) -> str:
        """Take in a call that ended; return its result, with a word to the model where the limit is reached.

        Once the limit is passed it stays so: what is refused then is no other call.
        """
        if self.is_beyond:
            return result
        call = hashlib.sha256(b"\0".join((tool.encode("utf-8", "surrogatepass"), _canonical(arguments),
                                          result.encode("utf-8", "surrogatepass")))).digest()
        self.count = self.count + 1 if call == self._last else 1
        self._last = call
        return result + NOTE.format(count=self.count) if self.count == self._limit else result

    def recall(self, tool: str, arguments: Any, told: str) -> None:
        """Take in a call of an earlier process, by what the model was told of it."""
        note = "" if self._limit is None else NOTE.format(count=self._limit)
        self.hear(tool, arguments, told.removesuffix(note) if note else told)


def _canonical(arguments: Any) -> bytes:
    """Return the same bytes for arguments that mean the same, in whatever order their keys came."""
    try:
        return canonical(arguments)
    except (ValueError, RecursionError):
        return compact_json(arguments)
