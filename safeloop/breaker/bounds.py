"""Token bounds: what a request's input can cost at most, before it is sent.

A token of text is at least one UTF-8 byte, so bytes bound tokens from above; of the text as it is or in its
compatibility form (NFKC), whichever is longer, because tokenizers normalise: one character of three bytes may
become eighteen characters. What the provider adds around the text is covered by fixed overheads that are larger
than any that it documents.
"""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

REQUEST_OVERHEAD = 64
MESSAGE_OVERHEAD = 16
TOOLS_OVERHEAD = 1_024  # the provider's own prompt for tool use
IMAGE_MAXIMUM = 6_000   # tokens of the largest image; its bytes say nothing about them
COUNTED_MARGIN = 5      # per cent: a provider's counter is an estimate of its own
ESTIMATE_BYTES_PER_TOKEN = 3

# Blocks that are what they hold. Whatever else comes with a `source` may be of any size on the other side.
_BASE64_IMAGE = ("image", "base64")


class How(StrEnum):
    """How a bound was found; only the first is a promise, and the reviewer sees which it was."""

    BOUND = "bound"
    COUNTED = "counted"
    ESTIMATE = "estimate"


@dataclass(frozen=True, slots=True)
class Bound:
    """What a request's input costs at most.

    Attributes:
        tokens: The worst case, inclusive.
        how: What it rests on.
    """

    tokens: int
    how: How


@dataclass(frozen=True, slots=True)
class Request:
    """What is to be sent, apart from `max_tokens`.

    Attributes:
        wanted: The `max_tokens` that the caller asked for.
        thinking_budget: Tokens set aside for thinking, if the request sets a budget.
        thinks: Whether the request lets the model think.
        clamps: Fewer tokens than asked for will do; False refuses in place of it.
    """

    model: str
    system: str
    messages: tuple[Mapping[str, Any], ...]
    tools: tuple[Mapping[str, Any], ...]
    wanted: int
    thinking_budget: int | None = None
    thinks: bool = False
    clamps: bool = True


@dataclass(frozen=True, slots=True)
class Settled:
    """A turn whose real cost is known, as a base for the next bound.

    Attributes:
        messages: How many messages its request had.
        tokens: What it cost in all: input, caches and output.
    """

    messages: int
    tokens: int


def bytes_bound(request: Request, last: Settled | None = None) -> Bound | None:
    """Bound a request's input by its bytes, or None if it holds something that no bytes bound.

    Args:
        request: The next request.
        last: The last turn with a believable cost: it paid for everything up to and including its reply, so
            only what was added after that reply is bounded by bytes.
    """
    whole = _whole(request)
    if whole is None or last is None:
        return None if whole is None else Bound(whole, How.BOUND)
    # The reply itself, if it went back, is the first message after those of its request; its tokens were output.
    since = last.tokens + REQUEST_OVERHEAD
    for message in request.messages[last.messages :]:
        since += MESSAGE_OVERHEAD if message.get("role") == "assistant" else _message(message) or 0
    return Bound(min(whole, since), How.BOUND)


def counted_bound(counted: int) -> Bound:
    """Take a provider's count, with its margin, rounded up."""
    return Bound(counted - (-counted * COUNTED_MARGIN // 100), How.COUNTED)


def estimate_bound(request: Request) -> Bound | None:
    """Estimate a request's input at three bytes a token; no promise rests on it."""
    whole = _whole(request)
    return None if whole is None else Bound(-(-whole // ESTIMATE_BYTES_PER_TOKEN), How.ESTIMATE)


def _whole(request: Request) -> int | None:
    messages = [_message(message) for message in request.messages]
    if any(cost is None for cost in messages):
        return None
    tools = TOOLS_OVERHEAD + _bytes(list(request.tools)) if request.tools else 0
    return REQUEST_OVERHEAD + _bytes(request.system) + tools + sum(cost or 0 for cost in messages)


def _message(message: Mapping[str, Any]) -> int | None:
    content = message.get("content")
    blocks: Sequence[Any] = content if isinstance(content, list | tuple) else (content,)
    costs = [_block(block) for block in blocks]
    return None if None in costs else MESSAGE_OVERHEAD + sum(cost or 0 for cost in costs)


def _block(block: Any) -> int | None:
    if not isinstance(block, Mapping):
        return _bytes(block)
    source, inner = block.get("source"), block.get("content")
    if isinstance(source, Mapping):
        return IMAGE_MAXIMUM if (block.get("type"), source.get("type")) == _BASE64_IMAGE else None
    if isinstance(inner, list | tuple | Mapping):
        costs = [_block(item) for item in ((inner,) if isinstance(inner, Mapping) else inner)]
        rest = {key: value for key, value in block.items() if key != "content"}
        return None if None in costs else _bytes(rest) + sum(cost or 0 for cost in costs)
    return _bytes(block)


def _bytes(value: Any) -> int:
    """Return the UTF-8 bytes of a value as JSON: never fewer than those of the texts in it."""
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
    if text.isascii():
        return len(text)
    forms = (text, unicodedata.normalize("NFKC", text))
    return max(len(form.encode("utf-8", "surrogatepass")) for form in forms)
