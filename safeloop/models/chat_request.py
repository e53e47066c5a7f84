"""A request of the Messages API in the words of chat completions: pure, and never more tokens than were bound.

What goes back is what came, but for three things. Arguments that are no JSON object go back as one that quotes their
beginning: servers parse every call of the history again, and would refuse each later request. A tool's name that
no server accepts goes back with its strange letters replaced. Thinking goes back only beside the calls that it led
to, under the name that it came by: some servers ask for it there, others refuse it anywhere else.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from typing import Any, Final

from safeloop.errors import SettingError
from safeloop.models.assembly import CUT_INPUT

CAME_AS: Final = "came_as"
"""The field of a thinking block that names the server's own field for it."""

REASONING_FIELDS: Final = ("reasoning_content", "reasoning")
"""What servers call the model's thinking, the usual name first."""

# Quoted of arguments that are no JSON. So few that their escapes, and the words around them, cost fewer tokens than
# the fixed parts of the call's result, which the byte bound counts and the server does not.
_QUOTED_CHARACTERS: Final = 40

_SENT_AS_THEY_ARE: Final[tuple[str, ...]] = ("model", "temperature", "top_p")
_TRANSLATED: Final = ("max_tokens", "system", "messages", "tools", "tool_choice", "stop_sequences", "stream")
_WITHOUT_COUNTERPART: Final = ("thinking",)  # whether the model thinks is for the server to say; it is all output
_CHOICES: Final = {"auto": "auto", "any": "required", "none": "none"}


def chat_body(parameters: Mapping[str, Any], limit_name: str) -> bytes:
    """Write the body of a request, as JSON in UTF-8; lone surrogates, which no server takes, become "?".

    Args:
        parameters: Those of the Messages API: `model`, `max_tokens`, `system`, `messages`, `tools`, `tool_choice`,
            `stop_sequences`, `temperature`, `top_p`; `thinking` has no counterpart and is left out, as is None.
        limit_name: What the server calls its limit of output tokens.

    Raises:
        SettingError: A parameter, or a block of a message, has no counterpart in chat completions.
    """
    given = {name: value for name, value in parameters.items() if value is not None}
    unknown = given.keys() - {*_SENT_AS_THEY_ARE, *_TRANSLATED, *_WITHOUT_COUNTERPART}
    if unknown:
        raise SettingError(f"chat completions have no counterpart of the parameter {min(unknown)}")
    tools = given.get("tools", ())
    known = {tool.get("name") for tool in tools}
    system = _text(given.get("system", ""), "the system prompt")
    messages: list[dict[str, Any]] = [{"role": "system", "content": system}] if system else []
    for message in given.get("messages", ()):
        messages.extend(_messages(message, known))
    body: dict[str, Any] = {name: given[name] for name in _SENT_AS_THEY_ARE if name in given}
    body |= {limit_name: given.get("max_tokens"), "messages": messages, **_choices(given)}
    if tools:
        body["tools"] = [_tool(tool) for tool in tools]
    body |= {"stream": True, "stream_options": {"include_usage": True}}
    return _json(body).encode("utf-8", "replace")


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _choices(given: Mapping[str, Any]) -> dict[str, Any]:
    more: dict[str, Any] = {"stop": given["stop_sequences"]} if "stop_sequences" in given else {}
    choice = given.get("tool_choice")
    if choice is None:
        return more
    kind = choice.get("type")
    if kind == "tool":
        more["tool_choice"] = {"type": "function", "function": {"name": choice.get("name")}}
    elif kind in _CHOICES:
        more["tool_choice"] = _CHOICES[kind]
    else:
        raise SettingError(f"chat completions have no counterpart of tool_choice {kind!r}")
    return more | ({"parallel_tool_calls": False} if choice.get("disable_parallel_tool_use") else {})


def _tool(tool: Mapping[str, Any]) -> dict[str, Any]:
    if "input_schema" not in tool:
        raise SettingError(f"the tool {tool.get('name')!r} has no input_schema: a provider's own tools stay with it")
    function = {"name": tool.get("name"), "parameters": tool["input_schema"]}
    return {"type": "function", "function": function | {key: tool[key] for key in ("description",) if key in tool}}


def _messages(message: Mapping[str, Any], known: set[Any]) -> Iterable[dict[str, Any]]:
    role, content = message.get("role"), message.get("content")
    if isinstance(content, str):
        return [{"role": role, "content": content}]
    blocks = [_block(item) for item in content or ()]
    return _assistant(blocks, known) if role == "assistant" else _user(blocks)


def _block(item: object) -> Mapping[str, Any]:
    if isinstance(item, Mapping):
        return item
    return {"type": "text", "text": item} if isinstance(item, str) else {"type": type(item).__name__}


def _assistant(blocks: list[Mapping[str, Any]], known: set[Any]) -> list[dict[str, Any]]:
    """Give the model's own message; none where nothing of it can go back."""
    text = "".join(block.get("text", "") for block in blocks if block.get("type") == "text")
    calls = [_call(block, known) for block in blocks if block.get("type") == "tool_use"]
    if not calls:
        return [{"role": "assistant", "content": text}] if text else []
    message: dict[str, Any] = {"role": "assistant", "content": text or None, "tool_calls": calls}
    for block in blocks:
        if block.get("type") == "thinking" and block.get(CAME_AS) in REASONING_FIELDS:
            message[block[CAME_AS]] = block.get("thinking")
    return [message]


def _call(block: Mapping[str, Any], known: set[Any]) -> dict[str, Any]:
    name, arguments = block.get("name"), block.get("input")
    if name not in known:
        name = re.sub("[^a-zA-Z0-9_-]", "_", str(name))[:64] or "_"
    if not isinstance(arguments, dict):
        quoted = arguments if isinstance(arguments, str) else _json(arguments)
        arguments = {CUT_INPUT: quoted[:_QUOTED_CHARACTERS]}
    return {"id": block.get("id"), "type": "function", "function": {"name": name, "arguments": _json(arguments)}}


def _user(blocks: list[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Give the results of calls first, right after the calls, then the rest; images of results are among the rest."""
    results: list[dict[str, Any]] = []
    rest: list[dict[str, Any]] = []
    for block in blocks:
        if block.get("type") == "tool_result":
            parts = _parts(block.get("content"))
            rest.extend(part for part in parts if part["type"] != "text")
            text = "\n".join(part["text"] for part in parts if part["type"] == "text")
            said = f"error: {text}" if block.get("is_error") else text
            results.append({"role": "tool", "tool_call_id": block.get("tool_use_id"), "content": said})
        else:
            rest.append(_part(block))
    if rest and all(part["type"] == "text" for part in rest):
        # One text: many chat templates take no list.
        return [*results, {"role": "user", "content": "\n".join(part["text"] for part in rest)}]
    return [*results, {"role": "user", "content": rest}] if rest else results


def _parts(content: object) -> list[dict[str, Any]]:
    if content is None or isinstance(content, str):
        return [{"type": "text", "text": content or ""}]
    return [_part(_block(item)) for item in (content if isinstance(content, (list, tuple)) else (content,))]


def _part(block: Mapping[str, Any]) -> dict[str, Any]:
    kind = block.get("type")
    if kind == "text":
        return {"type": "text", "text": block.get("text", "")}
    source = block.get("source") if kind == "image" else None
    source = source if isinstance(source, Mapping) else {}
    if source.get("type") == "base64":
        url = f"data:{source.get('media_type')};base64,{source.get('data')}"
    elif source.get("type") == "url":
        url = str(source.get("url"))
    else:
        raise SettingError(
            f"chat completions have no counterpart of a block of type {kind!r}",
            hint="send text and images, or use a server that speaks the Messages API",
        )
    return {"type": "image_url", "image_url": {"url": url}}


def _text(content: object, what: str) -> str:
    parts = _parts(content)
    if any(part["type"] != "text" for part in parts):
        raise SettingError(f"{what} must be text for chat completions")
    return "\n".join(part["text"] for part in parts)
