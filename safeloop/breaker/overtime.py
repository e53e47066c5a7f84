"""The breach of a call that was ended because its time was over, written at once: there may be no next call."""

from __future__ import annotations

from safeloop.breaker.decisions import Place
from safeloop.breaker.reservation import Append, everybody_lives, refusal_draft
from safeloop.breaker.scopes import check_running, scopes_of
from safeloop.ledger import Draft, View
from safeloop.spec import Breach, Ceilings, Reason, crossing


def check_time(append: Append, place: Place, ceilings: Ceilings) -> Breach | None:
    """Say which time ceiling is used up, if any, and write that down; in one transaction.

    Args:
        append: `Ledger.append`.
        place: The attempt that was ended, and the time that the session has used by now.
        ceilings: The session's own; its ancestors' are read from rows.

    Raises:
        LedgerError: The session, or an ancestor, is closed.
    """
    found: list[Breach] = []

    def decide(view: View) -> tuple[Draft, ...]:
        check_running(view, place.session)
        rows = view.session(place.session)
        for scope in scopes_of(view, place.session, rows, ceilings, place.turn, place.elapsed_ms, everybody_lives):
            breach = crossing(Reason.TIME, scope.ceilings.elapsed_ms, scope.spend.elapsed_ms, 1, scope=scope.name)
            if breach is not None:
                found.append(breach)
                return (refusal_draft(place, breach),)
        return ()

    append(decide)
    return found[0] if found else None
