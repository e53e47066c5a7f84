"""`inbox`: what waits for a person. Apart from review and release, because only this asks the loop what is running."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from importlib import import_module
from typing import TYPE_CHECKING, Any

import click

from safeloop.cli.options import Desk, common
from safeloop.cli.programs import ending_words
from safeloop.cli.screen import is_shown
from safeloop.cli.sessions import short
from safeloop.cli.words import age, plural
from safeloop.ledger.visible import unseen_escaped
from safeloop.review.inbox import Item, State, Wait, waiting
from safeloop.review.releasing.policy import ReleasePolicy, parse_policy
from safeloop.spec.suspension import suspension_of
from safeloop.spec.units import usd_text

if TYPE_CHECKING:
    from safeloop.ledger.reader import LedgerReader

_PAUSED = (State.SUSPENDED, State.APPROVAL, State.OPEN)
RUNNING, _IN_DOUBT, _CRASHED = "running", "in doubt", "crashed"
WORDS = (*(wait.value for wait in Wait if wait is not Wait.RUNNER), _IN_DOUBT, _CRASHED)


@dataclass(frozen=True, slots=True)
class _Entry:
    """One session as it is listed.

    Attributes:
        name: A prefix of its id that is unique among those listed.
        word: What it waits for.
        age_s: How long it has waited, in whole seconds; never less than 0.
        is_due: The time that it waits for has come; None where it waits for none.
    """

    item: Item
    name: str
    word: str
    age_s: int
    is_due: bool | None

    @property
    def since(self) -> str:
        """How long it has waited, in words."""
        return age(timedelta(seconds=self.age_s))

    @property
    def command(self) -> str | None:
        """What to do next; nothing where it runs."""
        return None if self.word == RUNNING else self.item.next_command

    @property
    def remarks(self) -> tuple[str, ...]:
        """What else there is to say, each in a line."""
        reason = unseen_escaped(self.item.reason or "")
        held = f"{self.item.doubt.tokens:,} of its tokens are held for what has no outcome yet"
        return (
            *([reason + (" (that time has come)" if self.is_due else "")] if reason else []),
            *([held] if self.item.doubt.tokens else []),
        )


@click.command()
@click.option("--line", "in_line", is_flag=True, help="One short line, for a prompt or a mail, or none.")
@common(trust=True)
def inbox(desk: Desk, *, in_line: bool) -> None:
    """List what waits for a person, the oldest first, each with the next command.

    What the policy in the trust folder (release.toml) never releases does not wait once it was reviewed. With --line
    there is one line for all, and none if nothing waits; what runs does not wait.

    This is for finding one's way: it trusts the ledger's indexes. Review and release check everything.
    """
    now, policy = datetime.now(UTC), _policy(desk)
    with desk.read_ledger() as reader:
        items = waiting(reader, policy)
        running, led = _presence(desk, reader, items, is_brief=in_line and not desk.screen.as_json)
    names = tuple(item.session for item in items)
    entries = [
        _entry(_closable(item) if item.session in led else item, names, now, is_running=item.session in running)
        for item in items
    ]
    line = _line(entries)
    facts = {"waiting": [_facts(entry) for entry in entries], "counts": _counts(entries), "line": line}
    if not in_line:
        said = ending_words(led - running, names)
        line = "\n".join([*_listed(entries), *([said] if said else [])]) or "nothing waits"
    if line or desk.screen.as_json:
        desk.screen.result(line, facts)


def _policy(desk: Desk) -> ReleasePolicy:
    """Read what may be released; a ledger that lies here without any trust folder is listed by the default."""
    settings = desk.settings
    if settings.path("trust") is None and not settings.trust.exists():
        return ReleasePolicy()
    return parse_policy(desk.trust().release_policy_text, str(settings.trust / "release.toml"))


def _presence(
    desk: Desk, reader: LedgerReader, items: Sequence[Item], *, is_brief: bool
) -> tuple[frozenset[str], frozenset[str]]:
    """Return the sessions that run, and unless it is to be brief those that programs lead."""
    paused = [item.session for item in items if item.state in _PAUSED]
    opened = [item.session for item in items if item.state is State.OPEN]
    if not (opened if is_brief else paused):
        return frozenset(), frozenset()
    # Loaded where it is needed, as commands are: it takes as long as all the rest, and a prompt waits for this.
    presence = import_module("safeloop.cli.presence")
    running = presence.running_in(desk.settings.ledger, opened)
    return running, frozenset() if is_brief else presence.led_in(reader, paused)


def _closable(item: Item) -> Item:
    """Of a session that no command can resume, name the command that ends it."""
    return replace(item, next_command=f"safeloop close {item.session}")


def _entry(item: Item, names: tuple[str, ...], now: datetime, *, is_running: bool) -> _Entry:
    at, suspension = datetime.fromisoformat(item.at), suspension_of(item.reason)
    is_timed = item.waits_for in (Wait.QUOTA, Wait.WINDOW) and suspension.until is not None
    return _Entry(
        item, short(item.session, names), _word(item, is_running=is_running),
        max(0, int((now - at).total_seconds())), suspension.is_over(now) if is_timed else None,
    )


def _word(item: Item, *, is_running: bool) -> str:
    if item.waits_for is not Wait.RUNNER:
        return item.waits_for.value
    return RUNNING if is_running else _IN_DOUBT if item.doubt.tokens else _CRASHED


def _counts(entries: Sequence[_Entry]) -> dict[str, int]:
    found = Counter(entry.word for entry in entries)
    return {word: found[word] for word in WORDS}


def _line(entries: Sequence[_Entry]) -> str:
    """Say all in one line; nothing if nothing waits."""
    idle = [entry for entry in entries if entry.word != RUNNING]
    if not idle:
        return ""
    counted = ", ".join(f"{number:,} {word}" for word, number in _counts(idle).items() if number)
    oldest = max(idle, key=lambda entry: entry.age_s).since
    return f"{len(idle):,} {'waits' if len(idle) == 1 else 'wait'}: {counted}; oldest {oldest}"


def _listed(entries: Sequence[_Entry]) -> list[str]:
    """Return a line for each with its remarks below; in a terminal that is too narrow, everything below its name."""
    wide = [_wide(entry) for entry in entries]
    width = max((len(line) for line in wide), default=0)
    if is_shown(err=False) and width > shutil.get_terminal_size().columns:
        return ["\n  ".join(_stacked(entry)) for entry in entries]
    return ["\n".join([line, *(f"{'':13} {each}" for each in entry.remarks)])
            for line, entry in zip(wide, entries, strict=True)]


def _wide(entry: _Entry) -> str:
    item = entry.item
    return (
        f"{entry.name:13} {entry.word:8} {entry.since:>6}  {item.outcome or '-':10} {plural(item.turns, 'turn'):>9} "
        f"{item.tokens:>9,} tokens {_cost(item) or '-':>9}  {entry.command or ''}".rstrip()
    )


def _stacked(entry: _Entry) -> list[str]:
    item = entry.item
    spent = [item.outcome or "not ended", plural(item.turns, "turn"), f"{item.tokens:,} tokens", _cost(item)]
    return [
        f"{entry.name}  {entry.word}  {entry.since}", ", ".join(each for each in spent if each), *entry.remarks,
        *([entry.command] if entry.command else []),
    ]


def _cost(item: Item) -> str:
    return "" if item.cost_microusd is None else usd_text(item.cost_microusd)


def _facts(entry: _Entry) -> dict[str, Any]:
    item, is_running = entry.item, entry.word == RUNNING
    return {
        "session": item.session, "state": RUNNING if is_running else item.state, "waits_for": entry.word,
        "outcome": item.outcome, "at": item.at, "age_s": entry.age_s, "reason": item.reason, "due": entry.is_due,
        "turns": item.turns, "tokens": item.tokens, "tokens_in_doubt": item.doubt.tokens,
        "cost_microusd": item.cost_microusd, "next": entry.command,
    }
