"""A session's spending, turn by turn, as a timeline and charts show it. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from operator import itemgetter

from safeloop.ledger import Row
from safeloop.review.cut import cut_of
from safeloop.spec.tally import Tally


@dataclass(frozen=True, slots=True)
class Step:
    """One turn of a session, or what came before its first turn, or after its end.

    Attributes:
        turn: Its number; 0 for what came before any; None for what people did after the session had ended.
        at: The time of its first row: the writer's claim.
        happened: What its rows are about, in their order.
        tokens: Charged by its rows.
        total_tokens: Charged up to its end.
        total_microusd: The same in micro-dollars, as far as it is known.
        is_priced: Whether all of it is known.
        milliseconds: Spent by replies, failed attempts and tools.
    """

    turn: int | None
    at: str
    happened: tuple[str, ...]
    tokens: int
    total_tokens: int
    total_microusd: int
    is_priced: bool
    milliseconds: int

    @property
    def name(self) -> str:
        """The turn as a timeline calls it."""
        return "after" if self.turn is None else str(self.turn or "before")


def steps(rows: Sequence[Row]) -> tuple[Step, ...]:
    """Return the turns of a session in the order in which they began.

    Rows that belong to no turn go to the one before, but not past the end: what people did then is no turn's.
    """
    tally, found, before = Tally(), [], 0
    for turn, begun in groupby(zip(_turns_of(rows), rows, strict=True), key=itemgetter(0)):
        part = tuple(row for _, row in begun)
        for row in part:
            tally.add(row)
        found.append(_step(turn, part, tally, before))
        before = tally.tokens
    return tuple(found)


def _turns_of(rows: Sequence[Row]) -> Iterator[int | None]:
    """Yield for each row the turn that it is counted to, as `Step.turn` is."""
    cut = cut_of(rows)
    turn: int | None = 0
    for row in rows:
        number = row.data.get("turn")
        if type(number) is int:
            turn = number
        elif cut is not None and row.n > cut.n:
            turn = None
        yield turn


def ceiling(rows: Sequence[Row], name: str) -> int | None:
    """Return a ceiling that was in force, by its key in the `open` row; None if there was none."""
    opened = next((row for row in rows if row.kind == "open"), None)
    limit = None if opened is None else opened.data["ceilings"].get(name)
    return limit if type(limit) is int else None


def _step(turn: int | None, rows: Sequence[Row], tally: Tally, before: int) -> Step:
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
    who = data.get("reviewer")
    by = f" by {who}" if row.kind == "attestation" and isinstance(who, str) else ""
    failed = " FAIL" if data.get("pass_fail") is False else ""
    return f"{row.kind} {word}{by}{failed}" if isinstance(word, str) else f"{row.kind}{failed}"
