"""Finding a session by what a person types: its id, a unique prefix, or `latest`."""

from __future__ import annotations

import re

from safeloop.errors import SessionNotFoundError
from safeloop.ledger.reader import LedgerReader
from safeloop.ledger.rows import LEDGER_SESSION, is_session_id
from safeloop.ledger.visible import visible

LATEST = "latest"
_MOST_NAMED = 5
_MOST_DIGITS = 16
_UUID = re.compile("[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


def resolve(reader: LedgerReader, typed: str) -> str:
    """Return the id of the session that is meant.

    Raises:
        SessionNotFoundError: None, or more than one; those that it could be are named.
    """
    found = _meant(reader, typed)
    if len(found) == 1:
        return found[0]
    if not found and typed == LATEST:
        raise SessionNotFoundError(f"there is no session in {reader.path} yet",
                                   hint="safeloop run --spec-file JOB.toml --task-file FILE, or safeloop spec")
    if not found:
        raise SessionNotFoundError(f"no session '{visible(typed, 60)}' in {reader.path}", hint="safeloop inbox")
    named = ", ".join(found[:_MOST_NAMED]) + (", ..." if len(found) > _MOST_NAMED else "")
    message = f"'{visible(typed, 60)}' could be {len(found)} sessions: {named}"
    raise SessionNotFoundError(message, hint="type more of it")


def resolve_any(reader: LedgerReader, typed: str) -> str:
    """Return the same; and `ledger`, the session of the rows about the ledger itself, has rows or has none yet.

    Raises:
        SessionNotFoundError: None, or more than one.
    """
    return typed if typed == LEDGER_SESSION else resolve(reader, typed)


def resolve_row(reader: LedgerReader, typed: str) -> tuple[str, int | None]:
    """Return the session, or `ledger`, that `SESSION` or `SESSION:N` means, and N; one that is called so comes first.

    Raises:
        SessionNotFoundError: None, or more than one.
    """
    before, colon, number = typed.rpartition(":")
    is_row = bool(colon) and number.isascii() and number.isdigit() and len(number) <= _MOST_DIGITS
    name = before if is_row and reader.last_row_of(typed) is None else typed
    return resolve_any(reader, name), None if name == typed else int(number)


def _meant(reader: LedgerReader, typed: str) -> list[str]:
    """Return the sessions that it could be; costs nothing for rows of others."""
    if typed == LATEST:
        newest = reader.newest_session()
        return [] if newest is None else [newest]
    if not is_session_id(typed):
        return []
    if reader.last_row_of(typed) is not None:
        return [typed]
    return [session for session in reader.sessions_like(typed) if session != LEDGER_SESSION]


def short(session: str, others: tuple[str, ...] = ()) -> str:
    """Return a prefix that is quick to type and, among these others, unique; ids that are not UUIDs stay whole."""
    for length in (8, 13, 18) if _UUID.fullmatch(session) else ():
        prefix = session[:length]
        if not any(other != session and other.startswith(prefix) for other in others):
            return prefix
    return session
