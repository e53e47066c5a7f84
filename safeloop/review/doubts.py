"""What is charged at its worst case because nobody knows its outcome, by the figures that the file keeps.

An intent without outcome, of a session that runs or whose process is gone; or an attempt that a time-out or a lost
connection ended, until a `reconcile` row tells what was billed. Navigation, and no evidence: an audit adds it up again.
All of what is or was in doubt is held at once, reconciled or not; those are few, and memory grows with nothing else.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from safeloop.ledger.charges import Held
from safeloop.ledger.rows import LEDGER_SESSION
from safeloop.review.glance import readable

if TYPE_CHECKING:
    from safeloop.ledger.reader import LedgerReader


@dataclass(frozen=True, slots=True)
class Doubt:
    """What of one session is in doubt.

    Attributes:
        tokens: Charged for it.
        microusd: The same in micro-dollars; None where a price is not known.
        lowered: Tokens that reconciliations took off what the session's rows had charged.
    """

    tokens: int = 0
    microusd: int | None = 0
    lowered: int = 0


NO_DOUBT = Doubt()


def doubts_of(reader: LedgerReader) -> Mapping[str, Doubt]:
    """Return by session what is in doubt; sessions without any are left out.

    Raises:
        VerificationError: A row that is needed cannot be read.
    """
    reconciled = {
        (item["session"], item["n"])
        for row in readable(reader.rows_of_kinds("reconcile"))
        for item in row.data["settled"] if row.session in (LEDGER_SESSION, item["session"])
    }
    found: dict[str, Doubt] = {}
    for held in [Held(*each) for each in reader.everything_held()]:
        is_reconciled = bool({(held.session, held.n), (held.session, held.attempt)} & reconciled)
        lowered = _charged(reader, held) - held.tokens if is_reconciled else 0
        found[held.session] = _with(found.get(held.session, NO_DOUBT), held, lowered, in_doubt=not is_reconciled)
    return found


def _with(doubt: Doubt, held: Held, lowered: int, *, in_doubt: bool) -> Doubt:
    if not in_doubt:
        return Doubt(doubt.tokens, doubt.microusd, doubt.lowered + lowered)
    price = None if doubt.microusd is None or held.microusd is None else doubt.microusd + held.microusd
    return Doubt(doubt.tokens + held.tokens, price, doubt.lowered)


def _charged(reader: LedgerReader, held: Held) -> int:
    """Return what the row of an attempt in doubt charges; no reconciliation lowers an intent that is still open."""
    stored = None if held.attempt is None else reader.row_of(held.session, held.attempt)
    row = next(readable([stored] if stored else ()), None)
    return held.tokens if row is None else int(row.data["charged_tokens"])
