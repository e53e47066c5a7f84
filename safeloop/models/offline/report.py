"""The report of the offline auditor, in Markdown: the same page gives the same bytes.

It exists in several lengths, the longest first, so that a report can be chosen that fits into one reply;
every length counts all faults and says what it leaves out.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING

from safeloop.models.offline.body_rules import heading_faults, image_faults, link_faults, reading_faults
from safeloop.models.offline.findings import quoted, shown
from safeloop.models.offline.head_rules import (
    canonical_faults,
    description_faults,
    head_faults,
    index_faults,
    title_faults,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from safeloop.models.offline.findings import Finding, Place, Subject

    Rule = Callable[[Subject], Iterator[Finding]]

_SECTIONS: tuple[tuple[str, tuple[Rule, ...]], ...] = (
    ("Title", (title_faults,)),
    ("Meta description", (description_faults,)),
    ("Headings", (heading_faults,)),
    ("Canonical", (canonical_faults,)),
    ("Links", (link_faults,)),
    ("Images", (image_faults,)),
    ("Other", (index_faults, head_faults, reading_faults)),
)


@dataclass(frozen=True, slots=True)
class _Length:
    places: int        # shown of each fault; the others are counted
    quote: int         # characters of the page's text shown at a place; 0 is none
    reasons: bool
    note: str


_LENGTHS = (
    _Length(10, 80, reasons=True, note=""),
    _Length(5, 60, reasons=False, note="Shortened to fit one reply: no reasons, fewer places."),
    _Length(3, 0, reasons=False, note="Shortened to fit one reply: no reasons, no quotes, few places."),
)


@dataclass(frozen=True, slots=True)
class Audit:
    """One page, judged: the faults of each section, in the order of the report."""

    name: str
    sections: tuple[tuple[str, tuple[Finding, ...]], ...]
    note: str

    @property
    def faults(self) -> int:
        """How many faults were found; one fault in ten places is one fault."""
        return sum(len(findings) for _, findings in self.sections)


def audit(name: str, subject: Subject, *, note: str = "") -> Audit:
    """Judge a page by every rule.

    Args:
        name: What the page is called in the report: its path or address.
        subject: The page.
        note: A sentence for the head of the report; may be empty.
    """
    sections = (
        (title, tuple(chain.from_iterable(rule(subject) for rule in rules))) for title, rules in _SECTIONS
    )
    return Audit(name, tuple(sections), note)


def reports(audits: Sequence[Audit]) -> Iterator[str]:
    """The report on these pages in every length, the longest first."""
    for length in _LENGTHS:
        yield "\n".join(chain.from_iterable(_lines(each, length) for each in audits))


def counted(number: int, noun: str) -> str:
    """A number with its noun: `1 fault`, `2 faults`."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _lines(judged: Audit, length: _Length) -> Iterator[str]:
    yield f"# SEO audit of {shown(judged.name, 200)}"
    yield ""
    yield "Made by fixed rules (offline auditor, no model was asked)."
    yield from filter(None, (judged.note, length.note))
    for title, findings in judged.sections:
        yield from ("", f"## {title}", "")
        if not findings:
            yield "No fault found."
        for finding in findings:
            yield from _fault(finding, length)
    yield from ("", f"{counted(judged.faults, 'fault')} found.", "")


def _fault(finding: Finding, length: _Length) -> Iterator[str]:
    yield f"- {finding.what}{f' {finding.why}' if length.reasons else ''}"
    if length.quote:
        yield from (f"  - {_place(place, length.quote)}" for place in finding.places[: length.places])
    elif finding.places:
        yield f"  - {', '.join(_place(place, 0) for place in finding.places[: length.places])}"
    left_out = len(finding.places) - length.places
    if left_out > 0:
        yield f"  - and {counted(left_out, 'more place')}"
    yield f"  - Fix: {finding.fix}"


def _place(place: Place, quote: int) -> str:
    if quote and place.quote:
        return f"line {place.line}: {quoted(place.quote, quote)}"
    return f"line {place.line}"
