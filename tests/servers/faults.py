"""Ways for a server on loopback to misbehave, whatever it speaks."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

_UNSET: Any = object()


@dataclass(frozen=True)
class Fault:
    """One way to misbehave; `reply` is what was being sent (and is billed) where there is one."""

    kind: str
    code: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    body: Any = None
    reply: Any = "half a reply"
    every_s: float = 0.05

    @classmethod
    def status(cls, code: int, *, headers: dict[str, str] | None = None, body: Any = _UNSET) -> Fault:
        """Answer with an HTTP status; the body is Anthropic's error object unless given (text or JSON)."""
        error = {"type": "error", "error": {"type": "api_error", "message": f"status {code} on purpose"}}
        return cls("status", code, headers or {}, error if body is _UNSET else body)

    @classmethod
    def html(cls) -> Fault:
        """A login page with status 200, as from a captive portal."""
        return cls("status", 200, {"content-type": "text/html"}, "<html><body>Please log in</body></html>")

    @classmethod
    def stall(cls) -> Fault:
        """Read the request and never answer."""
        return cls("stall")

    @classmethod
    def stall_midway(cls, reply: Any = "half a reply") -> Fault:
        """Send half of the stream, then nothing more, with the connection open."""
        return cls("stall_midway", reply=reply)

    @classmethod
    def drip(cls, reply: Any = "half a reply", *, every_s: float = 0.05) -> Fault:
        """Send the headers, then the stream one byte at a time."""
        return cls("drip", reply=reply, every_s=every_s)

    @classmethod
    def drip_headers(cls, *, every_s: float = 0.05) -> Fault:
        """Send the headers one byte at a time."""
        return cls("drip_headers", every_s=every_s)

    @classmethod
    def cut(cls, reply: Any = "half a reply") -> Fault:
        """Send everything but `message_stop`, and end the response properly."""
        return cls("cut", reply=reply)

    @classmethod
    def break_off(cls, reply: Any = "half a reply") -> Fault:
        """Send half of the stream and close the connection in the middle of the response."""
        return cls("break_off", reply=reply)

    @classmethod
    def half_event(cls, reply: Any = "half a reply") -> Fault:
        """Send everything, but end within `message_stop`, before the blank line that completes it."""
        return cls("half_event", reply=reply)

    @classmethod
    def reset(cls) -> Fault:
        """Read the request, then reset the connection."""
        return cls("reset")

    @classmethod
    def bad_json(cls, reply: Any = "half a reply") -> Fault:
        """Send an event whose data is not JSON in the middle of the stream."""
        return cls("insert", body="event: content_block_delta\ndata: {\"type\": \n\n", reply=reply)

    @classmethod
    def error_event(cls, kind: str = "overloaded_error", reply: Any = "half a reply") -> Fault:
        """Send an `error` event in the middle of the stream."""
        data = {"type": "error", "error": {"type": kind, "message": "on purpose"}}
        return cls("insert", body=event_text(data), reply=reply)

    @classmethod
    def stream(cls, body: str, *, reply: Any = "half a reply") -> Fault:
        """Send exactly this text as the stream."""
        return cls("stream", body=body, reply=reply)

    @classmethod
    def parts(cls, *bodies: str, every_s: float = 0.05) -> Fault:
        """Send exactly these texts as the stream, one after the other."""
        return cls("parts", body=bodies, every_s=every_s)


def event_text(data: dict[str, Any]) -> str:
    return f"event: {data['type']}\ndata: {json.dumps(data)}\n\n"
