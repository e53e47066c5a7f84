"""The circuit breaker as the tutorial has it: two limits, a banner, an error."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import NoReturn

from safeloop.errors import CircuitBreakerError, SettingError
from safeloop.ledger.encoding import MAX_INTEGER
from safeloop.spec import Breach, Ceilings, Reason, Spend, breach_before


class CircuitBreaker:
    """Stops a loop before the call that could cross a ceiling.

    Args:
        turn_limit: Turns, inclusive: the limit itself is allowed.
        token_limit: Tokens of all turns together, inclusive.
        output_fn: Shows the banner.

    Raises:
        SettingError: A limit is not an integer from 0 to 2**53 - 1, the largest that a row can hold.
    """

    def __init__(
        self, turn_limit: int = 5, token_limit: int = 15000, *, output_fn: Callable[[str], object] = print
    ) -> None:
        for name, limit in (("turn_limit", turn_limit), ("token_limit", token_limit)):
            if type(limit) is not int or not 0 <= limit <= MAX_INTEGER:
                raise SettingError(f"{name} must be an integer from 0 to 2**53 - 1, not {limit!r}")
        self.turn_limit = turn_limit
        self.token_limit = token_limit
        self.output_fn = output_fn

    @property
    def ceilings(self) -> Ceilings:
        """The limits as the rule reads them."""
        return Ceilings(turns=self.turn_limit, tokens=self.token_limit)

    def tightened(self, ceilings: Ceilings) -> CircuitBreaker:
        """Return a breaker that also keeps these ceilings, and is otherwise this one."""
        both, tighter = self.ceilings.tightened(ceilings), copy.copy(self)
        tighter.turn_limit, tighter.token_limit = both.turns or 0, both.tokens or 0
        return tighter

    @property
    def has_own_check(self) -> bool:
        """Whether a subclass has a check of its own, which the reservation does not imply."""
        return type(self).check is not CircuitBreaker.check

    def check(self, turn_count: int, accumulated_tokens: int) -> None:
        """Refuse what is beyond a limit already; call it before every request.

        Raises:
            CircuitBreakerError: After the banner was shown.
        """
        breach = breach_before(Spend(turn_count - 1, accumulated_tokens), self.ceilings, turn=turn_count)
        if breach is not None:
            self.trip(breach, turn_count, accumulated_tokens)

    def trip(self, breach: Breach, turn_count: int, accumulated_tokens: int) -> NoReturn:
        """Show the banner, in plain numbers, and raise.

        Raises:
            CircuitBreakerError: Always; its cause is what `output_fn` raised, if it did.
        """
        tripped = CircuitBreakerError(breach.reason.value, turn_count, accumulated_tokens)
        try:
            self.output_fn(self._banner(breach, turn_count, accumulated_tokens))
        except Exception as error:  # a closed pipe: a breach that nobody can be shown is still one
            raise tripped from error
        raise tripped

    def _banner(self, breach: Breach, turn_count: int, accumulated_tokens: int) -> str:
        reach = ""
        if breach.reason is Reason.TOKENS and breach.next_at_most:
            reach = f" (the next call could reach {breach.spent + breach.next_at_most})"
        return (
            "=== CIRCUIT BREAKER CHECKPOINT ===\n"
            f"reason       : {breach.reason.value}\n"
            f"turn_count   : {turn_count} / limit {self.turn_limit}\n"
            f"tokens_used  : {accumulated_tokens} / limit {self.token_limit}{reach}\n"
            "action       : halt loop, surface to human reviewer\n"
            "=================================="
        )
