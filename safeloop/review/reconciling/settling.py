"""Settling what is in doubt to what was billed, and never below what the report proves. Pure.

An attempt in doubt was billed at most what its API key was billed, under any model, in all buckets in which it may lie,
less the replies that lie in these buckets with their whole time and were billed there as they were recorded. That much
it stays charged, where it is less than before: if the bill holds calls that nobody recorded, or several attempts in
doubt, all of it counts for each of them. So charges together never fall below what the report bills.

Where the report does not prove that much, nothing is settled, and `Why` says what is lacking. A bill that comes later
is not lost: an attempt explains no more than it was settled to (`recorded`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum

from safeloop.review.reconciling.comparing import Comparison
from safeloop.review.reconciling.counts import Counts, total
from safeloop.review.reconciling.lanes import Lane, counted, is_within
from safeloop.review.reconciling.matching import SKEW
from safeloop.review.reconciling.recorded import Call
from safeloop.review.reconciling.report import Run

PriceOf = Callable[[str, int, int], int | None]
"""What input and output tokens of a model cost at most, in micro-dollars; None where that is not known."""


class Why(StrEnum):
    """Why an attempt in doubt stays charged as it is."""

    KEYS = "api_key_id"
    MODELS = "model"
    BEYOND = "beyond"
    EDGE = "edge"
    INCOMPLETE = "incomplete"
    PROOF = "proof"
    KEYLESS = "keyless"
    UNBILLED = "unbilled"
    UNEXPLAINED = "unexplained"

    @property
    def words(self) -> str:
        """What is lacking, and what would help."""
        return _WORDS[self]


_WORDS: Mapping[Why, str] = {
    Why.KEYS: "API keys are not compared, so the report may be of another: group it by api_key_id, and set api_key_id",
    Why.MODELS: "the report is not grouped by model, and may leave its model out",
    Why.BEYOND: "more buckets are not explained than are listed: compare less time",
    Why.EDGE: "a bucket in which it may lie is missing, or is not judged: compare more time, or later",
    Why.INCOMPLETE: "it is not certain that the report was made after its time was counted: fetch it, or say --as-of",
    Why.PROOF: "no reply of its API key and model was billed exactly as it was recorded: compare a time that has one",
    Why.KEYLESS: "something was billed in its time without an API key: by the console, or on a page not grouped so",
    Why.UNBILLED: "a reply of its API key in its time was not billed as it was recorded",
    Why.UNEXPLAINED: "its API key was billed at another time for what nobody recorded, which may be this attempt by a "
                     "clock that was wrong: compare a time without it, once it is explained",
}  # fmt: skip


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


@dataclass(frozen=True, slots=True)
class Proof:
    """What a report proves of what is in doubt.

    Attributes:
        settlements: Whether each is less than is charged is not asked here.
        kept: How many attempts in doubt stay as they are, by what is lacking.
    """

    settlements: tuple[Settlement, ...]
    kept: Mapping[Why, int]


def prove(found: Comparison, width: int, price_of: PriceOf, *, until: int) -> Proof:
    """Say of each attempt in doubt what it was billed at most, or what is lacking to know it.

    Args:
        until: The end of the time of which the report is certain to be complete, in microseconds.
    """
    lacking = _lacking(found)
    if lacking is not None:
        return Proof((), Counter(lacking for _ in _doubts(found)))
    proved, unexplained = set(map(id, found.judgement.proved)), found.unexplained()
    settled, kept = list[Settlement](), Counter[Why]()
    for lane, call in _doubts(found):
        most = _most(found, lane, call, width, until, unexplained) if id(lane) in proved else Why.PROOF
        if isinstance(most, Why):
            kept[most] += 1
        else:
            microusd = _price(lane, call, most, _buckets(found, call, width), price_of)
            settled.append(Settlement(call.session, call.n, most.tokens, microusd))
    return Proof(tuple(settled), kept)


def _doubts(found: Comparison) -> Iterator[tuple[Lane, Call]]:
    return ((lane, call) for lane in found.lanes.lanes for call in lane.perhaps if call.is_doubt)


def _lacking(found: Comparison) -> Why | None:
    """Return what the report lacks altogether: of one that bills nothing nobody knows whose it is."""
    if not any(lane.series for lane in found.lanes.lanes):
        return Why.PROOF
    if not found.lanes.by_key:
        return Why.KEYS
    if not found.lanes.by_model:
        return Why.MODELS
    return Why.BEYOND if found.judgement.beyond else None


def _most(
    found: Comparison, lane: Lane, call: Call, width: int, until: int, unexplained: Mapping[str | None, Run]
) -> Counts | Why:
    """Return what an attempt was billed at most, or why that is not proved."""
    if not is_within(call, found.runs):
        return Why.EDGE
    begins, ends = _buckets(found, call, width)
    if ends > until:
        return Why.INCOMPLETE
    if not counted(found.lanes.keyless, begins, ends).is_nothing:
        return Why.KEYLESS
    key = lane.payer.api_key_id
    family = [each for each in found.lanes.lanes if each.payer.api_key_id == key]  # a key is of one workspace only
    left = [_left(each, begins, ends) for each in family]
    if found.is_doubtful(key, begins - SKEW, ends + SKEW) or any(each.lacks for each in left):
        return Why.UNBILLED
    odd = unexplained.get(key)
    if odd is not None and (odd.begins < begins or odd.ends > ends):
        return Why.UNEXPLAINED
    return total(left)


def _left(lane: Lane, begins: int, ends: int) -> Counts:
    """Return what a lane was billed in a time, less the replies that cannot have been billed at another."""
    inside = (each.counts for each in lane.certain if begins <= each.begins - SKEW and each.ends + SKEW < ends)
    return counted(lane.series, begins, ends).minus(total(inside))


def _buckets(found: Comparison, call: Call, width: int) -> tuple[int, int]:
    """Return from where to where the buckets go in which a call may lie."""
    run = next(run for run in found.runs if run.begins <= call.begins - SKEW and call.ends + SKEW < run.ends)
    first, last = (call.begins - SKEW - run.begins) // width, (call.ends + SKEW - run.begins) // width
    return run.begins + first * width, run.begins + (last + 1) * width


def _price(lane: Lane, call: Call, most: Counts, buckets: tuple[int, int], price_of: PriceOf) -> int | None:
    """Return what these tokens cost at most: where all of them are of the attempt's own model."""
    if most.is_nothing:
        return 0
    return None if _left(lane, *buckets) != most or most.searches else price_of(call.asked, most.read, most.output)
