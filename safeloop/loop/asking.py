"""One turn of the conversation: attempts until one brings a reply, or nothing can for now. Retries are made here."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from safeloop.breaker import Demand, Full, Granted
from safeloop.errors import CircuitBreakerError
from safeloop.ledger import visible
from safeloop.loop.attempts import Again, Effort, GiveUp, Limits, Suspend, after_failure, after_full
from safeloop.loop.closing import BREACHED, SUSPENDED, Ending
from safeloop.loop.conversation import Conversation
from safeloop.loop.events import Breached, Listener, Replied, Reserved, Waiting
from safeloop.loop.governed import Failed, Turns
from safeloop.loop.interruption import Interruption
from safeloop.loop.waiting import Pace
from safeloop.models import Reply
from safeloop.spec import Ceilings


@dataclass(frozen=True, slots=True)
class Asking:
    """Asks the model, turn by turn.

    Attributes:
        elapsed_ms: Returns the monotonic time that the session has used.
        max_wait_s: How long one turn may wait in all, in seconds.
    """

    session: str
    turns: Turns
    conversation: Conversation
    ceilings: Ceilings
    interruption: Interruption
    pace: Pace
    elapsed_ms: Callable[[], int]
    max_wait_s: float
    tell: Listener

    def ask(self, demand: Demand) -> Reply | Ending:
        """Return the reply to the conversation as it is, or how the session ends without one.

        Raises:
            Exception: An attempt failed, and another would fail alike; it is what the client raised.
            Interrupted: A signal came.
        """
        self.turns.begin()
        effort = Effort()
        while True:
            self.interruption.check()
            try:
                decision = self.turns.reserve(self.conversation, demand)
            except CircuitBreakerError as breach:  # only here: what a client raises under this name is no breach
                self.tell(Breached(
                    self.session, breach.turn_count, breach.accumulated_tokens, breach.reason, self.turns.breach
                ))
                return Ending(BREACHED, breach.reason)
            step = self._wait_for(decision, effort) if isinstance(decision, Full) else self._attempt(decision, effort)
            if isinstance(step, Reply):
                return step
            if step is None:
                continue
            if isinstance(step, Suspend):
                return Ending(SUSPENDED, step.reason)
            self.tell(Waiting(self.session, self.turns.number, step.wait_s, step.reason))
            self.pace.sleep(step.wait_s)
            effort = effort.after(step.wait_s)

    def _wait_for(self, full: Full, effort: Effort) -> Again | Suspend:
        return after_full(full, effort, self._limits(), chance=self.pace.chance())

    def _attempt(self, granted: Granted, effort: Effort) -> Reply | Again | Suspend | None:
        """Make one attempt; where it fails, say what follows: None where the next one will be refused for its time."""
        reply = self._send(granted)
        if isinstance(reply, Reply):
            return reply
        self.interruption.check()  # what failed after a signal was stopped by it
        if self.turns.left_s(granted) == 0:
            return None
        step = after_failure(
            reply.failure, effort, self._limits(), chance=self.pace.chance(), now=self.pace.now()
        )
        if isinstance(step, GiveUp):
            raise reply.error
        return step

    def _send(self, granted: Granted) -> Reply | Failed:
        number, spent = self.turns.number, self.turns.tokens
        leaving = Reserved(self.session, number, spent, granted.max_tokens, self.ceilings, self.turns.attempt,
                           granted.spend)
        reply = self.turns.call(granted, self.conversation, lambda: self.tell(leaving))
        if isinstance(reply, Reply):
            stop_reason = None if reply.stop_reason is None else visible(reply.stop_reason)
            self.tell(Replied(self.session, number, self.turns.tokens - spent, stop_reason))
        return reply

    def _limits(self) -> Limits:
        return Limits(self.max_wait_s, self.ceilings.left_s(self.elapsed_ms()))
