"""How a destructive call stands whose outcome no row tells: what was decided about it, and whether that was used.

No row says that a run began, so a grant counts as used as soon as a process could have run the call on it: it holds
only where it was recorded while the session was suspended, and nobody has resumed it since. What a person signed counts
in the row that holds it first: a copy of it is no second grant. Pure: rows in, a word out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from safeloop.ledger import Row
from safeloop.ledger.approval import EXPIRED, GRANTED, REFUSED
from safeloop.spec.suspension import Cause, suspension_of

_DESTRUCTIVE = "destructive"
_ID_CHARACTERS = 12


class State(StrEnum):
    """How a call stands."""

    WAITS = "waits"
    GRANTED = GRANTED
    REFUSED = REFUSED
    EXPIRED = EXPIRED
    USED = "used"


@dataclass(frozen=True, slots=True)
class Standing:
    """How a call stands, and the `approval` row that says so.

    Attributes:
        state: `waits` has no decision; `granted` was not used; `used` is a grant on which the call may have run.
        row: The newest decision that counts; None while it waits.
    """

    state: State
    row: Row | None = None


def undecided_call(rows: Sequence[Row]) -> Row | None:
    """Return the destructive `call` row that has no outcome yet, if a session has one; calls run one after the other.

    Args:
        rows: Those of the session, in order.
    """
    last = next((row for row in reversed(rows) if row.kind in ("call", "tool")), None)
    is_open = last is not None and last.kind == "call" and last.data["permission"] == _DESTRUCTIVE
    return last if is_open else None


def suspended_by(rows: Sequence[Row]) -> Row | None:
    """Return the `close` row that suspended a session; None where it was resumed, runs, or is closed for good."""
    last = next((row for row in reversed(rows) if row.kind in ("open", "close", "resume")), None)
    return last if last is not None and last.kind == "close" and last.data["outcome"] == "suspended" else None


def standing_of(rows: Sequence[Row], call: Row) -> Standing:
    """Say how a call stands that has no outcome.

    Args:
        rows: Those of its session, in order, up to where it was resumed, if it was.
        call: Its `call` row.
    """
    said = [row for row in rows if row.kind == "approval" and row.data["call"] == call.leaf]
    decisions = [row for row in said if row.data["decision"] != GRANTED or stated_in(said, row.data) in (None, row)]
    suspended = suspended_by(rows)
    fresh = [] if suspended is None else [row for row in decisions if row.n > suspended.n]
    if fresh:
        # A refusal stands whatever else is said: nobody has run the call, and nobody needs to.
        newest = next((row for row in fresh if row.data["decision"] == REFUSED), fresh[-1])
        return Standing(State(newest.data["decision"]), newest)
    is_asked = suspended is not None and suspension_of(suspended.data["reason"]).cause is Cause.APPROVAL
    if not decisions or is_asked:
        return Standing(State.WAITS)
    newest = decisions[-1]
    return Standing(State.USED if newest.data["decision"] == GRANTED else State(newest.data["decision"]), newest)


def stated_in(rows: Sequence[Row], data: Mapping[str, Any]) -> Row | None:
    """Return the first row of a decision about this call with this very statement; None if nobody has recorded it.

    Args:
        rows: Those of its session, in order.
        data: Of an `approval` row, or of one that is to be written.
    """
    if data["statement"] is None:
        return None
    wanted = (data["call"], data["statement"])
    of_calls = (row for row in rows if row.kind == "approval")
    return next((row for row in of_calls if (row.data["call"], row.data["statement"]) == wanted), None)


def call_id(call: Row) -> str:
    """Return what people type to name a call: the beginning of its leaf."""
    return call.leaf[:_ID_CHARACTERS]
