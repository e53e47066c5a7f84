"""Numbers and times as people read them."""

from __future__ import annotations

from datetime import datetime, timedelta

from safeloop.spec import Ceilings


def ceilings_text(ceilings: Ceilings) -> str:
    """Say a session's ceilings in one phrase."""
    parts = []
    if ceilings.turns is not None:
        parts.append(f"{ceilings.turns:,} turns")
    if ceilings.tokens is not None:
        parts.append(f"{ceilings.tokens:,} tokens")
    return ", ".join(parts) or "none"


def age(since: datetime, now: datetime) -> str:
    """Say how long ago something was, in its largest unit."""
    passed = max(now - since, timedelta(0))
    for unit, seconds in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if passed.total_seconds() >= seconds:
            return f"{int(passed.total_seconds() // seconds)} {unit}"
    return "now"


def plural(number: int, noun: str) -> str:
    """Say a number of things."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"
