"""A wall-clock deadline for one request, whatever the server does.

A timeout per read does not end a server that sends a byte now and then, and no timeout ends a name lookup. So
the request runs in a thread of its own and its caller waits for the deadline and no longer. Then the thread's
sockets are shut down, which ends every read and write on them, a TLS handshake too; and nothing that the
thread has not begun to send by then is sent afterwards.
"""

from __future__ import annotations

import contextlib
import contextvars
import math
import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final, Generic, TypeVar

from safeloop.errors import AttemptFailed, SettingError

GRACE_S: Final = 0.5
"""Seconds that an abandoned thread is given to close what it holds."""

_CALLERS_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGALRM)

_T = TypeVar("_T")
_ends_at: contextvars.ContextVar[float] = contextvars.ContextVar("safeloop_ends_at")


@contextlib.contextmanager
def ending_in(seconds: float) -> Iterator[None]:
    """Let no request that an adapter makes in here go on for longer than this, whatever its own deadline.

    Within another such stretch, what that one leaves holds too.
    """
    token = _ends_at.set(time.monotonic() + earlier(seconds))
    try:
        yield
    finally:
        _ends_at.reset(token)


def earlier(seconds: float) -> float:
    """Return a deadline, or what is left until the one that `ending_in` set, if that comes first; never below 0."""
    ends_at = _ends_at.get(None)
    return seconds if ends_at is None else max(0.0, min(seconds, ends_at - time.monotonic()))


class DeadlineExceeded(Exception):
    """The deadline came before the work was done."""


def too_late(seconds: float, *, in_doubt: bool) -> AttemptFailed:
    """Say that a deadline ended an attempt."""
    return AttemptFailed(
        f"the reply was not complete after {round(seconds, 3):g} seconds",
        error_class=DeadlineExceeded.__name__, in_doubt=in_doubt,
    )


def check_deadline(deadline_s: object) -> None:
    """Refuse a deadline that has no meaning.

    Raises:
        SettingError: It is not above 0 and at most a day.
    """
    if not (isinstance(deadline_s, (int, float)) and math.isfinite(deadline_s) and 0 < deadline_s <= 86_400):
        raise SettingError(f"a deadline is above 0 and at most 86400 seconds, not {deadline_s!r}")


class Abandoned(Exception):
    """Ends a thread that nobody waits for any more, before it sends anything."""


class Lifeline:
    """What can end one request from another thread, and what is known of how far it got.

    `trace` is a callback for httpcore's `trace` extension: it learns of each connection as it is made and of
    each request as it begins to be sent.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._sockets: list[socket.socket] = []
        self._cut = False
        self.reached = False
        self.sent = False

    def reach(self) -> None:
        """Note that the request is about to be handed to the network.

        Raises:
            Abandoned: Nobody waits any more.
        """
        with self._lock:
            self._go_on()
            self.reached = True

    def trace(self, event: str, info: Mapping[str, Any]) -> None:
        """Take one event of httpcore.

        Raises:
            Abandoned: The request is about to be sent, and nobody waits any more.
        """
        if event.endswith(("connect_tcp.complete", "connect_unix_socket.complete")):
            self.hold(info["return_value"])
        elif event.endswith("send_request_headers.started"):
            with self._lock:
                self._go_on()
                self.sent = True

    def hold(self, stream: Any) -> None:
        """Keep a way to shut down the socket under a network stream of httpcore."""
        connection = stream.get_extra_info("socket")
        if connection is None or connection.fileno() < 0:
            return
        with self._lock:
            # A second descriptor: the first is closed, or wrapped in TLS, by whoever made it.
            twin = socket.socket(fileno=os.dup(connection.fileno()))
            self._sockets.append(twin)
            if self._cut:
                _shut(twin)

    def cut(self) -> None:
        """End the request now: its reads and writes fail, and what has not been sent never will be."""
        with self._lock:
            self._cut = True
            for connection in self._sockets:
                _shut(connection)

    def release(self) -> None:
        """Let go of the sockets."""
        with self._lock:
            for connection in self._sockets:
                connection.close()
            self._sockets.clear()

    def _go_on(self) -> None:
        if self._cut:
            raise Abandoned


def _shut(connection: socket.socket) -> None:
    with contextlib.suppress(OSError):  # closed by the other side already
        connection.shutdown(socket.SHUT_RDWR)


class _Outcome(Generic[_T]):
    def __init__(self) -> None:
        self.value: _T | None = None
        self.error: BaseException | None = None


def within(seconds: float, work: Callable[[], _T], lifeline: Lifeline) -> _T:
    """Do the work in a thread and return its result, or raise what it raised.

    An exception in the caller while it waits (Ctrl-C) ends the work and goes on unchanged.

    Raises:
        DeadlineExceeded: The work took `seconds` or longer; it was ended.
    """
    outcome: _Outcome[_T] = _Outcome()
    done = threading.Event()

    def run() -> None:
        # A signal must reach the thread that waits, or the wait would not notice it.
        signal.pthread_sigmask(signal.SIG_BLOCK, _CALLERS_SIGNALS)
        try:
            outcome.value = work()
        except BaseException as exc:  # noqa: BLE001  handed to the caller, who raises it
            outcome.error = exc
        finally:
            lifeline.release()
            done.set()

    context = contextvars.copy_context()
    thread = threading.Thread(target=context.run, args=(run,), name="safeloop-request", daemon=True)
    finished = False
    try:
        thread.start()
        finished = done.wait(seconds)
    finally:
        if not finished:
            lifeline.cut()
            done.wait(GRACE_S)
    if not finished:
        raise DeadlineExceeded
    thread.join()
    if outcome.error is not None:
        raise outcome.error
    return outcome.value  # type: ignore[return-value]  # set where no error is
