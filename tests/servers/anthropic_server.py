"""An Anthropic-compatible server on loopback that plays a script, spoken to by the real SDK.

    with AnthropicServer(["hello", message(tool_use("look", {"at": "it"})), Fault.status(529)]) as server:
        client = anthropic.Anthropic(api_key="k", base_url=server.url)      # or AnthropicClient(api_key=..., ...)
        ...
        assert [request.body["max_tokens"] for request in server.requests] == [1024, 1024, 1024]
        assert server.billed == [usage.total, ...]

One entry of the script answers one POST to /v1/messages, in order:

- a text: a text reply with an honest usage; longer than `max_tokens` allows, it is cut there with that stop reason;
- a message (a dict, best made by `message(...)` of `text`, `thinking`, `tool_use` blocks); without a `usage` key it
  gets an honest one; `usage=None` sends none; any other value (negative, a string, ...) is sent as it is;
- a `Fault`: see its constructors;
- a function of the request's body that returns one of these. The script itself may be such a function.

When the script has ended, the server answers 400. `server.requests` are all requests seen, `server.posts` those to
/v1/messages; `server.billed` has the total of every reply that was begun, whatever became of it: what the provider
would charge. `server.counted` answers count_tokens: None for an honest count, a number, or a `Fault`.

Honest: one token stands for four bytes of the request's texts, rounded down, at least one; so it never passes a
bound of one token per byte. Closing takes milliseconds, also while requests stall.
"""

from __future__ import annotations

import contextlib
import json
import socket
import socketserver
import struct
import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from tests.servers.faults import Fault, event_text

MODEL = "claude-sonnet-5-5"
_UNSET: Any = object()


def text(words: str) -> dict[str, Any]:
    return {"type": "text", "text": words}


def thinking(thought: str, signature: str = "c2lnbmVk") -> dict[str, Any]:
    return {"type": "thinking", "thinking": thought, "signature": signature}


def tool_use(name: str, arguments: Any = None, call_id: str = "toolu_1") -> dict[str, Any]:
    return {"type": "tool_use", "id": call_id, "name": name, "input": {} if arguments is None else arguments}


def message(
    *blocks: dict[str, Any], stop_reason: str | None = _UNSET, usage: Any = _UNSET, **more: Any
) -> dict[str, Any]:
    """A message of these blocks; `stop_reason` is `tool_use` or `end_turn` unless it is given."""
    if stop_reason is _UNSET:
        stop_reason = "tool_use" if any(block["type"] == "tool_use" for block in blocks) else "end_turn"
    made = {"id": "msg_1", "type": "message", "role": "assistant", "model": MODEL, "content": list(blocks),
            "stop_reason": stop_reason, "stop_sequence": None, **more}  # fmt: skip
    return made if usage is _UNSET else {**made, "usage": usage}


def usage(
    input_tokens: Any = 10, output_tokens: Any = 5, cache_write: Any = 0, cache_read: Any = 0, **more: Any
) -> dict[str, Any]:
    return {"input_tokens": input_tokens, "cache_creation_input_tokens": cache_write,
            "cache_read_input_tokens": cache_read, "output_tokens": output_tokens, **more}  # fmt: skip


@dataclass(frozen=True)
class Seen:
    """One request as it came."""

    method: str
    path: str
    headers: dict[str, str]
    body: Any
    raw: bytes


Script = Iterable[Any] | Callable[[Any], Any]


class AnthropicServer:
    """See the module's docstring; use it as a context manager."""

    path = "/v1/messages"

    def __init__(self, script: Script = (), *, counted: int | Fault | None = None) -> None:
        self._script = script if callable(script) else iter(script)
        self.counted = counted
        self.requests: list[Seen] = []
        self.billed: list[int] = []
        self.usages: list[Any] = []
        self.closing = threading.Event()
        self._lock = threading.Lock()
        self._server = _Server(("127.0.0.1", 0), _Connection)
        self._server.owner = self
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,), name="anthropic-server")

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    @property
    def posts(self) -> list[Seen]:
        return [request for request in self.requests if request.path.partition("?")[0] == self.path]

    def __enter__(self) -> AnthropicServer:
        self._thread.start()
        return self

    def __exit__(self, *_exc: object) -> None:
        self.closing.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()  # waits for the connections, which see `closing`

    def next_reply(self, request: Any) -> Any:
        with self._lock:
            if callable(self._script):
                reply = self._script(request)
            else:
                reply = next(self._script, Fault.status(400, body={"error": {"message": "the script has ended"}}))
            while callable(reply):
                reply = reply(request)
            return reply

    def bill(self, made: dict[str, Any]) -> None:
        with self._lock:
            self.usages.append(made.get("usage"))
            self.billed.append(self.total(made.get("usage")))

    def total(self, counts: Any) -> int:
        return _total(counts)

    def complete(self, reply: Any, request: dict[str, Any]) -> dict[str, Any]:
        return complete(reply, request)

    def elsewhere(self, _seen: Seen) -> tuple[int, dict[str, str], Any]:
        """Answer whatever is asked at another path: status, headers, body."""
        return 404, {}, {"type": "error", "error": {"type": "not_found_error", "message": "no such path"}}

    def events(self, made: dict[str, Any]) -> list[str]:
        return stream_events(made)


def honest_tokens(*values: Any) -> int:
    """One token for four bytes of text, rounded down, at least one."""
    return max(1, sum(map(_text_bytes, values)) // 4)


def complete(reply: Any, request: dict[str, Any]) -> dict[str, Any]:
    """The message that a script's text or dict stands for, as an answer to this request."""
    made = message(text(reply)) if isinstance(reply, str) else dict(reply)
    if "usage" in made:
        return made if made["usage"] is not None else {name: made[name] for name in made if name != "usage"}
    most = request.get("max_tokens", 1)
    wanted = honest_tokens(made["content"])
    if wanted > most and isinstance(reply, str):
        made.update(content=[text(reply.encode()[: most * 4].decode(errors="ignore"))], stop_reason="max_tokens")
    asked = honest_tokens(request.get("system"), request.get("messages"), request.get("tools"))
    return {**made, "usage": usage(asked, min(wanted, most))}


def stream_events(made: dict[str, Any]) -> list[str]:
    """The server-sent events of a message, as the real server words them."""
    counts = made.get("usage")
    start = {**made, "content": [], "stop_reason": None, "stop_sequence": None}
    if isinstance(counts, dict):
        start["usage"] = {name: item for name, item in counts.items() if name != "iterations"}
        if type(counts.get("output_tokens")) is int:
            start["usage"]["output_tokens"] = min(1, counts["output_tokens"])
    events = [{"type": "message_start", "message": start}, {"type": "ping"}]
    for index, block in enumerate(made["content"]):
        events.extend(_block_events(index, block))
    stop = {name: made[name] for name in ("stop_reason", "stop_sequence")}
    delta = {"type": "message_delta", "delta": stop}
    events.append({**delta, "usage": counts} if "usage" in made else delta)
    return [event_text(event) for event in [*events, {"type": "message_stop"}]]


def _block_events(index: int, block: dict[str, Any]) -> Iterator[dict[str, Any]]:
    empty = {"text": {"text": ""}, "thinking": {"thinking": "", "signature": ""}, "tool_use": {"input": {}}}
    yield {"type": "content_block_start", "index": index, "content_block": {**block, **empty.get(block["type"], {})}}
    deltas: list[dict[str, Any]] = []
    if block["type"] == "text":
        deltas = [{"type": "text_delta", "text": part} for part in _halves(block["text"])]
    elif block["type"] == "thinking":
        deltas = [{"type": "thinking_delta", "thinking": part} for part in _halves(block["thinking"])]
        deltas.append({"type": "signature_delta", "signature": block["signature"]})
    elif block["type"] == "tool_use":
        arguments = block["input"]
        words = arguments if isinstance(arguments, str) else json.dumps(arguments)  # a text is sent as it is: cut JSON
        deltas = [{"type": "input_json_delta", "partial_json": part} for part in ["", *_halves(words)]]
    for delta in deltas:
        yield {"type": "content_block_delta", "index": index, "delta": delta}
    yield {"type": "content_block_stop", "index": index}


def _halves(words: str) -> list[str]:
    middle = (len(words) + 1) // 2
    return [words[:middle], words[middle:]]


def _text_bytes(value: Any) -> int:
    if isinstance(value, str):
        return len(value.encode("utf-8", "surrogatepass"))
    if isinstance(value, dict):
        return sum(map(_text_bytes, value.values()))
    return sum(map(_text_bytes, value)) if isinstance(value, list) else 0


def _total(counts: Any) -> int:
    names = ("input_tokens", "cache_creation_input_tokens", "cache_read_input_tokens", "output_tokens")
    found = [counts.get(name) for name in names] if isinstance(counts, dict) else []
    return sum(count for count in found if type(count) is int and count > 0)


class _Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = False
    block_on_close = True
    request_queue_size = 128
    owner: AnthropicServer

    def handle_error(self, request: Any, client_address: Any) -> None:
        raise  # noqa: PLE0704  called while an exception is handled; a bug of the server fails the test


class _Connection(socketserver.StreamRequestHandler):
    server: _Server

    def handle(self) -> None:
        with contextlib.suppress(ConnectionError):  # the client is free to leave
            seen = self._request()
            if seen is not None:
                self.server.owner.requests.append(seen)
                self._answer(seen)

    def _request(self) -> Seen | None:
        line = self.rfile.readline().decode("latin-1").split()
        if len(line) != 3:
            return None  # a connection that asked nothing
        headers: dict[str, str] = {}
        while (header := self.rfile.readline().decode("latin-1").strip()) != "":
            name, _, value = header.partition(":")
            headers[name.lower()] = value.strip()
        length = int(headers.get("content-length", "0"))
        raw = self.rfile.read(length)
        if len(raw) < length:
            return None  # a client that left while it was speaking
        return Seen(line[0], line[1], headers, json.loads(raw) if raw else None, raw)

    def _answer(self, seen: Seen) -> None:
        path, owner = seen.path.partition("?")[0], self.server.owner
        if path == "/v1/messages/count_tokens":
            honest = honest_tokens(seen.body.get("system"), seen.body.get("messages"), seen.body.get("tools"))
            counted = honest if owner.counted is None else owner.counted
            if isinstance(counted, Fault):
                self._fault(counted, seen)
            else:
                self._send(200, {}, {"input_tokens": counted})
        elif path != owner.path:
            self._send(*owner.elsewhere(seen))
        else:
            reply = owner.next_reply(seen.body)
            if isinstance(reply, Fault):
                self._fault(reply, seen)
            else:
                self._reply(owner.complete(reply, seen.body), seen)

    def _reply(self, made: dict[str, Any], seen: Seen) -> None:
        self.server.owner.bill(made)
        if seen.body.get("stream") is True:
            self._write(self._stream_head() + _chunked("".join(self.server.owner.events(made))) + b"0\r\n\r\n")
        else:
            self._send(200, {}, made)

    def _fault(self, fault: Fault, seen: Seen) -> None:
        if fault.kind == "status":
            self._send(fault.code, fault.headers, fault.body)
        elif fault.kind == "stall":
            self.server.owner.closing.wait()
        elif fault.kind == "drip_headers":
            self._drip(b"HTTP/1.1 200 OK\r\n" + b"".join(b"x-slow-%d: 1\r\n" % n for n in range(10_000)), fault.every_s)
        elif fault.kind == "reset":
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        else:
            made = self.server.owner.complete(fault.reply, seen.body)
            self.server.owner.bill(made)
            self._broken_stream(fault, self.server.owner.events(made))

    def _broken_stream(self, fault: Fault, events: list[str]) -> None:
        self._write(self._stream_head())
        half, end = _chunked("".join(events[: len(events) // 2])), b"0\r\n\r\n"
        if fault.kind == "stall_midway":
            self._write(half)
            self.server.owner.closing.wait()
        elif fault.kind == "drip":
            self._drip(_chunked("".join(events)) + end, fault.every_s)
        elif fault.kind == "cut":
            self._write(_chunked("".join(events[:-1])) + end)
        elif fault.kind == "break_off":
            self._write(half)
        elif fault.kind == "half_event":
            self._write(_chunked("".join(events).rstrip("\n")) + end)
        elif fault.kind == "insert":
            self._write(half + _chunked(fault.body + "".join(events[len(events) // 2 :])) + end)
        elif fault.kind == "stream":
            self._write((_chunked(fault.body) if fault.body else b"") + end)
        elif fault.kind == "parts":
            for part in fault.body:
                self._write(_chunked(part))
                self.server.owner.closing.wait(fault.every_s)
            self._write(end)
        else:
            raise AssertionError(f"no such fault: {fault.kind}")

    def _drip(self, data: bytes, every_s: float) -> None:
        for byte in data:
            self._write(bytes([byte]))
            if self.server.owner.closing.wait(every_s):
                return

    def _stream_head(self) -> bytes:
        return (b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream; charset=utf-8\r\n"
                b"transfer-encoding: chunked\r\nconnection: close\r\n\r\n")  # fmt: skip

    def _send(self, code: int, headers: dict[str, str], body: Any) -> None:
        data = body.encode() if isinstance(body, str) else b"" if body is None else json.dumps(body).encode()
        lines = {"content-type": "application/json", **headers, "content-length": str(len(data)), "connection": "close"}
        head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
        self._write(f"HTTP/1.1 {code} On-Purpose\r\n{head}\r\n".encode() + data)

    def _write(self, data: bytes) -> None:
        self.connection.sendall(data)


def _chunked(body: str) -> bytes:
    data = body.encode("utf-8", "surrogatepass")
    return b"%x\r\n%s\r\n" % (len(data), data)
