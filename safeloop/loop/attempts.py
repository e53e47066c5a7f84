"""Whether there is another attempt, and when: the table of retries as rules, without clock or chance.

    429, 529, 503, connection refused    nothing charged: wait as asked, else longer each time; too long: suspend
    408, 409                             nothing charged: again
    other 4xx, and what cannot go better nothing charged: the session fails
    timeout, lost, cut, other 5xx        in doubt, charged in full: again only if it fits again, which reserving tells
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from safeloop.breaker import Full
from safeloop.errors import AttemptFailed
from safeloop.models import may_retry
from safeloop.spec.suspension import Cause, reason_of

FIRST_S = 0.5
"""Seconds that the first wait is at most, where the server names none; each further one may be twice as long."""

LONGEST_S = 300.0
"""Seconds that any such wait is at most."""

SHORTEST_S = 0.05
"""Seconds by which the waits that a server asks for grow at least: one that says "at once" for ever is not obeyed."""

_DOUBLINGS = 20  # beyond, the wait is LONGEST_S anyway


@dataclass(frozen=True, slots=True)
class Limits:
    """How long a turn may wait.

    Attributes:
        max_wait_s: All waits of one turn together, in seconds, inclusive.
        left_s: Seconds that the time ceiling leaves; None without one.
    """

    max_wait_s: float
    left_s: float | None = None


@dataclass(frozen=True, slots=True)
class Effort:
    """What a turn has taken so far, in this process.

    Attributes:
        tries: Attempts that failed, and looks at a full ledger; from 0.
        waited_s: Seconds waited between them.
    """

    tries: int = 0
    waited_s: float = 0.0

    def after(self, seconds: float) -> Effort:
        """Return the effort after one more try, and a wait of so many seconds."""
        return Effort(self.tries + 1, self.waited_s + seconds)


@dataclass(frozen=True, slots=True)
class Again:
    """Make another attempt after so many seconds, for this reason."""

    wait_s: float
    reason: str


@dataclass(frozen=True, slots=True)
class Suspend:
    """Close the session as suspended; the reason says until when."""

    reason: str


@dataclass(frozen=True, slots=True)
class GiveUp:
    """Another attempt would fail alike."""


def after_failure(
    failure: AttemptFailed, effort: Effort, limits: Limits, *, chance: float, now: datetime
) -> Again | Suspend | GiveUp:
    """Decide what follows an attempt that brought no reply.

    Args:
        failure: What happened.
        effort: Before this failure.
        chance: From 0 to 1: where within the jitter the wait lies.
        now: The time, aware.
    """
    if not may_retry(failure):
        return GiveUp()
    wait_s = _backoff(effort.tries, chance)
    if failure.retry_after_s:
        wait_s = max(failure.retry_after_s, SHORTEST_S * effort.tries)
    if _is_within(limits, effort, wait_s):
        return Again(wait_s, failure.message)
    return Suspend(reason_of(Cause.WAITING, failure.message, _later(now, wait_s)))


def after_full(full: Full, effort: Effort, limits: Limits, *, chance: float) -> Again | Suspend:
    """Decide what follows a reservation for which others leave no room for now.

    A full window suspends until it turns. What others hold may be given back at any moment: that is waited for.
    """
    if full.until is not None:
        return Suspend(reason_of(Cause.WINDOW, full.words, full.until))
    wait_s = _backoff(effort.tries, chance)
    if _is_within(limits, effort, wait_s):
        return Again(wait_s, full.words)
    return Suspend(reason_of(Cause.WAITING, full.words))


def _is_within(limits: Limits, effort: Effort, wait_s: float) -> bool:
    """Say whether there is time for a wait."""
    return effort.waited_s + wait_s <= limits.max_wait_s and (limits.left_s is None or wait_s <= limits.left_s)


def _backoff(tries: int, chance: float) -> float:
    """Return an exponential wait with full jitter, so that clients that failed together do not return together."""
    return chance * min(LONGEST_S, FIRST_S * 2.0 ** min(tries, _DOUBLINGS))


def _later(now: datetime, seconds: float) -> datetime | None:
    try:
        return now + timedelta(seconds=seconds)
    except OverflowError:  # a server may ask for the end of time; nobody needs to know when that is
        return datetime.max.replace(tzinfo=now.tzinfo, microsecond=0)
