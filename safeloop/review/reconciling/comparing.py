"""The comparison: a report and a ledger's calls in, findings out. Pure: no clock, no file, nothing is shown.

Each bucket and each call has one finding at most, besides the accumulation of drifts. What is not complete, or not
covered, is not judged, and that is said.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from safeloop.review.reconciling.aliases import is_same_model
from safeloop.review.reconciling.counts import NOTHING, Counts, total
from safeloop.review.reconciling.findings import (
    MOST_CALLS,
    Fault,
    Finding,
    Severity,
    Thresholds,
    accumulations,
)
from safeloop.review.reconciling.judging import Judgement, Odd, judge
from safeloop.review.reconciling.lanes import Lane, Lanes, lanes_of
from safeloop.review.reconciling.matching import SKEW, explaining, touches
from safeloop.review.reconciling.recorded import Call, Recorded
from safeloop.review.reconciling.report import Billed, Payer, Run, UsageReport


@dataclass(frozen=True, slots=True)
class Terms:
    """What a comparison goes by.

    Attributes:
        unnamed: Who pays for sessions that do not say.
        complete_until: Buckets that end later are not judged: not all may have been counted. In microseconds.
        aliases: Names that stand for models.
    """

    unnamed: Payer
    complete_until: int
    thresholds: Thresholds
    aliases: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Comparison:
    """What came of it.

    Attributes:
        findings: By time.
        lanes: What was compared.
        judgement: How the lanes were judged.
        calls: Replies that were judged.
        unjudged: Replies that lie at the edge of what is covered, or beyond it.
    """

    findings: tuple[Finding, ...]
    lanes: Lanes
    judgement: Judgement
    calls: int
    unjudged: int

    @property
    def runs(self) -> tuple[Run, ...]:
        """The stretches that were judged."""
        return self.lanes.runs

    def is_doubtful(self, key: str | None, begins: int, ends: int) -> bool:
        """Say whether any reply of an API key was not billed as it was recorded, in a time: nothing is proved there."""
        wrong = {Fault.MISSING, Fault.SUBSTITUTION}
        return any(
            each.payer.api_key_id == key and each.begins < ends and each.ends > begins
            and (each.fault in wrong or (each.fault is Fault.MISMATCH and each.excess.lacks))
            for each in self.findings
        )

    def unexplained(self) -> Mapping[str | None, Run]:
        """Return by API key from where to where anything was billed that nothing recorded explains."""
        found: dict[str | None, Run] = {}
        for each in self.findings:
            if each.fault is not Fault.ACCUMULATION and max(each.excess) > 0:
                begins, ends = found.get(each.payer.api_key_id, (each.begins, each.ends))
                found[each.payer.api_key_id] = Run(min(begins, each.begins), max(ends, each.ends))
        return found


def compare(report: UsageReport, recorded: Recorded, terms: Terms) -> Comparison:
    """Compare what was billed with what was recorded."""
    runs = complete(report, terms.complete_until)
    lanes = lanes_of(report, recorded, terms.unnamed, runs, terms.aliases)
    judgement = judge(lanes, report.width)
    found = [*_renamed(recorded.calls, lanes, runs, terms.aliases)]
    found += _named(judgement, report.width, terms.thresholds)
    found += accumulations(found, terms.thresholds)
    found.sort(key=lambda each: (each.begins, each.ends, each.fault.value, repr(each.payer), each.model or ""))
    judged = sum(len(lane.certain) for lane in lanes.lanes)
    replies = sum(call.is_certain for call in recorded.calls)
    return Comparison(tuple(found), lanes, judgement, judged, replies - judged)


def complete(report: UsageReport, until: int) -> tuple[Run, ...]:
    """Return what a report covers of buckets that end by a moment."""
    cut = []
    for run in report.runs:
        whole = (min(run.ends, until) - run.begins) // report.width
        if whole > 0:
            cut.append(Run(run.begins, run.begins + whole * report.width))
    return tuple(cut)


def _renamed(
    calls: Iterable[Call], lanes: Lanes, runs: Sequence[Run], aliases: Mapping[str, str]
) -> Iterator[Finding]:
    """Yield the replies that name another model than was asked for."""
    for call in calls:
        is_there = any(run.begins <= call.begins < run.ends for run in runs)
        if is_there and call.served is not None and not is_same_model(call.asked, call.served, aliases):
            words = "the reply itself names another model than was asked for"
            yield Finding(Fault.SUBSTITUTION, Severity.ALERT, call.begins, call.ends, lanes.payer(call.payer),
                          call.served, words, call.counts, NOTHING, call.asked, _rows([call]))  # fmt: skip


def _named(judgement: Judgement, width: int, thresholds: Thresholds) -> Iterator[Finding]:
    """Give what was found its classes: first what another model was billed for, then the rest."""
    unbilled = _Unbilled(judgement.unbilled)
    for odd in judgement.odd:
        excess = odd.named.excess
        taken = [] if excess.lacks else unbilled.take(odd, excess, width, thresholds)
        if taken:
            yield from _substitutions(odd, excess, taken, width)
        else:
            yield _odd(odd, width, thresholds)
    for lane, call in unbilled.left():
        words = "recorded as answered, and billed nowhere: an invented row, another payer, or a report that lacks it"
        yield Finding(Fault.MISSING, Severity.ALERT, call.begins, call.ends, lane.payer, call.model, words,
                      call.counts, calls=_rows([call]))  # fmt: skip


class _Unbilled:
    """Replies that were billed nowhere, found by their time."""

    def __init__(self, unbilled: Sequence[tuple[Lane, Call]]) -> None:
        self._listed = sorted(unbilled, key=lambda each: each[1].begins)
        self._begins = [call.begins for _, call in self._listed]
        self._longest = max((call.ends - call.begins for _, call in self._listed), default=0)
        self._gone: set[int] = set()

    def left(self) -> Iterator[tuple[Lane, Call]]:
        """Yield those that were not taken."""
        return (each for place, each in enumerate(self._listed) if place not in self._gone)

    def take(self, odd: Odd, excess: Counts, width: int, thresholds: Thresholds) -> list[tuple[Lane, Call]]:
        """Take those that were recorded under other models, of which an excess is the bill; none if it is not."""
        begins = odd.named.bucket.begins
        first = bisect_left(self._begins, begins - SKEW - self._longest)
        last = bisect_left(self._begins, begins + width + SKEW)
        near = [place for place in range(first, last) if place not in self._gone and self._may_be(place, odd, width)]
        calls = [self._listed[place][1] for place in near]
        exact = explaining(Billed(begins, excess), calls, width) if near else None
        if exact:
            chosen = set(map(id, exact))
            near = [place for place in near if id(self._listed[place][1]) in chosen]
        elif not near or thresholds.of_drift(total(call.counts for call in calls), excess) is Severity.ALERT:
            return []
        self._gone.update(near)
        return [self._listed[place] for place in near]

    def _may_be(self, place: int, odd: Odd, width: int) -> bool:
        lane, call = self._listed[place]
        return lane.payer == odd.lane.payer and lane is not odd.lane and touches(call, odd.named.bucket.begins, width)


def _substitutions(odd: Odd, excess: Counts, taken: Sequence[tuple[Lane, Call]], width: int) -> Iterator[Finding]:
    begins = odd.named.bucket.begins
    for model in dict.fromkeys(lane.model for lane, _ in taken):
        calls = [call for lane, call in taken if lane.model == model]
        words = "billed under another model than was asked for and recorded"
        recorded = total(call.counts for call in calls)
        billed = excess if len(calls) == len(taken) else recorded
        yield Finding(Fault.SUBSTITUTION, Severity.ALERT, begins, begins + width, odd.lane.payer, odd.lane.model, words,
                      recorded, billed, calls[0].asked, _rows(calls))  # fmt: skip


def _odd(odd: Odd, width: int, thresholds: Thresholds) -> Finding:
    """Say what a bucket is that its calls do not explain: billed and not recorded, or billed otherwise."""
    named, begins = odd.named, odd.named.bucket.begins
    billed, recorded = named.bucket.counts, named.recorded
    if not named.calls:
        words = "billed, and recorded nowhere: a call past the breaker, a row that is lost, or another user of the key,"
        words += " or the late bill of an attempt in doubt"
        return Finding(Fault.GHOST, Severity.ALERT, begins, begins + width, odd.lane.payer, odd.lane.model, words,
                       billed=billed)  # fmt: skip
    words = "less was billed than was recorded"
    if not named.excess.lacks:
        words = "more was billed than was recorded: figures that differ, or a call that nobody recorded beside these"
    return Finding(
        Fault.MISMATCH, thresholds.of_drift(recorded, billed), begins, begins + width, odd.lane.payer, odd.lane.model,
        words, recorded, billed, calls=_rows(named.calls),
    )


def _rows(calls: Iterable[Call]) -> tuple[tuple[str, int], ...]:
    return tuple((call.session, call.n) for call in calls)[:MOST_CALLS]
