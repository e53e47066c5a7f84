"""The conversation: what the model has been sent and has said, each message committed to once."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from typing import Any

from safeloop.ledger import Content
from safeloop.ledger.content import JSON, manifest
from safeloop.loop.goal import Goal
from safeloop.models.reply import Reply, ToolCall
from safeloop.models.shapes import compact_json

MakeContent = Callable[[bytes, str], Content]
CONTINUE = "continue"
NO_GOAL = Goal()
_THINKING = frozenset({"thinking", "redacted_thinking"})


def answer_of(call: ToolCall, text: str, passed: bool) -> dict[str, Any]:
    """Return what the model is told of a call's outcome."""
    answer = {"type": "tool_result", "tool_use_id": call.id, "content": text}
    return answer if passed else answer | {"is_error": True}


class Conversation:
    """The messages of one session, in order; none at first.

    Args:
        make_content: Gives bytes a fresh salt.
        goal: What the model is reminded of, and when.
    """

    def __init__(self, make_content: MakeContent, goal: Goal = NO_GOAL) -> None:
        self._make_content = make_content
        self._goal = goal
        self._messages: list[dict[str, Any]] = []
        self._commitments: list[Mapping[str, Any]] = []
        self._new: list[Content] = []

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
        """Add a user message: text, or the results of a reply's tool calls; with the promise where it is time."""
        self._add({"role": "user", "content": self._goal.added(content, self._messages)})

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

    def recall(self, message: Mapping[str, Any], commitment: Mapping[str, Any]) -> None:
        """Add a message that an earlier request of this session committed to: what is kept is not kept twice."""
        self._messages.append(dict(message))
        self._commitments.append(commitment)

    def repeat(self, message: Mapping[str, Any]) -> None:
        """Add a message of another session, committed to anew: each session's content is erased by itself."""
        self._add(dict(message))

    def go_on(self, reply: Reply) -> None:
        """Answer a reply without calls that went back: with `continue`, unless it is to go back as it is."""
        if reply.stop_reason != "pause_turn":
            self.say(CONTINUE)

    def committed(self) -> tuple[Content, ...]:
        """Return what the next request's intent must keep: new messages, and last the request's manifest."""
        entries = [dict(commitment) for commitment in self._commitments]
        return (*self._new, self._make_content(manifest(entries), JSON))

    def mark_stored(self) -> None:
        """Note that every message so far is durable."""
        self._new.clear()

    def _add(self, message: dict[str, Any]) -> None:
        content = self._make_content(compact_json(message), JSON)
        self._messages.append(message)
        self._commitments.append(content.commitment)
        self._new.append(content)
