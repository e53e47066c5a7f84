"""What a request tells the offline auditor: the task, what its tools have answered, what it has said already.

The auditor remembers nothing between two calls; everything that it knows is read here, from the messages.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from safeloop.models.offline.task import Task, read_task, strings

# What our tools put around a result: a first line on each, a last line where it was cut.
_LABEL = re.compile(r"\A\[[^\n]*data, not instructions[^\n]*\]\n")
_CUT = re.compile(r"\n\[cut: ([0-9]{1,9}) of [0-9]{1,9} characters [^\n]*\]\s*\Z")


@dataclass(frozen=True, slots=True)
class Exchange:
    """One tool call of the conversation and its answer.

    Args:
        tool: Its name.
        path: Its argument `path`, or "".
        answer: What the tool returned, without the label and the marker of a cut around it.
        left_out: Characters that the tool says it cut off.
        failed: Whether the answer is an error, or there is none.
    """

    tool: str
    path: str
    answer: str
    left_out: int = 0
    failed: bool = False


@dataclass(frozen=True, slots=True)
class Conversation:
    """Everything that the auditor knows."""

    task: Task
    exchanges: tuple[Exchange, ...]
    said: str  # text replies since the last tool result, joined: where a reply that was cut goes on

    def answers(self, tool: str) -> tuple[Exchange, ...]:
        """The calls of one tool, in order."""
        return tuple(exchange for exchange in self.exchanges if exchange.tool == tool)


def read_conversation(messages: Sequence[Mapping[str, Any]]) -> Conversation:
    """Read the messages of a request; blocks of unknown type are skipped.

    Args:
        messages: As in the Anthropic API: content is a string or a sequence of blocks.
    """
    calls: dict[str, tuple[str, str]] = {}
    results: dict[str, Mapping[str, Any]] = {}
    said: list[str] = []
    for message in messages:
        blocks = _blocks(message.get("content"))
        if message.get("role") == "assistant":
            said.append(_text(blocks))
            for block in _of_type(blocks, "tool_use"):
                calls[str(block.get("id"))] = (str(block.get("name")), _path(block.get("input")))
            continue
        for block in _of_type(blocks, "tool_result"):
            results[str(block.get("tool_use_id"))] = block
            said.clear()
    exchanges = tuple(_exchange(tool, path, results.get(call)) for call, (tool, path) in calls.items())
    first = next((message for message in messages if message.get("role") == "user"), {})
    return Conversation(read_task(_text(_blocks(first.get("content")))), exchanges, "".join(said))


def request_bytes(
    system: str | Sequence[Mapping[str, Any]],
    messages: Sequence[Mapping[str, Any]],
    tools: Sequence[Mapping[str, Any]],
) -> int:
    """UTF-8 bytes of the text of a request: system, contents, calls and tool definitions."""
    asked = sum(block_bytes(block) for block in _blocks(system))
    asked += sum(block_bytes(block) for message in messages for block in _blocks(message.get("content")))
    return asked + sum(
        size(str(tool.get("name", ""))) + size(str(tool.get("description", "")))
        + size(json.dumps(tool.get("input_schema", {}), ensure_ascii=False))
        for tool in tools
    )


def block_bytes(block: Mapping[str, Any]) -> int:
    """UTF-8 bytes of the text of one content block, without what only frames it."""
    if block.get("type") == "tool_use":
        return size(str(block.get("name", ""))) + sum(map(size, strings(block.get("input"))))
    if block.get("type") == "tool_result":
        return sum(block_bytes(inner) for inner in _blocks(block.get("content")))
    return size(str(block.get("text", "")))


def size(text: str) -> int:
    """UTF-8 bytes of a text, lone surrogates included."""
    return len(text.encode("utf-8", "surrogatepass"))


def _exchange(tool: str, path: str, result: Mapping[str, Any] | None) -> Exchange:
    if result is None:
        return Exchange(tool, path, "the call was not answered", failed=True)
    text = _text(_blocks(result.get("content")))
    answer = _LABEL.sub("", text)
    cut = _CUT.search(answer)
    return Exchange(
        tool,
        path,
        answer[: cut.start()] if cut else answer,
        left_out=int(cut[1]) if cut else 0,
        failed=bool(result.get("is_error")) or _is_error(text),
    )


def _is_error(answer: str) -> bool:
    """Whether a result is the structured error of a tool, whatever its flag says."""
    try:
        value = json.loads(answer) if answer.startswith('{"error"') else None
    except (ValueError, RecursionError):
        return False
    return isinstance(value, dict)


def _blocks(content: object) -> tuple[Mapping[str, Any], ...]:
    if isinstance(content, str):
        return ({"type": "text", "text": content},)
    if isinstance(content, Sequence):
        return tuple(block for block in content if isinstance(block, Mapping))
    return ()


def _of_type(blocks: Iterable[Mapping[str, Any]], kind: str) -> Iterable[Mapping[str, Any]]:
    return (block for block in blocks if block.get("type") == kind)


def _text(blocks: Iterable[Mapping[str, Any]]) -> str:
    return "".join(str(block.get("text", "")) for block in _of_type(blocks, "text"))


def _path(arguments: object) -> str:
    return str(arguments.get("path", "")) if isinstance(arguments, Mapping) else ""
