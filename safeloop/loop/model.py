"""What a session's requests go to, and how they are put together."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from safeloop.breaker import Price, Request
from safeloop.loop.conversation import Conversation
from safeloop.models import LLMClient


@dataclass(frozen=True, slots=True)
class Model:
    """What requests go to, and how.

    Attributes:
        wanted: The `max_tokens` to ask for where there is room.
        more: Further parameters of every request: `tools`, `thinking`.
        price: What it costs; `FREE` if the client is never billed, None if it is not known.
        price_of: Finds the price of a model that a reply names; None where it is not known.
        allow_estimates: Bound by an estimate where there is no counter.
    """

    client: LLMClient
    name: str
    system: str
    wanted: int
    more: Mapping[str, Any]
    price: Price | None
    price_of: Callable[[str], Price | None]
    allow_estimates: bool

    def named(self, model: str | None) -> Price | None:
        """Return what the model costs that a reply names; None where it is the one that was asked, or is not known."""
        return None if model in (None, self.name) else self.price_of(str(model))

    def request(self, conversation: Conversation) -> Request:
        """Return the next request as the bounds read it."""
        thinking = self.more.get("thinking") or {}
        return Request(
            self.name, self.system, conversation.messages, tuple(self.more.get("tools", ())), self.wanted,
            thinking_budget=thinking.get("budget_tokens"), thinks=thinking.get("type", "disabled") != "disabled",
        )

    def parameters(self, conversation: Conversation) -> dict[str, Any]:
        """Return the next request for a client, but for `max_tokens`; it may change them without effect here."""
        return {
            "model": self.name, "system": self.system, "messages": conversation.copied(),
            **copy.deepcopy(dict(self.more)),
        }
