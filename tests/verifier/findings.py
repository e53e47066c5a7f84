"""What a verifier has to say: findings that fail, gaps that leave a record incomplete, and a file that is refused."""

from dataclasses import dataclass, field

WHOLE = -1
"""The place of a finding that is about the ledger as a whole."""


class Refused(Exception):
    """Nothing is audited: no ledger of this version, or pins that are half understood."""


@dataclass(frozen=True, order=True)
class Finding:
    """One rule that does not hold, at a row (`idx`) or, at `WHOLE`, for the ledger as a whole."""

    idx: int
    rule: str
    said: str

    def __str__(self) -> str:
        return f"{'ledger' if self.idx == WHOLE else f'row {self.idx + 1}'}: {self.rule}: {self.said}"


@dataclass
class Report:
    """All that was found; an equal finding counts once."""

    findings: set[Finding] = field(default_factory=set)
    gaps: set[Finding] = field(default_factory=set)

    def fail(self, idx: int, rule: str, said: str) -> None:
        self.findings.add(Finding(idx, rule, said))

    def gap(self, idx: int, rule: str, said: str) -> None:
        self.gaps.add(Finding(idx, rule, said))

    @property
    def passed(self) -> bool:
        return not self.findings

    @property
    def complete(self) -> bool:
        return not self.gaps

    @property
    def exit_code(self) -> int:
        if self.findings:
            return 11
        return 18 if self.gaps else 0
