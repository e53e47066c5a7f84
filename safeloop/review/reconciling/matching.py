"""Which calls explain which buckets of one payer and model, though clocks differ by a minute. Pure.

A call may be billed in any bucket that its time touches, a minute of difference between the clocks included. Whether
that can be at all is asked first, and answered without guessing: where every call can be billed in full, and every
bucket be filled, nothing is found. Only where it cannot be are calls given to buckets, so that what is wrong has a
name.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

from safeloop.review.reconciling.counts import NOTHING, Counts, total
from safeloop.review.reconciling.recorded import Call
from safeloop.review.reconciling.report import SECOND, Billed

SKEW: Final = 60 * SECOND
"""How far the provider's clock and the ledger's may be apart, in microseconds, inclusive."""

_MOST_TRIED: Final = 24  # calls among which any set is looked for
_STEPS: Final = 4_000
_CLASSES: Final = range(len(Counts._fields))


@dataclass(slots=True)
class Part:
    """Calls and buckets that have to do with each other, and with no others."""

    calls: list[Call] = field(default_factory=list)
    buckets: list[Billed] = field(default_factory=list)

    @property
    def begins(self) -> int:
        """Its first moment."""
        moments = [call.begins - SKEW for call in self.calls[:1]] + [bucket.begins for bucket in self.buckets[:1]]
        return min(moments)

    def ends(self, width: int) -> int:
        """The end of its last bucket, or its last call's latest moment."""
        moments = [call.ends + SKEW for call in self.calls] + [bucket.begins + width for bucket in self.buckets[-1:]]
        return max(moments)


@dataclass(frozen=True, slots=True)
class Named:
    """What was billed in one bucket, beside the calls that are given to it.

    Attributes:
        calls: None are given to it where nothing was recorded that it could be.
    """

    bucket: Billed
    calls: tuple[Call, ...]

    @property
    def recorded(self) -> Counts:
        """What its calls were recorded with."""
        return total(call.counts for call in self.calls)

    @property
    def excess(self) -> Counts:
        """What was billed beyond that; less than nothing where less was billed."""
        return self.bucket.counts.minus(self.recorded)


def touches(call: Call, begins: int, width: int) -> bool:
    """Say whether a call may be billed in the bucket that begins so."""
    return call.begins - SKEW < begins + width and call.ends + SKEW >= begins


def parts(calls: Sequence[Call], buckets: Iterable[Billed], width: int) -> Iterator[Part]:
    """Yield what belongs together, by time; memory is that of one part.

    Args:
        calls: Certain ones, by the moment at which they begin.
        buckets: By time.
    """
    part, reach = Part(), -1
    waiting, called = iter(buckets), iter(calls)
    bucket, call = next(waiting, None), next(called, None)
    while bucket is not None or call is not None:
        is_call = bucket is None or (call is not None and call.begins - SKEW <= bucket.begins)
        begins, ends = _moments(call if is_call else bucket, width)
        if begins > reach and (part.calls or part.buckets):
            yield part
            part = Part()
        reach = max(reach, ends)
        if is_call and call is not None:
            part.calls.append(call)
            call = next(called, None)
        elif bucket is not None:
            part.buckets.append(bucket)
            bucket = next(waiting, None)
    if part.calls or part.buckets:
        yield part


def _moments(each: Call | Billed | None, width: int) -> tuple[int, int]:
    """Return the first and the last moment of a call or of a bucket."""
    if isinstance(each, Call):
        return each.begins - SKEW, each.ends + SKEW
    return (0, 0) if each is None else (each.begins, each.begins + width - 1)


def left_over(part: Part, width: int) -> list[Billed] | None:
    """Return what the buckets hold beyond all calls; None where some call cannot be billed in full.

    Each class by itself: the bucket that comes next is filled from the call whose time ends first, which fills as much
    as any order can. What is left is left as late as it can be.
    """
    if not part.calls:
        return part.buckets
    if len(part.calls) == len(part.buckets) == 1 and part.calls[0].counts == part.buckets[0].counts:
        return [] if touches(part.calls[0], part.buckets[0].begins, width) else None
    over = [[0] * len(part.buckets) for _ in _CLASSES]
    for each in _CLASSES:
        left, is_short = fill(
            [(bucket.begins, bucket.counts[each]) for bucket in part.buckets],
            [(call.begins - SKEW, call.ends + SKEW, call.counts[each]) for call in part.calls], width,
        )
        if is_short:
            return None
        over[each] = left
    counts = (Counts(*column) for column in zip(*over, strict=True))
    pairs = zip(part.buckets, counts, strict=True)
    return [Billed(bucket.begins, left) for bucket, left in pairs if not left.is_nothing]


def fill(
    buckets: Sequence[tuple[int, int]], calls: Sequence[tuple[int, int, int]], width: int
) -> tuple[list[int], bool]:
    """Fill buckets from calls, the most that is possible.

    Args:
        buckets: (begins, amount) by time.
        calls: (earliest, latest, amount) by the earliest moment.

    Returns:
        What is left of each bucket, and whether anything is left of any call.
    """
    waiting: list[list[int]] = []
    left, place, is_short = [], 0, False
    for begins, whole in buckets:
        amount = whole
        while place < len(calls) and calls[place][0] < begins + width:
            if calls[place][2]:
                heapq.heappush(waiting, [calls[place][1], calls[place][2]])
            place += 1
        while waiting and (waiting[0][0] < begins or amount):
            if waiting[0][0] < begins:
                heapq.heappop(waiting)
                is_short = True
                continue
            taken = min(amount, waiting[0][1])
            amount -= taken
            waiting[0][1] -= taken
            if not waiting[0][1]:
                heapq.heappop(waiting)
        left.append(amount)
    return left, is_short or bool(waiting) or any(amount for *_, amount in calls[place:])


def named(part: Part, width: int) -> tuple[list[Named], list[Call]]:
    """Give calls to buckets so that most buckets are explained exactly.

    Returns:
        The buckets that are not, with the calls given to them; and the calls for which no bucket is left.
    """
    unexplained: list[Billed] = []
    window, left, place = list[Call](), list[Call](), 0
    for bucket in part.buckets:
        while place < len(part.calls) and part.calls[place].begins - SKEW < bucket.begins + width:
            window.append(part.calls[place])
            place += 1
        left += [call for call in window if call.ends + SKEW < bucket.begins]
        window = [call for call in window if call.ends + SKEW >= bucket.begins]
        chosen = explaining(bucket, window, width)
        if chosen is None:
            unexplained.append(bucket)
        else:
            taken = set(map(id, chosen))
            window = [call for call in window if id(call) not in taken]
    return _given(unexplained, [*left, *window, *part.calls[place:]], width)


def explaining(bucket: Billed, calls: Sequence[Call], width: int) -> list[Call] | None:
    """Return calls that were together billed exactly this; None if none are found.

    Those come first whose time the bucket touches by both clocks; then such without one of them, or with one more;
    then any set of few.
    """
    own = [call for call in calls if _is_own(call, bucket, width)]
    others = [call for call in calls if not _is_own(call, bucket, width)]
    missing = bucket.counts.minus(total(call.counts for call in own))
    if missing.is_nothing:
        return own
    for call in others:
        if call.counts == missing:
            return [*own, call]
    too_many = NOTHING.minus(missing)
    for place, call in enumerate(own):
        if call.counts == too_many:
            return own[:place] + own[place + 1 :]
    return _any_set(bucket.counts, [*own, *others]) if len(calls) <= _MOST_TRIED else None


def _any_set(wanted: Counts, calls: Sequence[Call]) -> list[Call] | None:
    """Look for a set of calls with this sum, within a bound of steps."""
    steps = 0
    stack: list[tuple[int, Counts, tuple[int, ...]]] = [(0, wanted, ())]
    while stack and steps < _STEPS:
        steps += 1
        place, rest, chosen = stack.pop()
        if rest.is_nothing and chosen:
            return [calls[each] for each in chosen]
        if place < len(calls):
            stack.append((place + 1, rest, chosen))
            less = rest.minus(calls[place].counts)
            if not less.lacks:
                stack.append((place + 1, less, (*chosen, place)))
    return None


def _given(buckets: Sequence[Billed], calls: Iterable[Call], width: int) -> tuple[list[Named], list[Call]]:
    """Give each call to the nearest bucket that it touches."""
    found: list[list[Call]] = [[] for _ in buckets]
    without: list[Call] = []
    for call in calls:
        near = [place for place, bucket in enumerate(buckets) if touches(call, bucket.begins, width)]
        if near:
            found[min(near, key=lambda place: _distance(call, buckets[place], width))].append(call)
        elif not call.counts.is_nothing:
            without.append(call)
    return [Named(bucket, tuple(given)) for bucket, given in zip(buckets, found, strict=True)], without


def _is_own(call: Call, bucket: Billed, width: int) -> bool:
    return call.begins < bucket.begins + width and call.ends >= bucket.begins


def _distance(call: Call, bucket: Billed, width: int) -> int:
    return max(bucket.begins - call.ends, call.ends - (bucket.begins + width - 1), 0)
