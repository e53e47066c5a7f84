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
        since: How many rows before them were audited before, and only replayed now.
        tree_only: Only chains and tree were checked: no signature, no encoding, no content, and not the loop's word.
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
    since: int = 0
    tree_only: bool = False

    @property
    def record(self) -> str:
        """`PASS` or `FAIL`: was the record altered? `UNCHECKED` where only the tree was looked at, and holds."""
        if self.findings:
            return "FAIL"
        return "UNCHECKED" if self.tree_only else "PASS"

    @property
    def tree(self) -> str:
        """`PASS` or `FAIL` where only chains and tree were looked at; else empty: the record's verdict says it."""
        if not self.tree_only:
            return ""
        return "FAIL" if self.findings else "PASS"

    @property
    def completeness(self) -> str:
        """`COMPLETE` or `INCOMPLETE`: could everything be checked?"""
        return "INCOMPLETE" if self.gaps or self.tree_only else "COMPLETE"

    @property
    def exit_code(self) -> ExitCode:
        """What a wrapper sees: a failure outweighs incompleteness, and the tree alone is never all."""
        if self.findings:
            return ExitCode.VERIFICATION_FAILED
        return ExitCode.DONE if self.completeness == "COMPLETE" else ExitCode.INCOMPLETE

    @property
    def verdict(self) -> str:
        """The last line that a person reads."""
        rows = f"{counted(self.rows_standing, 'row')} {'stands' if self.rows_standing == 1 else 'stand'}"
        faults = counted(len(self.findings), "finding")
        what, proof = ("tree", "their places in it") if self.tree_only else ("record", "their own signatures")
        what += "" if self.session is None else f" of session {self.session}"
        if not self.findings:
            text = f"{what} PASS, {rows}"
        elif self.rows_standing == 0:
            text = f"{what} FAIL ({faults}), no row stands"
        elif self.rows_standing == self.rows:
            text = f"{what} FAIL ({faults}); by {proof} {rows}"
        else:
            text = f"{what} FAIL ({faults}), the other {rows}"
        if self.since:
            text += f"; judged from row {self.since + 1} on, audited up to there before"
        if self.session is not None:
            text += "; other sessions were not judged"
        if self.gaps:
            text += f"; INCOMPLETE ({counted(len(self.gaps), 'gap')})"
        if self.tree_only:
            text += "; INCOMPLETE: signatures, encodings and contents were not checked"
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
            "tree": self.tree or None,
            "since": self.since,
            "rows": self.rows,
            "rows_standing": self.rows_standing,
            "findings": [_as_json(each) for each in self.findings],
            "gaps": [_as_json(each) for each in self.gaps],
            "notes": list(self.notes),
            "self": self.is_self,
            "verdict": self.verdict,
            "exit_code": int(self.exit_code),
        }


def nothing_audited(findings: tuple[Finding, ...], session: str | None, *, tree_only: bool) -> AuditReport:
    """Return what is said where there is nothing to audit, or nothing to audit by: it fails, and no row stands."""
    notes = ("no row was looked at",)
    return AuditReport(None, 0, session, 0, 0, findings, (), notes, is_self=False, tree_only=tree_only)


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
