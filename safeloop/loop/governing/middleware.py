"""The SDK's hook: once per HTTP attempt, between the client's own code and the network.

The SDK's retries are off. What the middleware raises itself is never raised `from` an error of the SDK, which would
retry it. Rows are written without leaving the thread or the task, so that no cancellation falls between an attempt
and its row.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from typing import Any

import anyio
import httpx2

from safeloop.errors import AttemptFailed, RunFailed
from safeloop.loop.governing.asked import COUNT, Asked, is_free, read_asked
from safeloop.loop.governing.flow import Attempts, Count, Send, Step, Terms
from safeloop.loop.governing.session import GovernedSession, Ticket
from safeloop.models import failure_of, read_reply
from safeloop.models.body import status_failure
from safeloop.models.deadline import Lifeline, within
from safeloop.models.shapes import field
from safeloop.models.tap import settle_read, tap
from safeloop.models.transport import hook, linked
from safeloop.models.usage import COUNT_LIMIT

_REMEMBERED = 64
CallNext = Callable[[Any], Any]
AsyncCallNext = Callable[[Any], Awaitable[Any]]


class GovernedAttempts:
    """Reserves, sends and settles what a client asks.

    Args:
        counter: A client that is not governed, to count with.
    """

    def __init__(self, session: GovernedSession, counter: Any, terms: Terms) -> None:
        self._session, self._counter, self._terms = session, counter, terms
        self._given_up: OrderedDict[str, Exception] = OrderedDict()
        hook(getattr(counter, "_client", None))  # so that what a deadline ends ends on the network too

    def handle(self, request: Any, call_next: CallNext) -> Any:
        """Take a request of a sync client."""
        asked = self._asked(request)
        if asked is None:
            return call_next(request)
        call = _Call(self._session, asked, request)
        steps = Attempts(self._session, asked, self._terms, ("thread", threading.get_ident())).steps()
        answer: object = None
        while (step := _next(steps, answer)) is not None:
            if isinstance(step, Send):
                answer = self._send(call, step.ticket, call_next)
            elif isinstance(step, Count):
                answer = self._count(call)
            else:
                time.sleep(step.seconds)
        return call.result(self._given_up)

    async def handle_async(self, request: Any, call_next: AsyncCallNext) -> Any:
        """Take a request of an async client."""
        asked = self._asked(request)
        if asked is None:
            return await call_next(request)
        call = _Call(self._session, asked, request)
        steps = Attempts(self._session, asked, self._terms, ("task", anyio.get_current_task().id)).steps()
        answer: object = None
        while (step := _next(steps, answer)) is not None:
            if isinstance(step, Send):
                answer = await self._send_async(call, step.ticket, call_next)
            elif isinstance(step, Count):
                answer = await self._count_async(call)
            else:
                await anyio.sleep(step.seconds)
        return call.result(self._given_up)

    def _asked(self, request: Any) -> Asked | None:
        """Read a request for a reply; None of one that costs nothing.

        Raises:
            Exception: What an earlier attempt of the same call failed with, where the SDK comes to retry it.
        """
        if is_free(request.method, request.url):
            return None
        if request.retries_taken:
            raise self._given_up.get(str(request.options.idempotency_key)) or RunFailed(
                "a retry by the SDK is refused: retries are made, and reserved, one by one beneath it",
                hint="leave max_retries as it is",
            )
        return read_asked(_body(request), clamp=self._terms.clamp)

    def _send(self, call: _Call, ticket: Ticket, call_next: CallNext) -> AttemptFailed | None:
        try:
            sent, left_s = call.leaving(ticket), self._session.left_s
            response = call_next(sent) if left_s is None else _within(left_s, lambda: call_next(sent))
        except BaseException as error:  # noqa: BLE001 - settled, and raised again unless it is an Exception
            return call.failed(ticket, error)
        if not call.is_refused(response):
            call.answered(ticket, response)
            return None
        try:
            return call.refused(ticket, response, response.http_response.read())
        except httpx2.HTTPError as error:
            return call.refused(ticket, response, b"", error)

    async def _send_async(self, call: _Call, ticket: Ticket, call_next: AsyncCallNext) -> AttemptFailed | None:
        try:
            sent = call.leaving(ticket)
            with anyio.fail_after(self._session.left_s):
                response = await call_next(sent)
        except BaseException as error:  # noqa: BLE001 - settled, and raised again unless it is an Exception
            return call.failed(ticket, error)
        if not call.is_refused(response):
            call.answered(ticket, response)
            return None
        try:
            return call.refused(ticket, response, await response.http_response.aread())
        except httpx2.HTTPError as error:
            return call.refused(ticket, response, b"", error)

    def _count(self, call: _Call) -> int | None:
        try:
            return _tokens(self._counter.post(cast_to=object, **call.counting()))
        except Exception:  # noqa: BLE001 - a counter may fail in any way; then the bytes decide
            return None

    async def _count_async(self, call: _Call) -> int | None:
        try:
            return _tokens(await self._counter.post(cast_to=object, **call.counting()))
        except Exception:  # noqa: BLE001 - as above
            return None


class _Call:
    """One call of the client's code, and what its last attempt has brought."""

    def __init__(self, session: GovernedSession, asked: Asked, request: Any) -> None:
        self._session, self._asked, self._request = session, asked, request
        self._response: Any = None
        self._error: Exception | None = None
        self._has_left = False

    def leaving(self, ticket: Ticket) -> Any:
        """Return exactly the request that was reserved, about to be sent."""
        self._response = self._error = None
        self._has_left = False
        self._session.leaving(ticket)
        body = {**self._asked.body, "max_tokens": ticket.granted.max_tokens}
        sent = self._request.copy(body=body)
        self._has_left = True
        return sent

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
            tap(answer, lambda outcome: self._session.settle(ticket, outcome), self._session.left_s)

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
        options = {"headers": betas, "params": dict(self._request.query_params or {})}
        return {"path": f"{COUNT}?{query}" if query else COUNT, "body": self._asked.counted, "options": options}


def _next(steps: Any, answer: object) -> Step | None:
    try:
        step: Step = steps.send(answer)
    except StopIteration:
        return None
    return step


def _within(seconds: float, work: Callable[[], Any]) -> Any:
    """Do work with a deadline, in a thread of its own: no timeout ends a server that sends a byte now and then."""
    lifeline = Lifeline()
    return within(seconds, lambda: linked(lifeline, work), lifeline)


def _body(request: Any) -> object:
    """Return a request's JSON, unless it is sent as something else."""
    options = request.options
    if options.content is not None or options.files is not None:
        return None
    more = options.extra_json
    return {**request.json, **more} if more and isinstance(request.json, dict) else request.json


def _tokens(counted: object) -> int | None:
    tokens = field(counted, "input_tokens")
    return tokens if type(tokens) is int and 0 <= tokens <= COUNT_LIMIT else None
