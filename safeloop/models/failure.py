"""What went wrong with one attempt, and whether it may have been billed.

No client's package is imported: exceptions are read by their status and by the names of their classes. Where
nothing proves that the provider did not bill, the attempt is in doubt and stays charged in full.
"""

from __future__ import annotations

import math
import re
import socket
import ssl
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Final

from safeloop.errors import AttemptFailed, SettingError
from safeloop.models.shapes import compact_json, field

DETAIL_LIMIT: Final = 65_536
"""Characters of the server's own words that are kept."""

NOTHING_CHARGED: Final = frozenset({429, 503, 529})
"""Statuses of 5xx and 429 that say: not now, and nothing was done."""

UNSENDABLE: Final = "UnsendableRequest"
"""The class of a request that could not be put together: the next attempt would fail alike."""

BAD_SETTING: Final = "SettingError"
"""The class of a failure that is ours: a setting, or a script that has ended."""

MOVED: Final = "the server sends requests elsewhere, and none is followed: check the base URL"

# Raised before anything of the request left: name not found, refused, no route, no TLS, no free connection.
_NEVER_SENT: Final = frozenset({
    "ConnectError", "ConnectTimeout", "PoolTimeout", "UnsupportedProtocol",                # httpx and httpcore
    "NewConnectionError", "NameResolutionError", "ConnectTimeoutError",                    # urllib3, requests
    "ClientConnectorError",                                                                # aiohttp
})  # fmt: skip
_PERHAPS_SENT: Final = frozenset({
    "ReadError", "ReadTimeout", "WriteError", "WriteTimeout", "RemoteProtocolError", "CloseError",
    "ServerDisconnectedError", "ServerTimeoutError", "IncompleteRead", "ProtocolError",
})  # fmt: skip
_TIMEOUTS: Final = frozenset({"APITimeoutError", "TimeoutException", "Timeout"})
_LOST: Final = frozenset({"APIConnectionError", "NetworkError", "ClientConnectionError", "RequestException"})

_WHAT: Final = {
    400: "the server refused the request as malformed",
    401: "the server does not know this API key",
    402: "the server asks for payment first",
    403: "the server does not allow this API key to do that",
    404: "the server does not know this model or address",
    408: "the server gave up waiting for the request",
    409: "the request conflicts with another one",
    413: "the request is larger than the server accepts",
    429: "the server asks to slow down",
    503: "the server is not available",
    529: "the server is overloaded",
}
_HINTS: Final = {
    401: "check ANTHROPIC_API_KEY",
    403: "check what the key's workspace may use",
    404: "check the model's name and ANTHROPIC_BASE_URL",
}


def failure_of(
    exc: BaseException, *, clock: Callable[[], datetime] = lambda: datetime.now(UTC)
) -> AttemptFailed:
    """Say what an exception of any client means for the attempt; an `AttemptFailed` is returned unchanged.

    Args:
        exc: What `messages.create` raised.
        clock: Reads the time, for a `retry-after` that is a date.

    Returns:
        Not in doubt for statuses 429, 503, 529 and all other 4xx, and where the connection failed before
        anything was sent; in doubt for every other status, timeouts, lost connections and the unknown.
    """
    if isinstance(exc, AttemptFailed):
        return exc
    if isinstance(exc, SettingError):  # ours, and always raised before anything is sent
        return AttemptFailed(exc.message, error_class=BAD_SETTING, in_doubt=False, hint=exc.hint)
    status = _status(exc)
    if status is not None:
        return _by_status(exc, status, _retry_after(exc, clock))
    return _by_class(exc)


def lacks_counter(exc: BaseException) -> bool:
    """Whether a counter of tokens raised this because the server has none: not found, not allowed, not implemented."""
    return failure_of(exc).status in (404, 405, 501)


def may_retry(failure: AttemptFailed) -> bool:
    """Whether another attempt could go better: after 408, 409, 429, a 5xx, and what the network did.

    Not after another status, a bad setting, or an exception that nobody knows: it would be charged again and again.
    """
    if failure.status is not None:
        return failure.status in (408, 409, 429) or 500 <= failure.status < 600
    return not failure.is_final and failure.error_class not in (UNSENDABLE, BAD_SETTING)


def _by_status(exc: BaseException, status: int, retry_after_s: float | None) -> AttemptFailed:
    if 400 <= status < 600:
        message = f"{_WHAT.get(status, 'the server answered with an error')} (status {status})"
    else:
        message = f"the server's answer could not be used (status {status})"
    return AttemptFailed(
        message,
        error_class=_class_name(exc),
        status=status,
        in_doubt=not (400 <= status < 500 or status in NOTHING_CHARGED),
        retry_after_s=retry_after_s,
        detail=_detail(exc),
        hint=MOVED if 300 <= status < 400 else _HINTS.get(status, ""),
    )


def _by_class(exc: BaseException) -> AttemptFailed:
    sent, is_known = _perhaps_sent(exc), True
    names = {name for link in _causes(exc) for name in _names(link)}
    if not sent:
        message = "the server could not be reached"
    elif "TimeoutError" in names or names & _TIMEOUTS:
        message = "the server did not answer in time"
    elif "OSError" in names or names & (_LOST | _PERHAPS_SENT):
        message = "the connection was lost after the request was sent"
    else:
        message, is_known = f"the client failed with {_class_name(exc)}", False
    hint = "" if sent else "check the network, and ANTHROPIC_BASE_URL if it is set"
    return AttemptFailed(
        message, error_class=_class_name(exc), in_doubt=sent, detail=_detail(exc), hint=hint, is_final=not is_known
    )


def _perhaps_sent(exc: BaseException) -> bool:
    """False only where a link of the chain proves that the request never left; the outermost word counts."""
    for link in _causes(exc):
        names = _names(link)
        if names & _PERHAPS_SENT:
            return True
        refused = isinstance(link, (ConnectionRefusedError, socket.gaierror, ssl.SSLCertVerificationError))
        if refused or names & _NEVER_SENT:
            return False
    return True


def _causes(exc: BaseException) -> Iterator[BaseException]:
    """Walk the explicit causes; a context is only what was being handled, and proves nothing."""
    seen: set[int] = set()
    link: BaseException | None = exc
    while link is not None and id(link) not in seen:
        seen.add(id(link))
        yield link
        link = link.__cause__


def _names(exc: BaseException) -> set[str]:
    return {base.__name__ for base in type(exc).__mro__}


def _class_name(exc: BaseException) -> str:
    name = type(exc).__name__
    return name if re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]{0,63}", name) else "UnknownError"


def _status(exc: BaseException) -> int | None:
    response = field(exc, "response")
    for status in (field(exc, "status_code"), field(response, "status_code")):
        if isinstance(status, int) and not isinstance(status, bool) and 100 <= status <= 999:
            return int(status)
    return None


def _retry_after(exc: BaseException, clock: Callable[[], datetime]) -> float | None:
    headers = field(field(exc, "response"), "headers", field(exc, "headers"))
    if not isinstance(headers, Mapping):
        return None
    words = {str(name).lower(): str(value).strip() for name, value in headers.items()}
    milliseconds = _seconds(words.get("retry-after-ms", ""))
    if milliseconds is not None:
        return milliseconds / 1000
    asked = words.get("retry-after", "")
    return _seconds(asked) if _seconds(asked) is not None else _until(asked, clock)


def _seconds(text: str) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) and number >= 0 else None


def _until(text: str, clock: Callable[[], datetime]) -> float | None:
    try:
        moment = parsedate_to_datetime(text)
    except (ValueError, OverflowError):
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return max(0.0, (moment - clock()).total_seconds())


def _detail(exc: BaseException) -> str:
    body = field(exc, "body")
    if body is None or body == "":
        deepest = list(_causes(exc))[-1]
        # Only words of the network: others may quote what was sent, a header with a key among it.
        networks = deepest is not exc and _names(deepest) & {"OSError", "NetworkError"}
        body = f"{exc}: {deepest}" if networks else str(exc)
    text = body if isinstance(body, str) else compact_json(body).decode()
    return text[:DETAIL_LIMIT]
