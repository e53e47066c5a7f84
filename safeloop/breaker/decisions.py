"""What a reservation is asked for, and what it answers."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from safeloop.ledger import Row
from safeloop.spec import Breach, Spend


@dataclass(frozen=True, slots=True)
class Place:
    """Where in a session an attempt stands.

    Attributes:
        session: The session's id.
        turn: From 1.
        attempt: From 1, within the turn.
        input_hash: SHA-256 of the task, hex.
        elapsed_ms: Monotonic time that the session has used.
    """

    session: str
    turn: int
    attempt: int
    input_hash: str
    elapsed_ms: int


@dataclass(frozen=True, slots=True)
class Demand:
    """What rows do not tell of the next call.

    Attributes:
        repeats: Identical calls of tools in a row, so far.
    """

    repeats: int = 0


@dataclass(frozen=True, slots=True)
class Granted:
    """An attempt that may leave: its intent is on disk.

    Attributes:
        intent: The intent's row.
        max_tokens: What the request may ask for, at most what was wanted.
        reserved_tokens: Held until the attempt is settled.
        reserved_microusd: The same in micro-dollars; None if the price is not known.
        spend: What its session was charged before it.
        left_ms: Milliseconds that time ceilings, its ancestors' too, left when it was granted; None without one.
    """

    intent: Row
    max_tokens: int
    reserved_tokens: int
    reserved_microusd: int | None = None
    spend: Spend | None = None
    left_ms: int | None = None

    def left_s(self, elapsed_ms: int) -> float | None:
        """Seconds that are left of them; None without a time ceiling.

        Args:
            elapsed_ms: Monotonic time that the session has used by now.
        """
        if self.left_ms is None:
            return None
        then: int = self.intent.data["elapsed_ms"]
        return max(0.0, (self.left_ms - (elapsed_ms - then)) / 1000)


@dataclass(frozen=True, slots=True)
class Refused:
    """An attempt that must not leave.

    Attributes:
        breach: Which ceiling, and by how much.
        tokens: What was charged before it.
    """

    breach: Breach
    tokens: int


@dataclass(frozen=True, slots=True)
class Full:
    """An attempt that must not leave yet: a window is full, or others hold what it needs.

    Attributes:
        scope: `hour`, `day` or `month`; `live` where it would fit but for what others hold in reserve.
        until: When the window turns, in UTC; None for `live`.
        words: One sentence for people.
    """

    scope: str
    until: datetime | None
    words: str
