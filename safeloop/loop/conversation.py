"""The conversation: what the model has been sent and has said, each message committed to once."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

from safeloop.ledger import Content
from safeloop.ledger.content import JSON, manifest
from safeloop.models.reply import Reply
from safeloop.models.shapes import compact_json

MakeContent = Callable[[bytes, str], Content]
CONTINUE = "continue"
_THINKING = frozenset({"thinking", "redacted_thinking"})


class Conversation:
    """The messages of one session, in order.

    Args:
        task: The first user message.
        make_content: Gives bytes a fresh salt.
    """

    def __init__(self, task: str, make_content: MakeContent) -> None:
        self._make_content = make_content
        self._messages: list[dict[str, Any]] = []
        self._commitments: list[dict[str, Any]] = []
        self._new: list[Content] = []
        self.say(task)

    def __len__(self) -> int:
        return len(self._messages)

    @property
    def messages(self) -> tuple[dict[str, Any], ...]:
        """The messages themselves, to look at."""
        return tuple(self._messages)

    def copied(self) -> list[dict[str, Any]]:
        """Return a copy that a client may change without effect here."""
        return copy.deepcopy(self._messages)

    def say(self, content: str | list[dict[str, Any]]) -> None:
        """Add a user message: text, or the results of a reply's tool calls."""
        self._add({"role": "user", "content": content})

    def hear(self, reply: Reply) -> bool:
        """Add the model's reply as it goes back; say whether it does.

        A reply of text alone goes back as a string, any other with its blocks unchanged, so that thinking
        signatures stay valid. A reply of thinking alone, or of nothing, is not sent back.
        """
        content: str | list[dict[str, Any]] = list(reply.content)
        if all(block.get("type") == "text" for block in reply.content):
            content = reply.text
        elif all(block.get("type") in _THINKING for block in reply.content):
            return False
        if isinstance(content, str) and not content.strip():
            return False
        self._add({"role": "assistant", "content": content})
        return True

    def committed(self) -> tuple[Content, ...]:
        """Return what the next request's intent must keep: new messages, and last the request's manifest."""
        return (*self._new, self._make_content(manifest(self._commitments), JSON))

    def mark_stored(self) -> None:
        """Note that every message so far is durable."""
        self._new.clear()

    def _add(self, message: dict[str, Any]) -> None:
        content = self._make_content(compact_json(message), JSON)
        self._messages.append(message)
        self._commitments.append(content.commitment)
        self._new.append(content)
