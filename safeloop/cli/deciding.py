"""Asking a person: the frame first, then accept, reject or leave, then proof that they looked at its hash."""

from __future__ import annotations

import sys
import textwrap

import click

from safeloop.cli.patience import typed
from safeloop.cli.screen import Screen
from safeloop.cli.sheets import Sheet
from safeloop.errors import NotAttested, VerificationError

ACCEPT, REJECT, LEAVE = "accept", "reject", "leave"
_LAST = 4
_TRIES = 3
_USUAL_COLUMNS = 80
_LAST_OF_FINGERPRINT = 8


def ask_decision(screen: Screen, frame_sha256: str, again: str) -> str:
    """Ask for a decision about the frame that was just shown; return `accept` or `reject`.

    Only what is typed after a question was shown answers it. An empty answer never decides anything, and neither does
    one that is not a whole word. The four characters may be mistyped twice; nothing typed there leaves.

    Args:
        screen: Where to.
        frame_sha256: The frame's hash, hex.
        again: The command that shows it and asks once more.

    Raises:
        NotAttested: The person leaves, the four characters are not those of the hash, or keys keep coming.
        click.Abort: Ctrl-C, or the end of input.
    """
    screen.note(f"frame sha256 {frame_sha256}")
    decision = ""
    while decision not in (ACCEPT, REJECT, LEAVE):
        decision = answered("accept, reject, or leave? ")
    if decision == LEAVE:
        raise NotAttested("left without a decision; nothing was signed", hint="safeloop inbox")
    signs = f"you sign that you compared this frame with its promise{' and reject it' if decision == REJECT else ''}."
    question = f"{signs} Type the last four characters of its hash: "
    for _ in range(_TRIES):
        last = answered(question)
        if last == frame_sha256[-_LAST:]:
            return decision
        if not last:
            raise NotAttested("nothing was typed, so nothing was signed", hint="safeloop inbox")
        question = "those are not the last four characters of the frame's hash. Type them: "
    raise NotAttested("those are not the last four characters of the hash; nothing was signed", hint=again)


def ask_fingerprint(sha256: str) -> None:
    """Ask for a fingerprint that is not shown, or for its last characters: they must come over another channel.

    Raises:
        VerificationError: They are not this one's.
    """
    told = answered(
        f"type the SHA-256 that you were given over another channel, or its last {_LAST_OF_FINGERPRINT} characters: "
    )
    if told not in (sha256, sha256[-_LAST_OF_FINGERPRINT:]):
        raise VerificationError(
            "that is not this file's SHA-256, nor its last characters; nothing was pinned",
            hint="ask for it again, over a channel that you trust: the operator's sha256sum FILE",
        )


def answered(question: str) -> str:
    """Ask what nobody may have answered before, and return the answer in small letters.

    On a narrow terminal the question is broken between words.

    Raises:
        NotAttested: Keys keep coming.
        click.Abort: Ctrl-C, or the end of input.
    """
    columns = Sheet.of(sys.stderr).columns
    if 0 < columns < _USUAL_COLUMNS:
        question = textwrap.fill(question, columns, drop_whitespace=True, break_long_words=False) + " "
    try:
        return (typed(question) or "").lower()
    except (KeyboardInterrupt, EOFError):
        raise click.Abort from None
