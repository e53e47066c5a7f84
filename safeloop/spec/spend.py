"""What was charged, and whether the next call still fits: values in, a decision out.

The rule is here, and not in the breaker, because two rooms need it: the breaker enforces it before a call,
and the audit re-derives the same decision from the same rows years later. Nothing here reads a clock, a
file or a counter: what was charged is computed from rows, so it is the same after a restart and for every
process on the ledger.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from safeloop.spec.counts import LARGEST
from safeloop.spec.tally import Tally

if TYPE_CHECKING:
    from collections.abc import Iterable

    from safeloop.spec.ceilings import Ceilings
    from safeloop.spec.tally import SessionRow

SMALLEST_ANSWER = 1_024
"""Tokens: an answer cut shorter than this is rarely worth its input."""

SMALLEST_THINKING_ANSWER = 4_096
"""Tokens: the same for a model that may think before it answers, without a budget for it."""


class Reason(StrEnum):
    """Why the breaker refused a call: the closed set of `breach_reason`."""

    TURNS = "turn_ceiling"
    TOKENS = "token_ceiling"
    COST = "cost_ceiling"
    TIME = "time_ceiling"
    TOOL_CALLS = "tool_ceiling"
    ERRORS = "error_ceiling"
    REPEATS = "repeat_ceiling"


@dataclass(frozen=True, slots=True)
class Spend:
    """What a session was charged so far.

    Args:
        turns: Turns that were asked for, answered or not.
        tokens: Settled turns, failed attempts and open reservations together.
        microusd: The same in millionths of a US dollar, as far as prices are known.
        unpriced: Charges and reservations whose price is not known.
        elapsed_ms: The most that a row says; suspended time does not count.
        tool_calls: Calls that were answered, and calls that may have run.
        errors: Consecutive ones.
    """

    turns: int
    tokens: int
    microusd: int = 0
    unpriced: int = 0
    elapsed_ms: int = 0
    tool_calls: int = 0
    errors: int = 0


@dataclass(frozen=True, slots=True)
class Breach:
    """The ceiling that the next step could cross, in that ceiling's unit (count, tokens, micro-dollars, milliseconds).

    Args:
        reason: Which ceiling.
        limit: Its value, inclusive.
        spent: Charged before the refused step.
        next_at_most: What the refused step could add at least: input bound plus smallest useful answer, its price,
            the calls of a batch, or 1.
        scope: Whose ceiling: `session`, or `parent` for that of any ancestor.
    """

    reason: Reason
    limit: int
    spent: int
    next_at_most: int
    scope: str = "session"

    def as_row(self) -> dict[str, str | int]:
        """The five keys of a `breach` row that say which ceiling, whose, and by how much."""
        return {
            "breach_reason": self.reason.value,
            "scope": self.scope,
            "limit": self.limit,
            "spent": self.spent,
            "next_at_most": self.next_at_most,
        }


def spend_of(rows: Iterable[SessionRow]) -> Spend:
    """Compute what one session was charged, from its rows in order and from nothing else; see `Tally`."""
    tally = Tally()
    for row in rows:
        tally.add(row)
    return spend_in(tally)


def spend_in(tally: Tally) -> Spend:
    """Return what a tally has come to."""
    return Spend(
        turns=tally.turns, tokens=tally.tokens, microusd=tally.microusd, unpriced=tally.unpriced,
        elapsed_ms=tally.elapsed_ms, tool_calls=tally.tool_calls, errors=tally.errors,
    )


def breach_before(
    spend: Spend,
    ceilings: Ceilings,
    *,
    turn: int,
    bound: int = 0,
    smallest: int = 0,
    microusd: int = 0,
    repeats: int = 0,
    scope: str = "session",
) -> Breach | None:
    """Say which ceiling the next call could cross, if any; they are decided in the order of the table.

    Args:
        spend: What was charged so far; a negative figure counts as 0.
        ceilings: Inclusive: only what goes beyond a ceiling is a breach.
        turn: The number, from 1, of the turn that the call belongs to; never taken to be less than the
            turns already asked for.
        bound: Worst case of the request's input, in tokens; a negative one counts as 0.
        smallest: The smallest useful answer, in tokens; a negative one counts as 0.
        microusd: The price of both at most.
        repeats: Identical calls of tools in a row, so far.
        scope: Whose ceilings these are.
    """
    number = max(turn, spend.turns)
    steps = (
        (Reason.TURNS, ceilings.turns, number - 1, 1),
        (Reason.TOKENS, ceilings.tokens, max(spend.tokens, 0), max(bound, 0) + max(smallest, 0)),
        (Reason.COST, ceilings.microusd, max(spend.microusd, 0), max(microusd, 0)),
        (Reason.TIME, ceilings.elapsed_ms, spend.elapsed_ms, 1),
        (Reason.TOOL_CALLS, ceilings.tool_calls, spend.tool_calls, 0),
        (Reason.ERRORS, ceilings.errors, spend.errors, 0),
        (Reason.REPEATS, ceilings.repeats, repeats, 0),
    )
    for reason, limit, spent, more in steps:
        breach = crossing(reason, limit, spent, more, scope=scope)
        if breach is not None:
            return breach
    return None


def crossing(
    reason: Reason, limit: int | None, spent: int, more: int = 0, *, scope: str = "session"
) -> Breach | None:
    """Say whether more would go beyond a ceiling; reaching it exactly is allowed, and None is no ceiling.

    Args:
        reason: Which ceiling; the figures are in its unit.
        limit: Inclusive.
        spent: Used so far.
        more: Asked for now.
        scope: Whose ceiling it is.
    """
    if limit is None or spent + more <= limit:
        return None
    return Breach(reason, limit, min(max(spent, 0), LARGEST), min(more, LARGEST), scope)


def room(spend: Spend, ceilings: Ceilings, bound: int) -> int | None:
    """Tokens left for the answer once the input is paid; negative if that does not fit, None if unlimited.

    A negative spend or bound counts as 0: it never makes room.
    """
    if ceilings.tokens is None:
        return None
    return ceilings.tokens - max(spend.tokens, 0) - max(bound, 0)


def clamp(wanted: int, room: int | None) -> int:
    """The `max_tokens` to send: what is wanted, or the room if that is smaller; never negative."""
    return max(0, wanted if room is None else min(wanted, room))


def smallest_useful(wanted: int, thinking_budget: int | None, thinks: bool) -> int:
    """The smallest answer worth its input, in tokens: below it the call is refused, not clamped.

    Args:
        wanted: The `max_tokens` that the caller asked for.
        thinking_budget: The request's `budget_tokens`, if it sets one: it is never changed to fit.
        thinks: Whether the request lets the model think.
    """
    if thinking_budget is not None:
        return max(thinking_budget, 0) + SMALLEST_ANSWER
    return max(0, min(wanted, SMALLEST_THINKING_ANSWER if thinks else SMALLEST_ANSWER))
