"""A measure: a pair of functions that return seconds for the same work, ours and a yardstick's."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

Timed = Callable[[], float]


@dataclass(frozen=True, slots=True)
class Measure:
    """A ratio.

    Attributes:
        ours: Returns the seconds that our code takes for the work.
        theirs: Returns the seconds that the yardstick takes for the same work.
        inverted: The ratio is theirs to ours (a rate), not ours to theirs (a cost).
        floor: The ratio that must hold: at least, if inverted, else at most. None where nothing was promised.
        aim: What we would like it to be.
        rounds: How often it is measured; once, and without warming up, where that takes minutes.
    """

    name: str
    compared_with: str
    ours: Timed
    theirs: Timed
    inverted: bool
    floor: float | None
    aim: float | None = None
    rounds: int = 5


def timed(work: Callable[[], object]) -> float:
    """Return the seconds that some work takes."""
    started = time.perf_counter()
    work()
    return time.perf_counter() - started
