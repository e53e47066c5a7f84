"""`help`: pages of the documentation, shipped with the package."""

from __future__ import annotations

from importlib import resources

import click

from safeloop.cli.options import Desk, common
from safeloop.errors import SettingError


def topics() -> tuple[str, ...]:
    """Return the names of the pages."""
    pages = (page.name for page in resources.files("safeloop.docs").iterdir())
    return tuple(sorted(name.removesuffix(".md") for name in pages if name.endswith(".md")))


@click.command("help")
@click.argument("topic", required=False)
@common(ledger=False)
def help_topic(desk: Desk, topic: str | None) -> None:
    """Read a page of the documentation; without TOPIC, list the pages."""
    if topic is None:
        listing = "\n".join(f"safeloop help {name}" for name in topics())
        desk.screen.result(f"{listing}\nsafeloop COMMAND --help", {"topics": topics()})
        return
    if topic not in topics():
        raise SettingError(f"there is no page {topic[:40]!r}", hint=f"one of: {', '.join(topics())}")
    text = resources.files("safeloop.docs").joinpath(f"{topic}.md").read_text(encoding="utf-8")
    desk.screen.result(text.rstrip("\n"), {"topic": topic, "text": text})
