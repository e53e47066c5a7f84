"""What a call was billed, or recorded, by class: four of tokens, and the provider's own searches."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple


class Counts(NamedTuple):
    """Tokens by class, none of them part of another, and searches; each may be negative in a difference.

    Attributes:
        input: Input tokens, neither written to a cache nor read from one.
        cache_write: Written to a cache, for however long.
        cache_read: Read from one.
        output: Answered, thinking included.
        searches: Paid searches of the provider's own tools; no tokens.
    """

    input: int = 0
    cache_write: int = 0
    cache_read: int = 0
    output: int = 0
    searches: int = 0

    @property
    def read(self) -> int:
        """All tokens of the input."""
        return self.input + self.cache_write + self.cache_read

    @property
    def tokens(self) -> int:
        """All tokens."""
        return self.read + self.output

    def plus(self, other: Counts) -> Counts:
        """Add class by class."""
        one, two, three, four, five = other
        return Counts(self[0] + one, self[1] + two, self[2] + three, self[3] + four, self[4] + five)

    def minus(self, other: Counts) -> Counts:
        """Subtract class by class."""
        one, two, three, four, five = other
        return Counts(self[0] - one, self[1] - two, self[2] - three, self[3] - four, self[4] - five)

    @property
    def is_nothing(self) -> bool:
        """Whether every class is 0."""
        return not any(self)

    @property
    def lacks(self) -> bool:
        """Whether any class is below 0."""
        return min(self) < 0


NOTHING = Counts()
CLASSES = Counts._fields


def total(counts: Iterable[Counts]) -> Counts:
    """Add up class by class."""
    sums = NOTHING
    for each in counts:
        sums = sums.plus(each)
    return sums
