"""The operator's limits for each UTC hour, day and month, over all sessions of a ledger.

An intent belongs to the hour of its row, by the later of that row's clock and the newest `at` before it, and what
settles it is charged to the same hour. Three running totals are kept, never rows: what is over never comes back,
because the newest `at` only grows.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from safeloop.ledger import Row
from safeloop.ledger.charges import HOUR
from safeloop.ledger.upkeep.limiting import WINDOWS
from safeloop.spec import Reason, crossing


class _Total:
    """What was charged in one window so far: of tokens and micro-dollars, in the hours before the newest."""

    __slots__ = ("microusd", "sessions", "tokens")

    def __init__(self) -> None:
        self.tokens = self.microusd = self.sessions = 0


class Windows:
    """The three windows now open.

    Attributes:
        hour: The newest, as an `at` begins.
        is_limited: There was a `limits` row.
    """

    def __init__(self) -> None:
        self.hour = ""
        self.is_limited = False
        self._newest = ""
        self._limits: Mapping[str, Mapping[str, int]] = {name: {} for name in WINDOWS}
        self._totals = {name: _Total() for name in WINDOWS}
        self._tokens = self._microusd = 0  # of the newest hour

    def see(self, at: str) -> bool:
        """Move on to a row's time, if it is later than every row's before; return whether a month began."""
        if at <= self._newest:
            return False
        self._newest = at
        before, self.hour = self.hour, at[:HOUR]
        if before == self.hour:
            return False
        self._charge_hour(before, self._tokens, self._microusd)
        self._tokens = self._microusd = 0
        for name, size in WINDOWS.items():
            if before[:size] != self.hour[:size]:
                self._totals[name] = _Total()
        return before[:WINDOWS["month"]] != self.hour[:WINDOWS["month"]]

    def limit(self, row: Row) -> None:
        """Put the limits of a `limits` row in force."""
        self.is_limited, self._limits = True, row.data

    def charge(self, hour: str, tokens: int, microusd: int) -> None:
        """Charge what belongs to an hour to the windows that it is in, if they are still open."""
        if hour == self.hour:
            self._tokens += tokens
            self._microusd += microusd
        else:
            self._charge_hour(hour, tokens, microusd)

    def _charge_hour(self, hour: str, tokens: int, microusd: int) -> None:
        """Charge what belongs to an hour that is over."""
        for name, size in WINDOWS.items():
            if hour[:size] == self.hour[:size]:
                self._totals[name].tokens += tokens
                self._totals[name].microusd += microusd

    def crossed(self, intent: Row) -> Iterator[str]:
        """Say which windows an intent was granted beyond; it is charged already."""
        tokens, price = intent.data["reserved_tokens"], intent.data["reserved_microusd"]
        for name, limits in self._limits.items():
            total = self._totals[name]
            others, spent = total.tokens + self._tokens - tokens, total.microusd + self._microusd - (price or 0)
            yield from self._beyond(name, "tokens", Reason.TOKENS, limits, others, tokens)
            yield from self._beyond(name, "microusd", Reason.COST, limits, spent, price or 0)
            if price is None and "microusd" in limits:
                yield f"granted without a price, and the {name}'s microusd are limited to {limits['microusd']:,}"

    def open_session(self) -> Iterator[str]:
        """Count a session; say which windows it is one too many for."""
        for name, limits in self._limits.items():
            total = self._totals[name]
            total.sessions += 1
            yield from self._beyond(name, "sessions", Reason.TURNS, limits, total.sessions - 1, 1)

    def _beyond(
        self, name: str, unit: str, reason: Reason, limits: Mapping[str, Any], spent: int, more: int
    ) -> Iterator[str]:
        if crossing(reason, limits.get(unit), spent, more):
            window = self.hour[:WINDOWS[name]]
            yield (f"granted beyond the {name}'s {unit} ({window}), limited to {limits[unit]:,}: "
                   f"{spent:,} charged and {more:,} asked for")
