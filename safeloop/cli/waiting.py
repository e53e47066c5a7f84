"""`inbox`: what waits for a person. Apart from review and release, because only this asks the loop what is running."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import click

from safeloop.cli.options import Desk, common
from safeloop.cli.programs import ending_words
from safeloop.cli.sessions import short
from safeloop.cli.words import age, plural
from safeloop.loop.lock import is_held
from safeloop.loop.opening import led_by_programs
from safeloop.loop.place import lock_path
from safeloop.review.inbox import Item, State, waiting


@click.command()
@common(trust=True)
def inbox(desk: Desk) -> None:
    """List what waits for a person, the oldest first, each with the next command.

    This is for finding one's way: it trusts the ledger's indexes. Review and release check everything.
    """
    with desk.read_ledger() as reader:
        items = waiting(reader)
        waits = [item.session for item in items if item.state in (State.SUSPENDED, State.APPROVAL, State.OPEN)]
        led = led_by_programs(reader, waits)
    running = {item.session for item in items if item.state == "open" and _is_running(desk, item.session)}
    now, names = datetime.now(UTC), tuple(item.session for item in items)
    items = tuple(_closable(item) if item.session in led else item for item in items)
    lines = [_inbox_line(item, now, names, running=item.session in running) for item in items]
    facts = [_inbox_facts(item, running=item.session in running) for item in items]
    said = ending_words(led - running, names)
    desk.screen.result("\n".join([*lines, *([said] if said else [])]) or "nothing waits", {"waiting": facts})


def _closable(item: Item) -> Item:
    """Of a session that no command can resume, name the command that ends it."""
    return replace(item, next_command=f"safeloop close {item.session}")


def _is_running(desk: Desk, session: str) -> bool:
    return is_held(lock_path(desk.settings.ledger, session), f"session {session}")


def _inbox_line(item: Item, now: datetime, names: tuple[str, ...], *, running: bool) -> str:
    state = "running" if running else item.state
    since = age(datetime.fromisoformat(item.at), now)
    return (
        f"{short(item.session, names):13} {state:10} {since:>6}  {item.outcome or '-':10} "
        f"{plural(item.turns, 'turn'):>9} {item.tokens:>9,} tokens  {'' if running else item.next_command}".rstrip()
        + (f"\n{'':13} {item.reason}" if item.outcome == "suspended" and item.reason else "")
    )


def _inbox_facts(item: Item, *, running: bool) -> dict[str, Any]:
    return {
        "session": item.session, "state": "running" if running else item.state, "outcome": item.outcome,
        "at": item.at, "reason": item.reason, "turns": item.turns, "tokens": item.tokens,
        "cost_microusd": item.cost_microusd, "next": None if running else item.next_command,
    }
