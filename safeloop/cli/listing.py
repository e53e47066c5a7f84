"""`log`: list the rows."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import click

from safeloop.cli.options import Desk, common
from safeloop.cli.sessions import resolve
from safeloop.errors import EncodingError
from safeloop.ledger.rows import Row, parse_row
from safeloop.ledger.visible import visible


@click.command()
@click.argument("session", required=False)
@common()
def log(desk: Desk, session: str | None) -> None:
    """List the rows, of one session or of all; unverified: safeloop audit says which of them stand."""
    with desk.read_ledger() as reader, reader.snapshot():
        name = None if session is None else resolve(reader, session)
        for idx, body, signature in reader.rows():
            line = _log_line(idx, body, signature, name, as_json=desk.screen.as_json)
            if isinstance(line, dict):
                desk.screen.lines([line])
            elif line is not None:
                desk.screen.exact(line)


def _log_line(
    idx: int, body: bytes, signature: bytes, session: str | None, *, as_json: bool
) -> str | dict[str, Any] | None:
    try:
        row = parse_row(idx, body, signature)
    except EncodingError as error:
        unreadable = {"id": idx + 1, "error": str(error)}
        return (unreadable if as_json else f"{idx + 1:6} unreadable: {error}\n") if session is None else None
    if session is not None and row.session != session:
        return None
    if as_json:
        return {"id": row.id, "at": row.at, "session": row.session, "n": row.n, "kind": row.kind, "data": row.data,
                "leaf": row.leaf, "writer": row.writer}
    return f"{row.id:6} {row.at[:19]}Z  {row.session[:8]:8}  {row.kind:12} {_gist(row)}\n"


def _gist(row: Row) -> str:
    data: Mapping[str, Any] = row.data
    parts: Iterable[str] = (
        f"{key}={visible(str(data[key]), 60)}" for key in _GIST.get(row.kind, ()) if data.get(key) is not None
    )
    return " ".join(parts)


_GIST = {
    "spec": ("done_looks_like",),
    "open": ("model", "endpoint"),
    "intent": ("turn", "reserved_tokens", "max_tokens"),
    "turn": ("turn", "state_origin", "token_delta", "stop_reason", "pass_fail"),
    "attempt": ("turn", "charged_tokens", "in_doubt"),
    "call": ("turn", "tool", "permission"),
    "tool": ("turn", "tool", "pass_fail"),
    "breach": ("turn", "breach_reason", "limit", "spent", "next_at_most"),
    "check": ("criterion", "pass_fail"),
    "close": ("outcome", "reason", "turns", "total_tokens", "file_count"),
    "attestation": ("decision", "reviewer", "frame"),
    "release": ("destination", "file_count"),
    "key": ("event",),
}
