"""Server-sent events from bytes: pure, and as strict as the standard (WHATWG HTML, 9.2.6).

An event counts only once its blank line has come: half an event is none.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator


def event_data(chunks: Iterable[bytes]) -> Iterator[str]:
    """Yield the data of each complete event, in order.

    Args:
        chunks: The body, cut anywhere.

    Raises:
        UnicodeDecodeError: A line is not UTF-8.
    """
    data: list[str] = []
    for line in _lines(chunks):
        if not line:
            if data:
                yield "\n".join(data)
            data = []
        elif line.startswith("data:"):
            value = line.removeprefix("data:")
            data.append(value.removeprefix(" "))


def _lines(chunks: Iterable[bytes]) -> Iterator[str]:
    """Yield each ended line without its end; an end is CR, LF or both."""
    parts: list[bytes] = []
    after_cr = False
    for received in chunks:
        chunk = received[1:] if after_cr and received.startswith(b"\n") else received
        if received:
            after_cr = received.endswith(b"\r")
        for part in chunk.splitlines(keepends=True):
            parts.append(part)
            if part.endswith((b"\r", b"\n")):
                yield b"".join(parts).rstrip(b"\r\n").decode()
                parts = []
