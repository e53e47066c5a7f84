"""What came of each machine-checkable criterion, as the session's `check` rows say."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

from safeloop.review.framing.layout import word

if TYPE_CHECKING:
    from safeloop.ledger import Row
    from safeloop.review.framing.facts import Facts, Kept
    from safeloop.spec import Criterion


class Result(Enum):
    """The three results; the value is what the frame says."""

    PASS = "PASS"  # noqa: S105 (a verdict, not a password)
    FAIL = "FAIL"
    NOT_CHECKED = "NOT CHECKED"


@dataclass(frozen=True, slots=True)
class Checked:
    """One criterion and its result; `detail` is what the check had to say, if anything."""

    criterion: Criterion
    result: Result
    detail: Kept | None


def results(facts: Facts) -> tuple[Checked, ...]:
    """Return every criterion of the spec with its result; of several checks of one the last counts."""
    last = {row.data["criterion"]: row for row in facts.kinds("check")}
    return tuple(_checked(facts, criterion, last.get(criterion.name)) for criterion in facts.spec.criteria)


def foreign_checks(facts: Facts) -> tuple[Row, ...]:
    """Return the checks of criteria that the spec does not have."""
    known = {criterion.name for criterion in facts.spec.criteria}
    return tuple(row for row in facts.kinds("check") if row.data["criterion"] not in known)


def conditions(criterion: Criterion) -> tuple[str, ...]:
    """Return what a criterion asks for, each condition as one line."""
    lines = [] if criterion.file is None else [f"file {word(criterion.file)}"]
    if criterion.command is not None:
        lines.append(f"exits with 0: {' '.join(map(word, criterion.command))}")
    if criterion.schema is not None:
        lines.append(f"fits the JSON Schema {word(criterion.schema)}")
    lines += [f"contains {word(text)}" for text in criterion.contains]
    lines += [f"does not contain {word(text)}" for text in criterion.not_contains]
    lines += [f"matches {word(text)}" for text in criterion.matches]
    if criterion.min_chars is not None:
        lines.append(f"at least {criterion.min_chars} characters")
    if criterion.max_chars is not None:
        lines.append(f"at most {criterion.max_chars} characters")
    if criterion.retries is not None:
        lines.append(f"retries {criterion.retries}")
    return tuple(lines)


def _checked(facts: Facts, criterion: Criterion, row: Row | None) -> Checked:
    if row is None:
        return Checked(criterion, Result.NOT_CHECKED, None)
    detail = row.data["detail"]
    result = Result.PASS if row.data["pass_fail"] else Result.FAIL
    return Checked(criterion, result, None if detail is None else facts.content(detail))
