"""What an audit says in the end: two verdicts, and everything that led to them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from safeloop.errors import ExitCode
from safeloop.ledger import escaped
from safeloop.review.auditing.findings import Finding, counted

VERSION = 1


@dataclass(frozen=True, slots=True)
class AuditReport:
    """The outcome of one audit.

    Attributes:
        ledger: The origin; None if nothing in the file vouches for one.
        size: Rows in the snapshot.
        session: The one session that was audited; None for all.
        rows: How many rows were judged.
        rows_standing: How many of them no finding names: their own signature and place hold.
        findings: What is false, ordered by row; those about the whole ledger come first.
        gaps: What could not be checked.
        notes: What the reader should know besides.
        is_self: The keys were pinned by the machine that wrote the ledger.
    """

    ledger: str | None
    size: int
    session: str | None
    rows: int
    rows_standing: int
    findings: tuple[Finding, ...]
    gaps: tuple[Finding, ...]
    notes: tuple[str, ...]
    is_self: bool

    @property
    def record(self) -> str:
        """`PASS` or `FAIL`: was the record altered?"""
        return "FAIL" if self.findings else "PASS"

    @property
    def completeness(self) -> str:
        """`COMPLETE` or `INCOMPLETE`: could everything be checked?"""
        return "INCOMPLETE" if self.gaps else "COMPLETE"

    @property
    def exit_code(self) -> ExitCode:
        """What a wrapper sees: a failure outweighs incompleteness."""
        if self.findings:
            return ExitCode.VERIFICATION_FAILED
        return ExitCode.INCOMPLETE if self.gaps else ExitCode.DONE

    @property
    def verdict(self) -> str:
        """The last line that a person reads."""
        rows = f"{counted(self.rows_standing, 'row')} {'stands' if self.rows_standing == 1 else 'stand'}"
        faults = counted(len(self.findings), "finding")
        if not self.findings:
            text = f"record PASS, {rows}"
        elif self.rows_standing == 0:
            text = f"record FAIL ({faults}), no row stands"
        elif self.rows_standing == self.rows:
            text = f"record FAIL ({faults}); by their own signatures {rows}"
        else:
            text = f"record FAIL ({faults}), the other {rows}"
        if self.gaps:
            text += f"; INCOMPLETE ({counted(len(self.gaps), 'gap')})"
        return text + ("; judged by `self`, the keys that this machine pinned for itself" if self.is_self else "")

    def as_json(self) -> dict[str, Any]:
        """Return the same as one object, versioned: keys are added, never given another meaning."""
        return {
            "version": VERSION,
            "ledger": self.ledger,
            "size": self.size,
            "session": self.session,
            "record": self.record,
            "completeness": self.completeness,
            "rows": self.rows,
            "rows_standing": self.rows_standing,
            "findings": [_as_json(each) for each in self.findings],
            "gaps": [_as_json(each) for each in self.gaps],
            "notes": list(self.notes),
            "self": self.is_self,
            "verdict": self.verdict,
            "exit_code": int(self.exit_code),
        }


def render_report(report: AuditReport) -> str:
    """Render a report for a person, one finding after the other, the verdict last; ends in a newline."""
    lines = []
    for each in report.findings:
        lines += [escaped(each.message), f"  rule: {each.rule.sentence}    hint: {escaped(each.remedy)}"]
    for each in report.gaps:
        lines += [f"not checked: {escaped(each.message)}",
                  f"  rule: {each.rule.sentence}    hint: {escaped(each.remedy)}"]
    lines += [f"note: {escaped(note)}" for note in report.notes]
    return "\n".join([*lines, report.verdict, ""])


def _as_json(each: Finding) -> dict[str, Any]:
    return {
        "rule": str(each.rule), "row": each.row, "session": each.session, "message": each.message,
        "remedy": each.remedy,
    }
