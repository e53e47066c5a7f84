"""What a run tells whoever watches it, as it happens."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from safeloop.spec import Ceilings


@dataclass(frozen=True, slots=True)
class Reserved:
    """A turn's request is about to leave.

    Attributes:
        turn: From 1.
        tokens: Charged so far, this reservation not included.
        max_tokens: What the request may ask for.
    """

    session: str
    turn: int
    tokens: int
    max_tokens: int
    ceilings: Ceilings


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
class Closed:
    """The session is closed.

    Attributes:
        outcome: One of the outcomes of a `close` row.
        reason: More precisely, if there is more to say.
    """

    session: str
    outcome: str
    reason: str | None


Event = Reserved | Replied | ToolRan | Closed
Listener = Callable[[Event], object]
