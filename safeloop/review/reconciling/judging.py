"""The judgement of lanes: which buckets nobody recorded, which replies nobody billed, where figures differ. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from safeloop.review.reconciling.lanes import Lane, Lanes
from safeloop.review.reconciling.matching import SKEW, Named, Part, fill, left_over, named, parts
from safeloop.review.reconciling.recorded import Call
from safeloop.review.reconciling.report import Billed

MOST_NAMED = 20_000
"""Buckets of one reconciliation that are named, inclusive; what is beyond is counted."""


@dataclass(frozen=True, slots=True)
class Odd:
    """A bucket that its calls do not explain.

    Attributes:
        lane: Whose it is.
    """

    lane: Lane
    named: Named


@dataclass(slots=True)
class Judgement:
    """What was found in lanes, before it is given its names.

    Attributes:
        odd: Buckets that are not explained, by time in each lane.
        unbilled: Replies that no bucket is left for, each with its lane.
        proved: Lanes in which a reply was billed exactly as it was recorded: by a bucket, or several, that replies fill
            without any help of what is in doubt.
        beyond: How many further buckets are not explained.
        beyond_tokens: What they were billed, in tokens.
    """

    odd: list[Odd] = field(default_factory=list)
    unbilled: list[tuple[Lane, Call]] = field(default_factory=list)
    proved: list[Lane] = field(default_factory=list)
    beyond: int = 0
    beyond_tokens: int = 0

    def take(self, lane: Lane, bucket: Named) -> None:
        """Take in a bucket, or count it where there are too many."""
        if len(self.odd) < MOST_NAMED:
            self.odd.append(Odd(lane, bucket))
        else:
            self.beyond += 1
            self.beyond_tokens += bucket.bucket.counts.tokens


class _Room:
    """What calls without a known bill may have been billed, and how much of that is used up.

    Args:
        calls: By the moment at which they begin.
    """

    def __init__(self, calls: Sequence[Call]) -> None:
        self._coming, self._place = calls, 0
        self._here: list[list[int]] = []  # the latest moment, the earliest, and what is left

    def reach(self, begins: int, ends: int) -> None:
        """Go on to a part that lies within these moments; parts come by time."""
        self._here = [each for each in self._here if each[0] >= begins and each[2]]
        while self._place < len(self._coming) and self._coming[self._place].begins - SKEW < ends:
            call = self._coming[self._place]
            self._here.append([call.ends + SKEW, call.begins - SKEW, call.most or call.counts.tokens])
            self._place += 1
        self._here.sort()

    def explains(self, part: Part, left: Sequence[Billed], width: int) -> bool:
        """Say whether these calls, each up to what it may be, fill what the part's own calls leave; it is used up then.

        Tokens only: what is in doubt was reserved in tokens, and explains no search.

        The part's own calls can all be billed in full, each class by itself. If besides all buckets can be filled from
        them and these together, then both can be at once (Mendelsohn and Dulmage).
        """
        surplus = sum(each.counts.tokens for each in part.buckets) - sum(each.counts.tokens for each in part.calls)
        if surplus <= 0 or not self._here or any(each.counts.searches for each in left):
            return False
        own = [(call.begins - SKEW, call.ends + SKEW, call.counts.tokens) for call in part.calls]
        calls = sorted([*own, *((first, last, left) for last, first, left in self._here)])
        rest, _ = fill([(each.begins, each.counts.tokens) for each in part.buckets], calls, width)
        if any(rest):
            return False
        return self._taken(surplus, part.begins, part.ends(width))

    def absorb(self, bucket: Billed, width: int) -> bool:
        """Explain one bucket's excess so, which is then used up; False if some of it cannot be, and nothing is."""
        return not bucket.counts.searches and self._taken(bucket.counts.tokens, bucket.begins, bucket.begins + width)

    def _taken(self, wanted: int, begins: int, ends: int) -> bool:
        """Use up so many tokens of the calls that touch a time, of those first that end first."""
        near = [each for each in self._here if each[1] < ends and each[0] >= begins]
        if not near or sum(each[2] for each in near) < wanted:
            return False
        for each in near:
            taken = min(wanted, each[2])
            wanted, each[2] = wanted - taken, each[2] - taken
        return True


def judge(lanes: Lanes, width: int) -> Judgement:
    """Compare every lane by itself."""
    found = Judgement()
    for lane in lanes.lanes:
        room = _Room(lane.perhaps)
        for part in parts(lane.certain, lane.buckets(lanes.runs), width):
            room.reach(part.begins, part.ends(width))
            left = left_over(part, width)
            if left == [] or (left is not None and room.explains(part, left, width)):
                if not any(lane is each for each in found.proved[-1:]) and _proves(part, left, width):
                    found.proved.append(lane)
                continue
            _name(found, lane, room, part, width)
    return found


def _proves(part: Part, left: Sequence[Billed], width: int) -> bool:
    """Say whether replies alone fill the part, or at least one bucket of it, exactly."""
    if not left:
        return any(call.counts.tokens for call in part.calls)
    unexplained = {each.bucket.begins for each in named(part, width)[0]}
    return any(bucket.counts.tokens for bucket in part.buckets if bucket.begins not in unexplained)


def _name(found: Judgement, lane: Lane, room: _Room, part: Part, width: int) -> None:
    """Name what a part cannot explain; an excess that a call in doubt may have been is none."""
    odd, unbilled = named(part, width)
    for each in odd:
        if each.excess.lacks or not room.absorb(Billed(each.bucket.begins, each.excess), width):
            found.take(lane, each)
    found.unbilled += [(lane, call) for call in unbilled]
