"""Unresolved assumptions: what a reviewer would have to take on trust. Empty only when there is nothing.

Each is one sentence about one thing, in the order of the rows, then those about the session as a whole. Names from
outside stand in quotes unless they are plain, so that no name can add a sentence.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from safeloop.ledger.kinds import KINDS
from safeloop.review.framing.circumstances import of_open, of_resume, of_session, unbound_spec
from safeloop.review.framing.layout import word
from safeloop.review.framing.results import Result, foreign_checks, results
from safeloop.spec import spend_of
from safeloop.spec.dry_run import is_not_run
from safeloop.spec.labels import cut_of
from safeloop.spec.standing import State, standing_of

if TYPE_CHECKING:
    from safeloop.ledger import Row
    from safeloop.review.framing.facts import Facts

_UNGOVERNED = "ungoverned session: its rows were written by hand; no limit was enforced, and it can never be released"


def assumptions(facts: Facts) -> tuple[str, ...]:
    """Return every unresolved assumption of a session, each on one line."""
    found = [sentence for row in facts.rows for sentence in _of_row(facts, row)]
    found += _in_doubt_still(facts)
    found += _without_result(facts)
    found += of_session(facts)
    found += _criteria(facts)
    found += _ending(facts)
    return tuple(found)


def _of_row(facts: Facts, row: Row) -> Iterator[str]:
    if row.kind in _BY_KIND:
        yield from _BY_KIND[row.kind](facts, row)
    elif row.kind not in KINDS:
        yield f"row {row.id} is of kind {word(row.kind)}, which this version does not know"


def _turn(facts: Facts, row: Row) -> Iterator[str]:
    data, turn = row.data, f"turn {row.data['turn']}"
    if data["breach_reason"]:
        yield f"{turn}: breach: {word(data['breach_reason'])}"
    elif not data["pass_fail"]:
        yield f"{turn}: failed (pass_fail=False)"
    if data["overrun"]:
        yield f"{turn}: overrun: the provider billed more than was reserved, {data['token_delta']} tokens"
    if data["usage"] is None and data["intent"] is not None:
        yield f"{turn}: no usable figures from the provider: charged in full, {data['token_delta']} tokens"
    if data["stop_reason"] == "max_tokens":
        yield f"{turn}: output produced at a ceiling: the answer was cut at its token limit{_clamp(facts, row)}"
    if data["stop_reason"] == "model_context_window_exceeded":
        yield f"{turn}: output produced at a ceiling: the answer was cut where the model's context window ends"
    if data["usage"] is not None and data["usage"]["searches"]:
        yield f"{turn}: the provider made {data['usage']['searches']} searches of its own, which no row holds"


def _clamp(facts: Facts, row: Row) -> str:
    """Say that the breaker had lowered the limit of a turn's answer, if it had."""
    intent = next((each for each in facts.kinds("intent") if each.n == row.data["intent"]), None)
    if intent is None or intent.data["max_tokens"] >= intent.data["wanted_max_tokens"]:
        return ""
    return f" of {intent.data['max_tokens']}, lowered from {intent.data['wanted_max_tokens']} to fit"


def _breach(_facts: Facts, row: Row) -> Iterator[str]:
    data = row.data
    figures = ((data["limit"], "limit"), (data["spent"], "spent"), (data["next_at_most"], "the next call at most"))
    known = ", ".join(f"{name} {value}" for value, name in figures if value is not None)
    scope = f" of scope {data['scope']}" if data["scope"] not in (None, "session") else ""
    yield f"turn {data['turn']}: breach: {word(data['breach_reason'])}{scope}{f' ({known})' if known else ''}"


def _intent(_facts: Facts, row: Row) -> Iterator[str]:
    if row.data["bound"] == "estimate":
        yield f"turn {row.data['turn']}: estimate: its input was estimated, not bounded"


def _attempt(_facts: Facts, row: Row) -> Iterator[str]:
    data = row.data
    if data["in_doubt"]:
        yield (f"turn {data['turn']}, attempt {data['attempt']}: in doubt ({word(data['error']['class'])}): "
               f"charged {data['charged_tokens']} tokens, the provider may have billed others")


def _tool(facts: Facts, row: Row) -> Iterator[str]:
    data = row.data
    call = f"turn {data['turn']}: tool {word(data['tool'])}"
    if is_not_run(data):
        yield f"{call} was not run: the model was told what would have been done"
    elif not data["pass_fail"]:
        reason = "" if data["error"] is None else f": {word(data['error']['class'])}"
        yield f"{call} was refused or failed{reason}{_lasting(data)}"
    before = _begun_before(facts, row)
    if before is not None:
        again = "" if _is_no_run(row) else " besides, so that it may have run twice"
        yield f"{call} may have run before row {before.id} resumed the session{again}"
    result = facts.content(data["result"])
    cut = cut_of(result) if isinstance(result, bytes) else ""
    if cut:
        yield f"{call}: its result did not reach the model whole: {cut}"


def _lasting(data: Mapping[str, Any]) -> str:
    """Say of a call that was given up at its time limit that it may have done all the same what it does."""
    is_given_up = data["error"] is not None and data["error"]["class"] == "TimedOut"
    return ", and may have had its effect" if is_given_up and data["permission"] != "read" else ""


def _begun_before(facts: Facts, row: Row) -> Row | None:
    """Return the `resume` row before which a process may have run the call of a `tool` row that does more than read."""
    rows = tuple(each for each in facts.rows if each.n < row.n)
    of_call = (each for each in reversed(rows) if each.kind == "call" and each.data["call"] == row.data["call"])
    begun = next(of_call, None)
    if begun is None or begun.data["turn"] != row.data["turn"] or begun.data["permission"] == "read":
        return None
    resumed = [each for each in rows if each.kind == "resume" and each.n > begun.n]
    if begun.data["permission"] == "destructive":  # it ran only on a grant, if at all
        resumed = [each for each in resumed if _is_used(rows, begun, each)]
    return resumed[-1] if resumed else None


def _is_used(rows: tuple[Row, ...], begun: Row, resumed: Row) -> bool:
    return standing_of(tuple(each for each in rows if each.n < resumed.n), begun).state is State.USED


def _is_no_run(row: Row) -> bool:
    return row.data["error"] is not None and row.data["execution_time_ms"] == 0


def _approval(_facts: Facts, row: Row) -> Iterator[str]:
    data = row.data
    if data["decision"] != "granted":
        by = "" if data["by"] is None else f" by {word(data['by'])}"
        yield f"row {row.id}: a destructive call was not approved: {data['decision']}{by}"


_BY_KIND: dict[str, Callable[[Facts, Row], Iterator[str]]] = {
    "open": of_open, "resume": of_resume, "turn": _turn, "breach": _breach, "intent": _intent, "attempt": _attempt,
    "tool": _tool, "approval": _approval,
}


def _in_doubt_still(facts: Facts) -> Iterator[str]:
    """Name the intents that no row settles: a call may have been made, and nothing says what came of it."""
    settled = {row.data["intent"] for row in facts.kinds("turn", "attempt")}
    for row in facts.kinds("intent"):
        if row.n not in settled:
            yield (f"turn {row.data['turn']}, attempt {row.data['attempt']}: in doubt: sent, and no outcome recorded; "
                   f"charged {row.data['reserved_tokens']} tokens")


def _without_result(facts: Facts) -> Iterator[str]:
    answered = {(row.data["turn"], row.data["call"]) for row in facts.kinds("tool")}
    for row in facts.kinds("call"):
        if (row.data["turn"], row.data["call"]) not in answered:
            yield f"turn {row.data['turn']}: tool {word(row.data['tool'])} was called, and no result was recorded"


def _criteria(facts: Facts) -> Iterator[str]:
    for checked in results(facts):
        name = word(checked.criterion.name)
        if checked.result is Result.FAIL:
            yield f"criterion {name} failed"
        elif checked.result is Result.NOT_CHECKED:
            yield f"criterion {name} was not checked"
    for row in foreign_checks(facts):
        yield f"row {row.id} checks {word(row.data['criterion'])}, which is no criterion of this spec"


def _ending(facts: Facts) -> Iterator[str]:
    close = facts.close
    if close is None:
        yield f"{_UNGOVERNED}{unbound_spec(facts)}"
        return
    data = close.data
    if data["outcome"] != "completed":
        reason = "" if data["reason"] is None else f": {word(data['reason'])}"
        yield f"the session ended as {data['outcome']}{reason}"
    charged = spend_of(facts.rows).tokens
    if data["total_tokens"] != charged:
        yield f"the close row says {data['total_tokens']} tokens, but the rows before it add up to {charged}"
