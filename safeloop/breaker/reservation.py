"""Reserving: the rule that runs under the ledger's write lock and returns an intent, a breach, or nothing yet.

What was charged is read from the rows in the same transaction that holds the next reservation, so it is the same
after a restart and for every process on the ledger.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from safeloop.breaker.bounds import Bound, Request
from safeloop.breaker.decisions import Demand, Full, Granted, Place, Refused
from safeloop.breaker.fitting import Ask, first_refusal, longest_answer, time_left
from safeloop.breaker.prices import Price
from safeloop.breaker.scopes import IsLive, check_running, scopes_of
from safeloop.breaker.windows import windows_of
from safeloop.ledger import Content, Draft, Row, View, visible
from safeloop.ledger.encoding import MAX_INTEGER
from safeloop.spec import Breach, Ceilings, Spend

NO_DEMAND = Demand()
Append = Callable[[Callable[[View], tuple[Draft, ...]]], tuple[Row, ...]]


def everybody_lives(_: str) -> bool:
    """Take every reservation of others for one that is still waited for."""
    return True


def reserve(
    append: Append,
    place: Place,
    request: Request,
    bound: Bound,
    ceilings: Ceilings,
    contents: tuple[Content, ...],
    *,
    price: Price | None,
    final: bool,
    more: Demand = NO_DEMAND,
    is_live: IsLive = everybody_lives,
) -> Granted | Refused | Full:
    """Reserve the worst case of an attempt, refuse it, or say that it must wait; in one transaction.

    Args:
        append: `Ledger.append`.
        bound: The worst case of the input.
        ceilings: The session's own; its ancestors' and the ledger's are read from rows.
        contents: The request's manifest, last, and what it newly names.
        price: None if it is not known; `FREE` if the client is never billed.
        final: Write the `breach` row if it does not fit. False leaves no row: a closer bound will be tried.
        more: What rows do not tell.
        is_live: Whether the process that runs a session lives: only its reservations are worth waiting for.

    Raises:
        LedgerError: The session, or an ancestor, is closed; or it is suspended and was not resumed.
        RuntimeError: This attempt has its intent, or this turn its reply, already: somebody else runs the session.
        SettingError: The cost is limited somewhere, and the price is not known.
    """
    ask, decision, before = Ask.of(request, bound, price), list[Refused | Full](), list[tuple[Spend, int | None]]()

    def decide(view: View) -> tuple[Draft, ...]:
        rows = view.session(place.session)
        check_running(view, place.session)
        _check_unasked(rows, place)
        scopes = tuple(scopes_of(view, place.session, rows, ceilings, place.turn, place.elapsed_ms, is_live))
        windows = tuple(windows_of(view, place.session, is_live))
        refusal = first_refusal(ask, scopes, windows, more)
        if refusal is None:
            before.append((scopes[0].spend, time_left(scopes)))
            return (_intent(place, request, bound, longest_answer(ask, scopes, windows), contents, price),)
        decision.append(refusal)
        return (refusal_draft(place, refusal.breach),) if final and isinstance(refusal, Refused) else ()

    rows = append(decide)
    if decision:
        return decision[0]
    data = rows[0].data
    return Granted(rows[0], data["max_tokens"], data["reserved_tokens"], data["reserved_microusd"], *before[-1])


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
    place: Place, request: Request, bound: Bound, max_tokens: int, contents: tuple[Content, ...], price: Price | None
) -> Draft:
    worst = None if price is None else min(price.worst(bound.tokens, max_tokens), MAX_INTEGER)
    data = {
        "turn": place.turn, "attempt": place.attempt, "model": visible(request.model),
        "wanted_max_tokens": request.wanted, "max_tokens": max_tokens, "request": contents[-1].commitment,
        "bound": bound.how.value, "reserved_tokens": bound.tokens + max_tokens, "reserved_microusd": worst,
        "elapsed_ms": place.elapsed_ms,
    }
    return Draft(place.session, "intent", data, contents)


def breach_draft(place: Place, reason: str) -> Draft:
    """Return the `breach` row of a check that is not the rule's: only its reason is known."""
    facts = {"breach_reason": visible(reason), "scope": "session", "limit": None, "spent": None, "next_at_most": None}
    return _breach_draft(place, facts)


def refusal_draft(place: Place, breach: Breach) -> Draft:
    """Return the `breach` row of a ceiling."""
    return _breach_draft(place, breach.as_row())


def _breach_draft(place: Place, facts: Mapping[str, Any]) -> Draft:
    data = {
        "turn": place.turn, "state_origin": "circuit_breaker", "input_hash": place.input_hash,
        "pass_fail": False, "token_delta": 0, "execution_time_ms": 0, **facts,
    }
    return Draft(place.session, "breach", data)
