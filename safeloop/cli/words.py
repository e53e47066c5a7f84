"""Numbers and times as people read them."""

from __future__ import annotations

from datetime import timedelta

from safeloop.spec import Ceilings
from safeloop.spec.units import seconds_text, usd_text

DEFAULT = 3  # of errors and of identical calls in a row


def ceilings_text(ceilings: Ceilings) -> str:
    """Say a session's ceilings in one phrase; those on errors and on identical calls only where they are not usual."""
    parts = []
    if ceilings.turns is not None:
        parts.append(f"{ceilings.turns:,} turns")
    if ceilings.tokens is not None:
        parts.append(f"{ceilings.tokens:,} tokens")
    if ceilings.microusd is not None:
        parts.append(usd_text(ceilings.microusd))
    if ceilings.elapsed_ms is not None:
        parts.append(seconds_text(ceilings.elapsed_ms))
    if ceilings.tool_calls is not None:
        parts.append(plural(ceilings.tool_calls, "tool call"))
    if ceilings.errors not in (None, DEFAULT):
        parts.append(f"{plural(ceilings.errors or 0, 'error')} in a row")
    if ceilings.repeats not in (None, DEFAULT):
        parts.append(f"{plural(ceilings.repeats or 0, 'identical call')} in a row")
    return ", ".join(parts) or "none"


def age(passed: timedelta) -> str:
    """Say how long ago something was, in its largest unit; what lies ahead is now."""
    for unit, seconds in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if passed.total_seconds() >= seconds:
            return f"{int(passed.total_seconds() // seconds)} {unit}"
    return "now"


def plural(number: int, noun: str) -> str:
    """Say a number of things."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def lasting(seconds: int) -> str:
    """Say a duration in its two largest units."""
    units = (("d", 86_400), ("h", 3_600), ("min", 60), ("s", 1))
    largest = next((at for at, (_, size) in enumerate(units) if seconds >= size), len(units) - 1)
    parts: list[str] = []
    for unit, size in units[largest : largest + 2]:
        number, seconds = divmod(seconds, size)
        parts += [f"{number:,} {unit}"] if number or not parts else []
    return " ".join(parts)
