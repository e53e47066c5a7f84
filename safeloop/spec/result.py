"""The definition of done as a value, and as the data of its `spec` row."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass, field
from typing import TYPE_CHECKING, Any

from safeloop.errors import SpecError
from safeloop.ledger import encode
from safeloop.spec.answers import Question, refusal_of
from safeloop.spec.ceilings import Ceilings
from safeloop.spec.criteria import Criterion, require_criteria
from safeloop.spec.grant import ToolGrant
from safeloop.spec.wording import article, did_you_mean, quoted

if TYPE_CHECKING:
    from collections.abc import Mapping

LONGEST_ROW = 58_000
"""Bytes of a `spec` row's data, encoded: a body holds 60,000 with the keys around the data."""


@dataclass(frozen=True, slots=True)
class SpecDraft:
    """A definition of done that no session has yet: what a spec file or three answers say.

    Args:
        what_it_does: The task in a person's words.
        what_it_does_not: What is out of bounds.
        done_looks_like: What can be seen when it is done.
        criteria: What a machine checks, each name once.
        ceilings: What must not be exceeded.
        tools: What the session's tools may do.

    Raises:
        SpecError: The criteria do not stand together.
    """

    what_it_does: str
    what_it_does_not: str
    done_looks_like: str
    _: KW_ONLY
    criteria: tuple[Criterion, ...] = ()
    ceilings: Ceilings = field(default_factory=Ceilings)
    tools: ToolGrant = field(default_factory=ToolGrant)

    def __post_init__(self) -> None:
        object.__setattr__(self, "criteria", require_criteria(self.criteria))

    def named(self, session_id: str) -> SpecResult:
        """The same definition, as the one of this session."""
        return SpecResult(
            self.what_it_does, self.what_it_does_not, self.done_looks_like, session_id,
            criteria=self.criteria, ceilings=self.ceilings, tools=self.tools,
        )


@dataclass(frozen=True, slots=True)
class SpecResult:
    """The definition of done of one session. One built by hand is as good as one that was asked for.

    Args:
        what_it_does: The task in a person's words.
        what_it_does_not: What is out of bounds.
        done_looks_like: What can be seen when it is done.
        session_id: The session whose rows keep this promise.
        criteria: What a machine checks, each name once.
        ceilings: What must not be exceeded.
        tools: What the session's tools may do.

    Raises:
        SpecError: The criteria do not stand together.
    """

    what_it_does: str
    what_it_does_not: str
    done_looks_like: str
    session_id: str
    _: KW_ONLY
    criteria: tuple[Criterion, ...] = ()
    ceilings: Ceilings = field(default_factory=Ceilings)
    tools: ToolGrant = field(default_factory=ToolGrant)

    def __post_init__(self) -> None:
        object.__setattr__(self, "criteria", require_criteria(self.criteria))


def to_row(spec: SpecResult | SpecDraft) -> dict[str, Any]:
    """The data of the `spec` row; `from_row` gives the equal value back.

    Raises:
        SpecError: An answer is empty or cannot be stored, or the whole does not fit into one row. Whether
            done repeats the task is asked where a spec is recorded, not here.
    """
    data: dict[str, Any] = {}
    for question in Question:
        answer = getattr(spec, question.value)
        refusal = refusal_of(question, answer)
        if refusal is not None:
            raise SpecError(f"{question.value} {refusal.problem}", hint=refusal.hint)
        data[question.value] = answer
    data["criteria"] = [criterion.as_row() for criterion in spec.criteria]
    data["ceilings"] = spec.ceilings.as_row()
    data["tools"] = spec.tools.as_row()
    size = len(encode(data))
    if size > LONGEST_ROW:
        raise SpecError(
            f"the spec has {size} bytes, more than {LONGEST_ROW} that fit into its row",
            hint="shorten the answers, or the texts of the criteria",
        )
    return data


def from_row(session_id: str, data: Mapping[str, Any]) -> SpecResult:
    """Read the data of a `spec` row, which is a closed object.

    Raises:
        SpecError: A key too many or too few, or a value that this version does not know how to keep.
    """
    known = (*(question.value for question in Question), "criteria", "ceilings", "tools")
    for key in data:
        if key not in known:
            raise SpecError(f"key {quoted(key)} of a spec row is unknown", hint=did_you_mean(key, known))
    for key in known:
        if key not in data:
            raise SpecError(f"key {key} of a spec row is missing", hint="safeloop audit says more")
    for key, kind in (("criteria", list), ("ceilings", dict), ("tools", dict)):
        if not isinstance(data[key], kind):
            raise SpecError(f"{key} of a spec row is {article(data[key])}", hint="safeloop audit says more")
    for question in Question:
        refusal = refusal_of(question, data[question.value])
        if refusal is not None:
            raise SpecError(f"{question.value} of a spec row {refusal.problem}", hint=refusal.hint)
    return SpecResult(
        data["what_it_does"], data["what_it_does_not"], data["done_looks_like"], session_id,
        criteria=tuple(Criterion.of_row(row) for row in data["criteria"]),
        ceilings=Ceilings.of_row(data["ceilings"]),
        tools=ToolGrant.of_row(data["tools"]),
    )
