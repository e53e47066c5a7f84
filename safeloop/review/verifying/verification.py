"""What a verification says in the end: what was proved, what was not, and every reason against it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from safeloop.errors import ExitCode, SafeloopError
from safeloop.ledger import escaped

VERSION = 1
WHAT_IT_CAN_BE = (
    "name a receipt (safeloop receipt), a checkpoint or a consistency proof (safeloop checkpoint), or the folder of a "
    "release (safeloop release)"
)
"""What helps where something else was named."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One reason why it is not verified, and the next step."""

    message: str
    hint: str


@dataclass(frozen=True, slots=True)
class Verification:
    """The outcome of one verification.

    Attributes:
        subject: `receipt`, `checkpoint`, `consistency proof` or `release`; `file` if it is none of them.
        facts: What it is about, for `--json`: ledger, session, row, size.
        faults: What is false, missing or not pinned; with one of them nothing is verified.
        proved: What holds.
        unproved: What the reader must not conclude from it.
        is_self: The keys were pinned by the machine that wrote the ledger.
        path: What was verified, as it was named; empty where it came from nowhere.
    """

    subject: str
    facts: Mapping[str, Any]
    faults: tuple[Fault, ...]
    proved: tuple[str, ...]
    unproved: tuple[str, ...]
    is_self: bool = False
    path: str = ""

    @property
    def is_verified(self) -> bool:
        """Whether nothing speaks against it, and something for it."""
        return not self.faults and bool(self.proved)

    @property
    def exit_code(self) -> ExitCode:
        """What a wrapper sees."""
        return ExitCode.DONE if self.is_verified else ExitCode.VERIFICATION_FAILED

    @property
    def verdict(self) -> str:
        """The last line that a person reads."""
        number = len(self.faults)
        reasons = "1 reason" if number == 1 else f"{number:,} reasons"
        text = f"{self.subject} verified" if self.is_verified else f"{self.subject} NOT verified ({reasons})"
        text = f"{escaped(self.path)}: {text}" if self.path else text
        return text + ("; judged by `self`, the keys that this machine pinned for itself" if self.is_self else "")

    def as_json(self) -> dict[str, Any]:
        """Return the same as one object, versioned: keys are added, never given another meaning."""
        return {
            "version": VERSION,
            "subject": self.subject,
            "path": self.path or None,
            "verified": self.is_verified,
            **self.facts,
            "faults": [{"message": each.message, "hint": each.hint} for each in self.faults],
            "proved": list(self.proved),
            "not_proved": list(self.unproved),
            "self": self.is_self,
            "verdict": self.verdict,
            "exit_code": int(self.exit_code),
        }


@dataclass(slots=True)
class Findings:
    """Gathers what a verification finds on its way."""

    faults: list[Fault] = field(default_factory=list)
    proved: list[str] = field(default_factory=list)
    unproved: list[str] = field(default_factory=list)

    def refuse(self, message: str, hint: str) -> None:
        """Take down a reason against it, and the step that helps."""
        self.faults.append(Fault(message, hint))

    def refuse_error(self, error: SafeloopError, hint: str, where: str = "") -> None:
        """Take down what an error says, and where it was met; the hint is for one that has none."""
        self.refuse(f"{where}: {error.message}" if where else error.message, error.hint or hint)

    def verification(self, subject: str, facts: Mapping[str, Any], *, is_self: bool) -> Verification:
        """Return the outcome; a thing of which nothing holds proves nothing."""
        proved = () if self.faults else tuple(self.proved)
        return Verification(subject, facts, tuple(self.faults), proved, tuple(self.unproved), is_self)


def render_verification(verification: Verification) -> str:
    """Render it for a person, the verdict last; ends in a newline."""
    lines = [f"proved: {escaped(each)}" for each in verification.proved]
    lines += [f"not proved: {escaped(each)}" for each in verification.unproved]
    for each in verification.faults:
        lines += [escaped(each.message), f"  hint: {escaped(each.hint)}"]
    return "\n".join([*lines, verification.verdict, ""])
