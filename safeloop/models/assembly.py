"""A message from the events of a stream, put together exactly: pure.

The result equals what the server would have sent unstreamed, block for block, so that thinking blocks and
their signatures go back unchanged. A stream that ends without `message_stop`, or whose events do not fit
together, gives no message: the attempt failed, and it is in doubt.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any, Final

from safeloop.errors import AttemptFailed
from safeloop.models.running_usage import RunningUsage
from safeloop.models.shapes import compact_json

CUT_INPUT: Final = "INVALID_JSON"
"""The one key of a tool call's input that was cut off before it was valid JSON; its value is the text."""

# Arguments are cut where the reply is; anywhere else, arguments that are no JSON are a broken stream.
_CUT_REASONS: Final = frozenset({"max_tokens", "model_context_window_exceeded", "refusal"})

_OF_A_REPLY: Final = frozenset({
    "message_start", "content_block_start", "content_block_delta", "content_block_stop", "message_delta",
})  # fmt: skip

_APPENDED: Final = {"text_delta": "text", "thinking_delta": "thinking"}


def assemble(events: Iterable[str]) -> dict[str, Any]:
    """Put the message together; reading stops at `message_stop`.

    Args:
        events: The data of each event, as JSON text.

    Raises:
        AttemptFailed: `CutStream` without `message_stop`, `StreamError` on an `error` event, `BadStream` on
            anything that is not JSON or does not fit. Always in doubt: the request was sent.
    """
    message = _Message()
    for data in events:
        if message.take(event_object(data, "an event")):
            return message.finished()
    raise cut_stream()


def check_end(events: Iterable[str]) -> None:
    """Refuse a stream that goes on with a reply after `message_stop`, as nobody said what that costs.

    Raises:
        AttemptFailed: `BadStream`, in doubt.
    """
    if any(event_object(data, "an event").get("type") in _OF_A_REPLY for data in events if data.strip() != "[DONE]"):
        raise bad_stream("it goes on after message_stop")


def cut_stream() -> AttemptFailed:
    """Say that a reply broke off."""
    return AttemptFailed(
        "the reply broke off before message_stop: the connection was closed",
        error_class="CutStream",
        in_doubt=True,
    )


def bad_stream(what: str, detail: str = "") -> AttemptFailed:
    """Say that a stream does not hold together."""
    return AttemptFailed(
        f"the reply's stream is broken: {what}", error_class="BadStream", in_doubt=True, detail=detail
    )


def event_object(data: str, what: str) -> dict[str, Any]:
    """Read the JSON object that an event's data is; `what` is what messages call it."""
    try:
        event = json.loads(data)
    except (ValueError, RecursionError) as exc:
        raise bad_stream(f"{what} is not JSON", detail=data[:1000]) from exc
    if not isinstance(event, dict):
        raise bad_stream(f"{what} is not an object", detail=data[:1000])
    return event


class _Message:
    """The message so far."""

    def __init__(self) -> None:
        self._message: dict[str, Any] | None = None
        self._blocks: dict[int, dict[str, Any]] = {}
        self._json: dict[int, list[str]] = {}
        self._usage = RunningUsage("output_tokens")

    def take(self, event: dict[str, Any]) -> bool:
        """Take one event; True once the message is complete. Events of unknown types are passed over."""
        kind = event.get("type")
        if kind == "error":
            raise _stream_error(event)
        if kind == "message_start":
            self._start(event.get("message"))
        elif kind == "content_block_start":
            self._open(self._index(event), event.get("content_block"))
        elif kind == "content_block_delta":
            self._grow(self._index(event), event.get("delta"))
        elif kind == "message_delta":
            self._close(event)
        return kind == "message_stop" and bool(self._begun())

    def finished(self) -> dict[str, Any]:
        """Return the message as it would have come unstreamed."""
        message = self._begun()
        cut = message.get("stop_reason") in _CUT_REASONS
        for index, parts in self._json.items():
            if any(parts):  # else what came with the block's start is all there is
                self._blocks[index]["input"] = _arguments("".join(parts), cut=cut)
        message["content"] = [self._blocks[index] for index in sorted(self._blocks)]
        # The usage of message_start is from before the output: believed, it would charge too little.
        message["usage"] = self._usage.of_the_whole
        return message

    def _begun(self) -> dict[str, Any]:
        if self._message is None:
            raise bad_stream("it did not begin with message_start")
        return self._message

    def _start(self, message: object) -> None:
        if self._message is not None or not isinstance(message, dict):
            raise bad_stream("message_start came twice, or without a message")
        self._message = message
        self._usage.take(message.get("usage"), is_whole=False)
        content = message.get("content")
        for index, block in enumerate(content if isinstance(content, list) else []):
            self._open(index, block)

    def _index(self, event: dict[str, Any]) -> int:
        self._begun()
        index = event.get("index")
        if not isinstance(index, int):
            raise bad_stream("an event names no block")
        return index

    def _open(self, index: int, block: object) -> None:
        if not isinstance(block, dict) or index in self._blocks:
            raise bad_stream("a block began twice, or is no object")
        self._blocks[index] = block
        self._usage.grow()

    def _grow(self, index: int, delta: object) -> None:
        block = self._blocks.get(index)
        if block is None or not isinstance(delta, dict):
            raise bad_stream("a part belongs to no block")
        kind = delta.get("type")
        self._usage.grow()
        try:
            if kind in _APPENDED:
                name = _APPENDED[kind]
                block[name] = block.get(name, "") + delta[name]
            elif kind == "input_json_delta":
                self._json.setdefault(index, []).append(delta["partial_json"] + "")
            elif kind == "signature_delta":
                block["signature"] = delta["signature"]
            elif kind == "citations_delta":
                block["citations"] = [*(block.get("citations") or []), delta["citation"]]
            elif kind == "compaction_delta":
                block.update({name: item for name, item in delta.items() if name != "type"})
            else:
                raise bad_stream("a part is of a kind that is not known here", detail=str(kind)[:1000])
        except (KeyError, TypeError) as exc:
            raise bad_stream("a part lacks what its kind needs", detail=str(exc)[:1000]) from exc

    def _close(self, event: dict[str, Any]) -> None:
        message, delta, usage = self._begun(), event.get("delta"), event.get("usage")
        more = {name: item for name, item in event.items() if name not in ("type", "delta", "usage")}
        for name, item in {**more, **(delta if isinstance(delta, dict) else {})}.items():
            if item is not None or name not in message:
                message[name] = item
        if isinstance(usage, dict):
            self._usage.take(usage, is_whole=usage.get("output_tokens") is not None)


def _arguments(text: str, *, cut: bool) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as exc:
        if cut:
            return {CUT_INPUT: text}
        raise bad_stream("a tool call's arguments are not JSON", detail=text[:1000]) from exc


_KNOWN_ERRORS: Final = frozenset({
    "api_error", "authentication_error", "billing_error", "invalid_request_error", "not_found_error",
    "overloaded_error", "permission_error", "rate_limit_error", "request_too_large", "timeout_error",
})  # fmt: skip


def _stream_error(event: dict[str, Any]) -> AttemptFailed:
    error = event.get("error")
    kind = error.get("type") if isinstance(error, dict) else None
    # Only words that we know reach a terminal; the server's own are content.
    name = kind if isinstance(kind, str) and kind in _KNOWN_ERRORS else "an error"
    return AttemptFailed(
        f"the server broke the reply off with {name}",
        error_class="StreamError",
        in_doubt=True,
        detail=compact_json(event).decode()[:65_536],
    )
