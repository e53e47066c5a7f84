"""One governed turn: bound, reserve, call, settle (20-governor). Nothing leaves before its intent is on disk."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from safeloop.breaker import (
    Bound,
    CircuitBreaker,
    Granted,
    Place,
    Refused,
    Request,
    Settled,
    bytes_bound,
    counted_bound,
    estimate_bound,
    reserve,
)
from safeloop.errors import AttemptFailed, RunFailed
from safeloop.ledger import Content, Draft, Ledger, visible
from safeloop.ledger.content import JSON, TEXT
from safeloop.loop.conversation import Conversation
from safeloop.loop.interruption import Interrupted, Interruption
from safeloop.models import LLMClient, Reply, failure_of, read_reply
from safeloop.models.usage import COUNT_LIMIT

LLM = "llm"


@dataclass(frozen=True, slots=True)
class Model:
    """What requests go to, and how.

    Attributes:
        wanted: The `max_tokens` to ask for where there is room.
        more: Further parameters of every request: `tools`, `thinking`.
        costs_nothing: The client is never billed.
        allow_estimates: Bound by an estimate where there is no counter.
    """

    client: LLMClient
    name: str
    system: str
    wanted: int
    more: Mapping[str, Any]
    costs_nothing: bool
    allow_estimates: bool

    def request(self, conversation: Conversation) -> Request:
        """Return the next request as the bounds read it."""
        thinking = self.more.get("thinking") or {}
        return Request(
            self.name, self.system, tuple(conversation.messages), tuple(self.more.get("tools", ())), self.wanted,
            thinking_budget=thinking.get("budget_tokens"), thinks=thinking.get("type", "disabled") != "disabled",
        )


class Turns:
    """The governed turns of one session.

    Args:
        elapsed_ms: Returns the monotonic time that the session has used.
    """

    def __init__(
        self,
        ledger: Ledger,
        session: str,
        input_hash: str,
        breaker: CircuitBreaker,
        model: Model,
        interruption: Interruption,
        elapsed_ms: Callable[[], int],
    ) -> None:
        self._ledger = ledger
        self._session = session
        self._input_hash = input_hash
        self._breaker = breaker
        self._model = model
        self._interruption = interruption
        self._elapsed_ms = elapsed_ms
        self._last: Settled | None = None
        self.number = 0
        self.tokens = 0

    def reserve(self, conversation: Conversation) -> Granted:
        """Reserve the next turn's worst case.

        Raises:
            CircuitBreakerError: It does not fit; the breach is a row, and the banner was shown.
            RunFailed: The request holds something that nothing bounds.
        """
        self.number += 1
        place = Place(self._session, self.number, 1, self._input_hash, self._elapsed_ms())
        request = self._model.request(conversation)
        decision = self._reserve(place, request, conversation)
        if isinstance(decision, Refused):
            self._breaker.trip(decision.breach, self.number, decision.tokens)
        conversation.mark_stored()
        return decision

    def call(self, granted: Granted, conversation: Conversation) -> Reply:
        """Send exactly the reserved request, and record what came of it: a `turn` row, or an `attempt` row.

        Raises:
            AttemptFailed: No reply came; whatever the client raised is its cause.
            Interrupted: A signal cut the call off; the attempt is in doubt.
        """
        model, started = self._model, time.monotonic()
        sent = len(conversation)
        try:
            with self._interruption.in_flight():
                response = model.client.messages.create(
                    model=model.name, max_tokens=granted.max_tokens, system=model.system,
                    messages=conversation.messages, **model.more,
                )
        except BaseException as error:
            self._record_attempt(granted, error, _since(started))
            raise
        reply = read_reply(response)
        self._settle(granted, reply, sent, _since(started))
        return reply

    def _reserve(self, place: Place, request: Request, conversation: Conversation) -> Granted | Refused:
        """Try the bounds in their order; the last one that there is decides."""
        contents = conversation.committed()
        closest = bytes_bound(request, self._last)
        if closest is not None:
            decision = self._try(place, request, closest, contents, final=False)
            if isinstance(decision, Granted):
                return decision
        fallback = self._count(request) or (estimate_bound(request) if self._model.allow_estimates else None)
        if fallback is not None and (closest is None or fallback.tokens < closest.tokens):
            closest = fallback
        if closest is None:
            raise RunFailed(
                "the request holds something that no bound covers, and this client cannot count tokens",
                hint="send text and base64 images only, or use a client with messages.count_tokens",
            )
        return self._try(place, request, closest, contents, final=True)

    def _try(
        self, place: Place, request: Request, bound: Bound, contents: tuple[Content, ...], *, final: bool
    ) -> Granted | Refused:
        return reserve(
            self._ledger.append, place, request, bound, self._breaker.ceilings, contents,
            costs_nothing=self._model.costs_nothing, final=final,
        )

    def _count(self, request: Request) -> Bound | None:
        """Ask the provider's counter, which costs nothing; None where there is none, or it fails."""
        count = getattr(self._model.client.messages, "count_tokens", None)
        if count is None:
            return None
        try:
            with self._interruption.in_flight():
                counted = count(
                    model=request.model, system=request.system, messages=[dict(item) for item in request.messages],
                    **self._model.more,
                )
        except Exception:  # noqa: BLE001 - any client's counter may fail in any way; then the bytes decide
            return None
        tokens = counted.get("input_tokens") if isinstance(counted, Mapping) else getattr(counted, "input_tokens", None)
        usable = type(tokens) is int and 0 <= tokens <= COUNT_LIMIT
        return counted_bound(tokens) if usable and isinstance(tokens, int) else None

    def _settle(self, granted: Granted, reply: Reply, sent: int, execution_time_ms: int) -> None:
        """Write the `turn` row. Usage that cannot be believed is charged in full."""
        ledger, usage = self._ledger, reply.usage
        tokens = granted.reserved_tokens if usage is None else usage.total
        self._last = None if usage is None else Settled(sent, tokens)
        self.tokens += tokens
        response = ledger.content(reply.raw, JSON)
        data = {
            "turn": self.number, "attempt": 1, "intent": granted.intent.n, "state_origin": LLM,
            "model": None if reply.model is None else visible(reply.model), "input_hash": self._input_hash,
            "response": response.commitment,
            "stop_reason": None if reply.stop_reason is None else visible(reply.stop_reason),
            "usage": None if usage is None else {
                "input": usage.input, "cache_write": usage.cache_write, "cache_read": usage.cache_read,
                "output": usage.output, "thinking": usage.thinking, "searches": usage.searches,
            },
            "token_delta": tokens, "cost_microusd": 0 if self._model.costs_nothing else None,
            "execution_time_ms": execution_time_ms, "elapsed_ms": self._elapsed_ms(), "pass_fail": True,
            "overrun": tokens > granted.reserved_tokens, "breach_reason": None,
        }
        ledger.append(lambda _: (Draft(self._session, "turn", data, (response,)),))

    def _record_attempt(self, granted: Granted, error: BaseException, execution_time_ms: int) -> None:
        """Write the `attempt` row: what may have been billed stays charged at its full reservation."""
        failure = _failure(error)
        charged = granted.reserved_tokens if failure.in_doubt else 0
        detail = self._ledger.content((failure.detail or str(error)).encode("utf-8", "surrogatepass"), TEXT)
        data = {
            "turn": self.number, "attempt": 1, "intent": granted.intent.n, "charged_tokens": charged,
            "charged_microusd": 0 if self._model.costs_nothing or not charged else None,
            "error": {
                "class": visible(failure.error_class), "status": failure.status, "detail": detail.commitment,
            },
            "execution_time_ms": execution_time_ms, "elapsed_ms": self._elapsed_ms(), "in_doubt": failure.in_doubt,
        }
        self.tokens += charged
        self._ledger.append(lambda _: (Draft(self._session, "attempt", data, (detail,)),))


def _failure(error: BaseException) -> AttemptFailed:
    if isinstance(error, Interrupted):
        return AttemptFailed(str(error), error_class="Interrupted", in_doubt=True)
    return failure_of(error)


def _since(started: float) -> int:
    return round((time.monotonic() - started) * 1000)
