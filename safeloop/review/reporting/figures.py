"""A session's spending, turn by turn, as a timeline and charts show it. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from safeloop.ledger import Row
from safeloop.spec.tally import Tally


@dataclass(frozen=True, slots=True)
class Step:
    """One turn of a session.

    Attributes:
        turn: Its number; 0 for what came before any.
        at: The time of its first row: the writer's claim.
        happened: What its rows are about, in their order.
        tokens: Charged by its rows.
        total_tokens: Charged up to its end.
        total_microusd: The same in micro-dollars, as far as it is known.
        is_priced: Whether all of it is known.
        milliseconds: Spent by replies, failed attempts and tools.
    """

    turn: int
    at: str
    happened: tuple[str, ...]
    tokens: int
    total_tokens: int
    total_microusd: int
    is_priced: bool
    milliseconds: int


def steps(rows: Iterable[Row]) -> tuple[Step, ...]:
    """Return the turns of a session in the order in which they began; rows that belong to none go to the one before."""
    tally, found, turn = Tally(), [], 0
    begun: list[Row] = []
    before = 0
    for row in rows:
        number = row.data.get("turn")
        if type(number) is int and number != turn and begun:
            found.append(_step(turn, begun, tally, before))
            begun, before, turn = [], tally.tokens, number
        elif type(number) is int:
            turn = number
        tally.add(row)
        begun.append(row)
    if begun:
        found.append(_step(turn, begun, tally, before))
    return tuple(found)


def ceiling(rows: Sequence[Row], name: str) -> int | None:
    """Return a ceiling that was in force, by its key in the `open` row; None if there was none."""
    opened = next((row for row in rows if row.kind == "open"), None)
    limit = None if opened is None else opened.data["ceilings"].get(name)
    return limit if type(limit) is int else None


def _step(turn: int, rows: Sequence[Row], tally: Tally, before: int) -> Step:
    spent = sum(row.data["execution_time_ms"] for row in rows if type(row.data.get("execution_time_ms")) is int)
    return Step(
        turn, rows[0].at, tuple(_happened(row) for row in rows), tally.tokens - before, tally.tokens, tally.microusd,
        not tally.unpriced, spent,
    )


def _happened(row: Row) -> str:
    data = row.data
    detail = {
        "turn": "stop_reason", "tool": "tool", "call": "tool", "breach": "breach_reason", "check": "criterion",
        "close": "outcome", "approval": "decision", "attestation": "decision",
    }.get(row.kind, "")
    word = data.get(detail)
    failed = " FAIL" if data.get("pass_fail") is False else ""
    return f"{row.kind} {word}{failed}" if isinstance(word, str) else f"{row.kind}{failed}"
