"""Reserving: the rule that runs under the ledger's write lock and returns an intent, or a breach.

What was charged is read from the rows in the same transaction that holds the next reservation, so it is the same
after a restart and for every process on the ledger.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from safeloop.breaker.bounds import Bound, Request
from safeloop.errors import LedgerError
from safeloop.ledger import Content, Draft, Row, View, visible
from safeloop.spec import Breach, Ceilings, breach_before, clamp, room, smallest_useful, spend_of

SUSPENDED = "suspended"  # the one outcome after which a session may go on


@dataclass(frozen=True, slots=True)
class Place:
    """Where in a session an attempt stands.

    Attributes:
        session: The session's id.
        turn: From 1.
        attempt: From 1, within the turn.
        input_hash: SHA-256 of the task, hex.
        elapsed_ms: Monotonic time that the session has used.
    """

    session: str
    turn: int
    attempt: int
    input_hash: str
    elapsed_ms: int


@dataclass(frozen=True, slots=True)
class Granted:
    """An attempt that may leave: its intent is on disk.

    Attributes:
        intent: The intent's row.
        max_tokens: What the request may ask for, at most what was wanted.
        reserved_tokens: Held until the attempt is settled.
    """

    intent: Row
    max_tokens: int
    reserved_tokens: int


@dataclass(frozen=True, slots=True)
class Refused:
    """An attempt that must not leave.

    Attributes:
        breach: Which ceiling, and by how much.
        tokens: What was charged before it.
    """

    breach: Breach
    tokens: int


Append = Callable[[Callable[[View], tuple[Draft, ...]]], tuple[Row, ...]]


def reserve(
    append: Append,
    place: Place,
    request: Request,
    bound: Bound,
    ceilings: Ceilings,
    contents: tuple[Content, ...],
    *,
    costs_nothing: bool,
    final: bool,
) -> Granted | Refused:
    """Reserve the worst case of an attempt, or refuse it; either way in one transaction.

    Args:
        append: `Ledger.append`.
        bound: The worst case of the input.
        contents: The request's manifest, last, and what it newly names.
        costs_nothing: The client is never billed: the reservation in money is 0, else unknown.
        final: Write the `breach` row if it does not fit. False leaves no row: a closer bound will be tried.

    Raises:
        LedgerError: The session is closed.
        RuntimeError: This attempt has its intent, or this turn its reply, already: somebody else runs the session.
    """
    decision: list[Refused] = []

    def decide(view: View) -> tuple[Draft, ...]:
        rows = view.session(place.session)
        check_open(view, place.session)
        _check_unasked(rows, place)
        spend = spend_of(rows)
        smallest = smallest_useful(request.wanted, request.thinking_budget, request.thinks)
        breach = breach_before(spend, ceilings, turn=place.turn, bound=bound.tokens, smallest=smallest)
        if breach is not None:
            decision.append(Refused(breach, spend.tokens))
            return (_breach_draft(place, breach.as_row()),) if final else ()
        max_tokens = clamp(request.wanted, room(spend, ceilings, bound.tokens))
        return (_intent(place, request, bound, max_tokens, contents, costs_nothing=costs_nothing),)

    rows = append(decide)
    if decision:
        return decision[0]
    data = rows[0].data
    return Granted(rows[0], data["max_tokens"], data["reserved_tokens"])


def check_open(view: View, session: str) -> None:
    """Check that a session is not closed for good: nothing is charged to it, or done in its name, afterwards.

    Raises:
        LedgerError: It is.
    """
    if not view.has(session, "close"):
        return
    closed = [row for row in view.session(session) if row.kind == "close" and row.data["outcome"] != SUSPENDED]
    if closed:
        raise LedgerError(
            f"session {session} is closed already: {closed[0].data['outcome']}, in row {closed[0].id}",
            hint=f"safeloop review {session}",
        )


def _check_unasked(rows: tuple[Row, ...], place: Place) -> None:
    """Check that a turn awaits its reply, and that this attempt at it is a new one."""
    for row in rows:
        is_answer = row.kind == "turn" and row.data["turn"] == place.turn
        asked = (row.data["turn"], row.data["attempt"]) if row.kind == "intent" else None
        if is_answer or asked == (place.turn, place.attempt):
            raise RuntimeError(
                f"attempt {place.attempt} at turn {place.turn} of session {place.session} was made already, "
                f"in row {row.id}"
            )


def _intent(
    place: Place, request: Request, bound: Bound, max_tokens: int, contents: tuple[Content, ...], *, costs_nothing: bool
) -> Draft:
    data = {
        "turn": place.turn, "attempt": place.attempt, "model": visible(request.model),
        "wanted_max_tokens": request.wanted, "max_tokens": max_tokens, "request": contents[-1].commitment,
        "bound": bound.how.value, "reserved_tokens": bound.tokens + max_tokens,
        "reserved_microusd": 0 if costs_nothing else None, "elapsed_ms": place.elapsed_ms,
    }
    return Draft(place.session, "intent", data, contents)


def breach_draft(place: Place, reason: str) -> Draft:
    """Return the `breach` row of a check that is not the rule's: only its reason is known."""
    return _breach_draft(place, {"breach_reason": visible(reason), "limit": None, "spent": None, "next_at_most": None})


def _breach_draft(place: Place, facts: Mapping[str, Any]) -> Draft:
    data = {
        "turn": place.turn, "state_origin": "circuit_breaker", "scope": "session", "input_hash": place.input_hash,
        "pass_fail": False, "token_delta": 0, "execution_time_ms": 0, **facts,
    }
    return Draft(place.session, "breach", data)
