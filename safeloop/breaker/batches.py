"""A reply's calls of tools: counted as a whole before the first of them runs, and each once more as it begins.

Between the two others of the family may have begun calls of theirs, a child that a call of this very batch started
among them. So where calls are limited each of them, a read too, begins with a row, which counts from then on in every
ancestor, and is written in the transaction that finds room for it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from safeloop.breaker.decisions import Place
from safeloop.breaker.reservation import Append, everybody_lives, refusal_draft
from safeloop.breaker.scopes import Scope, check_running, scopes_of, tally_of
from safeloop.ledger import Draft, View
from safeloop.spec import Breach, Ceilings, Reason, crossing


@dataclass(frozen=True, slots=True)
class Batch:
    """What was decided about a batch of calls.

    Attributes:
        breach: The ceiling that it goes beyond, if any.
        is_limited: Calls are limited in the session or in an ancestor: each of them needs its row before it runs.
    """

    breach: Breach | None
    is_limited: bool


def admit_calls(append: Append, place: Place, calls: tuple[str, ...], ceilings: Ceilings) -> Batch:
    """Say which ceiling a batch of calls goes beyond, if any, and write that down; in one transaction.

    Args:
        append: `Ledger.append`.
        place: The turn whose reply asks for them.
        calls: The provider's ids of those that were not answered yet, as rows show them. One that may have run
            already is counted already.
        ceilings: The session's own; its ancestors' are read from rows.

    Raises:
        LedgerError: The session, or an ancestor, is closed.
    """
    decided: list[Batch] = []

    def decide(view: View) -> tuple[Draft, ...]:
        check_running(view, place.session)
        begun = tally_of(view.session(place.session)).open_calls
        asked = sum((place.turn, call) not in begun for call in calls)
        limited = list(_limited(view, place, ceilings))
        breach = _beyond(limited, asked)
        decided.append(Batch(breach, bool(limited)))
        return () if breach is None else (refusal_draft(place, breach),)

    append(decide)
    return decided[0]


def begin_call(append: Append, place: Place, call: Draft, ceilings: Ceilings, *, is_limited: bool) -> Breach | None:
    """Write the row of a call that is about to run, unless one more goes beyond a ceiling by now.

    Args:
        append: `Ledger.append`.
        place: The turn whose reply asks for it.
        call: The `call` row; in the place of it a `breach` row is written where the call must not run.
        ceilings: The session's own; its ancestors' are read from rows.
        is_limited: See `Batch`.

    Raises:
        LedgerError: The session, or an ancestor whose ceilings limit it, is closed.
    """
    found: list[Breach] = []

    def decide(view: View) -> tuple[Draft, ...]:
        check_running(view, place.session)
        breach = _beyond(_limited(view, place, ceilings), 1) if is_limited else None
        if breach is None:
            return (call,)
        found.append(breach)
        return (refusal_draft(place, breach),)

    append(decide)
    return found[0] if found else None


def _limited(view: View, place: Place, ceilings: Ceilings) -> Iterator[Scope]:
    """Yield the session and its ancestors, as far as their calls are limited."""
    rows = view.session(place.session)
    for scope in scopes_of(view, place.session, rows, ceilings, place.turn, place.elapsed_ms, everybody_lives):
        if scope.ceilings.tool_calls is not None:
            yield scope


def _beyond(limited: Iterable[Scope], asked: int) -> Breach | None:
    crossed = (
        crossing(Reason.TOOL_CALLS, scope.ceilings.tool_calls, scope.spend.tool_calls, asked, scope=scope.name)
        for scope in limited
    )
    return next((breach for breach in crossed if breach is not None), None)
