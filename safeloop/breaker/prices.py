"""Prices: what a request can cost at most before it leaves, and what it cost afterwards, in micro-dollars.

One US dollar for a million tokens is one micro-dollar for a token, so rates are kept as they are published. Sums are
rounded up: a ceiling is never passed by rounding. Where prices come from is for `safeloop.breaker.pricing` to say.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Rate:
    """What a unit costs, which may depend on how large the whole input is.

    Attributes:
        base: US dollars for a million units.
        steps: (input tokens, rate): from beyond that many input tokens on, this rate holds for every unit; ascending.
    """

    base: Decimal
    steps: tuple[tuple[int, Decimal], ...] = ()

    def at(self, input_tokens: int) -> Decimal:
        """Return the rate for a request of this input."""
        passed = [rate for start, rate in self.steps if input_tokens > start]
        return passed[-1] if passed else self.base

    @property
    def dearest(self) -> Decimal:
        """The highest rate that any input can lead to."""
        return max([self.base, *(rate for _, rate in self.steps)])


class Counts(Protocol):
    """What is priced: the six counts of a usage, of which `thinking` is part of `output`."""

    @property
    def input(self) -> int:
        """Tokens read, neither written to a cache nor read from one."""

    @property
    def cache_write(self) -> int:
        """Tokens written to a cache."""

    @property
    def cache_read(self) -> int:
        """Tokens read from a cache."""

    @property
    def output(self) -> int:
        """Tokens answered."""

    @property
    def searches(self) -> int:
        """Searches that the server made."""


@dataclass(frozen=True, slots=True)
class Price:
    """The rates of one model at one endpoint.

    Attributes:
        input: For tokens that no cache is concerned with; so are the next two.
        cache_write: The dearest way to write, where there are several.
        cache_read: Where no rate is published, that of input.
        search: None where no rate is published.
        most: The dearest rates that can apply to any request: at another hour, at another level of service.
        source: Where they come from, for people.
    """

    input: Rate
    cache_write: Rate
    cache_read: Rate
    output: Rate
    search: Rate | None
    source: str
    most: tuple[Rate, Rate] | None = None

    @property
    def is_zero(self) -> bool:
        """Whether nothing that is published of it costs anything."""
        return not any(self.dearest) and (self.search is None or not self.search.dearest)

    def worst(self, input_tokens: int, output_tokens: int) -> int:
        """Return what a request can cost at most, in micro-dollars: every token at the dearest rate that can apply.

        Args:
            input_tokens: The bound of its input.
            output_tokens: Its `max_tokens`.
        """
        reading, answering = self.dearest
        return _rounded(input_tokens * reading + output_tokens * answering)

    def answer_within(self, microusd: int, input_tokens: int) -> int | None:
        """Return how many tokens a sum leaves for the answer, once the input is paid at its worst.

        Negative if not even the input can be paid; None if answers cost nothing.
        """
        reading, answering = self.dearest
        left = microusd - input_tokens * reading
        if left < 0:
            return -1
        return int((left / answering).to_integral_value(ROUND_FLOOR)) if answering else None

    @property
    def dearest(self) -> tuple[Decimal, Decimal]:
        """The highest rate of a token read, and of a token answered, in micro-dollars."""
        reading = [self.input, self.cache_write, self.cache_read]
        answering = [self.output]
        if self.most is not None:
            reading.append(self.most[0])
            answering.append(self.most[1])
        return max(rate.dearest for rate in reading), max(rate.dearest for rate in answering)

    def of(self, usage: Counts) -> int | None:
        """Return what a request did cost, in micro-dollars; None if it holds something without a published rate."""
        if usage.searches and self.search is None:
            return None
        size = usage.input + usage.cache_write + usage.cache_read
        parts = (
            (usage.input, self.input), (usage.cache_write, self.cache_write), (usage.cache_read, self.cache_read),
            (usage.output, self.output), (usage.searches, self.search or self.output),
        )
        return _rounded(sum((count * rate.at(size) for count, rate in parts), Decimal(0)))


_NOTHING = Rate(Decimal(0))
FREE = Price(_NOTHING, _NOTHING, _NOTHING, _NOTHING, _NOTHING, source="never billed")
"""The price of a client that is never billed: scripted and offline ones."""


def _rounded(microusd: Decimal) -> int:
    return int(microusd.to_integral_value(ROUND_CEILING))
