"""What a client's own code asks for, as the bounds read it; what no bound covers, and what is refused. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from safeloop.breaker import Request
from safeloop.errors import SettingError
from safeloop.ledger import visible
from safeloop.ledger.encoding import MAX_INTEGER
from safeloop.models.shapes import compact_json

MESSAGES, COUNT = "/v1/messages", "/v1/messages/count_tokens"
ESCAPE = "outside the limits, and unrecorded: client.with_options(middleware=[])"

THREAD = "thread"  # a conversation that the server holds

_FREE_METHODS = ("GET", "HEAD", "DELETE")

# What a request may hold and be bounded by its bytes: what a model reads of it is in them.
_READ = ("system", "tool_choice", "stop_sequences", "output_config", "output_format", "thinking", "cache_control")
_UNREAD = (
    "model", "messages", "max_tokens", "tools", "stream", "temperature", "top_p", "top_k", "metadata", "service_tier",
    "diagnostics", "user_profile_id", "thread",
)  # fmt: skip
_DEARER = {"speed": "standard", "inference_geo": None, "billing_policy": None}  # and what does not make it so
# Tools that run on this side. The provider describes them to the model in words of its own.
_PROVIDERS_WORDS = ("bash_", "text_editor_", "memory_", "computer_")
_COUNTED = ("model", "messages", "system", "tools", "tool_choice", "thinking", "cache_control", "output_config",
            "output_format", "speed")  # fmt: skip


@dataclass(frozen=True, slots=True)
class Asked:
    """A request for a reply.

    Attributes:
        body: As it is to be sent, but for `max_tokens`.
        request: As the bounds read it.
        is_bytes: Its bytes bound it; otherwise only the provider can count it.
        unbounded: What is in it that nothing bounds, by name: server-side tools, fallbacks, ...
        dearer: What can make it dearer than the price that is published, by name.
        continues: The reply from which a conversation goes on that the server holds; empty if it is all sent.
    """

    body: Mapping[str, Any]
    request: Request
    is_bytes: bool
    unbounded: tuple[str, ...]
    dearer: tuple[str, ...]
    continues: str = ""

    @property
    def counted(self) -> dict[str, Any]:
        """What the provider's counter is asked about."""
        return {name: self.body[name] for name in _COUNTED if self.body.get(name) is not None}

    @property
    def parameters(self) -> dict[str, Any]:
        """Everything but the messages, for the record."""
        return {name: value for name, value in self.body.items() if name != "messages"}


def is_free(method: str, url: str) -> bool:
    """Say whether a request costs nothing, and may pass as it is.

    Raises:
        SettingError: It may cost something, and is no request that can be governed.
    """
    verb, path = method.upper(), url.partition("?")[0]
    if verb in _FREE_METHODS or (verb, path) == ("POST", COUNT):
        return True
    if (verb, path) != ("POST", MESSAGES):
        raise SettingError(f"{verb} {visible(path, 80)} is not governed, so it is refused", hint=ESCAPE)
    return False


def read_asked(body: object, *, clamp: bool) -> Asked:
    """Read the body of a request for a reply.

    Args:
        clamp: Fewer tokens than asked for will do.

    Raises:
        SettingError: It is not one that can be bounded: no JSON object, no model, no messages, no `max_tokens`.
    """
    if not isinstance(body, Mapping):
        raise SettingError("the request's body is no JSON object, so it cannot be bounded", hint=ESCAPE)
    model, messages, wanted = body.get("model"), body.get("messages"), body.get("max_tokens")
    if not isinstance(model, str) or not model:
        raise SettingError("the request names no model", hint="model='claude-...'")
    if not isinstance(messages, list) or not all(isinstance(each, Mapping) for each in messages):
        raise SettingError("the request's messages are no list of messages", hint="messages=[{'role': 'user', ...}]")
    if type(wanted) is not int or not 0 <= wanted <= MAX_INTEGER:
        raise SettingError("the request sets no max_tokens, so that its reply has no bound", hint="max_tokens=1024")
    tools = body.get("tools") or []
    if not isinstance(tools, list) or not all(isinstance(each, Mapping) for each in tools):
        raise SettingError("the request's tools are no list of tools", hint=ESCAPE)
    given = {name: value for name, value in body.items() if value is not None}
    set_thinking = body.get("thinking")
    thinking: Mapping[str, Any] = set_thinking if isinstance(set_thinking, Mapping) else {}
    request = Request(
        model, _read_text(given), tuple(messages), tuple(tools), wanted,
        thinking_budget=_budget(thinking), thinks=thinking.get("type", "disabled") != "disabled", clamps=clamp,
    )
    types = [str(tool["type"]) for tool in tools if tool.get("type") not in (None, "custom")]
    ours = [kind for kind in types if kind.startswith(_PROVIDERS_WORDS)]
    unknown = [name for name in given if name not in (*_READ, *_UNREAD, *_DEARER)]
    continues = _continues(given.get("thread"))
    if continues is None:
        unknown.append(THREAD)
    return Asked(
        body, request, not ours, tuple(dict.fromkeys([*unknown, *(kind for kind in types if kind not in ours)])),
        tuple(name for name, plain in _DEARER.items() if name in given and given[name] != plain),
        continues or "",
    )


def _read_text(given: Mapping[str, Any]) -> str:
    """Return what a model reads beside messages and tools, at its full length."""
    system, others = given.get("system", ""), {name: given[name] for name in _READ[1:] if name in given}
    text = system if isinstance(system, str) else compact_json(system).decode()
    return text + (compact_json(others).decode() if others else "")


def _continues(thread: Any) -> str | None:
    """Return the reply that a conversation on the server goes on from, empty if it begins; None if that is not said."""
    kind = thread.get("type") if isinstance(thread, Mapping) else thread
    if kind in (None, "create"):
        return ""
    previous = thread.get("previous_message_id") if kind == "continue" else None
    return previous if isinstance(previous, str) and previous else None


def _budget(thinking: Mapping[str, Any]) -> int | None:
    budget = thinking.get("budget_tokens")
    return budget if type(budget) is int else None
