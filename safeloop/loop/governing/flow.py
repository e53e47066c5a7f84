"""The attempts at one request, step by step, for whoever can send and sleep: a thread, or a task.

A generator: it yields what is to be done, and is sent what came of it. So the order of the steps is written once, and
neither sockets nor clocks are in it.
"""

from __future__ import annotations

import secrets
from collections.abc import Generator
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from safeloop.breaker import Bound, Full, How, Refused, bytes_bound, counted_bound, estimate_bound
from safeloop.errors import AttemptFailed, RunFailed, Suspended
from safeloop.loop.attempts import Again, Effort, GiveUp, Limits, Suspend, after_failure, after_full
from safeloop.loop.events import Waiting
from safeloop.loop.governing.asked import ESCAPE, THREAD, Asked
from safeloop.loop.governing.session import GovernedSession
from safeloop.loop.governing.settling import Ticket
from safeloop.spec import Reason

_OWN_PAUSE_S = 0.02  # between looks at what other requests of this session give back
NO_COUNTER = "no counter"
_GIVEN_BACK = (Reason.TOKENS, Reason.COST)


@dataclass(frozen=True, slots=True)
class Count:
    """Ask the provider's counter; send back the count, None if it failed, `NO_COUNTER` if there is none."""


@dataclass(frozen=True, slots=True)
class Send:
    """Send the reserved request; send back what failed, or None."""

    ticket: Ticket


@dataclass(frozen=True, slots=True)
class Pause:
    """Do nothing for so many seconds."""

    seconds: float


Step = Count | Send | Pause
Steps = Generator[Step, object, None]


@dataclass(frozen=True, slots=True)
class Terms:
    """How a block's requests are governed.

    Attributes:
        clamp: Fewer tokens than asked for will do.
        allow: What nothing bounds and the operator lets pass, by name.
        allow_estimates: Bound by an estimate where nothing else does.
        max_wait_s: All waits of one request together.
        deadline_s: What one attempt may take in all, the time in which its reply is read included.
    """

    clamp: bool
    allow: frozenset[str]
    allow_estimates: bool
    max_wait_s: float
    deadline_s: float


class Attempts:
    """One request's attempts.

    Args:
        owner: The thread or task that asks.
    """

    def __init__(self, session: GovernedSession, asked: Asked, terms: Terms, owner: object) -> None:
        self._session, self._asked, self._terms, self._owner = session, asked, terms, owner
        self._held = session.lineage.held(asked)
        self._effort = Effort()
        self._own_waits_s = 0.0
        self._counted: tuple[Bound | None, ...] = ()  # once it was asked for
        self._chance = secrets.SystemRandom().random

    def steps(self) -> Steps:
        """Go through the attempts; when this returns, the last one's answer or error is the caller's.

        Raises:
            CircuitBreakerError: A ceiling.
            Suspended: A wait that would take too long.
            RunFailed: Something that nothing bounds.
        """
        self._session.begin(self._asked)
        self._check_bounded()
        turn = attempt = 0
        while True:
            attempt += 1
            ticket = yield from self._reserved(turn, attempt)
            turn = ticket.place.turn
            failure = yield Send(ticket)
            if not isinstance(failure, AttemptFailed):
                return
            if self._session.left_for(ticket) == 0:
                continue  # the next reservation is refused, and says why
            decision = after_failure(
                failure, self._effort, self._limits, chance=self._chance(), now=datetime.now(UTC)
            )
            if isinstance(decision, GiveUp):
                return
            yield from self._wait(turn, decision)

    @property
    def _limits(self) -> Limits:
        return Limits(self._terms.max_wait_s, self._session.left_s)

    def _check_bounded(self) -> None:
        """Refuse what nothing bounds, unless it is allowed by name, where tokens or money are limited."""
        found = self._session.unlimited_parts(self._asked)
        if self._held is None:
            found = (*found, THREAD)
        names = [name for name in found if name not in self._terms.allow]
        if names:
            listed = ", ".join(repr(name) for name in names)
            raise RunFailed(
                f"nothing bounds what {', '.join(names)} can cost, and this session has a ceiling",
                hint=f"allow it by name: govern(..., allow=[{listed}]); or {ESCAPE}",
            )

    def _reserved(self, turn: int, attempt: int) -> Generator[Step, object, Ticket]:
        while True:
            decision = yield from self._tried(turn, attempt)
            if isinstance(decision, Ticket):
                return decision
            number = turn or self._session.next_turn
            if isinstance(decision, Full):
                more = after_full(decision, self._effort, self._limits, chance=self._chance())
                yield from self._wait(number, more)
            else:
                self._own_waits_s += _OWN_PAUSE_S
                yield Pause(_OWN_PAUSE_S)

    def _tried(self, turn: int, attempt: int) -> Generator[Step, object, Ticket | Full | Refused]:
        """Try the bounds in their order; the last one that there is decides."""
        reserve, last = self._session.reserve, self._bytes()
        if last is not None:
            decision = reserve(self._asked, last, turn, attempt, self._owner, final=False)
            if isinstance(decision, Ticket):
                return decision
        if not self._counted:
            count = yield Count()
            self._counted = (self._estimate() if count == NO_COUNTER else self._count(count),)
        closer = self._counted[0]
        if closer is not None and (last is None or closer.tokens < last.tokens):
            last = self._marked(closer)
        if last is None:
            raise RunFailed(
                "the request holds something that no bound covers, and its tokens cannot be counted",
                hint="send text and base64 images only, or ask a server with messages.count_tokens",
            )
        decision = reserve(self._asked, last, turn, attempt, self._owner, final=False)
        if isinstance(decision, Refused) and not self._may_be_given_back(decision):
            return reserve(self._asked, last, turn, attempt, self._owner, final=True)
        return decision

    def _bytes(self) -> Bound | None:
        if not self._asked.is_bytes:
            return None
        bound = bytes_bound(self._asked.request, self._session.lineage.before(self._asked))
        return None if bound is None else self._marked(self._with_held(bound))

    def _count(self, count: object) -> Bound | None:
        return self._with_held(counted_bound(count)) if type(count) is int else None

    def _estimate(self) -> Bound | None:
        bound = estimate_bound(self._asked.request) if self._terms.allow_estimates else None
        return None if bound is None else self._with_held(bound)

    def _with_held(self, bound: Bound) -> Bound:
        """Add what the server holds of the conversation to the bound of what is sent."""
        return replace(bound, tokens=bound.tokens + (self._held or 0))

    def _marked(self, bound: Bound) -> Bound:
        """Say of a bound that it is none, where something was allowed that nothing bounds."""
        is_none = self._held is None or self._session.unlimited_parts(self._asked)
        return replace(bound, how=How.ESTIMATE) if is_none else bound

    def _may_be_given_back(self, refused: Refused) -> bool:
        """Say whether other requests of this session hold what is missing, and will be waited for."""
        return (
            refused.breach.reason in _GIVEN_BACK
            and self._own_waits_s < self._terms.max_wait_s
            and self._session.waits_for_others(self._owner)
        )

    def _wait(self, turn: int, decision: Again | Suspend) -> Steps:
        if isinstance(decision, Suspend):
            raise Suspended(decision.reason, hint="run it again later, with the same spec")
        self._session.tell(Waiting(self._session.id, turn, decision.wait_s, decision.reason))
        yield Pause(decision.wait_s)
        self._effort = self._effort.after(decision.wait_s)
