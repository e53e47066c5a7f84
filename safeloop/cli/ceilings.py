"""The ceilings as options, for every command that sets them, and the breaker that keeps them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

from safeloop.breaker import CircuitBreaker
from safeloop.breaker.pricing import Entry, parse_prices
from safeloop.cli.inputs import read_text
from safeloop.cli.settings import Settings
from safeloop.spec import Ceilings

Command = TypeVar("Command", bound=Callable[..., Any])

_COUNT = click.IntRange(min=0)
_OPTIONS: tuple[tuple[str, Any, str], ...] = (
    ("--turns", _COUNT, "Turn ceiling, inclusive; the tightest of all sources holds, here and below."),
    ("--tokens", _COUNT, "Token ceiling, inclusive."),
    ("--cost-usd", str, "Cost ceiling in US dollars, inclusive."),
    ("--time-s", _COUNT, "Ceiling on wall time, in seconds."),
    ("--tool-calls", _COUNT, "Ceiling on calls of tools, inclusive."),
    ("--errors", _COUNT, "Errors in a row that are allowed."),
    ("--repeats", _COUNT, "Identical calls in a row that are allowed."),
)


def ceiling_options(command: Command) -> Command:
    """Give a command a flag for each ceiling; they reach it by its settings."""
    wrapped: Any = command
    for flag, kind, text in reversed(_OPTIONS):
        wrapped = click.option(flag, type=kind, help=text)(wrapped)
    return wrapped  # type: ignore[no-any-return]  # click's decorators return what they are given


def breaker_of(settings: Settings, promised: Ceilings, output_fn: Callable[[str], object]) -> CircuitBreaker:
    """Return the breaker of a run; the banner goes to stderr, because stdout is the result."""
    return CircuitBreaker.of(settings.ceilings(promised), output_fn=output_fn)


def operator_prices(settings: Settings) -> tuple[Entry, ...]:
    """Return the operator's own prices; none where no file is set.

    Raises:
        SettingError: The file cannot be read, or holds something that is no price.
    """
    path = settings.path("prices")
    return () if path is None else parse_prices(read_text(path, "price file"), str(path))
