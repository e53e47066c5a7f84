"""`config`: every setting, and where its value comes from; `config prices`: what a model costs, and who says so."""

from __future__ import annotations

import os
from decimal import Decimal
from typing import Any

import click

from safeloop.breaker import FREE, Price
from safeloop.breaker.prices import Rate
from safeloop.breaker.pricing import find_price
from safeloop.cli.ceilings import operator_prices
from safeloop.cli.options import Desk, common
from safeloop.cli.settings import KNOWN
from safeloop.ledger import visible
from safeloop.models.address import shown_address
from safeloop.models.offline import MODEL as OFFLINE

_CLAUDE = "https://api.anthropic.com"
_PER = 1_000_000


@click.group(invoke_without_command=True)
@common()
@click.pass_context
def config(context: click.Context, desk: Desk) -> None:
    """Show every setting, its value, and where that comes from."""
    if context.invoked_subcommand is not None:
        return
    values = {known.name: desk.settings.get(known.name) for known in KNOWN}
    shown = {"keys": str(desk.settings.keys), "trust": str(desk.settings.trust)}
    lines, width = [], max(len(known.name) for known in KNOWN)
    for known in KNOWN:
        value = shown.get(known.name, values[known.name].value)
        lines.append(f"{known.name:{width}} {'-' if value is None else value!s:34} {values[known.name].origin}")
    facts = {
        name: {"value": shown.get(name, value.value), "origin": value.origin} for name, value in values.items()
    }
    desk.screen.result("\n".join(lines), {"settings": facts})


@config.command()
@click.argument("model", required=False)
@click.option("--base-url", metavar="URL", help="The server that would be asked; else the setting, else Claude's.")
@click.option("--prices", metavar="FILE", help="Your own prices, before the published ones.")
@common(ledger=False)
def prices(desk: Desk) -> None:
    """Show what MODEL costs, and where the figure comes from; without MODEL, the model that is set."""
    name = desk.settings.get("model").value
    base_url = desk.settings.get("base_url").value or os.environ.get("ANTHROPIC_BASE_URL") or _CLAUDE
    endpoint = shown_address(base_url)
    price = FREE if name == OFFLINE else find_price(name, endpoint, operator_prices(desk.settings))
    desk.screen.result(_told(name, endpoint, price), {"model": name, "endpoint": endpoint, **_facts(price)})


def _facts(price: Price) -> dict[str, Any]:
    """Return a price in US dollars, as text: for a million tokens, and for a thousand searches."""
    reading, answering = price.dearest
    return {
        "source": price.source,
        "usd_per_million": {
            name: str(rate.base)
            for name, rate in (("input", price.input), ("cache_write", price.cache_write),
                               ("cache_read", price.cache_read), ("output", price.output))
        },
        "usd_per_thousand_searches": None if price.search is None else str(price.search.base / 1_000),
        "reserved_usd_per_million": {"input": str(reading), "output": str(answering)},
    }


def _told(model: str, endpoint: str, price: Price) -> str:
    reading, answering = price.dearest
    search = "no price" if price.search is None else f"${price.search.base / 1_000:f} for a thousand"
    return "\n".join((
        f"model        {visible(model, 200)} at {visible(endpoint, 200)}",
        f"source       {price.source}",
        f"input        {_rate(price.input)}",
        f"cache write  {_rate(price.cache_write)}",
        f"cache read   {_rate(price.cache_read)}",
        f"output       {_rate(price.output)}",
        f"searches     {search}",
        f"reserved at  {_usd(reading)} for input and {_usd(answering)} for output: the dearest that can apply",
    ))


def _rate(rate: Rate) -> str:
    steps = "".join(f"; {_usd(dearer)} beyond {start:,} input tokens" for start, dearer in rate.steps)
    return f"{_usd(rate.base)} for a million tokens{steps}"


def _usd(value: Decimal) -> str:
    return f"${value:f}"
