"""The promise, put before the model again every so many of its replies: what stands far back is easily forgotten.

Whether it is time is read from the conversation and from nothing else, so that a session that is resumed, and one
that continues another, are told the same as one that was never stopped. What is told is part of the next request,
and is reserved, committed to and charged like the rest of it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from safeloop.errors import SettingError
from safeloop.ledger.encoding import MAX_INTEGER
from safeloop.spec import SpecResult

EVERY = 5
"""Replies after which the promise is put before the model again, where nothing else is set."""

Content = str | list[dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Goal:
    """What the model is reminded of, and when.

    Attributes:
        text: The promise.
        every: Replies of the model since it was last told; 0 is never.
    """

    text: str = ""
    every: int = 0

    def added(self, content: Content, before: Sequence[Mapping[str, Any]]) -> Content:
        """Return a message to the model, with the promise as its last block where it is time.

        Args:
            content: Text, or the results of a reply's calls.
            before: The messages before it.
        """
        if not self._is_due(before):
            return content
        blocks = [{"type": "text", "text": content}] if isinstance(content, str) else content
        return [*blocks, {"type": "text", "text": self.text}]

    def _is_due(self, messages: Sequence[Mapping[str, Any]]) -> bool:
        if not self.every:
            return False
        replies = 0
        for message in reversed(messages):
            replies += message.get("role") == "assistant"
            if replies == self.every:
                return True
            if self._is_told(message):
                return False
        return False

    def _is_told(self, message: Mapping[str, Any]) -> bool:
        """Look at the last block of a user's message alone: what tools return, and what a task says, is no reminder."""
        content = message.get("content")
        last = content[-1] if message.get("role") == "user" and isinstance(content, list) and content else None
        return isinstance(last, Mapping) and last.get("type") == "text" and last.get("text") == self.text


def goal_of(spec: SpecResult, every: int) -> Goal:
    """Return what a session's model is reminded of.

    Raises:
        SettingError: The number has no meaning.
    """
    if type(every) is not int or not 0 <= every <= MAX_INTEGER:
        raise SettingError(f"remind_every must be an integer from 0 to 2**53 - 1, not {every!r}")
    return Goal(
        "[A reminder of what was promised before this work began]\n"
        f"What this does: {spec.what_it_does}\n"
        f"What this does NOT do: {spec.what_it_does_not}\n"
        f"Done looks like: {spec.done_looks_like}",
        every,
    )
