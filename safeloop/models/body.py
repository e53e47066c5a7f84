"""The body of an answer as it comes, byte by byte: a reply once it is whole, and in doubt until then.

Whoever reads the answer reads it as they like; what is kept here is a copy of the bytes that came. A stream of events
is whole at `message_stop`; a body that is no stream, once it has ended and is a message.
"""

from __future__ import annotations

import json
from collections.abc import Iterator

import httpx2

from safeloop.errors import AttemptFailed
from safeloop.models.assembly import assemble, bad_stream, check_end, cut_stream
from safeloop.models.failure import failure_of
from safeloop.models.reply import Reply, read_reply
from safeloop.models.sse import event_data
from safeloop.models.transport import BODY_LIMIT, is_event_stream

# Within a JSON text a quotation mark is escaped, so that nothing that a model says looks like this.
_STOP = b'"message_stop"'


class Body:
    """What has come of one answer.

    Args:
        response: Its head; its body is not read here.
        decoded: The bytes will be given as they are after decompression.
    """

    def __init__(self, response: httpx2.Response, *, decoded: bool = False) -> None:
        self._is_stream = is_event_stream(response)
        self._encoding = "" if decoded else response.headers.get("content-encoding", "")
        self._chunks: list[bytes] = []
        self._size = 0
        self._tail = b""
        self._is_ending = False

    def take(self, chunk: bytes) -> Reply | None:
        """Take what came; return the reply as soon as it is certain that it is whole."""
        self._size += len(chunk)
        if self._size > BODY_LIMIT:
            self._chunks.clear()
            return None
        self._chunks.append(chunk)
        self._is_ending = self._is_ending or _STOP in self._tail + chunk
        self._tail = (self._tail + chunk)[-len(_STOP) + 1 :]
        # The event is complete with its blank line, which may come in a later chunk.
        may_be_whole = self._is_ending and b"\n" in chunk and self._is_stream and not self._encoding
        return self._whole() if may_be_whole else None

    def finish(self) -> Reply:
        """Return the reply, now that nothing more will come.

        Raises:
            AttemptFailed: It is not whole, or no reply: in doubt.
        """
        if self._size > BODY_LIMIT:
            raise bad_stream(f"it is longer than {BODY_LIMIT} bytes")
        if self._is_stream:
            return self._assembled()
        return _message(self._decoded())

    def _whole(self) -> Reply | None:
        try:
            return self._assembled()
        except AttemptFailed as failure:
            if failure.error_class == "CutStream":  # the event is not complete before its blank line
                return None
            raise

    def _assembled(self) -> Reply:
        try:
            events = event_data(self._decompressed())
            reply = read_reply(assemble(events))
            check_end(events)
        except UnicodeDecodeError:
            raise bad_stream("it is not UTF-8") from None
        return reply

    def _decoded(self) -> bytes:
        return b"".join(self._decompressed())

    def _decompressed(self) -> Iterator[bytes]:
        if not self._encoding:
            yield from self._chunks
            return
        headers = {"content-encoding": self._encoding}
        try:
            yield httpx2.Response(200, headers=headers, content=b"".join(self._chunks)).content
        except httpx2.DecodingError:
            raise cut_stream() from None


def _message(data: bytes) -> Reply:
    try:
        message = json.loads(data)
    except (ValueError, RecursionError):
        message = None
    if not isinstance(message, dict) or not message.keys() & {"content", "usage"}:
        raise AttemptFailed(
            "the server answered with status 200, but not with a message: is this the right address?",
            error_class="NotAMessage", status=200, in_doubt=True, detail=data[:1000].decode("utf-8", "replace"),
            hint="check ANTHROPIC_BASE_URL, or the proxy in between",
        )
    return read_reply({**message, "raw": data})


def status_failure(response: httpx2.Response, body: bytes) -> AttemptFailed:
    """Say what an answer that is no success means for the attempt."""
    try:
        said: object = json.loads(body)
    except (ValueError, RecursionError):
        said = body.decode("utf-8", "replace")
    return failure_of(HTTPStatusError(response, said))


class HTTPStatusError(Exception):
    """An answer with a status that is no success; what is read of it is its response and its body."""

    def __init__(self, response: httpx2.Response, body: object) -> None:
        super().__init__(f"status {response.status_code}")
        self.response = response
        self.body = body
