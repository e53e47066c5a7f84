"""Why a session waits, as the `reason` of its `close` row says it: written by the loop, read by the inbox and by cron.

    window: until 2026-11-22T00:00:00Z, the day's tokens are used up
    waiting: until 2026-11-21T17:02:30Z, the server asks to slow down (status 429)
    call: toolu_1 of send_report may have run
    approval: 6f1c20ab93de of delete_page waits for a reviewer's decision
    interrupted by SIGTERM
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum

from safeloop.ledger.visible import moment_text

_UNTIL = re.compile(r"[a-z]+: until (\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}Z)")

_APPROVAL = re.compile(r"approval: ([0-9a-f]{12}) of ")


class Cause(StrEnum):
    """What a session waits for; the word that its reason begins with."""

    WINDOW = "window"
    WAITING = "waiting"
    CALL = "call"
    APPROVAL = "approval"
    SIGNAL = "interrupted"


@dataclass(frozen=True, slots=True)
class Suspension:
    """Why a session waits, and until when.

    Attributes:
        cause: None where the reason is none of ours.
        until: UTC; None where nothing but a try can tell.
        call: The call that needs an approval, as people name it.
    """

    cause: Cause | None
    until: datetime | None = None
    call: str | None = None

    @property
    def needs_person(self) -> bool:
        """Say whether only a person can say how it goes on."""
        return self.cause in (Cause.CALL, Cause.APPROVAL)

    def is_over(self, now: datetime) -> bool:
        """Say whether the session can go on by itself at this time, as far as its reason tells."""
        return not self.needs_person and (self.until is None or now >= self.until)


def reason_of(cause: Cause, words: str, until: datetime | None = None) -> str:
    """Return the reason of a suspension.

    Args:
        words: What there is to say, without line ends; what a row cannot hold is cut.
        until: Aware; told in whole seconds, rounded up, so that nobody comes back too early.
    """
    if until is None:
        return f"{cause}: {words}"
    moment = until.astimezone(UTC)
    if moment.microsecond:
        moment = moment.replace(microsecond=0) + timedelta(seconds=1)
    return f"{cause}: until {moment_text(moment)}, {words}"


def suspension_of(reason: str | None) -> Suspension:
    """Read a reason; one that is none of ours waits for nothing that is known."""
    text = reason or ""
    cause = next((each for each in Cause if re.match(rf"{each}\b", text)), None)
    found = _UNTIL.match(text) if cause in (Cause.WINDOW, Cause.WAITING) else None
    try:
        until = None if found is None else datetime.fromisoformat(found[1])
    except ValueError:
        until = None
    named = _APPROVAL.match(text)
    return Suspension(cause, until, None if named is None else named[1])
