"""One governed turn: bound, reserve, call, settle (20-governor). Nothing leaves before its intent is on disk."""

from __future__ import annotations

import copy
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
    breach_draft,
    bytes_bound,
    counted_bound,
    estimate_bound,
    reserve,
)
from safeloop.errors import AttemptFailed, CircuitBreakerError, RunFailed
from safeloop.ledger import Content, Draft, Ledger, visible
from safeloop.ledger.content import JSON, TEXT
from safeloop.loop.conversation import Conversation
from safeloop.loop.interruption import Interrupted, Interruption
from safeloop.loop.lock import Runner
from safeloop.models import LLMClient, Reply, failure_of, read_reply
from safeloop.models.shapes import field
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
            self.name, self.system, conversation.messages, tuple(self.more.get("tools", ())), self.wanted,
            thinking_budget=thinking.get("budget_tokens"), thinks=thinking.get("type", "disabled") != "disabled",
        )

    def parameters(self, conversation: Conversation) -> dict[str, Any]:
        """Return the next request for a client, but for `max_tokens`; it may change them without effect here."""
        return {
            "model": self.name, "system": self.system, "messages": conversation.copied(),
            **copy.deepcopy(dict(self.more)),
        }


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
        self._runner = Runner()
        self._last: Settled | None = None
        self.number = 0
        self.tokens = 0

    def reserve(self, conversation: Conversation) -> Granted:
        """Reserve the next turn's worst case.

        Raises:
            CircuitBreakerError: It does not fit; the breach is a row, and the banner was shown.
            RunFailed: The request holds something that nothing bounds.
            RuntimeError: This is a forked child of the process that runs the session.
        """
        self._runner.check()
        self.number += 1
        place = Place(self._session, self.number, 1, self._input_hash, self._elapsed_ms())
        if self._breaker.has_own_check:
            self._check(place)
        request = self._model.request(conversation)
        decision = self._reserve(place, request, conversation)
        if isinstance(decision, Refused):
            self._breaker.trip(decision.breach, self.number, decision.tokens)
        conversation.mark_stored()
        return decision

    def call(self, granted: Granted, conversation: Conversation, leaving: Callable[[], object]) -> Reply:
        """Send exactly the reserved request, and record what came of it: a `turn` row, or an `attempt` row.

        Args:
            granted: From `reserve`.
            conversation: As it was then.
            leaving: Called when the request is about to leave.

        Raises:
            AttemptFailed: No reply came; whatever the client raised is its cause.
            Interrupted: A signal cut the call off; the attempt is in doubt.
            RuntimeError: This is a forked child of the process that runs the session.
        """
        parameters = self._model.parameters(conversation)
        started, is_sent = time.monotonic(), False
        try:
            leaving()
            self._runner.check()
            with self._interruption.in_flight():
                is_sent = True
                response = self._model.client.messages.create(max_tokens=granted.max_tokens, **parameters)
        except BaseException as error:
            self._runner.check()
            self._record_attempt(granted, _failure(error, is_sent=is_sent), _since(started))
            raise
        self._runner.check()
        reply = read_reply(response)
        self._settle(granted, reply, len(conversation), _since(started))
        return reply

    def _check(self, place: Place) -> None:
        """Ask a breaker that has a check of its own, as the tutorial does before every call."""
        try:
            self._breaker.check(self.number, self.tokens)
        except CircuitBreakerError as breach:
            draft = breach_draft(place, breach.reason)
            self._ledger.append(lambda _: (draft,))
            raise

    def _reserve(self, place: Place, request: Request, conversation: Conversation) -> Granted | Refused:
        """Try the bounds in their order; the last one that there is decides."""
        contents = conversation.committed()
        closest = bytes_bound(request, self._last)
        if closest is not None:
            decision = self._try(place, request, closest, contents, final=False)
            if isinstance(decision, Granted):
                return decision
        fallback = self._count(conversation) or (estimate_bound(request) if self._model.allow_estimates else None)
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

    def _count(self, conversation: Conversation) -> Bound | None:
        """Ask the provider's counter, which costs nothing; None where there is none, or it fails."""
        count = getattr(self._model.client.messages, "count_tokens", None)
        if count is None:
            return None
        try:
            with self._interruption.in_flight():
                counted = count(**self._model.parameters(conversation))
            tokens = field(counted, "input_tokens")
        except Exception:  # noqa: BLE001 - any client's counter may fail in any way; then the bytes decide
            return None
        return counted_bound(tokens) if type(tokens) is int and 0 <= tokens <= COUNT_LIMIT else None

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

    def _record_attempt(self, granted: Granted, failure: AttemptFailed, execution_time_ms: int) -> None:
        """Write the `attempt` row: what may have been billed stays charged at its full reservation."""
        charged = granted.reserved_tokens if failure.in_doubt else 0
        detail = self._ledger.content((failure.detail or failure.message).encode("utf-8", "surrogatepass"), TEXT)
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


def _failure(error: BaseException, *, is_sent: bool) -> AttemptFailed:
    if is_sent and not isinstance(error, Interrupted):
        return failure_of(error)
    return AttemptFailed(str(error), error_class=type(error).__name__, in_doubt=is_sent)


def _since(started: float) -> int:
    return round((time.monotonic() - started) * 1000)
