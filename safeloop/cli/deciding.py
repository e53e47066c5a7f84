"""Asking a person: the frame first, then accept, reject or leave, then proof that they looked at its hash."""

from __future__ import annotations

import click

from safeloop.cli.screen import Screen
from safeloop.errors import NotAttested, VerificationError

ACCEPT, REJECT, LEAVE = "accept", "reject", "leave"
_LAST = 4
_LAST_OF_FINGERPRINT = 8


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


def ask_fingerprint(sha256: str) -> None:
    """Ask for a fingerprint that is not shown, or for its last characters: they must come over another channel.

    Raises:
        VerificationError: They are not this one's.
    """
    typed = _ask(
        f"type the SHA-256 that you were given over another channel, or its last {_LAST_OF_FINGERPRINT} characters: "
    )
    if typed.strip().lower() not in (sha256, sha256[-_LAST_OF_FINGERPRINT:]):
        raise VerificationError(
            "that is not this file's SHA-256, nor its last characters; nothing was pinned",
            hint="ask for it again, over a channel that you trust: the operator's sha256sum FILE",
        )


def _ask(question: str) -> str:
    return str(click.prompt(question, prompt_suffix="", default="", show_default=False, err=True))
