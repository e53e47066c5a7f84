"""Money and time as people write them, and as rows hold them: micro-dollars and milliseconds, whole numbers."""

from __future__ import annotations

from decimal import ROUND_FLOOR, Decimal, InvalidOperation

from safeloop.errors import SpecError
from safeloop.spec.counts import LARGEST, require_count
from safeloop.spec.wording import article

MICRO = 1_000_000
MILLI = 1_000
_MOST_DIGITS = 40


def microusd_of(name: str, value: object) -> int:
    """Read US dollars as text, such as "0.25", as micro-dollars; what is finer is dropped, so that no limit grows.

    Args:
        name: What is read, for the message.
        value: Text or a whole number; a float is refused, because it is not the number that was written.

    Raises:
        SpecError: It is no sum of money from 0 that a row can hold.
    """
    flag = name.removeprefix("flag ")
    hint = f"such as {flag} 0.25" if flag.startswith("--") else f'write dollars as text: {name} = "0.25"'
    if type(value) is not int and not isinstance(value, str):
        raise SpecError(f"{name} must be US dollars as text, not {article(value)}", hint=hint)
    text = str(value)
    try:
        usd = Decimal(text) if len(text) <= _MOST_DIGITS and text.isascii() and "_" not in text else Decimal("NaN")
    except InvalidOperation:
        usd = Decimal("NaN")
    if not usd.is_finite() or usd < 0 or usd > Decimal(LARGEST) / MICRO:
        raise SpecError(f"{name} must be US dollars from 0 to {LARGEST // MICRO:,}, not {text[:60]!r}", hint=hint)
    return int((usd * MICRO).to_integral_value(ROUND_FLOOR))


def milliseconds_of(name: str, value: object) -> int:
    """Read whole seconds as milliseconds.

    Raises:
        SpecError: It is not a whole number from 0 that a row can hold.
    """
    milliseconds = require_count(name, value) * MILLI
    return require_count(name, milliseconds)


def usd_text(microusd: int) -> str:
    """Say micro-dollars in dollars, exactly: at least two decimal places, and no more than are needed."""
    whole, rest = divmod(microusd, MICRO)
    return f"${whole:,}.{f'{rest:06d}'.rstrip('0').ljust(2, '0')}"


def seconds_text(elapsed_ms: int) -> str:
    """Say milliseconds in seconds, exactly."""
    whole, rest = divmod(elapsed_ms, MILLI)
    return f"{whole:,}{f'.{rest:03d}'.rstrip('0') if rest else ''} s"
