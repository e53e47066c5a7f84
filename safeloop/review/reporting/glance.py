"""A ledger at a glance, as `stats` has it: sessions by outcome, what they spent, and how much of each limit is used."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from safeloop.review.auditing.findings import counted
from safeloop.review.reporting.charts import Chart, Line, Unit, draw
from safeloop.review.reporting.markup import facts, paragraph, table, unsigned, words
from safeloop.spec.units import usd_text

if TYPE_CHECKING:
    from safeloop.ledger.upkeep.limiting import Used
    from safeloop.review.statistics import Statistics

_NAMES = {"tokens": "tokens", "microusd": "cost", "sessions": "sessions"}


def glance_section(figures: Statistics | str) -> str:
    """Return a ledger's figures, or why there are none."""
    if isinstance(figures, str):
        return unsigned("glance", "At a glance", paragraph(f"No figures: {figures}"))
    by_label = [(label, number) for label, number in figures.sessions if number]
    return unsigned(
        "glance", "At a glance",
        paragraph("Figures from what indexes lead to, as safeloop stats has them: navigation, and no evidence."),
        facts(_spending(figures)), *_charts(figures, by_label),
        table("Sessions by outcome, or by what they wait for", ("Outcome", "Sessions"), by_label),
        _list("Breaches by reason", ("Reason", "How many"), list(figures.breaches)),
        _list("Limits of the open windows", ("Window", "What", "Used of the limit"), [
            (f"{each.window} {each.begins}", _NAMES[each.unit], _used(each)) for each in figures.windows
        ]),
    )


def _spending(figures: Statistics) -> list[tuple[str, str]]:
    cost = (usd_text(figures.known_microusd) if figures.cost_microusd is not None
            else f"{usd_text(figures.known_microusd)} known; that of {counted(figures.unpriced, 'session')} is not")
    waited = figures.attested
    waits = "" if waited.median_s is None else f"; median wait {waited.median_s:,} s, longest {waited.longest_s:,} s"
    return [
        ("Sessions", f"{figures.session_count:,}, {figures.released:,} of them released"),
        ("Turns", f"{figures.turns:,}"),
        ("Tokens", f"{figures.tokens:,}, {figures.tokens_in_doubt:,} of them in doubt"), ("Cost", words(cost)),
        ("Attested", words(f"{waited.count:,}{waits}; {waited.awaited:,} wait")),
    ]


def _charts(figures: Statistics, by_label: list[tuple[str, int]]) -> Iterator[str]:
    if by_label:
        said = ", ".join(f"{number:,} {label}" for label, number in by_label)
        yield draw(_bars("chart-sessions", "Sessions by outcome", said, by_label))
    if figures.windows:
        said = ", ".join(f"{each.window} {_NAMES[each.unit]} {_used(each)}" for each in figures.windows)
        parts = [(f"{each.window} {_NAMES[each.unit]}", _percent(each)) for each in figures.windows]
        yield draw(_bars("chart-windows", "Used part of each limit", said, parts, Unit.PERCENT))


def _bars(identity: str, title: str, said: str, figures: list[tuple[str, int]], unit: Unit = Unit.COUNT) -> Chart:
    labels = tuple(f"{label} ({unit.text(value)})" for label, value in figures)
    values = tuple(value for _, value in figures)
    return Chart(identity, title, f"{said}.", labels, (Line(title, values),), is_bars=True, unit=unit)


def _used(each: Used) -> str:
    unit = Unit.MICROUSD if each.unit == "microusd" else Unit.COUNT
    return f"{unit.text(each.charged)} of {unit.text(each.limit)} ({_percent(each)} %)"


def _percent(each: Used) -> int:
    """Return the used part as `safeloop stats` has it: what was not reached is not rounded up."""
    return int(each.part * 100)


def _list(caption: str, columns: tuple[str, ...], lines: list[tuple[object, ...]]) -> str:
    return table(caption, columns, lines) if lines else paragraph(f"{caption}: none.")
