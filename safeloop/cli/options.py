"""Options that many commands share, and what a command is handed: its screen and its settings."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import click

from safeloop.cli.passphrases import passphrase_of
from safeloop.cli.screen import Screen
from safeloop.cli.settings import Settings
from safeloop.ledger.keys import KeyFolder
from safeloop.ledger.ledger import Ledger
from safeloop.ledger.reader import LedgerReader
from safeloop.ledger.site import real_path, require_kept
from safeloop.ledger.trust import Trust, load_trust

Command = TypeVar("Command", bound=Callable[..., Any])


@dataclass(frozen=True, slots=True)
class Desk:
    """What every command works with."""

    screen: Screen
    settings: Settings

    def open_ledger(self) -> Ledger:
        """Open the ledger for writing; it must exist."""
        return Ledger(self.settings.ledger, keys=self.key_folder(), create=False)

    def read_ledger(self) -> LedgerReader:
        """Open the ledger for reading; it must exist, and one that was here before must not be made afresh."""
        require_kept(real_path(self.settings.ledger), self.key_folder())
        return LedgerReader(self.settings.ledger)

    def trust(self) -> Trust:
        """Read the trust folder."""
        return load_trust(self.settings.trust)

    def key_folder(self) -> KeyFolder:
        """Return the key folder, which asks for a passphrase only where an encrypted key is to sign."""
        return KeyFolder(self.settings.keys, passphrase_of(self.settings))


def common(*, quiet: bool = False, trust: bool | str = False, ledger: bool = True) -> Callable[[Command], Command]:
    """Give a command `--json` and `--debug`, and where they make sense `--quiet`, `--ledger` and `--trust`.

    The command's first argument is its `Desk`; options named like a setting become that setting's flag. A text for
    `trust` is that flag's help, where a command has no default.
    """

    def decorate(function: Command) -> Command:
        @functools.wraps(function)
        def run(**options: Any) -> Any:
            flags = {name: options.pop(name) for name in _SETTINGS if name in options}
            screen = Screen(options.pop("json"), options.pop("quiet", False), options.pop("debug"), flags.get("ledger"))
            return function(Desk(screen, Settings(flags)), **options)

        options = [
            click.option("--debug", is_flag=True, help="Show where an error comes from."),
            click.option("--json", is_flag=True, help="Print one JSON object, errors included."),
        ]
        if quiet:
            options.append(click.option("--quiet", is_flag=True, help="Print nothing on success, for cron."))
        if trust:
            words = trust if isinstance(trust, str) else "Trust folder; else the key folder's self."
            options.append(click.option("--trust", metavar="DIR", help=words))
        if ledger:
            options.append(click.option("--ledger", metavar="PATH", help="The ledger; else ledger.db here."))
        wrapped: Any = run
        for option in options:
            wrapped = option(wrapped)
        return wrapped  # type: ignore[no-any-return]  # click's decorators return what they are given

    return decorate


def signing(function: Command) -> Command:
    """Give a command the options of whoever signs, here or elsewhere.

    The command gets `export_to`, `stated` and `signature`; name and key are the settings `reviewer` and `reviewer_key`.
    """
    file = click.Path(path_type=Path)
    wrapped: Any = function
    for option in (
        click.option("--signature", type=file, metavar="FILE", help="Its signature, made elsewhere."),
        click.option("--statement", "stated", type=file, metavar="FILE", help="A statement that was exported."),
        click.option("--export", "export_to", type=file, metavar="DIR", help="Write what to sign elsewhere."),
        click.option("--key", "reviewer_key", metavar="FILE", help="Your SSH key, or the .pub of an agent's."),
        click.option("--as", "reviewer", metavar="NAME", help="Your name, as the trust folder pins it."),
    ):
        wrapped = option(wrapped)
    return wrapped  # type: ignore[no-any-return]  # click's decorators return what they are given


_SETTINGS = (
    "ledger", "trust", "reviewer", "reviewer_key", "model", "base_url", "max_tokens", "max_wait", "remind_every",
    "turns", "tokens", "cost_usd", "time_s", "tool_calls", "errors", "repeats", "prices",
)  # fmt: skip
