"""`config`: every setting, and where its value comes from."""

from __future__ import annotations

import click

from safeloop.cli.options import Desk, common
from safeloop.cli.settings import KNOWN


@click.command()
@common()
def config(desk: Desk) -> None:
    """Show every setting, its value, and where that comes from."""
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
