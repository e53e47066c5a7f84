"""What a session tells whoever watches it: started, reserved, waiting, replied, tool, breached, closed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from safeloop.spec import Breach, Ceilings, Spend


@dataclass(frozen=True, slots=True)
class Started:
    """The session is open.

    Attributes:
        model: Asked by this name.
        ceilings: Those in force.
    """

    session: str
    model: str
    ceilings: Ceilings


@dataclass(frozen=True, slots=True)
class Reserved:
    """An attempt's request is about to leave.

    Attributes:
        turn: From 1.
        tokens: Charged so far, this reservation not included.
        max_tokens: What the request may ask for.
        attempt: From 1, within the turn.
        spend: What was charged when it was reserved, where that is known.
    """

    session: str
    turn: int
    tokens: int
    max_tokens: int
    ceilings: Ceilings
    attempt: int = 1
    spend: Spend | None = None


@dataclass(frozen=True, slots=True)
class Waiting:
    """Nothing is sent for a while: a server asked for time, or others hold what the next call needs.

    Attributes:
        seconds: How long, as far as it is known.
        reason: Why, in one sentence.
    """

    session: str
    turn: int
    seconds: float
    reason: str


@dataclass(frozen=True, slots=True)
class Replied:
    """A turn got its reply.

    Attributes:
        tokens: What the turn was charged.
        stop_reason: As the server gave it, made visible; None if it gave none.
    """

    session: str
    turn: int
    tokens: int
    stop_reason: str | None


@dataclass(frozen=True, slots=True)
class ToolRan:
    """A tool call has ended, also one that was refused."""

    session: str
    turn: int
    tool: str
    passed: bool


@dataclass(frozen=True, slots=True)
class ToolRuns:
    """A tool call begins.

    Attributes:
        about: The path that it was given, made visible; empty without one.
    """

    session: str
    turn: int
    tool: str
    about: str = ""


@dataclass(frozen=True, slots=True)
class Breached:
    """The breaker refused the next call; nothing more is asked in this session.

    Attributes:
        turn: The refused turn's number.
        tokens: Charged before it.
        reason: Which ceiling.
        breach: By how much; None where a check of the breaker's own refused.
    """

    session: str
    turn: int
    tokens: int
    reason: str
    breach: Breach | None


@dataclass(frozen=True, slots=True)
class Closed:
    """The session is closed.

    Attributes:
        outcome: One of the outcomes of a `close` row.
        reason: More precisely, if there is more to say.
    """

    session: str
    outcome: str
    reason: str | None


Event = Started | Reserved | Waiting | Replied | ToolRuns | ToolRan | Breached | Closed
Listener = Callable[[Event], object]
