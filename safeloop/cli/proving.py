"""`audit`, `checkpoint`, `log`: check every claim, keep the head, list the rows."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import click

from safeloop.cli.keeping import read_text
from safeloop.cli.options import Desk, common
from safeloop.cli.sessions import resolve
from safeloop.errors import EncodingError, LedgerError
from safeloop.ledger.reader import LedgerReader
from safeloop.ledger.rows import Row, parse_row
from safeloop.ledger.state import State, read_state, state_path
from safeloop.ledger.visible import visible
from safeloop.review.audit import audit as audit_ledger
from safeloop.review.verdict import render_report


@click.command()
@click.argument("session", required=False)
@click.option("--checkpoint", "checkpoints", multiple=True, metavar="FILE", help="A checkpoint that somebody kept.")
@common(quiet=True, trust=True)
def audit(desk: Desk, session: str | None, checkpoints: tuple[str, ...]) -> int:
    """Check every claim of a ledger with pinned keys: 0 all true, 11 something is false, 18 not everything known.

    Reads only. Against `self`, the keys that this machine pinned itself, the verdict says so.
    """
    with desk.read_ledger() as reader:
        kept = [read_text(Path(name), "checkpoint") for name in checkpoints]
        name = None if session is None else resolve(reader, session)
        # The state comes before the snapshot: rows that others append meanwhile must not look like an alarm.
        state = _state(desk, reader)
        report = audit_ledger(reader, desk.trust(), state=state, checkpoints=kept, session=name)
    if desk.screen.as_json:
        desk.screen.result("", report.as_json())
    elif report.exit_code:
        desk.screen.exact(render_report(report))
    else:
        desk.screen.result(render_report(report).rstrip("\n"))
    return int(report.exit_code)


@click.command()
@common()
def checkpoint(desk: Desk) -> None:
    """Print the newest signed checkpoint, to keep where this machine's operator cannot reach it.

    A later audit proves from it that nothing before it was changed or removed.
    """
    with desk.read_ledger() as reader:
        note = reader.head()
        if note is None:
            raise LedgerError(f"{reader.path} has no head", hint="safeloop audit")
        if desk.screen.as_json:
            desk.screen.result("", {"origin": reader.origin(), "note": note})
        else:
            desk.screen.exact(note)


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


def _state(desk: Desk, reader: LedgerReader) -> State | None:
    """Return what this machine last signed, if it is the machine that signs; an auditor's own has no such file."""
    try:
        return read_state(state_path(desk.settings.keys, reader.origin()))
    except LedgerError as error:
        desk.screen.alarm(f"note: {error}")
        return None


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
