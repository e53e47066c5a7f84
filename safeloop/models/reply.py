"""One reply of a model, read from whatever a client returned.

`Reply.raw` is what the ledger keeps as content: the exact bytes that came where an adapter has them, else
compact JSON of what was read. Either way the blocks in it are unchanged, so that thinking signatures survive a
resume: `replay(reply.raw) == reply` for every adapter of ours.
"""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from typing import Any

from safeloop.errors import EncodingError
from safeloop.models.shapes import MISSING, compact_json, field, plain
from safeloop.models.usage import Usage, read_usage


@dataclass(frozen=True, slots=True)
class ToolCall:
    """One call that the model asks for.

    Args:
        id: The provider's id of the call; empty where none came.
        name: The tool's name as it came, lone surrogates included; the JSON of it where it was no string.
        input: The arguments as they came: an object, unless the model or the server misbehaved.
    """

    id: str
    name: str
    input: Any


@dataclass(frozen=True, slots=True)
class Reply:
    """One reply of a model.

    Args:
        content: The blocks, unchanged and in order, in JSON's types.
        stop_reason: Why the model stopped; None where the server did not say.
        usage: What it cost; None where that cannot be believed: the attempt is charged in full.
        model: The model that answered, if it said so.
        raw: What content keeps, as bytes.
    """

    content: tuple[dict[str, Any], ...]
    stop_reason: str | None
    usage: Usage | None
    model: str | None
    raw: bytes

    @property
    def text(self) -> str:
        """The text of all text blocks, joined without anything between."""
        texts = (block.get("text") for block in self.content if block.get("type") == "text")
        return "".join(text for text in texts if isinstance(text, str))

    @property
    def tool_calls(self) -> tuple[ToolCall, ...]:
        """The calls for the caller to run, in order; the provider's own tools are not among them."""
        return tuple(
            ToolCall(_word(block.get("id", "")), _word(block.get("name", "")), block.get("input"))
            for block in self.content
            if block.get("type") == "tool_use"
        )


def read_reply(response: object) -> Reply:
    """Read a response of any shape, without failing on what it holds.

    A response without a `stop_reason` at all, with content and without tool calls, counts as `end_turn`, as in
    the tutorial; one that is there and null, or is no string, stays None. Content that is a string is one text
    block; what is no block is left out. The usage of a `Reply` is judged like any other.
    """
    if isinstance(response, Reply):
        usage = read_usage(response.usage, beside_content=bool(response.content))
        return dataclasses.replace(response, usage=usage)
    content = _blocks(field(response, "content"))
    usage = read_usage(field(response, "usage"), beside_content=bool(content))
    model = plain(field(response, "model"))
    reply = Reply(content, _stop_reason(response, content), usage, model if isinstance(model, str) else None, b"")
    raw = field(response, "raw")
    return dataclasses.replace(reply, raw=raw if isinstance(raw, bytes) else _written(response, reply))


def replay(raw: bytes) -> Reply:
    """Read back what `Reply.raw` kept.

    Raises:
        EncodingError: The bytes are not a reply that safeloop can read back.
    """
    try:
        message = json.loads(raw)
    except (ValueError, RecursionError) as exc:
        raise EncodingError(f"the kept reply is not JSON: {exc}") from exc
    if not isinstance(message, dict):
        raise EncodingError("the kept reply is not a message")
    return read_reply({**message, "raw": raw})


def _blocks(content: object) -> tuple[dict[str, Any], ...]:
    if isinstance(content, str):
        content = [content] if content else []
    if not isinstance(content, (list, tuple)):
        return ()
    blocks = (_block(item) for item in content)
    return tuple(block for block in blocks if block)


def _block(item: object) -> dict[str, Any] | None:
    if isinstance(item, str):
        return {"type": "text", "text": plain(item)}
    block = plain(item)
    if not isinstance(block, dict):
        return None
    if "type" not in block and isinstance(block.get("text"), str):
        return {"type": "text", **block}  # the tutorial's fakes have blocks of text alone
    return block


def _stop_reason(response: object, content: tuple[dict[str, Any], ...]) -> str | None:
    stop_reason = field(response, "stop_reason", MISSING)
    if stop_reason is not MISSING:
        stop_reason = plain(stop_reason)
        return stop_reason if isinstance(stop_reason, str) else None
    has_calls = any(block.get("type") == "tool_use" for block in content)
    return None if has_calls or field(response, "content", MISSING) is MISSING else "end_turn"


def _written(response: object, reply: Reply) -> bytes:
    """Write what was read, with whatever else the response holds, so that `replay` reads the same."""
    whole = plain(response)
    message = {name: item for name, item in whole.items() if name != "raw"} if isinstance(whole, dict) else {}
    if field(response, "content", MISSING) is not MISSING:
        message["content"] = list(reply.content)
    if field(response, "stop_reason", MISSING) is not MISSING:
        message["stop_reason"] = reply.stop_reason
    if reply.model is not None:
        message["model"] = reply.model
    if read_usage(message.get("usage"), beside_content=bool(reply.content)) != reply.usage:
        message["usage"] = _usage_fields(reply.usage)
    return compact_json(message)


def _usage_fields(usage: Usage | None) -> dict[str, Any] | None:
    if usage is None:
        return None
    return {
        "input_tokens": usage.input,
        "cache_creation_input_tokens": usage.cache_write,
        "cache_read_input_tokens": usage.cache_read,
        "output_tokens": usage.output,
        "output_tokens_details": {"thinking_tokens": usage.thinking},
        "server_tool_use": {"web_search_requests": usage.searches},
    }


def _word(value: object) -> str:
    return value if isinstance(value, str) else compact_json(value).decode()
