"""One governed turn: bound, reserve, call, settle. Nothing leaves before its intent is on disk."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from safeloop.breaker import (
    Bound,
    CircuitBreaker,
    Demand,
    Full,
    Granted,
    Place,
    Refused,
    Request,
    Settled,
    attempt_draft,
    breach_draft,
    bytes_bound,
    counted_bound,
    estimate_bound,
    reserve,
    turn_draft,
)
from safeloop.errors import AttemptFailed, CircuitBreakerError, RunFailed
from safeloop.ledger import Content, Draft, Ledger
from safeloop.ledger.content import JSON, TEXT
from safeloop.loop.conversation import Conversation
from safeloop.loop.interruption import Interrupted, Interruption
from safeloop.loop.lock import Runner, is_session_live
from safeloop.loop.model import Model
from safeloop.models import Reply, asked_within, failure_of, lacks_counter, read_reply
from safeloop.models.shapes import field
from safeloop.models.usage import COUNT_LIMIT
from safeloop.spec import Breach


@dataclass(frozen=True, slots=True)
class Failed:
    """An attempt that brought no reply, and has its row.

    Attributes:
        error: What the client raised.
        failure: What that means.
    """

    error: Exception
    failure: AttemptFailed


@dataclass(frozen=True, slots=True)
class Standing:
    """How far a session had come when its turns began, or go on.

    Attributes:
        turns: The last turn that got its reply; 0 at first.
        attempts: How many attempts were made at the turn after it.
        tokens: What was charged.
        settled: The last turn whose cost is believed.
    """

    turns: int = 0
    attempts: int = 0
    tokens: int = 0
    settled: Settled | None = None


class Turns:
    """The governed turns of one session.

    Args:
        elapsed_ms: Returns the monotonic time that the session has used.
        standing: How far it has come.

    Attributes:
        number: The turn that is being asked for; 0 before the first.
        attempt: The last attempt at it.
        tokens: What was charged so far.
        breach: The ceiling that refused an attempt; None while none has, or where the breaker's own check did.
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
        standing: Standing,
    ) -> None:
        self._ledger = ledger
        self._session = session
        self._input_hash = input_hash
        self._breaker = breaker
        self._model = model
        self._interruption = interruption
        self._elapsed_ms = elapsed_ms
        self._runner = Runner()
        self._last = standing.settled
        self._carried = standing.attempts
        self.number = standing.turns
        self.attempt = 0
        self.breach: Breach | None = None
        self.tokens = standing.tokens

    def begin(self) -> None:
        """Turn to the next turn."""
        self.number += 1
        self.attempt, self._carried = self._carried, 0

    def reserve(self, conversation: Conversation, demand: Demand) -> Granted | Full:
        """Reserve the worst case of the turn's next attempt, or say what it must wait for.

        Args:
            conversation: What is to be sent.
            demand: What rows do not tell of it.

        Raises:
            CircuitBreakerError: It does not fit; the breach is a row, and the banner was shown.
            RunFailed: The request holds something that nothing bounds.
            RuntimeError: This is a forked child of the process that runs the session.
        """
        self._runner.check()
        place = self._place(self.attempt + 1)
        if self._breaker.has_own_check:
            self._check(place)
        decision = self._reserve(place, conversation, demand)
        if isinstance(decision, Refused):
            self.breach = decision.breach
            self._breaker.trip(decision.breach, self.number, decision.tokens)
        if isinstance(decision, Granted):
            self.attempt += 1
            conversation.mark_stored()
        return decision

    def call(self, granted: Granted, conversation: Conversation, leaving: Callable[[], object]) -> Reply | Failed:
        """Send exactly the reserved request, and record what came of it: a `turn` row, or an `attempt` row.

        Args:
            granted: From `reserve`.
            conversation: As it was then.
            leaving: Called when the request is about to leave.

        Raises:
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
                response = asked_within(
                    self.left_s(granted), self._model.client,
                    lambda: self._model.client.messages.create(max_tokens=granted.max_tokens, **parameters),
                )
        except BaseException as error:
            self._runner.check()
            failure = _failure(error, is_sent=is_sent)
            self._record_attempt(granted, failure, _since(started))
            if is_sent and isinstance(error, Exception):
                return Failed(error, failure)
            raise
        self._runner.check()
        reply = read_reply(response)
        self._settle(granted, reply, len(conversation), _since(started))
        return reply

    def left_s(self, granted: Granted) -> float | None:
        """Seconds that time ceilings leave for an attempt; None without one."""
        return granted.left_s(self._elapsed_ms())

    @property
    def place(self) -> Place:
        """Where the session stands now."""
        return self._place(max(self.attempt, 1))

    def _place(self, attempt: int) -> Place:
        return Place(self._session, self.number, attempt, self._input_hash, self._elapsed_ms())

    def _check(self, place: Place) -> None:
        """Ask a breaker that has a check of its own, as the tutorial does before every call."""
        try:
            self._breaker.check(self.number, self.tokens)
        except CircuitBreakerError as breach:
            self._append(breach_draft(place, breach.reason))
            raise

    def _reserve(self, place: Place, conversation: Conversation, demand: Demand) -> Granted | Refused | Full:
        """Try the bounds in their order; the last one that there is decides."""
        request, contents = self._model.request(conversation), conversation.committed()
        closest = bytes_bound(request, self._last)
        if closest is not None:
            decision = self._try(place, request, closest, contents, demand, final=False)
            if isinstance(decision, Granted):
                return decision
        fallback = self._counted(request, conversation)
        if fallback is not None and (closest is None or fallback.tokens < closest.tokens):
            closest = fallback
        if closest is None:
            raise RunFailed(
                "the request holds something that no bound covers, and this client cannot count tokens",
                hint="send text and base64 images only, or use a client with messages.count_tokens",
            )
        return self._try(place, request, closest, contents, demand, final=True)

    def _try(
        self, place: Place, request: Request, bound: Bound, contents: tuple[Content, ...], demand: Demand, *,
        final: bool,
    ) -> Granted | Refused | Full:
        return reserve(
            self._ledger.append, place, request, bound, self._breaker.ceilings, contents, price=self._model.price,
            final=final, more=demand, is_live=lambda session: is_session_live(self._ledger.db_path, session),
        )

    def _counted(self, request: Request, conversation: Conversation) -> Bound | None:
        """Return what the provider's counter says, which costs nothing; only where there is none, an estimate."""
        count = getattr(self._model.client.messages, "count_tokens", None)
        estimate = estimate_bound(request) if self._model.allow_estimates else None
        if count is None:
            return estimate
        left_s, parameters = self._breaker.ceilings.left_s(self._elapsed_ms()), self._model.parameters(conversation)
        try:
            with self._interruption.in_flight():
                counted = asked_within(left_s, self._model.client, lambda: count(**parameters))
            tokens = field(counted, "input_tokens")
        except Exception as error:  # noqa: BLE001 - any client's counter may fail in any way; then the bytes decide
            return estimate if lacks_counter(error) else None
        return counted_bound(tokens) if type(tokens) is int and 0 <= tokens <= COUNT_LIMIT else None

    def _settle(self, granted: Granted, reply: Reply, sent: int, execution_time_ms: int) -> None:
        """Write the `turn` row. Usage that cannot be believed is charged in full."""
        usage = reply.usage
        draft = turn_draft(
            self._place(self.attempt), granted, usage=usage, model=reply.model, stop_reason=reply.stop_reason,
            response=self._ledger.content(reply.raw, JSON), execution_time_ms=execution_time_ms,
            elapsed_ms=self._elapsed_ms(), price=self._model.price, named=self._model.named(reply.model),
        )
        tokens: int = draft.data["token_delta"]
        self._last = None if usage is None else Settled(sent, tokens)
        self.tokens += tokens
        self._append(draft)

    def _record_attempt(self, granted: Granted, failure: AttemptFailed, execution_time_ms: int) -> None:
        """Write the `attempt` row: what may have been billed stays charged at its full reservation."""
        detail = self._ledger.content((failure.detail or failure.message).encode("utf-8", "surrogatepass"), TEXT)
        draft = attempt_draft(
            self._place(self.attempt), granted, in_doubt=failure.in_doubt, error_class=failure.error_class,
            status=failure.status, detail=detail, execution_time_ms=execution_time_ms, elapsed_ms=self._elapsed_ms(),
        )
        self.tokens += draft.data["charged_tokens"]
        self._append(draft)

    def _append(self, draft: Draft) -> None:
        self._ledger.append(lambda _: (draft,))


def _failure(error: BaseException, *, is_sent: bool) -> AttemptFailed:
    if is_sent and not isinstance(error, Interrupted):
        return failure_of(error)
    return AttemptFailed(str(error), error_class=type(error).__name__, in_doubt=is_sent)


def _since(started: float) -> int:
    return round((time.monotonic() - started) * 1000)
