"""What follows a reply: its calls are run or refused and the conversation goes on, or the session ends."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from safeloop.breaker import CircuitBreaker
from safeloop.errors import CircuitBreakerError
from safeloop.loop.acting import Hands
from safeloop.loop.approving import Waits
from safeloop.loop.beginning import Unanswered
from safeloop.loop.closing import BREACHED, COMPLETED, FAILED, REFUSED, SUSPENDED, Ending
from safeloop.loop.conversation import Conversation, answer_of
from safeloop.loop.events import Breached, Listener
from safeloop.loop.governed import Turns
from safeloop.loop.judging import Judge, told_of
from safeloop.spec import Breach

_WHOLE = frozenset({"tool_use", "end_turn", "stop_sequence", "pause_turn"})  # known to end no call in its middle


@dataclass(frozen=True, slots=True)
class Answers:
    """Answers the replies of one session.

    Attributes:
        judge: Checks its criteria where the model says that it is done; None where nothing can be judged.
    """

    session: str
    turns: Turns
    conversation: Conversation
    hands: Hands
    judge: Judge | None
    breaker: CircuitBreaker
    tell: Listener

    def answer(self, left: Unanswered) -> Ending | None:
        """Answer a reply, or what an earlier process left of it; return how it ends the session, if it does."""
        reply = left.reply
        if reply.stop_reason == "refusal":
            self._refuse_calls(left)
            return Ending(REFUSED, "the model declined")
        if reply.stop_reason == "model_context_window_exceeded":
            self._refuse_calls(left)
            return Ending(FAILED, "model_context_window_exceeded")
        went_back = self.conversation.hear(reply)
        if reply.tool_calls:
            results = self._results(left)
            if isinstance(results, Ending):
                return results
            self.conversation.say(results)
        elif reply.stop_reason == "end_turn":
            return self._done(left)
        elif went_back:
            self.conversation.go_on(reply)
        return None

    def _done(self, left: Unanswered) -> Ending | None:
        """Check what the model says is done; a round of checks that an earlier process recorded is not made again."""
        failures = left.failures or (() if self.judge is None else self.judge.failures())
        if not failures:
            return Ending(COMPLETED)
        self.conversation.say(told_of(failures))
        return None

    def _results(self, left: Unanswered) -> list[dict[str, Any]] | Ending:
        """Run the calls of a reply, those that are left of it, and return what all of them returned."""
        if left.reply.stop_reason not in _WHOLE:
            return self._refuse_calls(left)
        place, done, calls = self.turns.place, _answered(left), left.reply.tool_calls
        batch = self.hands.admit(place, calls[len(done) :])
        if batch.breach is not None:
            return self._stopped(batch.breach)
        if left.begun is not None and len(done) < len(calls):
            again = self.hands.pass_over if left.skips else self.hands.run_again
            one = again(place.turn, calls[len(done)], left.begun)
            if isinstance(one, Waits):
                return Ending(SUSPENDED, one.reason)
            done.append(one)
        ran = self.hands.run(self.turns.place, calls[len(done) :], is_limited=batch.is_limited)
        if isinstance(ran, Waits):
            return Ending(SUSPENDED, ran.reason)
        return self._stopped(ran) if isinstance(ran, Breach) else done + ran

    def _stopped(self, breach: Breach) -> Ending:
        try:
            self.breaker.trip(breach, self.turns.number, self.turns.tokens)
        except CircuitBreakerError as tripped:
            turn, tokens, reason = tripped.turn_count, tripped.accumulated_tokens, tripped.reason
            self.tell(Breached(self.session, turn, tokens, reason, breach))
            return Ending(BREACHED, reason)

    def _refuse_calls(self, left: Unanswered) -> list[dict[str, Any]]:
        done = _answered(left)
        return done + self.hands.refuse(self.turns.number, left.reply.tool_calls[len(done) :])


def _answered(left: Unanswered) -> list[dict[str, Any]]:
    """Return what an earlier process answered already."""
    return [answer_of(call, *result) for call, result in zip(left.reply.tool_calls, left.results, strict=False)]
