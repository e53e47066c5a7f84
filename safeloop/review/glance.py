"""Rows as an index leads to them: parsed strictly, of their kind's form, and signed by whomever. Navigation only."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from safeloop.errors import VerificationError
from safeloop.ledger import Row
from safeloop.ledger.rows import parse_row
from safeloop.review.framing.facts import check_form
from safeloop.spec import spend_of


def readable(stored: Iterable[tuple[int, bytes, bytes]]) -> Iterator[Row]:
    """Yield stored rows, parsed.

    Raises:
        VerificationError: One cannot be read; it is named and never passed over.
    """
    # All at once: a query that an error left unfinished would keep the file busy after its reader was closed.
    for idx, body, signature in tuple(stored):
        try:
            row = parse_row(idx, body, signature)
            check_form(row)
        except VerificationError as error:
            raise VerificationError(f"row {idx + 1} cannot be read: {error}", hint="safeloop audit") from None
        yield row


def charged(rows: Sequence[Row]) -> tuple[int, int, int | None]:
    """Add up what a `close` row would state: answered turns, tokens charged, and micro-dollars of the answered turns.

    Args:
        rows: All of one session, in order.

    Returns:
        The third is None where a turn's cost is not known.
    """
    turns = [row for row in rows if row.kind == "turn"]
    costs = [row.data["cost_microusd"] for row in turns]
    return len(turns), spend_of(rows).tokens, None if None in costs else sum(costs)
