"""One fetch on the wire: a request, its redirects, and the body of what was found, each within its limits.

httpcore2 speaks the protocol and httpx2 takes the content coding off. Their clients are not used: those bring cookies,
`.netrc`, and proxies and certificates of the environment. What is sent is what is written here.
"""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, Final

import httpcore2
import httpx2

from safeloop.tools.fetching.connecting import CheckedBackend
from safeloop.tools.fetching.failure import AddressRefused, FetchFailed, HttpStatus, NotReadable, TooLarge
from safeloop.tools.fetching.target import Target, first_target, next_target

if TYPE_CHECKING:
    from safeloop.tools.fetching.budget import Budget
    from safeloop.tools.fetching.options import FetchOptions

_REDIRECTS: Final = (301, 302, 303, 307, 308)
# `br` and `zstd` are neither offered nor taken, whatever is installed: less to attack, and every server has gzip.
_CODINGS: Final = ("", "identity", "gzip", "x-gzip", "deflate")
_HEADERS: Final = (
    (b"User-Agent", b"safeloop"),
    (b"Accept", b"text/html, application/xhtml+xml, text/*;q=0.9, application/json;q=0.9, application/xml;q=0.8"),
    (b"Accept-Encoding", b"gzip, deflate"),
    (b"Connection", b"close"),
)


@dataclass(frozen=True, slots=True)
class Answer:
    """What a server sent in the end.

    Args:
        url: Where it was found, after redirects.
        status: From 200 to 299.
        content_type: The media type in lowercase, without parameters.
        charset: As declared in the header; None if it is not.
        body: After decompression.
    """

    url: str
    status: int
    content_type: str
    charset: str | None
    body: bytes


def ask(url: str, options: FetchOptions, budget: Budget, tls: ssl.SSLContext) -> Answer:
    """Ask for a URL and follow its redirects.

    Raises:
        FetchError: It was not had; the class says why.
    """
    target = first_target(url, options)
    for _ in range(options.redirects + 1):
        with _reply(target, options, budget, tls) as response:
            if response.status_code not in _REDIRECTS or "location" not in response.headers:
                return _answer(target, response, options, budget)
            location = response.headers["location"]
        target = next_target(target, location, options)
    raise AddressRefused(f"there are more than {options.redirects} redirects")


@contextmanager
def _reply(
    target: Target, options: FetchOptions, budget: Budget, tls: ssl.SSLContext
) -> Iterator[httpx2.Response]:
    """Send one request on a connection of its own, and end that connection."""
    url = httpcore2.URL(
        scheme=target.url.raw_scheme, host=target.url.raw_host, port=target.url.port, target=target.url.raw_path
    )
    headers = [(b"Host", target.url.netloc), *_HEADERS]
    backend = CheckedBackend(options, budget, target.called)
    try:
        with (
            httpcore2.ConnectionPool(tls, max_keepalive_connections=0, network_backend=backend) as pool,
            pool.stream("GET", url, headers=headers) as received,
        ):
            size = sum(len(name) + len(value) + 4 for name, value in received.headers)
            if size > options.header_bytes:
                raise TooLarge(f"the headers of {target.called} are larger than {options.header_bytes} bytes")
            body = _Body(received.iter_stream())
            yield httpx2.Response(received.status, headers=received.headers, stream=body)
    except httpcore2.TimeoutException as error:
        raise budget.too_late() from error
    except (httpcore2.NetworkError, httpcore2.ProtocolError, httpcore2.UnsupportedProtocol) as error:
        raise FetchFailed(_failure(target.called, error)) from error


class _Body(httpx2.SyncByteStream):
    """A body as httpcore2 gives it, in the form that httpx2 decodes."""

    def __init__(self, parts: Iterator[bytes]) -> None:
        self._parts = parts

    def __iter__(self) -> Iterator[bytes]:
        return self._parts


def _failure(called: str, error: Exception) -> str:
    """Choose safeloop's own words for what happened; the library's may quote the server."""
    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, ssl.SSLError):
        cause = cause.__context__  # httpcore2's pool takes `__cause__` away
    if isinstance(cause, ssl.SSLCertVerificationError):
        return f"the certificate of {called} does not hold for that name: OpenSSL's error {cause.verify_code}"
    if isinstance(cause, ssl.SSLError):
        return f"no TLS connection to {called} came about"
    if isinstance(error, httpcore2.ProtocolError):
        return f"what {called} sends is not HTTP, or was cut short"
    return f"the connection to {called} was lost"


def _answer(target: Target, response: httpx2.Response, options: FetchOptions, budget: Budget) -> Answer:
    status = response.status_code
    if not 200 <= status <= 299:
        raise HttpStatus(f"{target.called} answers with {_named(status)}")
    content_type = response.headers.get("content-type", "").partition(";")[0].strip().lower()
    return Answer(
        str(target.url), status, content_type, response.charset_encoding, _body(target, response, options, budget)
    )


def _named(status: int) -> str:
    """Name a status in the words of its standard, never in the server's."""
    known = status in {each.value for each in HTTPStatus}
    return f"HTTP status {status} ({HTTPStatus(status).phrase})" if known else f"the unknown HTTP status {status}"


def _body(target: Target, response: httpx2.Response, options: FetchOptions, budget: Budget) -> bytes:
    # One coding: each more multiplies what a small body can cost on its way through.
    if response.headers.get("content-encoding", "").strip().lower() not in _CODINGS:
        raise NotReadable(f"{target.called} sends a content coding other than gzip and deflate")
    body = bytearray()
    try:
        for part in response.iter_bytes():
            body += part
            if len(body) > options.body_bytes:
                raise TooLarge(f"{target.called} sends more than {options.body_bytes} bytes after decompression")
            budget.left_s()
    except httpx2.DecodingError as error:
        raise NotReadable(f"what {target.called} sends is not in the content coding that it names") from error
    return bytes(body)
