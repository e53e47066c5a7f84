"""A message from the chunks of a chat completion's stream: pure, and in the words of the Messages API.

A stream counts as whole only with a `finish_reason` and `[DONE]`. What servers do differently, and each of these is
read as it is meant: usage in a chunk without choices, in the last chunk, or in every chunk; calls that all have index
0 and differ by their id; calls without index or id; a name that is repeated in every part; thinking as
`reasoning_content` or `reasoning`.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from safeloop.errors import AttemptFailed
from safeloop.models.assembly import bad_stream, event_object
from safeloop.models.chat_request import CAME_AS, REASONING_FIELDS
from safeloop.models.running_usage import RunningUsage
from safeloop.models.shapes import compact_json

DONE: Final = "[DONE]"
COMPLETION: Final = "chat_completion"
"""The field of a message that keeps what came around it, in the server's own words."""

_STOP_REASONS: Final = {
    "stop": "end_turn", "tool_calls": "tool_use", "length": "max_tokens", "content_filter": "refusal",
}  # fmt: skip
_DEEPEST: Final = 64  # levels of arguments; no tool takes more
_CONTENT: Final = ("content", "refusal", "tool_calls", *REASONING_FIELDS)
_KEPT: Final = ("id", "object", "created", "model", "system_fingerprint", "service_tier")


def assemble_chat(events: Iterable[str]) -> dict[str, Any]:
    """Put the message together; reading stops at `[DONE]`.

    Args:
        events: The data of each event.

    Raises:
        AttemptFailed: `CutStream` without `[DONE]` or without a `finish_reason`, `StreamError` on an error in the
            stream, `BadStream` on anything that is not JSON, does not fit, or was not asked for. Always in doubt: the
            request was sent.
    """
    completion = _Completion()
    for data in events:
        if data.strip() == DONE:
            return completion.message()
        completion.take(_parsed(data))
    raise _cut()


def _cut() -> AttemptFailed:
    return AttemptFailed(
        "the reply broke off before its finish_reason and [DONE]", error_class="CutStream", in_doubt=True
    )


def _parsed(data: str) -> dict[str, Any]:
    chunk = event_object(data, "a chunk")
    if chunk.get("error") is not None:
        # The server's own words are content, and reach no terminal.
        raise AttemptFailed(
            "the server broke the reply off with an error", error_class="StreamError", in_doubt=True,
            detail=compact_json(chunk).decode()[:65_536],
        )
    return chunk


@dataclass(slots=True)
class _Call:
    """One call so far."""

    index: int | None
    id: str = ""
    name: str = ""
    arguments: list[str] = field(default_factory=list)


class _Completion:
    """The completion so far."""

    def __init__(self) -> None:
        self._kept: dict[str, Any] = {}
        self._text: list[str] = []
        self._thinking: dict[str, list[str]] = {}
        self._calls: list[_Call] = []
        self._refused = False
        self._finish_reason: str | None = None
        self._usage = RunningUsage("completion_tokens")

    def take(self, chunk: dict[str, Any]) -> None:
        """Take one chunk."""
        for name in _KEPT:
            if chunk.get(name) is not None:
                self._kept.setdefault(name, chunk[name])
        choices = chunk.get("choices")
        if not isinstance(choices, list) and choices is not None:
            raise bad_stream("its choices are no list")
        for choice in choices or ():
            if not isinstance(choice, dict):
                raise bad_stream("a choice is no object")
            if len(choices or ()) > 1 or choice.get("index") not in (0, None):
                raise bad_stream("it has a second choice, and one was asked for")
            self._grow(choice.get("delta"))
            self._finish(choice.get("finish_reason"))
        if chunk.get("usage") is not None:
            self._usage.take(chunk["usage"], is_whole=self._finish_reason is not None)

    def message(self) -> dict[str, Any]:
        """Return the whole message."""
        if self._finish_reason is None:
            raise _cut()
        blocks: list[dict[str, Any]] = [
            {"type": "thinking", "thinking": "".join(parts), CAME_AS: name} for name, parts in self._thinking.items()
        ]
        if text := "".join(self._text):
            blocks.append({"type": "text", "text": text})
        return {
            "type": "message", "role": "assistant", "model": self._kept.get("model"),
            "content": [*blocks, *self._tool_uses()], "stop_reason": self._stop_reason(),
            "usage": chat_usage(self._usage.of_the_whole),
            COMPLETION: {**self._kept, "finish_reason": self._finish_reason, "usage": self._usage.stated},
        }

    def _stop_reason(self) -> str | None:
        if self._refused:
            return "refusal"
        if self._finish_reason in _STOP_REASONS:
            return _STOP_REASONS[self._finish_reason]
        # Whether a reply that ended in an unknown way is whole is unknown too: its calls are not run.
        return None if self._calls else self._finish_reason

    def _grow(self, delta: object) -> None:
        if delta is None:
            return
        if not isinstance(delta, dict):
            raise bad_stream("a delta is no object")
        self._text.append(_words(delta, "content"))
        refusal = _words(delta, "refusal")
        self._text.append(refusal)
        if any(delta.get(name) for name in _CONTENT):
            self._usage.grow()
        self._refused = self._refused or refusal != ""
        for name in REASONING_FIELDS:
            if thought := _words(delta, name):
                self._thinking.setdefault(name, []).append(thought)
                break  # some servers say the same under both names
        calls = delta.get("tool_calls")
        if not isinstance(calls, list) and calls is not None:
            raise bad_stream("its tool calls are no list")
        for part in calls or ():
            self._grow_call(part)

    def _grow_call(self, part: object) -> None:
        if not isinstance(part, dict):
            raise bad_stream("a tool call is no object")
        function = part.get("function")
        if not isinstance(function, dict):
            function = {}
        call = self._call_of(part.get("index"), _words(part, "id"))
        name = _words(function, "name")
        call.name += name if name != call.name else ""
        arguments = function.get("arguments")
        call.arguments.append(
            _words(function, "arguments") if isinstance(arguments, str | None) else compact_json(arguments).decode()
        )

    def _call_of(self, index: object, call_id: str) -> _Call:
        """Find the call that a part belongs to; a new id begins a new call, whatever its index."""
        if index is not None and type(index) is not int:
            raise bad_stream("a tool call's index is no integer")
        same = [call for call in self._calls if call.index == index] if index is not None else self._calls
        last = same[-1] if same else None
        if last is None or (call_id and last.id and call_id != last.id) or (index is None and call_id and not last.id):
            last = _Call(index)
            self._calls.append(last)
        last.id = last.id or call_id
        return last

    def _finish(self, reason: object) -> None:
        if reason is None:
            return
        if not isinstance(reason, str) or self._finish_reason not in (None, reason):
            raise bad_stream("it has two finish reasons, or one that is no text")
        self._finish_reason = reason

    def _tool_uses(self) -> list[dict[str, Any]]:
        """Give the calls as blocks; an id that is missing or was used before is replaced by a new one."""
        blocks: list[dict[str, Any]] = []
        used: set[str] = set()
        for number, call in enumerate(self._calls):
            call_id = call.id if call.id and call.id not in used else f"call_{number}_of_{len(self._calls)}"
            used.add(call_id)
            arguments = _arguments("".join(call.arguments))
            blocks.append({"type": "tool_use", "id": call_id, "name": call.name, "input": arguments})
        return blocks


def _words(source: Mapping[str, Any], name: str) -> str:
    value = source.get(name)
    if value is None:
        return ""
    if not isinstance(value, str):
        raise bad_stream("a part is no text", detail=name)
    return value


def _arguments(text: str) -> Any:
    """Read the arguments; what is no JSON object, or nested too deeply, stays a text, for the tools to refuse."""
    if not text.strip():
        return {}
    try:
        arguments = json.loads(text, parse_constant=_no_number)
    except (ValueError, RecursionError):
        return text
    return arguments if isinstance(arguments, dict) and not _is_deep(arguments) else text


def _is_deep(value: object) -> bool:
    level = [value]
    for _ in range(_DEEPEST):
        level = [inner for item in level for inner in _inside(item)]
    return any(isinstance(item, dict | list) for item in level)


def _inside(value: object) -> Iterable[object]:
    if isinstance(value, dict):
        return value.values()
    return value if isinstance(value, list) else ()


def _no_number(word: str) -> Any:
    raise ValueError(f"{word} is not JSON")


def chat_usage(source: object) -> dict[str, Any] | None:
    """Translate a usage, never into less than it may have cost; None where it contradicts itself.

    `prompt_tokens` include cached ones, which are told apart. Some servers leave thinking out of
    `completion_tokens` but not out of `total_tokens`: then the total holds.
    """
    if not isinstance(source, dict):
        return None
    counts = [
        source.get("prompt_tokens"), source.get("completion_tokens"), source.get("total_tokens") or 0,
        _detail(source.get("prompt_tokens_details"), "cached_tokens"),
        _detail(source.get("completion_tokens_details"), "reasoning_tokens"),
    ]
    plain = [count for count in counts if type(count) is int and count >= 0]
    if len(plain) < len(counts):
        return None
    prompt, output, total, cached, thinking = plain
    if cached > prompt:
        return None
    return {
        "input_tokens": prompt - cached, "cache_read_input_tokens": cached,
        "output_tokens": max(output, total - prompt), "output_tokens_details": {"thinking_tokens": thinking},
    }


def _detail(source: object, name: str) -> object:
    """Read one count of a usage's details; 0 where it is not there, and what is no count where they are none."""
    if not isinstance(source, dict):
        return 0 if source is None else source
    count = source.get(name)
    return 0 if count is None else count
