"""What a client must offer, and nothing more.

Any object with `messages.create(...)` will do: the Anthropic SDK, a tutorial's fake whose `self.messages = self`,
or a few lines around another provider. What `create` returns is read by `read_reply`; what it raises is
classified by `failure_of`.
"""

from __future__ import annotations

from typing import Any, Protocol, runtime_checkable


@runtime_checkable
class MessagesEndpoint(Protocol):
    """Answers one request with one reply, or raises."""

    def create(
        self, *, model: str, max_tokens: int, system: str, messages: list[dict[str, Any]], **more: Any
    ) -> Any:
        """Answer the conversation in `messages` under `system`, in at most `max_tokens` output tokens.

        `tools` is among `more` only where tools are registered. The reply is any shape that `read_reply` reads.
        """
        ...


@runtime_checkable
class LLMClient(Protocol):
    """Holds a messages endpoint.

    A client may also have `endpoint` (where the requests go, as text), `costs_nothing` (true where no request
    is ever billed), `ends_in_time` (true where a request ends when `ending_in` says) and
    `messages.count_tokens(...)` (an object with `input_tokens`).
    """

    @property
    def messages(self) -> MessagesEndpoint:
        """The endpoint that requests are sent to."""
        ...
