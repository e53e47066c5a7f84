"""What a reconciliation says: as text for people, and as the facts of one object. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from safeloop.ledger.visible import visible
from safeloop.review.reconciling.comparing import Comparison
from safeloop.review.reconciling.counts import Counts
from safeloop.review.reconciling.findings import Fault, Finding, Severity
from safeloop.review.reconciling.recorded import Recorded
from safeloop.review.reconciling.recording import Recording, Source
from safeloop.review.reconciling.report import Run, UsageReport, moment
from safeloop.review.reconciling.settling import Why

MOST_SHOWN = 100
"""Findings that are shown as text, inclusive; the row lists all."""

CANNOT_SHOW = (
    "whether a recorded reply says what the model said: a call that was made and billed, with its content invented",
    "calls that another payer was billed for, or a provider without usage reports",
    "within one bucket of one key and model: which call is meant; an unrecorded one beside recorded ones is a "
    "token_mismatch",
)


@dataclass(frozen=True, slots=True)
class Told:
    """One reconciliation, done.

    Attributes:
        made: What is known to be the earliest moment at which the report was made, in microseconds.
        missing: Where buckets are missing.
        kept: How many attempts in doubt were not settled, by what is lacking.
    """

    report: UsageReport
    source: Source
    recorded: Recorded
    found: Comparison
    recording: Recording
    made: int
    missing: tuple[Run, ...]
    kept: Mapping[Why, int]

    @property
    def alerts(self) -> int:
        """How many findings are alerts, new or not."""
        beyond = 1 if self.found.judgement.beyond else 0
        return beyond + sum(each.severity is Severity.ALERT for each in self.found.findings)

    @property
    def is_partial(self) -> bool:
        """Whether the report lacks what it should have: pages after its last one, or buckets."""
        return self.report.has_more or bool(self.missing) or not self.found.runs

    @property
    def asks_for_a_look(self) -> bool:
        """Whether anything is new that is more than an info, or lacking that was not told before."""
        return bool(self.recording.lacking) or any(each.severity is not Severity.INFO for each in self.recording.new)

    def facts(self) -> dict[str, Any]:
        """Return it as one object."""
        new = set(map(id, self.recording.new))
        return {
            "source": self.source.name, "window": self.source.window, "rows": list(self.recording.rows),
            "known_since": self.recording.before, "calls": self.found.calls, "unjudged": self.found.unjudged,
            "counts": {fault.value: sum(each.fault is fault for each in self.found.findings) for fault in Fault},
            "alerts": self.alerts, "further_findings": self.found.judgement.beyond,
            "findings": [{**each.as_entry(), "new": id(each) in new} for each in self.found.findings],
            "settled": [{"session": each.session, "n": each.n, "charged_tokens": each.charged,
                         "billed_tokens": each.billed} for each in self.recording.settled],
            "unsettled": {why.value: count for why, count in self.kept.items()},
            "missing": [[moment(run.begins), moment(run.ends)] for run in self.missing],
            "judged": [[moment(run.begins), moment(run.ends)] for run in self.found.runs],
            "compared": {"api_key_id": self.found.lanes.by_key, "workspace": self.found.lanes.by_workspace,
                         "model": self.report.names_models},
            "notes": list(self.notes()), "cannot_show": list(CANNOT_SHOW),
        }  # fmt: skip

    def text(self) -> str:
        """Return it as lines."""
        return "\n".join(self._lines())

    def _lines(self) -> Iterator[str]:
        yield f"{self.source.window.replace('/', ' to ')}, buckets of {self.source.width}: {self._summary()}"
        shown = self.found.findings[:MOST_SHOWN]
        new = set(map(id, self.recording.new))
        for each in shown:
            yield f"{each.severity:5}  {each.fault:18}  {_line(each)}{'' if id(each) in new else '  (told before)'}"
        if len(self.found.findings) > len(shown):
            yield f"… and {len(self.found.findings) - len(shown):,} more: the same command with --json"
        for item in self.recording.settled:
            yield f"settled  session {item.session}, n {item.n}: charged {item.charged:,} tokens, now {item.billed:,}"
        yield from (f"note: {words}" for words in self.notes())
        yield from (f"cannot show: {words}" for words in CANNOT_SHOW)

    def _summary(self) -> str:
        rows = self.recording.rows
        written = f"row {', '.join(map(str, rows))}" if rows else f"nothing new since row {self.recording.before}"
        replies = f"{self.found.calls:,} {'reply' if self.found.calls == 1 else 'replies'} compared"
        count = len(self.found.findings)
        findings = f"{count:,} {'finding' if count == 1 else 'findings'}, {self.alerts:,} of them alerts"
        return f"{replies}; {findings if count else 'no findings'}; {written}"

    def notes(self) -> Iterator[str]:
        """Yield what was not compared, and why."""
        report, found = self.report, self.found
        if report.has_more:
            yield f"the report says itself that pages are missing after {moment(report.ends)}"
        for gap in self.missing[:5]:
            yield f"buckets are missing from {moment(gap.begins)} to {moment(gap.ends)}: nothing is known of that time"
        if len(self.missing) > 5:
            yield f"buckets are missing in {len(self.missing) - 5:,} further places"
        judged = found.runs[-1].ends if found.runs else report.begins
        if judged < report.ends:
            yield (f"buckets from {moment(judged)} on may not be complete, and are not judged: the report may be of "
                   f"{moment(self.made)}")
        if found.unjudged:
            yield f"{found.unjudged:,} replies lie at an edge of what is judged, or beyond it"
        yield from self._uncompared()
        if found.judgement.beyond:
            yield (f"{found.judgement.beyond:,} further buckets with {found.judgement.beyond_tokens:,} tokens are not "
                   "explained, and not listed")
        for why, count in self.kept.items():
            yield f"{count:,} {'attempt' if count == 1 else 'attempts'} in doubt not settled: {why.words}"

    def _uncompared(self) -> Iterator[str]:
        lanes = self.found.lanes
        if not self.report.names_models and self.report.size:
            yield "the report is not grouped by model: models are not compared"
        if not lanes.by_key and self.report.size:
            why = "sessions do not name theirs" if self.report.names_keys else "the report is not grouped by them"
            yield f"API keys are not compared, and all count as this ledger's: {why} (setting api_key_id)"
        if lanes.others:
            yield f"{lanes.others:,} tokens were billed to other keys or workspaces of the organisation"
        for endpoint, count in sorted(self.recorded.elsewhere.items()):
            yield f"{count:,} calls went to {visible(endpoint, 80)}, which this report does not bill"


def _line(each: Finding) -> str:
    """Return a finding's facts and what it may mean."""
    asked = "" if each.asked is None else f" (asked: {visible(each.asked, 60)})"
    of = f"{visible(each.model or 'any model', 60)}{asked}"
    payer = "" if each.payer.api_key_id is None else f"  {visible(each.payer.api_key_id, 60)}"
    where = ", ".join(f"{session} n {n}" for session, n in each.calls[:3])
    where = f"  [{where}{', …' if len(each.calls) > 3 else ''}]" if where else ""
    figures = f"recorded {_figures(each.recorded)}, billed {_figures(each.billed)}"
    return f"{moment(each.begins)}  {of}{payer}  {figures}  {each.words}{where}"


def _figures(counts: Counts) -> str:
    if counts.is_nothing:
        return "nothing"
    searches = f", {counts.searches} searches" if counts.searches else ""
    return f"{counts.read:,} in + {counts.output:,} out{searches}"


def source_of(report: UsageReport, name: str, asked: str | None = None) -> Source:
    """Return how a report is known; `name` is the width of its buckets, `asked` the address that was asked for it."""
    return Source(name, report.digest(), f"{moment(report.begins)}/{moment(report.ends)}", asked)


