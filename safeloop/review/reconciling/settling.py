"""Settling what is in doubt to what was billed, and never below what the report proves. Pure.

An attempt in doubt was billed at most what its payer was billed, under any model, in all buckets in which it may lie,
less the replies that lie in these buckets with their whole time and were billed there as they were recorded. That much
it stays charged, where it is less than before: if the bill holds calls that nobody recorded, or several attempts in
doubt, all of it counts for each of them. So charges together never fall below the bill.

Nothing is proved, and nothing settled, where

- a bucket in which it may lie is missing, or not complete;
- a reply of the payer in that time was not billed as it was recorded;
- nothing else of the same payer and model was billed in the report as it was recorded: then the report may be of
  another key, or leave this model out;
- the attempt has no row yet: only what is known to be in doubt is settled.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from safeloop.review.reconciling.comparing import Comparison
from safeloop.review.reconciling.counts import NOTHING, Counts, total
from safeloop.review.reconciling.lanes import Lane, counted, is_within
from safeloop.review.reconciling.matching import SKEW
from safeloop.review.reconciling.recorded import Call

PriceOf = Callable[[str, int, int], int | None]
"""What input and output tokens of a model cost at most, in micro-dollars; None where that is not known."""


@dataclass(frozen=True, slots=True)
class Settlement:
    """What an attempt in doubt was billed at most.

    Attributes:
        n: Of its `attempt` row.
        tokens: All classes together.
        microusd: None where no price is known.
    """

    session: str
    n: int
    tokens: int
    microusd: int | None


def settlements(found: Comparison, width: int, price_of: PriceOf, *, until: int) -> Iterator[Settlement]:
    """Yield what the report proves of each attempt in doubt; whether that is less than its charge is not asked here.

    Args:
        until: The end of the time of which the report is certain to be complete, in microseconds.
    """
    proved = set(map(id, found.judgement.proved))
    for lane in found.lanes.lanes:
        for call in lane.perhaps:
            if call.is_doubt and id(lane) in proved and is_within(call, found.runs):
                if _buckets(found, call, width)[1] > until:
                    continue
                most = _most(found, lane, call, width)
                if most is not None:
                    microusd = _price(found, lane, call, most, width, price_of)
                    yield Settlement(call.session, call.n, most.tokens, microusd)


def _most(found: Comparison, lane: Lane, call: Call, width: int) -> Counts | None:
    """Return what an attempt was billed at most; None where nothing is proved."""
    begins, ends = _buckets(found, call, width)
    if found.is_doubtful(lane.payer, begins - SKEW, ends + SKEW):
        return None
    family = [each for each in found.lanes.lanes if each.payer == lane.payer]
    left = _left(family, begins, ends)
    return None if left.lacks else left


def _left(lanes: Iterable[Lane], begins: int, ends: int) -> Counts:
    """Return what lanes were billed in a time, less the replies that cannot have been billed at another."""
    left = NOTHING
    for lane in lanes:
        inside = (each.counts for each in lane.certain if begins <= each.begins - SKEW and each.ends + SKEW < ends)
        left = left.plus(counted(lane.series, begins, ends)).minus(total(inside))
    return left


def _buckets(found: Comparison, call: Call, width: int) -> tuple[int, int]:
    """Return from where to where the buckets go in which a call may lie."""
    run = next(run for run in found.runs if run.begins <= call.begins - SKEW and call.ends + SKEW < run.ends)
    first, last = (call.begins - SKEW - run.begins) // width, (call.ends + SKEW - run.begins) // width
    return run.begins + first * width, run.begins + (last + 1) * width


def _price(found: Comparison, lane: Lane, call: Call, most: Counts, width: int, price_of: PriceOf) -> int | None:
    """Return what these tokens cost at most: where all of them are of the attempt's own model."""
    if most.is_nothing:
        return 0
    own = _left([lane], *_buckets(found, call, width))
    return None if own != most or most.searches else price_of(call.asked, most.read, most.output)
