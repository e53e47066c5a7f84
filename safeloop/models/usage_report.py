"""The usage report of the Messages API, page by page: plain HTTP, as the SDK has no method for it.

`GET {base_url}/v1/organizations/usage_report/messages`, with an admin key. Unlike a request to a model, one for a
report costs nothing and may be made again: it is, after 429 and 5xx and after a lost connection, as long as the waits
allow. Redirects are not followed, nothing is read from the environment, and pages have a bound.
"""

from __future__ import annotations

import json
import random
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Final

import httpx2

from safeloop.errors import AttemptFailed
from safeloop.models.address import checked_address, shown_address
from safeloop.models.deadline import Lifeline, check_deadline, ending_in
from safeloop.models.failure import MOVED, may_retry
from safeloop.models.transport import FRESH, MARGIN_S, BadStatus, Transport, beginning_of, check_secret, hold_socket

PATH: Final = "/v1/organizations/usage_report/messages"
VERSION: Final = "2023-06-01"
LIMITS: Final = {"1m": 1_440, "1h": 168, "1d": 31}
"""By width of a bucket: the most buckets that one page can have."""

GROUPS: Final = ("api_key_id", "workspace_id", "model")
MOST_PAGES: Final = 2_000
MOST_PAGE_BYTES: Final = 64 * 1024 * 1024

Query = list[tuple[str, str | int | float | bool | None]]

_FIRST_S: Final = 0.5
_LONGEST_S: Final = 60.0
_HIDDEN: Final = "[the admin key]"
_HINTS: Final = {
    400: "check --from, --to and --bucket",
    401: "check ANTHROPIC_ADMIN_KEY: an admin key, not the key that models are asked with",
    403: "check ANTHROPIC_ADMIN_KEY: only an admin key may read usage",
    404: "check ANTHROPIC_BASE_URL: only the provider itself has usage reports",
}


class UsageReports:
    """Fetches usage reports.

    Args:
        base_url: Where the API begins, without credentials, query or fragment.
        admin_key: Sent as `x-api-key`. It is in no error, log or repr.
        deadline_s: Seconds that one page may take in all, above 0, at most a day.
        max_wait_s: All waits of one report together, in seconds.
        whole_s: Seconds that all pages of one report may take together, waits included.
        sleep_fn: Waits so many seconds.
        clock_fn: Tells seconds that never run back.

    Raises:
        SettingError: An argument has no meaning.
    """

    def __init__(
        self, base_url: str, admin_key: str, *, deadline_s: float = 120.0, max_wait_s: float = 60.0,
        whole_s: float = 3_600.0, sleep_fn: Callable[[float], object] = time.sleep,
        clock_fn: Callable[[], float] = time.monotonic,
    ) -> None:
        check_deadline(deadline_s)
        check_secret(admin_key)
        checked_address(base_url, key="ANTHROPIC_ADMIN_KEY")
        self.endpoint = shown_address(base_url)
        self._secret, self._max_wait_s, self._sleep = admin_key, max_wait_s, sleep_fn
        self._http = httpx2.Client(timeout=deadline_s + MARGIN_S, limits=FRESH, trust_env=False)
        self._transport = Transport(
            self._http, deadline_s, owned=True,
            network=(httpx2.NetworkError, httpx2.TimeoutException, httpx2.ProxyError),
        )
        self._waited_s, self._whole_s, self._clock = 0.0, whole_s, clock_fn

    def close(self) -> None:
        """Close the HTTP client."""
        self._http.close()

    def pages(self, begins: datetime, ends: datetime, width: str) -> Iterator[bytes]:
        """Yield the pages of a report, by time, each as the server sent it.

        Args:
            begins: The first moment, aware; buckets begin at whole minutes, hours or days in UTC.
            ends: The end, not included.
            width: `1m`, `1h` or `1d`.

        Raises:
            AttemptFailed: A page could not be had.
        """
        asked: Query = [("starting_at", _text(begins)), ("ending_at", _text(ends)), ("bucket_width", width),
                 *(("group_by[]", each) for each in GROUPS), ("limit", str(LIMITS[width]))]  # fmt: skip
        token, seen, ends_at = None, set[str](), self._clock() + self._whole_s
        for _ in range(MOST_PAGES):
            left_s = ends_at - self._clock()
            if left_s <= 0:
                raise _unusable(f"it was not complete after {self._whole_s:,g} seconds: ask for less time")
            with ending_in(left_s):
                page = self._page(asked if token is None else [*asked, ("page", token)])
            token = self._next(page)
            yield page
            if token is None:
                return
            if token in seen:
                raise _unusable("it leads back to a page that was read")
            seen.add(token)
        raise _unusable(f"it has more than {MOST_PAGES:,} pages: ask for less time, or for wider buckets")

    def _page(self, asked: Query) -> bytes:
        """Get one page, again and again as long as that may help."""
        tries = 0
        while True:
            try:
                return self._transport.attempt(lambda lifeline: self._get(asked, lifeline))
            except AttemptFailed as failure:
                backoff_s = min(_LONGEST_S, _FIRST_S * 2.0 ** min(tries, 10)) * random.random()  # noqa: S311 - jitter
                wait_s = max(backoff_s, failure.retry_after_s or 0.0, 0.05 * tries)
                if not may_retry(failure) or self._waited_s + wait_s > self._max_wait_s:
                    self._mend(failure)
                    raise failure from None  # what lies below may quote the server, and the server the key
                tries, self._waited_s = tries + 1, self._waited_s + wait_s
            self._sleep(wait_s)

    def _get(self, asked: Query, lifeline: Lifeline) -> bytes:
        headers = {"x-api-key": self._secret, "anthropic-version": VERSION, "accept": "application/json",
                   "accept-encoding": "identity"}  # fmt: skip
        url = f"{self.endpoint}{PATH}"
        with self._http.stream("GET", url, params=asked, headers=headers, follow_redirects=False) as response:
            hold_socket(response, lifeline)
            if response.status_code != 200:
                raise BadStatus(response, beginning_of(response))
            data = bytearray()
            for chunk in response.iter_bytes():
                data += chunk
                if len(data) > MOST_PAGE_BYTES:
                    raise _unusable(f"a page of it is larger than {MOST_PAGE_BYTES:,} bytes")
            return bytes(data)

    def _mend(self, failure: AttemptFailed) -> None:
        """Give hints for this request, and take the key out of what the server may have echoed."""
        if failure.status is not None and 300 <= failure.status < 400:
            failure.hint = MOVED
        elif failure.status is not None:
            failure.hint = _HINTS.get(failure.status, "try again later")
        else:
            failure.hint = "check the network, and ANTHROPIC_BASE_URL if it is set"
        failure.message = failure.message.replace("model or address", "address").replace(self._secret, _HIDDEN)
        failure.detail = failure.detail.replace(self._secret, _HIDDEN)

    def _next(self, page: bytes) -> str | None:
        """Return what the next page is asked for by; None after the last one.

        Raises:
            AttemptFailed: It is no page; or it holds the admin key, which would be shown as if it were a name.
        """
        try:
            value = json.loads(page)
            told = json.dumps(value) if b"\\" in page else ""  # what is escaped may be anything
        except (ValueError, RecursionError):
            raise _unusable("the answer is not JSON: is this the right address?") from None
        except MemoryError:
            raise _unusable("a page of it needs more memory than there is: ask for wider buckets") from None
        if self._secret.encode() in page or self._secret in told:
            raise _unusable("the answer holds the admin key")
        if not isinstance(value, dict) or not isinstance(value.get("has_more"), bool):
            raise _unusable("the answer is not a page of it: is this the right address?")
        token = value.get("next_page")
        if value["has_more"] and (not isinstance(token, str) or not 0 < len(token) <= 4_096):
            raise _unusable("a page says that there are more, and not how to ask for them")
        return token if value["has_more"] else None


def _text(when: datetime) -> str:
    return when.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _unusable(words: str) -> AttemptFailed:
    return AttemptFailed(f"the usage report cannot be used: {words}", error_class="BadReport", in_doubt=False,
                         hint="check ANTHROPIC_BASE_URL if it is set", is_final=True)  # fmt: skip
