"""Where prices come from: the operator's own table first, then the `genai-prices` package; never a table of ours.

    [[price]]                              # prices.toml; every figure is text, so that none is rounded
    endpoint = "https://api.anthropic.com" # optional: without it the entry holds for every endpoint
    model = "claude-sonnet-5-5"            # exactly as it is asked for
    input_usd = "2.00"                     # for a million tokens, like the next three
    cache_write_usd = "2.50"               # optional: else that of input
    cache_read_usd = "0.20"                # optional: else that of input
    output_usd = "10.00"
    search_usd = "10.00"                   # optional; for a thousand searches
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from typing import Any

from safeloop.breaker.prices import Price, Rate
from safeloop.errors import SettingError
from safeloop.ledger import visible

_REQUIRED = ("model", "input_usd", "output_usd")
_OPTIONAL = ("endpoint", "cache_write_usd", "cache_read_usd", "search_usd")
_MOST_USD = Decimal(1_000_000)
_HINT = "an entry: [[price]] with model, input_usd, output_usd; optional: " + ", ".join(_OPTIONAL)
_PER_THOUSAND = 1_000


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of the operator's table.

    Attributes:
        endpoint: None where it holds for all.
    """

    endpoint: str | None
    model: str
    price: Price


def parse_prices(text: str, name: str = "prices.toml") -> tuple[Entry, ...]:
    """Read the operator's table; `name` is what messages call the file.

    Raises:
        SettingError: Not TOML, a key that has no meaning, a figure that is no price, or two entries for one model.
    """
    try:
        values = tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        raise SettingError(f"{name} is not TOML: {visible(str(error))}", hint=_HINT) from None
    listed = values.pop("price", [])
    if values or not isinstance(listed, list):
        raise SettingError(f"{name} holds something that is not a [[price]]", hint=_HINT)
    entries = tuple(_entry(value, f"{name}, entry {number}") for number, value in enumerate(listed, 1))
    places = [(entry.endpoint, entry.model) for entry in entries]
    for place in places:
        if places.count(place) > 1:
            raise SettingError(f"{name} has two prices for {visible(place[1], 60)}", hint="leave one")
    return entries


def find_price(model: str, endpoint: str, table: Iterable[Entry] = (), *, at: datetime | None = None) -> Price:
    """Return the price of a model at an endpoint.

    Args:
        model: As it is asked for.
        endpoint: Where requests go, without credentials.
        table: The operator's entries; one for this endpoint goes before one for all.
        at: The moment, aware; None is now. Published prices are dated.

    Raises:
        SettingError: There is no price to be had, and the hint says how to give one.
    """
    found = [entry for entry in table if entry.model == model and entry.endpoint in (endpoint, None)]
    if found:
        return max(found, key=lambda entry: entry.endpoint is not None).price
    return _published(model, endpoint, datetime.now(UTC) if at is None else at)


def _entry(value: Any, where: str) -> Entry:
    if not isinstance(value, dict):
        raise SettingError(f"{where} is not a [[price]]", hint=_HINT)
    for key in value:
        if key not in (*_REQUIRED, *_OPTIONAL):
            raise SettingError(f"{where} has an unknown key: {visible(key, 60)}", hint=_HINT)
    for key in _REQUIRED:
        if key not in value:
            raise SettingError(f"{where} lacks {key}", hint=_HINT)
    for key in ("endpoint", "model"):
        if not isinstance(value.get(key, "-"), str) or not value.get(key, "-"):
            raise SettingError(f"{where}: {key} is not a text", hint=_HINT)
    rates = {key: _rate(value[key], f"{where}: {key}") for key in value if key.endswith("_usd")}
    search = rates.get("search_usd")
    price = Price(
        input=rates["input_usd"], cache_write=rates.get("cache_write_usd", rates["input_usd"]),
        cache_read=rates.get("cache_read_usd", rates["input_usd"]), output=rates["output_usd"],
        search=None if search is None else Rate(search.base * _PER_THOUSAND), source=where,
    )
    endpoint = value.get("endpoint")
    return Entry(None if endpoint is None else endpoint.rstrip("/"), value["model"], price)


def _rate(value: object, where: str) -> Rate:
    try:
        usd = Decimal(value) if isinstance(value, str) else None
    except InvalidOperation:
        usd = None
    if usd is None or not usd.is_finite() or not 0 <= usd <= _MOST_USD:
        raise SettingError(f"{where} is not a price in US dollars as text: {value!r:.60}", hint='for example "2.50"')
    return Rate(usd)


def _published(model: str, endpoint: str, at: datetime) -> Price:
    """Look a model up in the `genai-prices` package, whose prices are dated and kept up by its maintainers."""
    own = "give one with --prices FILE: [[price]] with model, input_usd, output_usd (safeloop help ceilings)"
    words = f"there is no price for {visible(model, 80)} at {visible(endpoint, 80)}"
    try:
        import genai_prices  # noqa: PLC0415 - an extra
        from genai_prices.data_snapshot import get_snapshot  # noqa: PLC0415
    except ImportError:
        hint = f"pip install 'safeloop[cost]', or {own}"
        raise SettingError(f"{words}: genai-prices is not installed", hint=hint) from None
    try:
        provider, info = get_snapshot().find_provider_model(model, None, None, endpoint)
    except LookupError:
        raise SettingError(f"{words} in genai-prices {genai_prices.__version__}", hint=own) from None
    source = f"genai-prices {genai_prices.__version__}, {provider.id}/{info.id}"
    standard = info.get_prices(at)
    tables = [standard, *_others(info, at)]
    if standard.input_mtok is None or standard.output_mtok is None:
        raise SettingError(f"{source} has no price for tokens", hint=own)
    reading = [rate for table in tables for rate in _reading(table)]
    answering = [_of(table.output_mtok) for table in tables if table.output_mtok is not None]
    return Price(
        input=_of(standard.input_mtok), cache_write=_dearest(_writing(standard)) or _of(standard.input_mtok),
        cache_read=_of(standard.cache_read_mtok or standard.input_mtok), output=_of(standard.output_mtok),
        search=_search(standard), source=source,
        most=(Rate(max(rate.dearest for rate in reading)), Rate(max(rate.dearest for rate in answering))),
    )


def _others(info: Any, at: datetime) -> Iterator[Any]:
    """Yield the tables that another hour of the day, or another level of service, can bring."""
    conditional = info.prices if isinstance(info.prices, list) else []
    for each in conditional:
        if not hasattr(each.constraint, "start_date") or each.constraint.active(at):
            yield each.prices
    for variant in info.price_variants or ():
        yield variant.prices


def _reading(table: Any) -> Iterator[Rate]:
    for listed in (table.input_mtok, table.cache_read_mtok):
        if listed is not None:
            yield _of(listed)
    yield from _writing(table)


def _writing(table: Any) -> Iterator[Rate]:
    """Yield what writing to a cache costs, for however long it keeps: usage does not always say which it was."""
    for name, listed in vars(table).items():
        if listed is not None and "cache" in name and "write" in name and "audio" not in name:
            yield _of(listed)


def _dearest(rates: Iterator[Rate]) -> Rate | None:
    return max(rates, key=lambda rate: rate.dearest, default=None)


def _search(table: Any) -> Rate | None:
    listed = next((value for name, value in vars(table).items() if "search" in name and value is not None), None)
    return None if listed is None else Rate(_of(listed).dearest * _PER_THOUSAND)


def _of(listed: Any) -> Rate:
    """Take a published figure: a number, or one that depends on the size of the input."""
    if isinstance(listed, Decimal):
        return Rate(listed)
    return Rate(listed.base, tuple((tier.start, tier.price) for tier in listed.tiers))
