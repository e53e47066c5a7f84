"""Asking a person: the frame first, then accept, reject or leave, then proof that they looked at its hash."""

from __future__ import annotations

import click

from safeloop.cli.screen import Screen
from safeloop.errors import NotAttested

ACCEPT, REJECT, LEAVE = "accept", "reject", "leave"
_LAST = 4


def ask_decision(screen: Screen, frame_sha256: str) -> str:
    """Ask for a decision about the frame that was just shown; return `accept` or `reject`.

    An empty answer never decides anything, and neither does one that is not a whole word.

    Raises:
        NotAttested: The person leaves, or the four characters are not those of the hash.
    """
    screen.note(f"frame sha256 {frame_sha256}")
    decision = ""
    while decision not in (ACCEPT, REJECT, LEAVE):
        decision = _ask("accept, reject, or leave? ").strip().lower()
    if decision == LEAVE:
        raise NotAttested("left without a decision; nothing was signed", hint="safeloop inbox")
    typed = _ask(
        f"you sign that you compared this frame with its promise{' and reject it' if decision == REJECT else ''}. "
        "Type the last four characters of its hash: "
    )
    if typed.strip().lower() != frame_sha256[-_LAST:]:
        raise NotAttested("those are not the last four characters of the hash; nothing was signed", hint="try again")
    return decision


def _ask(question: str) -> str:
    return str(click.prompt(question, prompt_suffix="", default="", show_default=False, err=True))
