"""Lanes: what of a report and of a ledger is compared with each other, payer by payer and model by model. Pure.

An API key or a workspace is compared only where both sides name it throughout; else all of them are taken together,
and that is said. What other keys of the organisation spent is none of this ledger's business.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import groupby
from operator import attrgetter

from safeloop.review.reconciling.aliases import classes_of
from safeloop.review.reconciling.counts import Counts, total
from safeloop.review.reconciling.matching import SKEW
from safeloop.review.reconciling.recorded import Call, Recorded
from safeloop.review.reconciling.report import Billed, Payer, Run, Series, UsageReport

DEFAULT_WORKSPACE = "default"
"""What the workspace is called here that has no id in a report."""


@dataclass(slots=True)
class Lane:
    """One payer and one model.

    Attributes:
        model: As it is billed; as it was recorded where nothing is.
        series: What was billed, under whatever names it has.
        certain: Replies that must have been billed within what the report covers, by time.
        perhaps: Whatever else may have been, by time: each up to its `most`, or to what it was recorded with.
    """

    payer: Payer
    model: str | None
    series: list[Series] = field(default_factory=list)
    certain: list[Call] = field(default_factory=list)
    perhaps: list[Call] = field(default_factory=list)

    def buckets(self, runs: Iterable[Run]) -> Iterator[Billed]:
        """Yield the buckets that are not empty, by time, of these stretches."""
        for run in runs:
            yield from merged(self.series, run.begins, run.ends)


@dataclass(frozen=True, slots=True)
class Lanes:
    """What is compared.

    Attributes:
        runs: The stretches of the report that are judged.
        lanes: By payer and model.
        by_key: API keys are compared.
        by_workspace: Workspaces are compared.
        by_model: Models are compared.
        keyless: Where keys are compared, what was billed to none: by the console, or on a page that is not grouped so.
        others: Tokens that payers were billed who are not this ledger's.
    """

    runs: tuple[Run, ...]
    lanes: tuple[Lane, ...]
    by_key: bool
    by_workspace: bool
    by_model: bool
    keyless: tuple[Series, ...]
    others: int

    def payer(self, payer: Payer) -> Payer:
        """Return what of a payer is compared."""
        place = (payer.workspace or DEFAULT_WORKSPACE) if self.by_workspace else None
        return Payer(payer.api_key_id if self.by_key else None, place)


def merged(series: Iterable[Series], begins: int, ends: int) -> Iterator[Billed]:
    """Yield the buckets of several series as one, by time."""
    streams = [each.between(begins, ends) for each in series]
    if len(streams) == 1:
        yield from streams[0]
        return
    for start, same in groupby(heapq.merge(*streams, key=attrgetter("begins")), attrgetter("begins")):
        yield Billed(start, total(each.counts for each in same))


def lanes_of(
    report: UsageReport, recorded: Recorded, unnamed: Payer, runs: tuple[Run, ...], aliases: Mapping[str, str]
) -> Lanes:
    """Sort what was billed and what was recorded into lanes.

    Args:
        unnamed: As in `recorded_calls`.
        runs: What of the report is complete.
        aliases: Names that stand for models.
    """
    keys = recorded.keys | {each for each in (unnamed.api_key_id,) if each}
    places = recorded.workspaces | {each for each in (unnamed.workspace,) if each}
    by_key = report.names_keys and bool(keys) and all(call.payer.api_key_id for call in recorded.calls)
    by_place = report.names_workspaces and bool(places) and all(call.payer.workspace for call in recorded.calls)
    shell = Lanes(runs, (), by_key, by_place, report.names_models, (), 0)
    names = {model or "" for _, model in report.series} | {call.model for call in recorded.calls}
    classes = classes_of(names, aliases) if report.names_models else dict.fromkeys(names, "")
    found: dict[tuple[Payer, str], Lane] = {}
    others, keyless = 0, list[Series]()
    for (payer, model), series in sorted(report.series.items(), key=lambda item: repr(item[0])):
        mine = payer.api_key_id in keys if by_key else not by_place or shell.payer(payer).workspace in places
        if by_key and payer.api_key_id is None:
            keyless.append(series)
        if not mine:
            others += sum(each.counts.tokens for run in runs for each in series.between(run.begins, run.ends))
            continue
        name = (shell.payer(payer), classes[model or ""])
        found.setdefault(name, Lane(name[0], model)).series.append(series)
    for call in recorded.calls:
        name = (shell.payer(call.payer), classes[call.model])
        lane = found.setdefault(name, Lane(name[0], call.model if report.names_models else None))
        (lane.certain if call.is_certain and is_within(call, runs) else lane.perhaps).append(call)
    return replace(shell, lanes=tuple(found.values()), keyless=tuple(keyless), others=others)


def is_within(call: Call, runs: Iterable[Run]) -> bool:
    """Say whether all buckets in which a call may be billed are there."""
    return any(run.begins <= call.begins - SKEW and call.ends + SKEW < run.ends for run in runs)


def counted(series: Iterable[Series], begins: int, ends: int) -> Counts:
    """Return all that was billed in buckets that begin from one moment on and before another."""
    return total(each.counts for one in series for each in one.between(begins, ends))
