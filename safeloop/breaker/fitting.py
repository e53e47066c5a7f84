"""Whether a call fits under a set of ceilings and into a window, and how long its answer may be. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from safeloop.breaker.bounds import Bound, Request
from safeloop.breaker.decisions import Demand, Full, Refused
from safeloop.breaker.prices import Price
from safeloop.breaker.scopes import SESSION, Scope
from safeloop.breaker.windows import LIVE, Window
from safeloop.errors import SettingError
from safeloop.spec import Breach, Spend, breach_before, clamp, room, smallest_useful
from safeloop.spec.units import usd_text


@dataclass(frozen=True, slots=True)
class Ask:
    """What a call needs at least, and what it may have at most.

    Attributes:
        bound: Worst case of the input, in tokens.
        smallest: The smallest useful answer.
        wanted: The answer asked for.
        price: None if it is not known.
    """

    bound: int
    smallest: int
    wanted: int
    price: Price | None

    @classmethod
    def of(cls, request: Request, bound: Bound, price: Price | None) -> Ask:
        """Return what a request asks for; one that is not to be clamped needs all that it wants."""
        smallest = smallest_useful(request.wanted, request.thinking_budget, request.thinks)
        return cls(max(bound.tokens, 0), smallest if request.clamps else request.wanted, request.wanted, price)

    @property
    def tokens(self) -> int:
        """The least that the call can come to."""
        return self.bound + self.smallest

    @property
    def microusd(self) -> int:
        """The price of the least; 0 if it is not known."""
        return 0 if self.price is None else self.price.worst(self.bound, self.smallest)

    def rooms(self, left: int | None, microusd: int | None) -> list[int]:
        """Return how long the answer may be.

        Args:
            left: Tokens left for it once the input is paid; None without a limit.
            microusd: Micro-dollars left for both; None without a limit.
        """
        rooms = [] if left is None else [left]
        if microusd is not None and self.price is not None:
            answer = self.price.answer_within(microusd, self.bound)
            rooms += [] if answer is None else [answer]
        return rooms


def require_price(price: Price | None, what: str) -> None:
    """Refuse to start where a cost is limited and no price is known: unknown would cost nothing.

    Raises:
        SettingError: There is no price.
    """
    if price is None:
        raise SettingError(
            f"{what} limits the cost, and this model has no price: they do not start together",
            hint="safeloop config prices MODEL says what to do",
        )


def first_refusal(
    ask: Ask, scopes: Iterable[Scope], windows: Iterable[Window], more: Demand
) -> Refused | Full | None:
    """Say why a call does not fit, if it does not: ceilings are asked before windows, and the session's own first."""
    for scope in scopes:
        refusal = refusal_under(scope, ask, more)
        if refusal is not None:
            return refusal
    return next(filter(None, (fullness_of(window, ask) for window in windows)), None)


def refusal_under(scope: Scope, ask: Ask, more: Demand) -> Refused | Full | None:
    """Say why a call does not fit under a set of ceilings; that of waiting is over where others give back enough."""
    if scope.ceilings.microusd is not None:
        require_price(ask.price, f"the cost ceiling of session {scope.session}")
    repeats = more.repeats if scope.name == SESSION else 0

    def breach_of(spend: Spend) -> Breach | None:
        return breach_before(
            spend, scope.ceilings, turn=scope.turn, bound=ask.bound, smallest=ask.smallest, microusd=ask.microusd,
            repeats=repeats, scope=scope.name,
        )

    breach = breach_of(scope.spend)
    if breach is None:
        return None
    if any(scope.live) and breach_of(scope.at_best) is None:
        words = f"other sessions under session {scope.session} hold in reserve what this call needs"
        return Full(LIVE, None, words)
    return Refused(breach, scope.spend.tokens)


def fullness_of(window: Window, ask: Ask) -> Full | None:
    """Say why a call must wait for a window."""
    if "microusd" in window.limits:
        require_price(ask.price, f"the {window.name} of the whole ledger")
    for unit, asked in (("tokens", ask.tokens), ("microusd", ask.microusd)):
        left = window.left(unit)
        if left is None or asked <= left:
            continue
        if asked <= left + window.live[unit]:
            words = f"other sessions hold in reserve what this call needs of the {window.name}'s {unit}"
            return Full(LIVE, None, words)
        if asked > window.limits[unit]:
            return Full(window.name, window.until, _never_fits(window, unit, asked))
        return full_window(window, unit, f"this call may need {_figure(unit, asked)}")
    return None


def _never_fits(window: Window, unit: str, asked: int) -> str:
    """Say that a call is larger than a window that is empty: to wait is no help, other limits are."""
    return (
        f"this call may need {_figure(unit, asked)}, more than the {window.name}'s whole limit of "
        f"{_named(unit, window.limits[unit])}: no {window.name} is long enough, safeloop ledger limits raises it"
    )


def full_window(window: Window, unit: str, asked: str) -> Full:
    """Say that a window is full."""
    words = (
        f"the {window.name}'s limit of {_named(unit, window.limits[unit])} is used up to "
        f"{_figure(unit, window.charged[unit])}, and "
        f"{asked}: wait until {window.until:%Y-%m-%d %H:%M} UTC"
    )
    return Full(window.name, window.until, words)


def longest_answer(ask: Ask, scopes: tuple[Scope, ...], windows: tuple[Window, ...]) -> int:
    """Return the longest answer that fits everywhere: the smallest room counts."""
    rooms = [ask.wanted]
    for scope in scopes:
        limit = scope.ceilings.microusd
        microusd = None if limit is None else limit - max(scope.spend.microusd, 0)
        rooms += ask.rooms(room(scope.spend, scope.ceilings, ask.bound), microusd)
    for window in windows:
        left = window.left("tokens")
        rooms += ask.rooms(None if left is None else left - ask.bound, window.left("microusd"))
    return clamp(ask.wanted, min(rooms))


def time_left(scopes: Iterable[Scope]) -> int | None:
    """Return the milliseconds that every time ceiling leaves; None without one."""
    ceilings = ((scope.ceilings.elapsed_ms, scope.spend.elapsed_ms) for scope in scopes)
    return min((limit - spent for limit, spent in ceilings if limit is not None), default=None)


def _figure(unit: str, value: int) -> str:
    return usd_text(value) if unit == "microusd" else f"{value:,}"


def _named(unit: str, value: int) -> str:
    return usd_text(value) if unit == "microusd" else f"{value:,} {unit}"
