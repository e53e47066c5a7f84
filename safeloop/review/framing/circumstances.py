"""Unresolved assumptions about how a session came about: what led it, what it took over, what went on unwatched."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from safeloop.review.framing.layout import word
from safeloop.review.model_names import is_as_asked
from safeloop.spec.dry_run import is_dry_run
from safeloop.spec.led import is_led

if TYPE_CHECKING:
    from safeloop.ledger import Row
    from safeloop.review.framing.facts import Facts

_WORK = ("turn", "tool")


def of_open(facts: Facts, row: Row) -> Iterator[str]:
    """Say what the session was opened as, and with."""
    data = row.data
    if is_dry_run(data):
        yield "dry run: no call that writes or destroys was run, no criterion was checked, and it can never be released"
    if is_led(data):
        yield ("led by a program of its own: its calls of the model were limited and recorded, and not what it did "
               "with the answers")
    if data["continues"] is not None:
        yield (f"it goes on with the work of session {word(data['continues'])}: what is to be taken on trust there is "
               "told in the frame of that session")
    yield from _looser(facts.spec.ceilings.as_row(), data["ceilings"])


def _looser(promised: Mapping[str, int], in_force: Mapping[str, int]) -> Iterator[str]:
    for name, ceiling in sorted(promised.items()):
        found = in_force.get(name)
        if found is None or found > ceiling:
            yield f"ceiling {name}: {ceiling} was promised, and {'none' if found is None else found} was in force"


def of_resume(facts: Facts, row: Row) -> Iterator[str]:
    """Say what nobody watched while the session stood still, and that another version went on with it."""
    before = facts.rows[row.data["after"]] if row.data["after"] < row.n else None
    waited = "its process was gone"
    if before is not None and before.kind == "close":
        waited = "it was suspended" + ("" if before.data["reason"] is None else f" ({word(before.data['reason'])})")
    yield f"row {row.id} resumed the session after {waited}: its staged files were not watched in between"
    opened = facts.open
    if opened is not None and row.data["software"] != opened.data["software"]:
        yield f"row {row.id} resumed it with other software: {word(row.data['software'])}"


def of_session(facts: Facts) -> Iterator[str]:
    """Say what concerns the session as a whole."""
    yield from _other_models(facts)
    yield from _stated_tools(facts)
    yield from _stale_checks(facts)


def unbound_spec(facts: Facts) -> str:
    """Say as a clause that no row here holds the spec, and what else it promised; nothing where one does."""
    if facts.kinds("spec"):
        return ""
    promised = ", ".join(f"{name} {value}" for name, value in sorted(facts.spec.ceilings.as_row().items())) or "none"
    return f"; its spec is in another ledger, and no row here holds it; ceilings promised there: {promised}"


def _other_models(facts: Facts) -> Iterator[str]:
    """Name every model that answered in the place of the one that was asked; a date behind its name is no other."""
    asked = {row.n: row.data["model"] for row in facts.kinds("intent")}
    told = set()
    for row in facts.kinds("turn"):
        wanted, found = asked.get(row.data["intent"]), row.data["model"]
        if wanted is None or found is None or is_as_asked(wanted, found):
            continue
        if (wanted, found) not in told:
            told.add((wanted, found))
            yield f"turn {row.data['turn']}: {word(wanted)} was asked, and what answered calls itself {word(found)}"


def _stated_tools(facts: Facts) -> Iterator[str]:
    """Name the tools of servers that ran without approval because the spec says that they only read or write."""
    stated = {name.rpartition(":")[0]: name.rpartition(":")[2] for name in facts.spec.tools.names or () if ":" in name}
    for tool in dict.fromkeys(row.data["tool"] for row in facts.kinds("tool") if row.data["pass_fail"]):
        if tool in stated:
            yield (f"tool {word(tool)} ran as {word(stated[tool])} on the word of the spec: what it did on its server "
                   "is not among the files")


def _stale_checks(facts: Facts) -> Iterator[str]:
    """Name the criteria that were last checked before the work went on."""
    last = {row.data["criterion"]: row for row in facts.kinds("check")}
    work = max((row.n for row in facts.kinds(*_WORK)), default=0)
    for criterion in facts.spec.criteria:
        row = last.get(criterion.name)
        if row is not None and row.n < work:
            yield f"criterion {word(criterion.name)} was last checked in row {row.id}, and the work went on after it"
