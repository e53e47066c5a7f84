"""A block that is entered again: its session was suspended, or its process is gone, and it goes on where it stopped.

What was spent stays spent: a program that is started again does not start again at zero.
"""

from __future__ import annotations

from dataclasses import dataclass

from safeloop.errors import LedgerError
from safeloop.ledger import Row
from safeloop.loop.opening import check_fresh, is_led_by_program
from safeloop.spec import Ceilings, SpecResult, from_row, spend_of


@dataclass(frozen=True, slots=True)
class Standing:
    """How far a session had come.

    Attributes:
        model: The one that it was opened for.
        ceilings: Those that it was opened under.
        turn: The last one that was asked for.
        tokens: Charged so far.
        elapsed_ms: Used so far.
    """

    model: str
    ceilings: Ceilings
    turn: int
    tokens: int
    elapsed_ms: int


def standing_of(rows: tuple[Row, ...], spec: SpecResult) -> Standing | None:
    """Say how far a session has come; None if it has not begun. Pure.

    Raises:
        RuntimeError: It is closed for good, or was written by hand.
        LedgerError: A loop leads it, a ceiling has stopped it, or it was promised otherwise.
    """
    session = spec.session_id
    opened = next((row for row in rows if row.kind == "open"), None)
    if opened is None or not is_led_by_program(opened) or _is_over(rows):
        check_fresh(rows, session)
        return None
    if any(row.kind == "breach" for row in rows):
        raise LedgerError(f"session {session} was stopped by a ceiling", hint=f"safeloop close {session}")
    promised = next(row for row in rows if row.kind == "spec" and row.leaf == opened.data["spec"])
    if from_row(session, promised.data) != spec:
        raise LedgerError(
            f"session {session} was promised otherwise, in row {promised.id}",
            hint="give the new spec a session of its own",
        )
    spend = spend_of(rows)
    turn = max((row.data["turn"] for row in rows if row.kind == "intent"), default=0)
    return Standing(
        opened.data["model"], Ceilings.of_row(opened.data["ceilings"]), turn, spend.tokens, spend.elapsed_ms
    )


def _is_over(rows: tuple[Row, ...]) -> bool:
    return any(row.kind == "close" and row.data["outcome"] != "suspended" for row in rows)
