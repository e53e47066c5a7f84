"""The ledger that was named on the command line, carried on into every command that is shown next.

`SAFELOOP_LEDGER` and the settings files hold for the next command as they are; a flag does not, and whoever follows a
hint must come to the same ledger.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

TAKING = (
    "approvals", "approve", "attest", "audit", "backup", "checkpoint", "close", "config", "erase", "export", "inbox",
    "init", "key revoke", "ledger adopt", "ledger import", "ledger limits", "log", "receipt", "reconcile", "refuse",
    "release", "report", "resume", "review", "run", "spec", "stats",
)  # fmt: skip
"""The commands that take `--ledger`."""

_COMMAND = re.compile(rf"\bsafeloop (?:{'|'.join(TAKING)})(?![\w-])(?![^;:]*--ledger)")
_SHOWN = ("hint", "next", "notes", "remedy")


def carried(text: str, ledger: str | None) -> str:
    """Return a text in which every command that takes a ledger names this one, but for those that name one already."""
    if ledger is None:
        return text
    return _COMMAND.sub(lambda found: f"{found.group()} --ledger {shlex.quote(ledger)}", text)


def carried_facts(facts: Mapping[str, Any], ledger: str | None) -> dict[str, Any]:
    """Return facts for `--json` in which the same holds of every hint and next command, however deep it lies."""
    return {name: _carried_value(name, value, ledger) for name, value in facts.items()}


def ledger_of(arguments: Sequence[str]) -> str | None:
    """Return the ledger that a command line names, or None; before any command has read it."""
    named = None
    for before, word in pairwise(("", *arguments)):
        if before == "--ledger":
            named = word
        elif word.startswith("--ledger="):
            named = word.partition("=")[2]
    return named


def _carried_value(name: str, value: Any, ledger: str | None) -> Any:
    if isinstance(value, str):
        return carried(value, ledger) if name in _SHOWN else value
    if isinstance(value, Mapping):
        return carried_facts(value, ledger)
    if isinstance(value, list | tuple):
        return [_carried_value(name, each, ledger) for each in value]
    return value
