"""The operator's limits for each UTC hour, day and month, over all sessions of a ledger.

They are the newest `limits` row, so that every process and the audit see the same. An intent belongs to the hour of
the later of the clock and the newest `at`; what settles it is charged to the same hour.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime

from safeloop.ledger import View
from safeloop.ledger.rows import LEDGER_SESSION
from safeloop.ledger.upkeep.limiting import UNITS, WINDOWS, turns_at

LIVE = "live"


@dataclass(frozen=True, slots=True)
class Window:
    """One window now open, and what was charged in it.

    Attributes:
        name: `hour`, `day` or `month`.
        begins: As the `at` of its rows begins.
        limits: By unit, inclusive; without a unit there is no limit on it.
        charged: By unit.
        live: By unit, what of it other sessions hold in reserve and whose holders live.
    """

    name: str
    begins: str
    limits: Mapping[str, int]
    charged: Mapping[str, int]
    live: Mapping[str, int]

    def left(self, unit: str) -> int | None:
        """Return what is left; negative if more than the limit was charged, None without a limit."""
        return self.limits[unit] - self.charged[unit] if unit in self.limits else None

    @property
    def until(self) -> datetime:
        """When it turns."""
        return turns_at(self.name, self.begins)


def windows_of(view: View, session: str | None, is_live: Callable[[str], bool]) -> Iterator[Window]:
    """Yield the windows that are limited.

    Args:
        session: The one that asks; what it holds itself is not another's.
        is_live: Whether the process that runs a session lives.
    """
    row = view.last_of_kind("limits", LEDGER_SESSION)
    limited = {name: limits for name, limits in row.data.items() if limits} if row is not None else {}
    if not limited:
        return
    hour = view.hour
    for name in WINDOWS:
        if name in limited:
            begins = hour[: WINDOWS[name]]
            held = [each for each in view.held_since(begins) if each.session != session and is_live(each.session)]
            tokens, microusd = sum(each.tokens for each in held), sum(each.microusd or 0 for each in held)
            charged = dict(zip(UNITS, view.charged_since(begins), strict=True))
            yield Window(name, begins, limited[name], charged, {"tokens": tokens, "microusd": microusd, "sessions": 0})
