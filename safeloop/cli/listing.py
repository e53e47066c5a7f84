"""`log`: list the rows."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping
from typing import Any

import click

from safeloop.cli.options import Desk, common
from safeloop.cli.screen import JSON_VERSION
from safeloop.cli.sessions import resolve_any, short
from safeloop.errors import EncodingError
from safeloop.ledger.rows import Row, parse_row
from safeloop.ledger.visible import visible


@click.command()
@click.argument("session", required=False)
@common()
def log(desk: Desk, session: str | None) -> None:
    """List the rows, of one session or of all; unverified: safeloop audit says which of them stand.

    A session's rows are found by an index; `ledger` is the session of the rows about the ledger itself: keys, limits.
    With --json there is an object a line, with body and signature as stored.
    """
    with desk.read_ledger() as reader, reader.snapshot():
        rows = reader.rows() if session is None else reader.rows_of(resolve_any(reader, session))
        for stored in rows:
            if desk.screen.as_json:
                desk.screen.lines([_log_object(*stored)])
            else:
                desk.screen.exact(_log_line(*stored))


def _log_object(idx: int, body: bytes, signature: bytes) -> dict[str, Any]:
    """Return all that is stored of a row, and what its body says; a body that is none has an `error` instead."""
    stored = {"body": _base64(body), "sig": _base64(signature)}
    head = {"safeloop": JSON_VERSION, "verified": False, "id": idx + 1, "idx": idx}
    try:
        row = parse_row(idx, body, signature)
    except EncodingError as error:
        return {**head, "error": str(error), **stored}
    return {**head, "at": row.at, "session": row.session, "n": row.n, "kind": row.kind, "data": row.data,
            "prev": row.prev, "leaf": row.leaf, "ledger": row.ledger, "writer": row.writer, **stored}


def _base64(stored: object) -> str | None:
    return base64.b64encode(stored).decode() if isinstance(stored, bytes) else None


def _log_line(idx: int, body: bytes, signature: bytes) -> str:
    try:
        row = parse_row(idx, body, signature)
    except EncodingError as error:
        return f"{idx + 1:6} unreadable: {error}\n"
    return f"{row.id:6} {row.at[:19]}Z  {short(row.session):8}  {row.kind:12} {_gist(row)}\n"


def _gist(row: Row) -> str:
    data: Mapping[str, Any] = row.data
    parts: Iterable[str] = (
        f"{key}={visible(_words(data[key]), _LONGEST.get(key, 60))}"
        for key in _GIST.get(row.kind, ()) if data.get(key) is not None
    )
    return " ".join(parts)


def _words(value: object) -> str:
    """Return a value as it is, and an object as what it states."""
    if not isinstance(value, dict):
        return str(value)
    return ",".join(f"{name}:{each}" for name, each in value.items()) or "none"


_LONGEST = {"key": 300}  # bytes: a public key is whole, or nobody could compare it
_GIST = {
    "spec": ("done_looks_like",),
    "open": ("model", "endpoint"),
    "intent": ("turn", "reserved_tokens", "max_tokens"),
    "turn": ("turn", "state_origin", "token_delta", "stop_reason", "pass_fail"),
    "attempt": ("turn", "charged_tokens", "in_doubt"),
    "call": ("turn", "tool", "permission"),
    "tool": ("turn", "tool", "pass_fail"),
    "approval": ("decision", "by", "expires_at"),
    "breach": ("turn", "breach_reason", "limit", "spent", "next_at_most"),
    "check": ("criterion", "pass_fail"),
    "close": ("outcome", "reason", "turns", "total_tokens", "file_count"),
    "attestation": ("decision", "reviewer", "frame"),
    "release": ("destination", "file_count"),
    "erase": ("count", "reason"),
    "limits": ("hour", "day", "month"),
    "reconcile": ("source", "window"),
    "key": ("event", "not_after_size", "key"),
}
