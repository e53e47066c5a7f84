"""One HTTP request, ended at its deadline, and what is known of how far it got: for every adapter alike.

A request's own lifeline learns of its sockets and of the moment it is sent, so that a failure before that moment
is known to have cost nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextvars import ContextVar
from typing import Any, Final, TypeVar

import httpx2

from safeloop.errors import AttemptFailed, SettingError
from safeloop.models.assembly import bad_stream
from safeloop.models.deadline import DeadlineExceeded, Lifeline, earlier, too_late, within
from safeloop.models.failure import DETAIL_LIMIT, UNSENDABLE, failure_of
from safeloop.models.reply import Reply, read_reply
from safeloop.models.sse import event_data

BODY_LIMIT: Final = 256 * 1024 * 1024
"""Bytes of one streamed reply; more than any model can write."""

MARGIN_S: Final = 5.0
"""Seconds that an HTTP client's own timeouts come after the deadline, so that the deadline ends a request."""

# A new connection per request: no attempt is lost to a connection that went stale between two turns, and the
# socket of every request is known to its lifeline.
FRESH: Final = httpx2.Limits(max_connections=None, max_keepalive_connections=0)

_lifeline: ContextVar[Lifeline | None] = ContextVar("safeloop_lifeline", default=None)
_T = TypeVar("_T")


class BadStatus(Exception):
    """The server answered with a status other than 200."""

    def __init__(self, response: httpx2.Response, body: str) -> None:
        super().__init__(f"status {response.status_code}")
        self.response = response
        self.status_code = response.status_code
        self.body = body


class Transport:
    """Runs the requests of one HTTP client, each within the deadline.

    Args:
        http_client: An `httpx2.Client`; of anything else it is never claimed that a request did not leave.
        deadline_s: Seconds that one request may take in all; see `check_deadline`. `ending_in` may shorten them.
        owned: Whether the client was made by the adapter: then it tells of its sending.
        network: Exceptions that say that the network failed, and not the request.
    """

    def __init__(
        self, http_client: object, deadline_s: float, *, owned: bool, network: tuple[type[Exception], ...]
    ) -> None:
        self._deadline_s = deadline_s
        self._owned = owned
        self._network = network
        self._hooked = hook(http_client)

    def attempt(self, work: Callable[[Lifeline], _T]) -> _T:
        """Do one request's work.

        Raises:
            AttemptFailed: It brought no result.
        """
        lifeline, seconds = Lifeline(), earlier(self._deadline_s)

        def run() -> _T:
            _lifeline.set(lifeline)
            try:
                return work(lifeline)
            except AttemptFailed:
                raise
            except Exception as exc:  # in this thread: what a signal raises in the caller's passes unchanged
                failure = failure_of(exc)
                if failure.in_doubt and self._never_sent(lifeline):
                    failure = self._unsent(failure, exc)
                raise failure from exc

        try:
            return within(seconds, run, lifeline)
        except DeadlineExceeded:
            raise too_late(seconds, in_doubt=not self._never_sent(lifeline)) from None

    def _never_sent(self, lifeline: Lifeline) -> bool:
        """Whether the request provably never left; only our own HTTP client tells of its sending."""
        return self._hooked and (not lifeline.reached or (self._owned and not lifeline.sent))

    def _unsent(self, failure: AttemptFailed, exc: Exception) -> AttemptFailed:
        """The failure of a request that never left: not in doubt, and permanent unless the network failed."""
        network = isinstance(exc, self._network)
        return AttemptFailed(
            failure.message if network else f"the request could not be put together: {exc}",
            error_class=failure.error_class if network else UNSENDABLE,
            status=failure.status,
            in_doubt=False,
            detail=failure.detail,
            hint=failure.hint,
        )


def check_secret(secret: str) -> None:
    """Refuse an API key that no header can carry, without saying it.

    Raises:
        SettingError: It holds a space, a line break or a letter that no key has.
    """
    if not secret.isascii() or not secret.isprintable() or secret != secret.strip():
        raise SettingError("the API key holds a space, a line break or a letter that no key has")


def is_event_stream(response: httpx2.Response) -> bool:
    """Whether a response says that it is a stream of events."""
    content_type = response.headers.get("content-type", "").partition(";")[0].strip().lower()
    return content_type == "text/event-stream"


def hold_socket(response: httpx2.Response, lifeline: Lifeline) -> None:
    """Let the lifeline end the response's connection, if it has one."""
    network = response.extensions.get("network_stream")
    if network is not None:
        lifeline.hold(network)


def limited(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """Pass a body on until it is longer than any reply.

    Raises:
        AttemptFailed: `BadStream`: it is longer than `BODY_LIMIT`.
    """
    received = 0
    for chunk in chunks:
        received += len(chunk)
        if received > BODY_LIMIT:
            raise bad_stream(f"it is longer than {BODY_LIMIT} bytes")
        yield chunk


def streamed_reply(
    response: httpx2.Response, assemble: Callable[[Iterable[str]], object], lost: Callable[[], AttemptFailed],
    hint: str = "",
) -> Reply:
    """Read a reply from the events of a response whose status is good.

    Args:
        response: It, not read yet.
        assemble: Makes the message of the data of each event.
        lost: Says that the connection was lost.
        hint: What helps where it is no stream of events.

    Raises:
        AttemptFailed: No complete reply came; always in doubt.
    """
    if not is_event_stream(response):
        raise AttemptFailed(
            "the server answered with status 200, but not with a stream of events: is this the right address?",
            error_class="NotAStream", status=response.status_code, in_doubt=True, hint=hint,
        )
    try:
        return read_reply(assemble(event_data(limited(response.iter_bytes()))))
    except httpx2.HTTPError as exc:
        raise lost() from exc
    except UnicodeDecodeError as exc:
        raise bad_stream("it is not UTF-8") from exc


def beginning_of(response: httpx2.Response) -> str:
    """Read as much of an error's body as is kept; what cannot be read is missing, and the status stands."""
    data = bytearray()
    try:
        for chunk in response.iter_bytes():
            data += chunk
            if len(data) >= DETAIL_LIMIT:
                break
    except httpx2.HTTPError as exc:
        data += f" [{type(exc).__name__}]".encode()
    return data[:DETAIL_LIMIT].decode("utf-8", "replace")


def hook(http_client: object) -> bool:
    """Have every request of ours tell its lifeline; requests of others on the same client are left alone."""
    if not isinstance(http_client, httpx2.Client):
        return False
    if _tell_lifeline not in http_client.event_hooks["request"]:
        http_client.event_hooks["request"].append(_tell_lifeline)
    return True


def unredirected(request: Any) -> Any:
    """Return a request of the SDK, which is the caller's own copy, so that no redirect of it is followed."""
    request.options.follow_redirects = False
    return request


def linked(lifeline: Lifeline, work: Callable[[], _T]) -> _T:
    """Do work whose requests on a hooked client tell this lifeline; to be called in a context of its own."""
    _lifeline.set(lifeline)
    return work()


def _tell_lifeline(request: httpx2.Request) -> None:
    lifeline = _lifeline.get()
    if lifeline is not None:
        lifeline.reach()
        request.extensions["trace"] = lifeline.trace
