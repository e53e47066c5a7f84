"""A byte stream that is watched while its reader reads it, whatever they read it as: events, lines, bytes, nothing."""

from __future__ import annotations

import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import anyio
import httpx2

from safeloop.errors import AttemptFailed
from safeloop.models.body import Body
from safeloop.models.deadline import Lifeline
from safeloop.models.failure import failure_of
from safeloop.models.reply import Reply
from safeloop.models.transport import hold_socket

Settle = Callable[[Reply | AttemptFailed], object]
Late = Callable[[], object]


class Watch:
    """Says once what came of an answer: at its last event, at its end, or when it is closed.

    Args:
        settle: Told exactly once; what it raises reaches the reader.
        left_s: Seconds that the reader has; None for as many as it likes.
        late: Called when they are over, after `settle`; what it raises reaches the reader.
    """

    def __init__(self, body: Body, settle: Settle, left_s: float | None = None, late: Late = lambda: None) -> None:
        self._body = body
        self._settle = settle
        self._late = late
        self._left_s = left_s
        self._deadline = None if left_s is None else time.monotonic() + left_s
        self._guard = threading.Lock()
        self._is_settled = False
        self._is_whole = False

    @property
    def remaining_s(self) -> float | None:
        """Seconds that are left; None without a deadline."""
        return None if self._deadline is None else max(0.0, self._deadline - time.monotonic())

    def take(self, chunk: bytes) -> bool:
        """Take what came; False where the reply was whole before it, as its reader gets nothing that is not charged.

        Raises:
            httpx2.ReadTimeout: The deadline has come.
        """
        if self._is_settled:
            return not self._is_whole
        self.check()
        try:
            reply = self._body.take(chunk)
        except AttemptFailed as failure:
            self._say(failure)
        else:
            if reply is not None:
                self._is_whole = True
                self._say(reply)
        return True

    def check(self) -> None:
        """Refuse to go on after the deadline.

        Raises:
            httpx2.ReadTimeout: It has come.
            Exception: What `late` raises in its place.
        """
        if self.remaining_s == 0 and not self._is_settled:
            late = httpx2.ReadTimeout(f"the reply was not complete after {self._left_s:.3g} seconds")
            self.lose(late)
            self._late()
            raise late

    def lose(self, error: Exception) -> None:
        """Note that reading failed: what the server has sent by then may be whole all the same."""
        failure = failure_of(error)
        failure.in_doubt = True  # an answer had begun
        self._end(failure)

    def end(self) -> None:
        """Note that nothing more will be read."""
        self._end(None)

    def _end(self, failure: AttemptFailed | None) -> None:
        if self._is_settled:
            return
        try:
            outcome: Reply | AttemptFailed = self._body.finish()
        except AttemptFailed as unfinished:
            outcome = failure or unfinished
        self._say(outcome)

    def _say(self, outcome: Reply | AttemptFailed) -> None:
        with self._guard:
            if self._is_settled:
                return
            self._is_settled = True
        self._settle(outcome)


class _Delegate:
    """Whatever else the HTTP client or the SDK keeps at a stream is the stream's own."""

    def __init__(self, stream: Any, watch: Watch) -> None:
        self._stream = stream
        self._watch = watch

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


class Tap(_Delegate, httpx2.SyncByteStream):
    """The same, for a sync client; at the deadline the connection is cut, whatever the server does."""

    def __init__(self, stream: Any, watch: Watch, response: httpx2.Response) -> None:
        super().__init__(stream, watch)
        self._lifeline = Lifeline()
        self._fuse: threading.Timer | None = None
        if watch.remaining_s is not None:
            hold_socket(response, self._lifeline)
            self._fuse = threading.Timer(watch.remaining_s, self._lifeline.cut)
            self._fuse.daemon = True
            self._fuse.start()

    def __iter__(self) -> Iterator[bytes]:
        for chunk in self._read():
            if self._watch.take(chunk):
                yield chunk
        self._watch.end()

    def close(self) -> None:
        """Close the stream; unless the reply was whole, it is in doubt from now on."""
        try:
            self._stream.close()
        finally:
            if self._fuse is not None:
                self._fuse.cancel()
            self._lifeline.release()
            self._watch.end()

    def _read(self) -> Iterator[bytes]:
        try:
            yield from self._stream
        except Exception as error:
            self._watch.check()
            self._watch.lose(error)
            raise


class AsyncTap(_Delegate, httpx2.AsyncByteStream):
    """The same, for an async client."""

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for chunk in self._read():
            if self._watch.take(chunk):
                yield chunk
        self._watch.end()

    async def aclose(self) -> None:
        """Close the stream; unless the reply was whole, it is in doubt from now on."""
        try:
            await self._stream.aclose()
        finally:
            self._watch.end()

    async def _read(self) -> AsyncIterator[bytes]:
        parts = self._stream.__aiter__()
        while True:
            try:
                with anyio.fail_after(self._watch.remaining_s):
                    chunk = await anext(parts)
            except StopAsyncIteration:
                return
            except Exception as error:
                self._watch.check()
                self._watch.lose(error)
                raise
            yield chunk


def tap(response: httpx2.Response, settle: Settle, left_s: float | None = None, late: Late = lambda: None) -> None:
    """Watch the body of an answer that nobody has read yet, for so many seconds at most; see `Watch`."""
    watch, stream = Watch(Body(response), settle, left_s, late), response.stream
    if isinstance(stream, httpx2.AsyncByteStream):
        response.stream = AsyncTap(stream, watch)
    else:
        response.stream = Tap(stream, watch, response)


def settle_read(response: httpx2.Response, settle: Settle) -> None:
    """Settle by the body of an answer that was read already."""
    body = Body(response, decoded=True)
    watch = Watch(body, settle)
    watch.take(response.content)
    watch.end()
