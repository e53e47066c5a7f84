"""What a reply cost, or None where the provider's figure cannot be believed."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Final

from safeloop.models.shapes import field

COUNT_LIMIT: Final = 10**9
"""The largest count that is believed, inclusive."""

_TALLY: Final = ("input_tokens", "cache_creation_input_tokens", "cache_read_input_tokens", "output_tokens")

# Sampling iterations add up to the totals. Anything else (a compaction, an advisor, what is not known yet) is
# billed beside them.
_WITHIN_TOTALS: Final = frozenset({"message", "fallback_message"})


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens of one reply; each count is an integer from 0 to 10**9.

    Args:
        input: Input tokens, without those written to or read from a cache.
        cache_write: Input tokens written to a cache.
        cache_read: Input tokens read from a cache.
        output: Output tokens, thinking included.
        thinking: The part of `output` that was thinking, where the provider says so.
        searches: Paid searches of the provider's own tools.
    """

    input: int = 0
    cache_write: int = 0
    cache_read: int = 0
    output: int = 0
    thinking: int = 0
    searches: int = 0

    @property
    def total(self) -> int:
        """All tokens that count against a ceiling."""
        return self.input + self.cache_write + self.cache_read + self.output


def read_usage(source: object, *, beside_content: bool) -> Usage | None:
    """Read the usage of a reply, never as less than what it may have cost.

    Every entry of `iterations` is included: sampling iterations where they add up to more than the totals,
    all others beside them.

    Args:
        source: The `usage` of a response, of any shape; None where it has none.
        beside_content: Whether the reply has content: then an output of zero is not believed.

    Returns:
        None where a count is missing, is not an integer from 0 to 10**9 or contradicts another: the attempt is
        then charged in full.
    """
    if isinstance(source, Usage):
        return _judged(tuple(getattr(source, item.name) for item in dataclasses.fields(Usage)), beside_content)
    tally = _with_iterations(source)
    thinking = _count(field(source, "output_tokens_details"), "thinking_tokens")
    searches = _count(field(source, "server_tool_use"), "web_search_requests")
    if tally is None or thinking is None or searches is None:
        return None
    fresh, written, cached, output = tally
    return _judged((fresh, written, cached, output, thinking, searches), beside_content)


def _judged(counts: tuple[object, ...], beside_content: bool) -> Usage | None:
    plain = [_plain_count(count) for count in counts]
    if None in plain:
        return None
    usage = Usage(*(count for count in plain if count is not None))
    return None if usage.thinking > usage.output or (beside_content and usage.output == 0) else usage


def _with_iterations(source: object) -> tuple[int, ...] | None:
    totals = _tally(source)
    iterations = field(source, "iterations")
    if totals is None or iterations is None:
        return totals
    if not isinstance(iterations, (list, tuple)):
        return None
    within, beside = [0] * len(_TALLY), [0] * len(_TALLY)
    for iteration in iterations:
        entry = _tally(iteration)
        if entry is None:
            return None
        kind = field(iteration, "type")
        sums = within if isinstance(kind, str) and kind in _WITHIN_TOTALS else beside
        sums[:] = [one + other for one, other in zip(sums, entry, strict=True)]
    return tuple(max(total, part) + more for total, part, more in zip(totals, within, beside, strict=True))


def _tally(source: object) -> tuple[int, ...] | None:
    if field(source, "input_tokens") is None or field(source, "output_tokens") is None:
        return None
    counts = [_count(source, name) for name in _TALLY]
    return None if None in counts else tuple(count for count in counts if count is not None)


def _count(source: object, name: str) -> int | None:
    """Read one count; 0 where it is not there, None where it is no count."""
    value = field(source, name)
    return 0 if value is None else _plain_count(value)


def _plain_count(value: object) -> int | None:
    if isinstance(value, bool) or not isinstance(value, int):
        return None
    count = int.__add__(value, 0)  # a subclass may lie about itself
    return count if 0 <= count <= COUNT_LIMIT else None
