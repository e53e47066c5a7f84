"""The row of an attempt's outcome: `turn` where a reply came, `attempt` where none did."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

from safeloop.breaker import Granted, Place, Price, attempt_draft, check_open, turn_draft
from safeloop.errors import AttemptFailed
from safeloop.ledger import Draft, Ledger, View
from safeloop.ledger.content import JSON, TEXT
from safeloop.loop.governing.asked import Asked
from safeloop.models import Reply


@dataclass(frozen=True, slots=True, eq=False)
class Ticket:
    """An attempt whose intent is on disk and whose outcome is not.

    Attributes:
        owner: Who waits for it: a thread or a task.
        started: When it was granted, on the monotonic clock.
    """

    place: Place
    granted: Granted
    asked: Asked
    owner: object
    started: float = field(default_factory=time.monotonic)

    @property
    def took_ms(self) -> int:
        """Milliseconds since it was granted."""
        return round((time.monotonic() - self.started) * 1000)


def settle_turn(
    ledger: Ledger, ticket: Ticket, reply: Reply, elapsed_ms: int, price: Price | None, named: Price | None
) -> Draft:
    """Write the row of an attempt that brought its reply, and return what it says.

    Args:
        price: What it was reserved at.
        named: As for `turn_draft`.

    Raises:
        LedgerError: The session is closed.
    """
    return _append(ledger, turn_draft(
        ticket.place, ticket.granted, usage=reply.usage, model=reply.model, stop_reason=reply.stop_reason,
        response=ledger.content(reply.raw, JSON), execution_time_ms=ticket.took_ms, elapsed_ms=elapsed_ms, price=price,
        named=named,
    ))


def settle_attempt(ledger: Ledger, ticket: Ticket, failure: AttemptFailed, elapsed_ms: int) -> Draft:
    """Write the row of an attempt that brought none, and return what it says.

    Raises:
        LedgerError: The session is closed.
    """
    words = (failure.detail or failure.message).encode("utf-8", "surrogatepass")
    return _append(ledger, attempt_draft(
        ticket.place, ticket.granted, in_doubt=failure.in_doubt, error_class=failure.error_class,
        status=failure.status, detail=ledger.content(words, TEXT), execution_time_ms=ticket.took_ms,
        elapsed_ms=elapsed_ms,
    ))


def _append(ledger: Ledger, draft: Draft) -> Draft:
    def decide(view: View) -> tuple[Draft, ...]:
        check_open(view, draft.session)
        return (draft,)

    ledger.append(decide)
    return draft
