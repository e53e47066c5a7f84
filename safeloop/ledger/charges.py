"""What rows charge to each UTC hour: derived data, kept so that no reservation has to read a month of rows.

An intent is charged at its reservation, to the hour of its row by the later of that row's `at` and the newest before
it. What settles it is charged to the same hour in its place. What has no intent was not reserved, and is not counted:
rows that were written by hand. One arithmetic serves the writer, which keeps the figures in the transaction that adds
the rows, and the audit, which adds them up again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from safeloop.ledger.rows import LEDGER_SESSION

if TYPE_CHECKING:
    from safeloop.ledger.rows import Row

Charge = tuple[int, int | None]
"""Tokens and micro-dollars; None for a price that is not known."""

HOUR = len("2026-11-21T07")
_CHARGED = {"attempt": ("charged_tokens", "charged_microusd"), "turn": ("token_delta", "cost_microusd")}


class Held(NamedTuple):
    """An open intent; or an attempt in doubt, which a reconciliation may still lower.

    Attributes:
        n: The intent's place in its session.
        attempt: The place of the `attempt` row in doubt; None while the intent is open.
        hour: The one that it is charged to.
        tokens: Charged for it now.
        microusd: The same in micro-dollars; None if its price is not known.
    """

    session: str
    n: int
    attempt: int | None
    hour: str
    tokens: int
    microusd: int | None


class Book(Protocol):
    """Where the figures are kept."""

    def newest_hour(self) -> str:
        """Return the newest hour that any row has told of; empty if there is none."""

    def charge(self, hour: str, tokens: int, microusd: int, sessions: int) -> None:
        """Add to an hour, which is made if it is new; less than nothing is given back."""

    def hold(self, held: Held) -> None:
        """Keep an open intent or an attempt in doubt, in place of what is kept of the same intent."""

    def found(self, session: str, n: int) -> Held | None:
        """Return what is kept of an intent, by its place or by that of its attempt in doubt."""

    def release(self, held: Held) -> None:
        """Keep it no longer."""


def post(book: Book, row: Row) -> None:
    """Take in the ledger's next row, which has the form of its kind."""
    kind, hour, newest = row.kind, row.at[:HOUR], book.newest_hour()
    if hour > newest:
        book.charge(hour, 0, 0, 0)  # an hour that has begun is the newest, even if nothing is charged to it
    else:
        hour = newest
    if kind == "intent":
        held = _intent(row, hour)
        book.charge(hour, held.tokens, held.microusd or 0, 0)
        book.hold(held)
    elif kind in _CHARGED:
        _settle(book, row)
    elif kind == "open":
        book.charge(hour, 0, 0, 1)
    elif kind == "reconcile":
        for item in row.data["settled"]:
            if row.session in (LEDGER_SESSION, item["session"]):
                _lower(book, item)


def charged(row: Row) -> Charge:
    """Return what a `turn` or `attempt` row charges."""
    of_tokens, of_microusd = _CHARGED[row.kind]
    return row.data[of_tokens], row.data[of_microusd]


def _intent(row: Row, hour: str) -> Held:
    data = row.data
    return Held(row.session, row.n, None, hour, data["reserved_tokens"], data["reserved_microusd"])


def _settle(book: Book, row: Row) -> None:
    """Charge what came of an attempt in place of its reservation; a second word about it counts for nothing."""
    intent = row.data["intent"]
    held = None if intent is None else book.found(row.session, intent)
    if held is None or held.attempt is not None or held.n != intent:
        return
    tokens, microusd = charged(row)
    book.charge(held.hour, tokens - held.tokens, (microusd or 0) - (held.microusd or 0), 0)
    if row.kind == "attempt" and row.data["in_doubt"]:
        book.hold(held._replace(attempt=row.n, tokens=tokens, microusd=microusd))
    else:
        book.release(held)


def _lower(book: Book, item: dict[str, Any]) -> None:
    """Lower what is charged for an attempt in doubt to what was billed; nothing else is lowered, and nothing raised."""
    held = book.found(item["session"], item["n"])
    if held is None or held.attempt is None:
        return
    billed = item.get("billed_microusd")
    microusd = held.microusd if held.microusd is None or billed is None else min(held.microusd, billed)
    lowered = held._replace(tokens=min(held.tokens, item["billed_tokens"]), microusd=microusd)
    book.charge(held.hour, lowered.tokens - held.tokens, (microusd or 0) - (held.microusd or 0), 0)
    book.hold(lowered)
