"""The circuit breaker as the tutorial has it: limits, a banner, an error."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any, NoReturn

from safeloop.breaker.banner import banner
from safeloop.errors import CircuitBreakerError, SettingError, SpecError
from safeloop.ledger.encoding import MAX_INTEGER
from safeloop.spec import Breach, Ceilings, Spend, breach_before
from safeloop.spec.units import MILLI, microusd_of


class CircuitBreaker:
    """Stops a loop before the call that could cross a ceiling; each is inclusive: the limit itself is allowed.

    Args:
        turn_limit: Turns.
        token_limit: Tokens of all turns together.
        cost_limit_usd: US dollars, as text ("0.25"), a `Decimal` or a whole number; None is no limit, here and below.
        time_limit_s: Seconds on a monotonic clock; suspended time does not count.
        tool_call_limit: Calls of tools; a reply's whole batch is counted before its first call runs.
        error_limit: Errors in a row.
        repeat_limit: Identical calls in a row: at the limit the model is told, beyond it the loop stops.
        output_fn: Shows the banner.

    Raises:
        SettingError: A limit is not a number from 0 to what a row can hold.
    """

    def __init__(
        self,
        turn_limit: int = 5,
        token_limit: int = 15000,
        *,
        cost_limit_usd: object = None,
        time_limit_s: float | None = None,
        tool_call_limit: int | None = None,
        error_limit: int | None = 3,
        repeat_limit: int | None = 3,
        output_fn: Callable[[str], object] = print,
    ) -> None:
        self.turn_limit = _limit("turn_limit", turn_limit)
        self.token_limit = _limit("token_limit", token_limit)
        self.cost_limit_usd = cost_limit_usd
        self.time_limit_s = time_limit_s
        self.tool_call_limit = None if tool_call_limit is None else _limit("tool_call_limit", tool_call_limit)
        self.error_limit = None if error_limit is None else _limit("error_limit", error_limit)
        self.repeat_limit = None if repeat_limit is None else _limit("repeat_limit", repeat_limit)
        self.output_fn = output_fn
        self._also = Ceilings()
        self._microusd = _microusd(cost_limit_usd)
        self._elapsed_ms = _milliseconds(time_limit_s)

    @classmethod
    def of(cls, ceilings: Ceilings, *, output_fn: Callable[[str], object] = print) -> CircuitBreaker:
        """Return a breaker of these ceilings and no others, but that turns and tokens always have one: 0 if missing."""
        breaker = cls(ceilings.turns or 0, ceilings.tokens or 0, error_limit=None, repeat_limit=None,
                      output_fn=output_fn)
        return breaker.tightened(ceilings)

    @property
    def ceilings(self) -> Ceilings:
        """The limits as the rule reads them."""
        own = Ceilings(
            turns=self.turn_limit, tokens=self.token_limit, microusd=self._microusd, elapsed_ms=self._elapsed_ms,
            tool_calls=self.tool_call_limit, errors=self.error_limit, repeats=self.repeat_limit,
        )
        return own.tightened(self._also)

    def tightened(self, ceilings: Ceilings) -> CircuitBreaker:
        """Return a breaker that also keeps these ceilings, and is otherwise this one."""
        tighter = copy.copy(self)
        tighter._also = both = self.ceilings.tightened(ceilings)
        tighter.turn_limit, tighter.token_limit = both.turns or 0, both.tokens or 0
        return tighter

    @property
    def has_own_check(self) -> bool:
        """Whether a subclass has a check of its own, which the reservation does not imply."""
        return type(self).check is not CircuitBreaker.check

    def check(self, turn_count: int, accumulated_tokens: int) -> None:
        """Refuse what is beyond a limit already; call it before every request.

        It is told of turns and tokens, and so decides by these alone; a loop's reservation decides by all.

        Raises:
            CircuitBreakerError: After the banner was shown.
        """
        ceilings = Ceilings(turns=self.turn_limit, tokens=self.token_limit)
        breach = breach_before(Spend(turn_count - 1, accumulated_tokens), ceilings, turn=turn_count)
        if breach is not None:
            self.trip(breach, turn_count, accumulated_tokens)

    def trip(self, breach: Breach, turn_count: int, accumulated_tokens: int) -> NoReturn:
        """Show the banner, in plain numbers, and raise.

        Raises:
            CircuitBreakerError: Always; its cause is what `output_fn` raised, if it did.
        """
        tripped = CircuitBreakerError(breach.reason.value, turn_count, accumulated_tokens)
        try:
            self.output_fn(banner(breach, turn_count, accumulated_tokens, self.ceilings))
        except Exception as error:  # a closed pipe: a breach that nobody can be shown is still one
            raise tripped from error
        raise tripped


def _limit(name: str, limit: object) -> int:
    if type(limit) is not int or not 0 <= limit <= MAX_INTEGER:
        raise SettingError(f"{name} must be an integer from 0 to 2**53 - 1, not {limit!r}")
    return limit


def _microusd(usd: Any) -> int | None:
    if usd is None:
        return None
    try:
        return microusd_of("cost_limit_usd", usd if type(usd) in (int, float, bool) else str(usd))
    except SpecError as error:
        raise SettingError(str(error), hint='cost_limit_usd="0.25"') from None


def _milliseconds(seconds: object) -> int | None:
    if seconds is None:
        return None
    if type(seconds) not in (int, float) or not 0 <= seconds <= MAX_INTEGER // MILLI:  # type: ignore[operator]
        raise SettingError(f"time_limit_s must be seconds from 0, not {seconds!r}")
    return int(seconds * MILLI)  # type: ignore[operator]
