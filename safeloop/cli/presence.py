"""Which sessions run now, and who leads them: what only the loop can tell, and what takes longest to load."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from safeloop.ledger.reader import LedgerReader
from safeloop.loop.lock import is_session_live
from safeloop.loop.opening import led_by_programs


def running_in(ledger: Path, sessions: Collection[str]) -> frozenset[str]:
    """Return those of some sessions whose lock a process holds."""
    return frozenset(session for session in sessions if is_session_live(ledger, session))


def led_in(reader: LedgerReader, sessions: Collection[str]) -> frozenset[str]:
    """Return those of some sessions that programs of the caller's own lead: no command resumes them."""
    return led_by_programs(reader, sessions)
