"""What a reconciliation finds: five classes, three severities, and where the bounds between them lie. Pure."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from itertools import groupby
from typing import Any

from safeloop.errors import SettingError
from safeloop.review.reconciling.counts import CLASSES, NOTHING, Counts
from safeloop.review.reconciling.report import SECOND, Payer, moment


class Fault(StrEnum):
    """The classes of findings."""

    GHOST = "ghost_call"
    MISSING = "missing_record"
    SUBSTITUTION = "model_substitution"
    MISMATCH = "token_mismatch"
    ACCUMULATION = "accumulation"


class Severity(StrEnum):
    """How grave a finding is; only an alert is enforced."""

    INFO = "info"
    WARN = "warn"
    ALERT = "alert"


@dataclass(frozen=True, slots=True)
class Thresholds:
    """Where the bounds lie.

    Attributes:
        info_percent: A drift of at most this is an info.
        warn_percent: One of at most this is a warning; above, it is an alert.
        drifts: So many drifts of one API key are an alert together, ...
        within_s: ... if their buckets begin within so many seconds, inclusive.
    """

    info_percent: int = 5
    warn_percent: int = 20
    drifts: int = 3
    within_s: int = 900

    def __post_init__(self) -> None:
        if not 0 <= self.info_percent <= self.warn_percent <= 1_000_000:
            raise SettingError("a drift's info percentage is at most its warn percentage", hint="safeloop config")
        if not (2 <= self.drifts <= 1_000 and 60 <= self.within_s <= 86_400):
            raise SettingError("drifts are 2 to 1,000, within 60 to 86,400 seconds", hint="safeloop config")

    def of_drift(self, recorded: Counts, billed: Counts) -> Severity:
        """Say how grave it is that so much was billed in place of what was recorded.

        What counts is the worst of three: the classes of the input against the whole input, the output, the searches.
        """
        delta = billed.minus(recorded)
        moved = (abs(delta.input) + abs(delta.cache_write) + abs(delta.cache_read), abs(delta.output),
                 abs(delta.searches))  # fmt: skip
        against = (recorded.read, recorded.output, recorded.searches)
        for severity, percent in ((Severity.INFO, self.info_percent), (Severity.WARN, self.warn_percent)):
            if all(part * 100 <= percent * whole for part, whole in zip(moved, against, strict=True)):
                return severity
        return Severity.ALERT


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that the bill and the ledger do not agree about.

    Attributes:
        begins: Of the bucket; of a call that no bucket explains, its earliest moment; in microseconds.
        ends: The same.
        model: As it was billed; as it was recorded where it was not.
        asked: The model that was asked for, where another one answered or was billed.
        calls: The rows concerned, as (session, n); at most `MOST_CALLS` of them.
        words: What it may mean, in one sentence.
    """

    fault: Fault
    severity: Severity
    begins: int
    ends: int
    payer: Payer
    model: str | None
    words: str
    recorded: Counts = NOTHING
    billed: Counts = NOTHING
    asked: str | None = None
    calls: tuple[tuple[str, int], ...] = ()

    @property
    def excess(self) -> Counts:
        """What was billed beyond what was recorded; less than nothing where less was billed."""
        return self.billed.minus(self.recorded)

    @property
    def sessions(self) -> tuple[str, ...]:
        """The sessions that it concerns."""
        return tuple(dict.fromkeys(session for session, _ in self.calls))

    def as_entry(self) -> dict[str, Any]:
        """Return it as the content of a row has it."""
        return {
            "class": self.fault.value, "severity": self.severity.value, "from": moment(self.begins),
            "to": moment(self.ends), "api_key_id": self.payer.api_key_id, "workspace": self.payer.workspace,
            "model": self.model, "asked": self.asked, "recorded": _figures(self.recorded),
            "billed": _figures(self.billed), "calls": [{"session": session, "n": n} for session, n in self.calls],
            "words": self.words,
        }


MOST_CALLS = 20
"""Rows that one finding names, inclusive."""


def identity(entry: dict[str, Any]) -> str:
    """Return what makes two findings one, whatever report they were found in: its facts, and not how grave it is."""
    facts = {name: value for name, value in entry.items() if name not in ("severity", "words")}
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


def accumulations(drifts: Iterable[Finding], thresholds: Thresholds) -> Iterator[Finding]:
    """Yield an alert for each API key that drifts so often within so short a time, once for the same drifts.

    Only buckets that are no wider than that time can show it.
    """
    def key(finding: Finding) -> str:
        return finding.payer.api_key_id or ""

    within = thresholds.within_s * SECOND
    narrow = [each for each in drifts if each.fault is Fault.MISMATCH and each.ends - each.begins <= within]
    for _, listed in groupby(sorted(narrow, key=lambda each: (key(each), each.begins, each.model or "")), key):
        recent: list[Finding] = []
        for each in listed:
            recent = [one for one in recent if each.begins - one.begins <= within] + [each]
            if len(recent) >= thresholds.drifts:
                yield _accumulated(recent)
                recent = []


def _accumulated(drifts: list[Finding]) -> Finding:
    calls = tuple(dict.fromkeys(call for each in drifts for call in each.calls))[:MOST_CALLS]
    first, last = drifts[0], drifts[-1]
    words = f"{len(drifts)} drifts of one API key within {(last.ends - first.begins) // (60 * SECOND)} minutes"
    recorded, billed = first.recorded, first.billed
    for each in drifts[1:]:
        recorded, billed = recorded.plus(each.recorded), billed.plus(each.billed)
    models = {each.model for each in drifts}
    return Finding(Fault.ACCUMULATION, Severity.ALERT, first.begins, last.ends, first.payer,
                   first.model if len(models) == 1 else None, words, recorded, billed, calls=calls)  # fmt: skip


def _figures(counts: Counts) -> dict[str, int]:
    return dict(zip(CLASSES, counts, strict=True))
