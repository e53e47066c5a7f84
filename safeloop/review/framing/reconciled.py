"""What reconciliations with the provider's bill say of a session: for the block beside the frame, never in it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from safeloop.errors import SignatureMismatch, VerificationError
from safeloop.ledger.content import manifest_entries
from safeloop.review.framing.facts import check_form
from safeloop.review.framing.layout import word
from safeloop.review.record import check_signature

if TYPE_CHECKING:
    from safeloop.ledger import Row
    from safeloop.ledger.trust import Trust
    from safeloop.review.framing.facts import ReadContent
    from safeloop.review.record import Record


def reconciliation_lines(record: Record, trust: Trust, read: ReadContent) -> tuple[str, ...]:
    """Return a line for each attempt of the session that was settled, and for each finding that names it.

    The rows are those of session `ledger`; one whose signature does not hold says so, and voids nothing.
    """
    return tuple(line for row in record.reconciled for line in _lines(row, record.session, trust, read))


def _lines(row: Row, session: str, trust: Trust, read: ReadContent) -> Iterator[str]:
    try:
        check_form(row)
        told = [*_settled(row, session), *_found(row, session, read)]
        if not told:
            return
        check_signature(row, trust)
    except SignatureMismatch:
        yield f"row {row.id}: reconcile, and its signature does not hold under a pinned writer"
        return
    except VerificationError as error:
        yield f"row {row.id}: reconcile, and it cannot be read: {error}"
        return
    yield from (f"row {row.id}: reconcile: {words}" for words in told)


def _settled(row: Row, session: str) -> Iterator[str]:
    for item in row.data["settled"]:
        if item["session"] == session:
            yield f"n {item['n']} was charged {item['charged_tokens']:,} tokens and is now {item['billed_tokens']:,}"


def _found(row: Row, session: str, read: ReadContent) -> Iterator[str]:
    data = read(row.data["findings"])
    for entry in () if data is None else manifest_entries(data):
        rows = [call.get("n") for call in _calls(entry) if call.get("session") == session]
        if rows:
            places = ", ".join(str(n) for n in rows)
            yield f"{word(str(entry.get('class')))} ({word(str(entry.get('severity')))}), n {word(places)}"


def _calls(entry: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    calls = entry.get("calls")
    return [call for call in calls if isinstance(call, dict)] if isinstance(calls, list) else []
