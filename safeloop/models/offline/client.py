"""An auditor of web pages that is no model: it follows fixed rules, needs no key or network, and costs nothing.

It speaks the protocol of a model and makes the tool calls that a model would make, so that a whole run can be
tried, tested and shown for free. It is called what it is wherever a name appears. It obeys its rules alone:
not the system prompt, not the page, not what a tool returned.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from safeloop.models.offline.auditor import next_step
from safeloop.models.offline.request import read_conversation, request_bytes

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

MODEL = "offline-auditor"
BYTES_PER_TOKEN = 4  # how this auditor counts, rounding up: a stand-in has no tokenizer


@dataclass(frozen=True, slots=True)
class TokenCount:
    """What `count_tokens` returns."""

    input_tokens: int


class OfflineAuditor:
    """A client like that of a model, with `messages.create`; every reply says that no model was asked."""

    endpoint = "offline"
    costs_nothing = True
    model = MODEL

    def __init__(self) -> None:
        self.messages = OfflineMessages()


class OfflineMessages:
    """The endpoint: a function of the request alone, so that equal requests get equal replies."""

    def create(
        self,
        *,
        model: str,
        max_tokens: int,
        system: str | Sequence[Mapping[str, Any]] = "",
        messages: Sequence[Mapping[str, Any]],
        tools: Sequence[Mapping[str, Any]] = (),
    ) -> dict[str, Any]:
        """Answer with the next step of the audit, in the shape of an Anthropic message.

        Args:
            model: Whatever the caller names; the reply is by `offline-auditor` all the same.
            max_tokens: Bound of the reply, inclusive; a token is four bytes, rounded up.
            system: Counted, not followed.
            messages: The conversation; its first message is the task.
            tools: With `list_files` and `read_file` the page is looked for, with `write_file` the report is
                written; without them the page must be in the task, and the report is the reply.

        Raises:
            ValueError: `max_tokens` is below 1, or there is no message.
        """
        if max_tokens < 1 or not messages:
            raise ValueError(f"max_tokens must be at least 1 (is {max_tokens}), messages at least one")
        names = frozenset(str(tool.get("name")) for tool in tools)
        step = next_step(read_conversation(messages), names, max_tokens * BYTES_PER_TOKEN)
        request = json.dumps([model, max_tokens, system, messages, tools], default=str)
        return {
            "id": f"msg_offline_{hashlib.sha256(request.encode()).hexdigest()[:24]}",
            "type": "message",
            "role": "assistant",
            "model": MODEL,
            "content": list(step.content),
            "stop_reason": step.stop_reason,
            "stop_sequence": None,
            "usage": {
                "input_tokens": _tokens(request_bytes(system, messages, tools)),
                "output_tokens": _tokens(step.bytes),
            },
        }

    def count_tokens(
        self,
        *,
        model: str = MODEL,  # noqa: ARG002 (as in the API)
        system: str | Sequence[Mapping[str, Any]] = "",
        messages: Sequence[Mapping[str, Any]],
        tools: Sequence[Mapping[str, Any]] = (),
    ) -> TokenCount:
        """Count the input of a request: exactly what `create` will report for it."""
        return TokenCount(_tokens(request_bytes(system, messages, tools)))


def _tokens(text_bytes: int) -> int:
    return max(1, -(-text_bytes // BYTES_PER_TOKEN))
