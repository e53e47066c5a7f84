"""The operator's limits for each UTC hour, day and month, over all sessions of a ledger: one signed row, the newest."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

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

    @property
    def part(self) -> float:
        """How much of the limit that is: 1.0 is full, and more is beyond it. A limit of 0 is full."""
        return self.charged / self.limit if self.limit else 1.0 + self.charged

    @property
    def until(self) -> datetime:
        """When the window turns; UTC."""
        return turns_at(self.window, self.begins)


def turns_at(window: str, begins: str) -> datetime:
    """Return when a window turns; UTC.

    Args:
        window: `hour`, `day` or `month`.
        begins: As the `at` of its rows begins.
    """
    start = datetime.fromisoformat({"hour": "{}:00", "day": "{}", "month": "{}-01"}[window].format(begins))
    ends = start + {"hour": timedelta(hours=1), "day": timedelta(days=1), "month": timedelta(days=32)}[window]
    return (ends.replace(day=1) if window == "month" else ends).replace(tzinfo=UTC)


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
