"""A usage report of the Messages API: what was billed in buckets of time, by model, API key and workspace.

Times are whole microseconds since 1970 (UTC). A report covers runs of time without a gap; where a bucket is missing
nothing is known, and an empty bucket says that nothing was billed.
"""

from __future__ import annotations

import hashlib
from array import array
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import NamedTuple

from safeloop.errors import SettingError
from safeloop.review.reconciling.counts import Counts

SECOND = 1_000_000
WIDTHS = {60 * SECOND: "1m", 3_600 * SECOND: "1h", 86_400 * SECOND: "1d"}
MOST_RESULTS = 4_000_000
"""Results of a report that are kept, inclusive: some 200 MB."""

_FIGURES = 1 + len(Counts._fields)


class Payer(NamedTuple):
    """Whom a report names beside the model; None where it does not say, or where there is none."""

    api_key_id: str | None
    workspace: str | None


class Run(NamedTuple):
    """A stretch of time without a gap, from its first moment up to but not its last."""

    begins: int
    ends: int


class Billed(NamedTuple):
    """What one bucket says of one payer and model."""

    begins: int
    counts: Counts


class Series:
    """The buckets of one payer and model that are not empty, by time: six integers each, in one array."""

    def __init__(self) -> None:
        self._begins, self._counts = array("q"), array("q")

    def add(self, begins: int, counts: Counts) -> None:
        """Add to a bucket, the last one or a later one."""
        if self._begins and self._begins[-1] == begins:
            base = len(self._counts) - len(counts)
            for place, count in enumerate(counts):
                self._counts[base + place] += count
        else:
            self._begins.append(begins)
            self._counts.extend(counts)

    def __len__(self) -> int:
        return len(self._begins)

    def between(self, begins: int, ends: int) -> Iterator[Billed]:
        """Yield the buckets that begin from one moment on, and before another."""
        size = len(Counts._fields)
        for place in range(bisect_left(self._begins, begins), bisect_left(self._begins, ends)):
            yield Billed(self._begins[place], Counts(*self._counts[place * size : (place + 1) * size]))

    def extend(self, other: Series, begins: int) -> None:
        """Take over those of another that begin from one moment on."""
        place = bisect_left(other._begins, begins)
        self._begins.extend(other._begins[place:])
        self._counts.extend(other._counts[place * len(Counts._fields) :])

    @property
    def newest(self) -> int:
        """When the last bucket begins."""
        return self._begins[-1]

    def as_bytes(self) -> bytes:
        """Return the figures, for a digest."""
        return b"%d %d " % (len(self._begins), len(self._counts)) + self._begins.tobytes() + self._counts.tobytes()


@dataclass(slots=True)
class UsageReport:
    """One report, read.

    Attributes:
        width: Of a bucket, in microseconds: a minute, an hour or a day; 0 if there is none.
        runs: What it covers, by time.
        series: By payer and model.
        has_more: It says itself that pages after its last one are missing.
    """

    width: int = 0
    runs: list[Run] = field(default_factory=list)
    series: dict[tuple[Payer, str | None], Series] = field(default_factory=dict)
    has_more: bool = False

    @property
    def begins(self) -> int:
        """Its first moment; 0 if it covers none."""
        return self.runs[0].begins if self.runs else 0

    @property
    def ends(self) -> int:
        """The end of what it covers; 0 if it covers nothing."""
        return self.runs[-1].ends if self.runs else 0

    @property
    def gaps(self) -> tuple[Run, ...]:
        """The stretches between, where buckets are missing."""
        return tuple(Run(one.ends, two.begins) for one, two in zip(self.runs, self.runs[1:], strict=False))

    @property
    def newest(self) -> int:
        """When the last bucket begins that is not empty: the report was made after that; 0 if all are empty."""
        return max((each.newest for each in self.series.values()), default=0)

    @property
    def size(self) -> int:
        """How many figures it has that are not empty."""
        return sum(map(len, self.series.values()))

    @property
    def names_keys(self) -> bool:
        """Whether it is grouped by API key."""
        return any(payer.api_key_id is not None for payer, _ in self.series)

    @property
    def names_workspaces(self) -> bool:
        """Whether it is grouped by workspace."""
        return any(payer.workspace is not None for payer, _ in self.series)

    @property
    def names_models(self) -> bool:
        """Whether it is grouped by model."""
        return any(model is not None for _, model in self.series)

    def cover(self, begins: int, ends: int) -> None:
        """Take in a bucket's time; buckets come by time.

        Raises:
            SettingError: It is none of a minute, an hour or a day, not as wide as the others, or not after them.
        """
        if ends - begins not in WIDTHS or self.width not in (0, ends - begins):
            wanted = WIDTHS.get(self.width, "a minute, an hour or a day")
            raise refused(f"the bucket from {moment(begins)} to {moment(ends)} is not as wide as {wanted}")
        if self.runs and begins < self.runs[-1].ends:
            raise refused(f"the bucket of {moment(begins)} comes twice, or after a later one")
        self.width = ends - begins
        if self.runs and self.runs[-1].ends == begins:
            self.runs[-1] = Run(self.runs[-1].begins, ends)
        else:
            self.runs.append(Run(begins, ends))

    def bill(self, begins: int, payer: Payer, model: str | None, counts: Counts) -> None:
        """Take in one result of the newest bucket."""
        if not counts.is_nothing:
            self.series.setdefault((payer, model), Series()).add(begins, counts)

    def digest(self) -> str:
        """Return the SHA-256 of all that is known of it: the same for the same report, however it is written."""
        told = hashlib.sha256(repr((self.width, self.runs, self.has_more)).encode())
        for (payer, model), each in sorted(self.series.items(), key=lambda item: repr(item[0])):
            told.update(repr((*payer, model)).encode() + b"\n" + each.as_bytes())
        return told.hexdigest()


def joined(reports: Sequence[UsageReport]) -> UsageReport:
    """Put reports together that may overlap, as pages do that were saved one by one.

    Raises:
        SettingError: Their buckets differ in width, or say different things of the same time.
    """
    whole = UsageReport()
    is_ended = any(not one.runs and not one.has_more for one in reports)  # the last page may be an empty one
    for each in sorted((one for one in reports if one.runs), key=lambda one: (one.begins, one.ends)):
        whole = _join(whole, each) if whole.runs else each
    whole.has_more = whole.has_more and not is_ended
    return whole


def _join(earlier: UsageReport, later: UsageReport) -> UsageReport:
    """Add what a later report says beyond the end of an earlier one."""
    if earlier.width != later.width:
        raise refused(f"one report has buckets of {WIDTHS[earlier.width]}, another of {WIDTHS[later.width]}")
    seam = earlier.ends
    _check_same(earlier, later, later.begins, seam)
    ends_later = later.ends > seam
    for run in later.runs:
        if run.ends > seam:
            begins = max(run.begins, seam)
            if earlier.runs[-1].ends == begins:
                earlier.runs[-1] = Run(earlier.runs[-1].begins, run.ends)
            else:
                earlier.runs.append(Run(begins, run.ends))
    for name, each in later.series.items():
        earlier.series.setdefault(name, Series()).extend(each, seam)
        if not len(earlier.series[name]):
            del earlier.series[name]
    earlier.has_more = later.has_more if ends_later else earlier.has_more and later.has_more
    return earlier


def _check_same(one: UsageReport, two: UsageReport, begins: int, ends: int) -> None:
    """Check that two reports say the same of a time that both cover."""
    if begins >= ends:
        return
    ends = min(ends, two.ends)
    if _within(one.runs, begins, ends) != _within(two.runs, begins, ends):
        raise refused(f"two reports overlap from {moment(begins)} on, and not with the same buckets")
    for name in one.series.keys() | two.series.keys():
        told = [tuple(each.series.get(name, Series()).between(begins, ends)) for each in (one, two)]
        if told[0] != told[1]:
            raise refused(f"two reports say different things of the time from {moment(begins)} to {moment(ends)}")


def _within(runs: Sequence[Run], begins: int, ends: int) -> list[Run]:
    cut = [Run(max(run.begins, begins), min(run.ends, ends)) for run in runs]
    return [run for run in cut if run.begins < run.ends]


def refused(words: str) -> SettingError:
    """Say why a file is not taken for a usage report."""
    return SettingError(f"usage report: {words}", hint="fetch it again: safeloop reconcile --from ... --to ...")


def moment(when: int) -> str:
    """Return a time as people and rows have it."""
    told = datetime.fromtimestamp(when // SECOND, UTC)
    return told.strftime("%Y-%m-%dT%H:%M:%SZ")
