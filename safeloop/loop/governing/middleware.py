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
from safeloop.loop.governing.asked import Asked, is_free, read_asked
from safeloop.loop.governing.calls import Call
from safeloop.loop.governing.flow import NO_COUNTER, Attempts, Count, Send, Step, Terms
from safeloop.loop.governing.session import GovernedSession
from safeloop.loop.governing.settling import Ticket
from safeloop.models import lacks_counter
from safeloop.models.deadline import DeadlineExceeded, Lifeline, within
from safeloop.models.shapes import field
from safeloop.models.transport import hook, linked
from safeloop.models.usage import COUNT_LIMIT

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
        call = Call(self._session, asked, request, self._terms.deadline_s)
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
        call = Call(self._session, asked, request, self._terms.deadline_s)
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

    @property
    def _left_s(self) -> float:
        """Seconds that a count may take."""
        left_s = self._session.left_s
        return self._terms.deadline_s if left_s is None else min(left_s, self._terms.deadline_s)

    def _send(self, call: Call, ticket: Ticket, call_next: CallNext) -> AttemptFailed | None:
        try:
            sent = call.leaving(ticket)
            response = _within(call.left_s(ticket), lambda: call_next(sent))
        except BaseException as error:  # noqa: BLE001 - settled, and raised again unless it is an Exception
            return call.failed(ticket, error)
        if not call.is_refused(response):
            call.answered(ticket, response)
            return None
        try:
            return call.refused(ticket, response, response.http_response.read())
        except httpx2.HTTPError as error:
            return call.refused(ticket, response, b"", error)

    async def _send_async(self, call: Call, ticket: Ticket, call_next: AsyncCallNext) -> AttemptFailed | None:
        try:
            sent = call.leaving(ticket)
            with anyio.fail_after(call.left_s(ticket)):
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

    def _count(self, call: Call) -> int | str | None:
        try:
            asked = call.counting()
            return _tokens(_within(self._left_s, lambda: self._counter.post(cast_to=object, **asked)))
        except Exception as error:  # noqa: BLE001 - a counter may fail in any way; then the bytes decide
            return NO_COUNTER if lacks_counter(error) else None

    async def _count_async(self, call: Call) -> int | str | None:
        try:
            with anyio.fail_after(self._left_s):
                return _tokens(await self._counter.post(cast_to=object, **call.counting()))
        except Exception as error:  # noqa: BLE001 - as above
            return NO_COUNTER if lacks_counter(error) else None


def _next(steps: Any, answer: object) -> Step | None:
    try:
        step: Step = steps.send(answer)
    except StopIteration:
        return None
    return step


def _within(seconds: float, work: Callable[[], Any]) -> Any:
    """Do work with a deadline, in a thread of its own: no timeout ends a server that sends a byte now and then.

    Raises:
        TimeoutError: It took longer.
    """
    lifeline = Lifeline()
    try:
        return within(seconds, lambda: linked(lifeline, work), lifeline)
    except DeadlineExceeded:
        raise TimeoutError(f"the reply had not begun after {seconds:.3g} seconds") from None


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
