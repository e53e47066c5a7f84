"""What has stopped a governed session: from then on it asks nothing, whatever its code does with the error."""

from __future__ import annotations

from safeloop.breaker import CircuitBreaker, Place, breach_draft, check_time
from safeloop.errors import CircuitBreakerError
from safeloop.ledger import Ledger
from safeloop.loop.closing import BREACHED, Ending
from safeloop.loop.events import Breached, Listener
from safeloop.spec import Breach, Ceilings


class Brake:
    """Stops a session once, and says the same ever after. Its caller holds the session's lock.

    Args:
        breaker: Shows the banner; one with a check of its own is asked too.
    """

    def __init__(self, ledger: Ledger, breaker: CircuitBreaker, tell: Listener) -> None:
        self._ledger, self._breaker, self._tell = ledger, breaker, tell
        self._found: tuple[str, int, int] | None = None

    @property
    def ending(self) -> Ending | None:
        """How the session ends, if it was stopped."""
        return None if self._found is None else Ending(BREACHED, self._found[0])

    def check(self) -> None:
        """Refuse what comes after a breach.

        Raises:
            CircuitBreakerError: There was one.
        """
        if self._found is not None:
            raise CircuitBreakerError(*self._found)

    def check_own(self, where: Place, tokens: int) -> None:
        """Ask a breaker that has a check of its own, as the tutorial does before every call.

        Raises:
            CircuitBreakerError: It refused; the breach is a row.
        """
        if not self._breaker.has_own_check:
            return
        try:
            self._breaker.check(where.turn, tokens)
        except CircuitBreakerError as breach:
            draft = breach_draft(where, breach.reason)
            self._ledger.append(lambda _: (draft,))
            self._note(where, breach.reason, tokens, None)
            raise

    def check_time(self, where: Place, tokens: int, ceilings: Ceilings) -> None:
        """Stop a session whose time is over.

        Raises:
            CircuitBreakerError: It is; the breach is a row, and the banner was shown.
        """
        breach = check_time(self._ledger.append, where, ceilings)
        if breach is not None:
            self.trip(where, breach, tokens)

    def trip(self, where: Place, breach: Breach, tokens: int) -> None:
        """Stop the session by a breach that is a row already.

        Raises:
            CircuitBreakerError: Always, after the banner was shown.
        """
        self._note(where, breach.reason.value, tokens, breach)
        self._breaker.trip(breach, where.turn, tokens)

    def _note(self, where: Place, reason: str, tokens: int, breach: Breach | None) -> None:
        self._found = reason, where.turn, tokens
        self._tell(Breached(where.session, where.turn, tokens, reason, breach))
