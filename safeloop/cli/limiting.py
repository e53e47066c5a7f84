"""`ledger limits`: what all sessions of a ledger together may spend in an hour, a day, a month."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import Any, TypeVar

import click

from safeloop.cli.options import Desk, common
from safeloop.errors import SettingError
from safeloop.ledger.rows import timestamp
from safeloop.ledger.upkeep.limiting import UNITS, WINDOWS, Change, Used, limits_of, set_limits, used
from safeloop.spec.counts import require_count
from safeloop.spec.units import microusd_of, usd_text

Command = TypeVar("Command", bound=Callable[..., Any])

_LIFT = "none"
_MOST_DIGITS = 20
_NAMES = {"tokens": "tokens", "microusd": "usd", "sessions": "sessions"}
_MEANINGS = {"tokens": "Tokens", "microusd": "US dollars", "sessions": "Sessions opened"}


def _options(command: Command) -> Command:
    wrapped: Any = command
    for window in reversed(tuple(WINDOWS)):
        for unit in reversed(UNITS):
            text = f"{_MEANINGS[unit]} in each {window} (UTC), inclusive; none lifts the limit."
            wrapped = click.option(f"--{window}-{_NAMES[unit]}", f"{window}_{unit}", metavar="N", help=text)(wrapped)
    return wrapped  # type: ignore[no-any-return]  # click's decorators return what they are given


@click.command("limits")
@_options
@common()
def limits_command(desk: Desk, **given: str | None) -> None:
    """Limit what all sessions together may spend; without an option, show the limits and how much of them is used.

    Limits are a signed row: every process, and every audit, goes by the newest. What is not named stays as it is. A
    full window suspends sessions until it turns.
    """
    change = _change(given)
    if change:
        with contextlib.closing(desk.open_ledger()) as ledger:
            row = set_limits(ledger, change)
        desk.screen.note(f"recorded, row {row.id}")
    with desk.read_ledger() as reader:
        limits = limits_of(reader)
        found = used(reader, limits, timestamp(datetime.now(UTC)))
    desk.screen.result(_told(found), {"limits": limits, "used": [_facts(each) for each in found]})


def _change(given: dict[str, str | None]) -> Change:
    change: dict[tuple[str, str], int | None] = {}
    for window in WINDOWS:
        for unit in UNITS:
            text = given[f"{window}_{unit}"]
            if text is not None:
                change[window, unit] = None if text == _LIFT else _limit(f"--{window}-{_NAMES[unit]}", unit, text)
    return change


def _limit(flag: str, unit: str, text: str) -> int:
    if unit == "microusd":
        return microusd_of(flag, text)
    if not (text.isascii() and text.isdigit() and len(text) <= _MOST_DIGITS):
        raise SettingError(f"{flag} must be a whole number from 0, or none, not {text[:60]!r}", hint=f"{flag} 100000")
    return require_count(flag, int(text))


def _facts(each: Used) -> dict[str, Any]:
    return {
        "window": each.window, "begins": each.begins, "unit": each.unit, "limit": each.limit, "charged": each.charged,
    }


def _told(found: Iterable[Used]) -> str:
    lines = [
        f"{each.window:6} {each.begins:14} {_figure(each.unit, each.charged):>18} of {_figure(each.unit, each.limit)}"
        for each in found
    ]
    return "\n".join(lines) or "no limits: what sessions spend together is not limited"


def _figure(unit: str, value: int) -> str:
    return usd_text(value) if unit == "microusd" else f"{value:,} {unit}"
