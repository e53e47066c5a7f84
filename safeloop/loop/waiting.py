"""The loop's clock between attempts: what time it is, what chance says, and a sleep that signals end."""

from __future__ import annotations

import math
import secrets
from collections.abc import Callable
from datetime import UTC, datetime

from safeloop.errors import SettingError
from safeloop.loop.interruption import Interruption

MAX_WAIT_S = 60.0
LONGEST_MAX_WAIT_S = 86_400.0

Sleep = Callable[[float], object]


class Pace:
    """Waits in real time, or as it is told to.

    Args:
        interruption: What signals asked of the run; one ends a wait at once.
        sleep: Takes seconds; None sleeps in real time.
    """

    def __init__(self, interruption: Interruption, sleep: Sleep | None = None) -> None:
        self._interruption = interruption
        self._sleep = sleep
        self._random = secrets.SystemRandom()

    def now(self) -> datetime:
        """Return the time, in UTC."""
        return datetime.now(UTC)

    def chance(self) -> float:
        """Return a number from 0 to 1, 1 excluded."""
        return self._random.random()

    def sleep(self, seconds: float) -> None:
        """Wait.

        Raises:
            Interrupted: A signal came, before or meanwhile.
        """
        self._interruption.check()
        if self._sleep is None:
            self._interruption.pause(seconds)
        else:
            self._sleep(seconds)
        self._interruption.check()


def check_max_wait(seconds: object) -> float:
    """Return the longest wait, in seconds, if it is one: from 0 to a day.

    Raises:
        SettingError: It is not.
    """
    if not isinstance(seconds, int | float) or not math.isfinite(seconds) or not 0 <= seconds <= LONGEST_MAX_WAIT_S:
        raise SettingError(f"max_wait_s must be from 0 to {LONGEST_MAX_WAIT_S:.0f} seconds, not {seconds!r}")
    return float(seconds)
