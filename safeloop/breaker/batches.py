"""A reply's calls of tools, counted as a whole before the first of them runs."""

from __future__ import annotations

from safeloop.breaker.decisions import Place
from safeloop.breaker.reservation import Append, everybody_lives, refusal_draft
from safeloop.breaker.scopes import check_running, scopes_of, tally_of
from safeloop.ledger import Draft, View
from safeloop.spec import Breach, Ceilings, Reason, crossing


def admit_calls(append: Append, place: Place, calls: tuple[str, ...], ceilings: Ceilings) -> Breach | None:
    """Say which ceiling a batch of calls goes beyond, if any, and write that down; in one transaction.

    Sessions of one family that ask at the same moment are each counted against what was answered by then.

    Args:
        append: `Ledger.append`.
        place: The turn whose reply asks for them.
        calls: The provider's ids of those that were not answered yet, as rows show them. One that may have run
            already is counted already.
        ceilings: The session's own; its ancestors' are read from rows.

    Raises:
        LedgerError: The session, or an ancestor, is closed.
    """
    found: list[Breach] = []

    def decide(view: View) -> tuple[Draft, ...]:
        check_running(view, place.session)
        rows = view.session(place.session)
        begun = tally_of(rows).open_calls
        asked = sum((place.turn, call) not in begun for call in calls)
        for scope in scopes_of(view, place.session, rows, ceilings, place.turn, place.elapsed_ms, everybody_lives):
            breach = crossing(
                Reason.TOOL_CALLS, scope.ceilings.tool_calls, scope.spend.tool_calls, asked, scope=scope.name
            )
            if breach is not None:
                found.append(breach)
                return (refusal_draft(place, breach),)
        return ()

    append(decide)
    return found[0] if found else None
