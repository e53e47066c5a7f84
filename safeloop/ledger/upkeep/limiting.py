"""The operator's limits for each UTC hour, day and month, over all sessions of a ledger: one signed row, the newest."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from safeloop.ledger.charges import HOUR
from safeloop.ledger.ledger import Ledger, View
from safeloop.ledger.reader import LedgerReader
from safeloop.ledger.rows import LEDGER_SESSION, Draft, Row, parse_row

WINDOWS: Mapping[str, int] = {"hour": HOUR, "day": len("2026-11-21"), "month": len("2026-11")}
UNITS = ("tokens", "microusd", "sessions")

Limits = Mapping[str, Mapping[str, int]]
Change = Mapping[tuple[str, str], int | None]


@dataclass(frozen=True, slots=True)
class Used:
    """How much of one limit is used.

    Attributes:
        window: `hour`, `day` or `month`.
        begins: As the `at` of its rows begins.
        unit: `tokens`, `microusd` or `sessions`.
        limit: Inclusive.
    """

    window: str
    begins: str
    unit: str
    limit: int
    charged: int


def set_limits(ledger: Ledger, change: Change) -> Row:
    """Write a `limits` row that changes these limits and keeps the others.

    Args:
        change: By window and unit; None lifts a limit.
    """

    def decide(view: View) -> tuple[Draft, ...]:
        before = view.last_of_kind("limits", LEDGER_SESSION)
        now = {name: dict(before.data[name]) if before is not None else {} for name in WINDOWS}
        for (window, unit), limit in change.items():
            now[window].pop(unit, None)
            if limit is not None:
                now[window][unit] = limit
        return (Draft(LEDGER_SESSION, "limits", now),)

    return ledger.append(decide)[0]


def limits_of(reader: LedgerReader) -> Limits:
    """Return the limits in force by the newest `limits` row; none where there is none. Unverified, and no evidence."""
    row = _newest(reader)
    return {name: {} for name in WINDOWS} if row is None else row.data


def limits_row(reader: LedgerReader) -> int:
    """Return the number of that row, 0 if there is none."""
    row = _newest(reader)
    return 0 if row is None else row.id


def _newest(reader: LedgerReader) -> Row | None:
    rows = [parse_row(*stored) for stored in reader.rows_of_kinds("limits")]
    return next((row for row in reversed(rows) if row.session == LEDGER_SESSION), None)


def used(reader: LedgerReader, limits: Limits, now: str) -> tuple[Used, ...]:
    """Say how much of each limit is used, by what the file keeps of it.

    Args:
        now: The clock, as `at` has it.
    """
    hour = max(now[:HOUR], reader.newest_hour())
    found = []
    for window, size in WINDOWS.items():
        charged = dict(zip(UNITS, reader.charged_since(hour[:size]), strict=True))
        found += [
            Used(window, hour[:size], unit, limits[window][unit], charged[unit])
            for unit in UNITS if unit in limits[window]
        ]
    return tuple(found)
