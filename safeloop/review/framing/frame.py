"""The frame: five elements, always these, always in this order, as plain text that is hashed and signed.

    safeloop frame v1
    REVIEW SURFACE
    ...
    [1] ORIGINAL PROMISE  [2] ACCEPTANCE CRITERIA  [3] DIFF  [4] EVIDENCE  [5] UNRESOLVED ASSUMPTIONS

The frame is exactly the UTF-8 bytes of what `render` returns, its one newline at the end included: written to a
file as they are, `sha256sum frame.txt` prints the frame's hash. It is a function of the facts alone.

Tokens are those that the session was charged (`spec.spend_of`): turns, failed attempts, and reservations that
nothing settled. In an ungoverned session that is the sum of the turns' tokens.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from safeloop.ledger import LedgerRow, Row
from safeloop.review.framing.assumptions import assumptions
from safeloop.review.framing.changes import change_lines
from safeloop.review.framing.evidence import evidence_lines
from safeloop.review.framing.facts import Erased, Facts, Kept
from safeloop.review.framing.layout import INDENT, block, decoded, field, folded, outside_field, text_field, word
from safeloop.review.framing.results import Checked, conditions, results
from safeloop.spec import SpecResult, spend_of
from safeloop.spec.dry_run import is_dry_run

if TYPE_CHECKING:
    from collections.abc import Iterator

VERSION = "safeloop frame v1"
_NO_ASSUMPTIONS = "No unresolved assumptions detected."
_EVIDENCE = ("turn", "breach")


@dataclass(frozen=True, slots=True)
class DiffResult:
    """First input against final output, in the tutorial's names.

    Attributes:
        first_input: SHA-256 of the task, hex.
        final_output: State origin of the last model turn, else of the last turn or breach; `none` without either.
        turns_completed: Turns that the model answered.
        total_tokens: What the session was charged.
        breached: The breaker stopped it, or a turn failed.
    """

    first_input: str
    final_output: str
    turns_completed: int
    total_tokens: int
    breached: bool


@dataclass(frozen=True, slots=True)
class ReviewFrame:
    """The five elements as values; what is hashed and signed is the rendered text.

    Attributes:
        evidence: The `turn` and `breach` rows up to the cut; the text has all kinds.
        created_at: The time of the row at the cut: the writer's claim.
    """

    session_id: str
    original_promise: SpecResult
    acceptance_criteria: str
    diff: DiffResult
    evidence: tuple[LedgerRow, ...]
    unresolved_assumptions: tuple[str, ...]
    created_at: str


def frame_of(facts: Facts) -> ReviewFrame:
    """Return the five elements as values."""
    return ReviewFrame(
        facts.session, facts.spec, facts.spec.done_looks_like, diff_of(facts),
        tuple(map(LedgerRow.of, facts.kinds(*_EVIDENCE))), assumptions(facts), facts.cut.at,
    )


def diff_of(facts: Facts) -> DiffResult:
    """Return first input against final output."""
    rows = facts.kinds(*_EVIDENCE)
    by_model = [row for row in rows if row.data["state_origin"] == "llm"]
    last = (by_model or rows)[-1:]
    first = rows[0] if rows else facts.open
    return DiffResult(
        first_input="none" if first is None else first.data["input_hash"],
        final_output=last[0].data["state_origin"] if last else "none",
        turns_completed=len(by_model),
        total_tokens=spend_of(facts.rows).tokens,
        breached=any(row.kind == "breach" or not row.data["pass_fail"] for row in rows),
    )


def render(facts: Facts) -> str:
    """Return the frame's exact text; its UTF-8 bytes are what is hashed."""
    sections = (
        ("[1] ORIGINAL PROMISE", _promise(facts)),
        ("[2] ACCEPTANCE CRITERIA", _criteria(facts)),
        ("[3] DIFF", _diff(facts)),
        ("[4] EVIDENCE", _evidence(facts)),
        ("[5] UNRESOLVED ASSUMPTIONS", _assumptions(facts)),
    )
    lines = [VERSION, "REVIEW SURFACE"]
    for heading, body in sections:
        lines += ["", heading, *body]
    return "\n".join(lines) + "\n"


def _promise(facts: Facts) -> Iterator[str]:
    spec, opened = facts.spec, facts.open
    yield from outside_field("Session:", facts.session)
    yield field("Ledger:", facts.ledger)
    yield from text_field("What this does:", spec.what_it_does)
    yield from text_field("What this does NOT:", spec.what_it_does_not)
    yield from text_field("Done looks like:", spec.done_looks_like)
    yield field("Ceilings in force:", _ceilings(opened))
    yield from outside_field("Tools allowed:", _tools(spec))
    if opened is None:
        return
    if is_dry_run(opened.data):
        yield field("Dry run:", "yes: what writes or destroys was not run, and nothing of it is ever released")
    yield from outside_field("Model:", opened.data["model"])
    yield from outside_field("Endpoint:", opened.data["endpoint"])
    if opened.data["parent"] is not None:
        yield from outside_field("Belongs to session:", opened.data["parent"])
    if opened.data["continues"] is not None:
        yield from outside_field("Continues session:", opened.data["continues"])


def _ceilings(opened: Row | None) -> str:
    if opened is None:
        return "none: ungoverned"
    return ", ".join(f"{name} {value}" for name, value in sorted(opened.data["ceilings"].items())) or "none"


def _tools(spec: SpecResult) -> str:
    permissions = ", ".join(spec.tools.permissions) or "none"
    if spec.tools.names is None:
        return permissions
    return f"{permissions}; only {', '.join(map(word, spec.tools.names)) or 'none'}"


def _criteria(facts: Facts) -> Iterator[str]:
    yield from block(facts.spec.done_looks_like)
    for checked in results(facts):
        yield from _criterion(checked)


def _criterion(checked: Checked) -> Iterator[str]:
    yield from folded(f"{INDENT}{checked.result.value:<11} {word(checked.criterion.name)}")
    for condition in conditions(checked.criterion):
        yield from folded(f"{INDENT}{INDENT}{condition}")
    if checked.detail is not None:
        yield from kept_text(checked.detail)


def kept_text(kept: Kept) -> tuple[str, ...]:
    """Return content behind the gutter, or say who erased it."""
    if isinstance(kept, Erased):
        return (f"{INDENT}(erased by row {kept.row}: {kept.size} bytes)",)
    return block(decoded(kept))


def _diff(facts: Facts) -> Iterator[str]:
    diff = diff_of(facts)
    yield field("First input hash:", diff.first_input)
    yield from _text("Task:", facts.task, "not recorded: only its hash is")
    yield from outside_field("Final state origin:", diff.final_output)
    yield from _text("Output:", facts.output, "none")
    yield from change_lines(facts.files)
    yield field("Turns completed:", str(diff.turns_completed))
    yield field("Total tokens:", str(diff.total_tokens))
    yield field("Cost:", _cost(facts))
    yield from _ending(facts)
    yield field("Breached:", str(diff.breached))


def _text(label: str, kept: Kept | None, absent: str) -> Iterator[str]:
    if kept is None:
        yield field(label, absent)
        return
    yield field(label, f"{kept.size if isinstance(kept, Erased) else len(kept)} bytes")
    yield from kept_text(kept)


def _cost(facts: Facts) -> str:
    """Return the cost in US dollars, to the micro-dollar; a row without a price makes it a lower bound."""
    figures = [row.data["cost_microusd"] for row in facts.kinds("turn")]
    figures += [row.data["charged_microusd"] for row in facts.kinds("attempt")]
    known = [figure for figure in figures if figure is not None]
    if not known:
        return "not known"
    dollars = f"{sum(known) // 1_000_000}.{sum(known) % 1_000_000:06} USD"
    unknown = len(figures) - len(known)
    return f"at least {dollars}: {unknown} rows have no price" if unknown else dollars


def _ending(facts: Facts) -> Iterator[str]:
    close = facts.close
    if close is None:
        yield field("Outcome:", "ungoverned")
        return
    reason = close.data["reason"]
    yield field("Elapsed:", f"{close.data['elapsed_ms']} ms")
    yield from outside_field("Outcome:", close.data["outcome"] + ("" if reason is None else f": {reason}"))


def _evidence(facts: Facts) -> Iterator[str]:
    for row in facts.rows:
        yield from evidence_lines(row)
    yield field("Rows:", str(len(facts.rows)))
    yield field("Leaf at the cut:", facts.cut.leaf)


def _assumptions(facts: Facts) -> Iterator[str]:
    found = assumptions(facts)
    for sentence in found:
        yield from folded(f"{INDENT}- {sentence}")
    if not found:
        yield f"{INDENT}{_NO_ASSUMPTIONS}"
