"""What must hold before a session is opened: its parent works, its costs are known, its windows take one more."""

from __future__ import annotations

from safeloop.breaker.fitting import full_window, require_price
from safeloop.breaker.prices import Price
from safeloop.breaker.reservation import everybody_lives
from safeloop.breaker.scopes import check_running, parent_row
from safeloop.breaker.windows import windows_of
from safeloop.errors import LedgerError, Suspended
from safeloop.ledger import Row, View
from safeloop.spec import Ceilings


def check_admission(view: View, ceilings: Ceilings, *, parent: str | None, price: Price | None) -> None:
    """Check that a session may be opened now.

    Args:
        view: The ledger under the write lock that its `open` row is written under.
        ceilings: Those that it would have.
        parent: The session whose child it would be.
        price: None if it is not known.

    Raises:
        LedgerError: The parent was never opened, is closed, was stopped, or waits to be resumed.
        SettingError: The cost is limited somewhere, and the price is not known.
        Suspended: A window has had all the sessions that it may have.
    """
    if ceilings.microusd is not None:
        require_price(price, "the cost ceiling")
    if parent is not None:
        for opened in _line(view, parent):
            _check_works(view, opened.session)
            if "microusd" in opened.data["ceilings"]:
                require_price(price, f"session {opened.session}, whose spend this is too,")
    for window in windows_of(view, None, everybody_lives):
        if "microusd" in window.limits:
            require_price(price, f"the {window.name} of the whole ledger")
        left = window.left("sessions")
        if left is not None and left < 1:
            full = full_window(window, "sessions", "this session would be one more")
            raise Suspended(full.words, hint="run it after that, or see safeloop ledger limits --help")


def _line(view: View, parent: str) -> tuple[Row, ...]:
    """Return the `open` rows of a parent and its ancestors, nearest first."""
    line: list[Row] = []
    name: str | None = parent
    before = view.size
    while name is not None:
        opened = parent_row(view, name, before)
        line.append(opened)
        name, before = opened.data["parent"], opened.idx
    return tuple(line)


def _check_works(view: View, session: str) -> None:
    check_running(view, session)
    breach = next((row for row in view.session(session) if row.kind == "breach"), None)
    if breach is not None:
        raise LedgerError(
            f"session {session} was stopped by its {breach.data['breach_reason']}, in row {breach.id}: "
            "no child of it can be opened", hint=f"safeloop review {session}",
        )
