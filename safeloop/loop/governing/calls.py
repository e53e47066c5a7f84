"""One call of the client's code: what leaves for it, and what its last attempt has brought."""

from __future__ import annotations

import time
from collections import OrderedDict
from typing import Any

import httpx2

from safeloop.errors import AttemptFailed
from safeloop.loop.governing.asked import COUNT, Asked
from safeloop.loop.governing.session import GovernedSession
from safeloop.loop.governing.settling import Ticket
from safeloop.models import failure_of, read_reply
from safeloop.models.body import status_failure
from safeloop.models.tap import settle_read, tap
from safeloop.models.transport import unredirected

_REMEMBERED = 64


class Call:
    """One call of the client's code, and what its last attempt has brought."""

    def __init__(self, session: GovernedSession, asked: Asked, request: Any, deadline_s: float) -> None:
        self._session, self._asked, self._request, self._deadline_s = session, asked, request, deadline_s
        self._left_at = time.monotonic()
        self._response: Any = None
        self._error: Exception | None = None
        self._has_left = False

    def leaving(self, ticket: Ticket) -> Any:
        """Return exactly the request that was reserved, about to be sent."""
        self._response = self._error = None
        self._has_left = False
        self._session.leaving(ticket)
        body = {**self._asked.body, "max_tokens": ticket.granted.max_tokens}
        sent = unredirected(self._request.copy(body=body))
        self._has_left, self._left_at = True, time.monotonic()
        return sent

    def left_s(self, ticket: Ticket) -> float:
        """Seconds that the attempt which has left may still take: of its own deadline, or of a time ceiling."""
        own, left_s = self._left_at + self._deadline_s - time.monotonic(), self._session.left_for(ticket)
        return max(0.0, own if left_s is None else min(own, left_s))

    def failed(self, ticket: Ticket, error: BaseException) -> AttemptFailed:
        """Settle an attempt that raised; what is no `Exception` ends the call at once."""
        if self._has_left and isinstance(error, Exception):
            failure = failure_of(error)
        else:
            failure = AttemptFailed(
                str(error), error_class=type(error).__name__, in_doubt=self._has_left, is_final=True
            )
        self._session.settle(ticket, failure)
        if not isinstance(error, Exception):
            raise error
        self._error = error
        return failure

    def is_refused(self, response: Any) -> bool:
        """Say whether the server answered with a status that is no success."""
        answer = getattr(response, "http_response", None)
        return isinstance(answer, httpx2.Response) and not answer.is_success

    def answered(self, ticket: Ticket, response: Any) -> None:
        """Settle an attempt by its answer, now or when it has been read."""
        self._response = response
        answer = getattr(response, "http_response", None)
        if not isinstance(answer, httpx2.Response):
            self._session.settle(ticket, read_reply(response))  # a middleware answered in the server's place
        elif answer.is_closed:
            settle_read(answer, lambda outcome: self._session.settle(ticket, outcome))
        else:
            tap(
                answer, lambda outcome: self._session.settle(ticket, outcome), self.left_s(ticket),
                lambda: self._session.check_time(ticket),
            )

    def refused(
        self, ticket: Ticket, response: Any, body: bytes, error: httpx2.HTTPError | None = None
    ) -> AttemptFailed:
        """Settle an attempt by a status."""
        answer = response.http_response
        answer.headers["x-should-retry"] = "false"  # which the SDK obeys, whatever its `max_retries`
        self._response, self._error = response, error
        failure = status_failure(answer, body)
        self._session.settle(ticket, failure)
        return failure

    def result(self, given_up: OrderedDict[str, Exception]) -> Any:
        """Return the last attempt's answer, or raise what it raised."""
        if self._error is None:
            return self._response
        given_up[str(self._request.options.idempotency_key)] = self._error
        while len(given_up) > _REMEMBERED:
            given_up.popitem(last=False)
        raise self._error

    def counting(self) -> dict[str, Any]:
        """Return the arguments of a request to the counter."""
        url, headers = self._request.url, self._request.headers
        betas = {name: value for name, value in headers.items() if name.lower() == "anthropic-beta"}
        query = url.partition("?")[2]
        options = {"headers": betas, "params": dict(self._request.query_params or {}), "follow_redirects": False}
        return {"path": f"{COUNT}?{query}" if query else COUNT, "body": self._asked.counted, "options": options}
