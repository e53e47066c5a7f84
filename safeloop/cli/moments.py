"""Durations and moments as people type them: `30m`, `7d`; `2026-11-01`, `2026-11-01T07:00+01:00`.

A date is its first moment in UTC, as the windows of limits are. A time of day needs its zone, because a guess would be
wrong for somebody: `Z` is UTC.
"""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, timedelta

from safeloop.errors import SettingError
from safeloop.ledger.visible import visible

_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}
_DURATION = re.compile(r"([0-9]{1,7})([smhd])")
_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")


def duration_of(flag: str, text: str) -> timedelta:
    """Read a duration: a whole number and one of s, m, h, d.

    Raises:
        SettingError: It is none.
    """
    match = _DURATION.fullmatch(text)
    if match is None:
        raise SettingError(f"{flag} must be a number and s, m, h or d, not '{visible(text, 60)}'",
                           hint=f"{flag} 30m, 12h or 2d")
    return timedelta(**{_UNITS[match[2]]: int(match[1])})


def moment_of(flag: str, text: str, now: datetime) -> datetime:
    """Read a moment, or a duration before now; UTC.

    Raises:
        SettingError: It is neither, a date in another form, or a time of day without its zone.
    """
    hint = f"{flag} 7d, 2026-11-01 (UTC), or 2026-11-01T07:00Z"
    if _DURATION.fullmatch(text):
        try:
            return now - duration_of(flag, text)
        except OverflowError:
            raise SettingError(f"{flag} {text} is before all time", hint=hint) from None
    try:
        found = datetime.fromisoformat(text)
        if _DATE.fullmatch(text):
            return found.replace(tzinfo=UTC)
        if found.tzinfo is not None:
            return found.astimezone(UTC)
    except (ValueError, OverflowError):
        raise SettingError(f"{flag} must be a moment or a duration, not '{visible(text, 60)}'", hint=hint) from None
    if _is_date(text):
        raise SettingError(f"{flag} takes a date as 2026-11-01, not '{visible(text, 60)}'", hint=hint)
    raise SettingError(f"{flag} {visible(text, 60)} has no zone: a time of day is nobody's without one", hint=hint)


def _is_date(text: str) -> bool:
    """Say whether a moment is a date alone, in whatever form of ISO 8601."""
    try:
        date.fromisoformat(text)
    except ValueError:
        return False
    return True
