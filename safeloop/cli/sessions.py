"""Finding a session by what a person types: its id, a unique prefix, or `latest`."""

from __future__ import annotations

from safeloop.errors import SessionNotFoundError
from safeloop.ledger.reader import LedgerReader
from safeloop.ledger.rows import LEDGER_SESSION
from safeloop.ledger.visible import visible

_MOST_NAMED = 5


def resolve(reader: LedgerReader, typed: str) -> str:
    """Return the id of the session that is meant.

    Raises:
        SessionNotFoundError: None, or more than one; those that it could be are named.
    """
    sessions = [session for session in reader.sessions() if session != LEDGER_SESSION]
    if typed in sessions:
        return typed
    found = sessions[-1:] if typed == "latest" else [session for session in sessions if session.startswith(typed)]
    if len(found) == 1 and typed:
        return found[0]
    if not found or not typed:
        raise SessionNotFoundError(f"no session {visible(typed, 60)!r} in {reader.path}", hint="safeloop inbox")
    named = ", ".join(found[:_MOST_NAMED]) + (", ..." if len(found) > _MOST_NAMED else "")
    message = f"{visible(typed, 60)!r} could be {len(found)} sessions: {named}"
    raise SessionNotFoundError(message, hint="type more of it")


def short(session: str, others: tuple[str, ...] = ()) -> str:
    """Return a prefix that is quick to type and, among these others, unique; ids that are not UUIDs stay whole."""
    for length in (8, 13, 18, 36):
        prefix = session[:length]
        if not any(other != session and other.startswith(prefix) for other in others):
            return prefix
    return session
