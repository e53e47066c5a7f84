"""`audit`: check every claim."""

from __future__ import annotations

from pathlib import Path

import click

from safeloop.cli.inputs import read_text
from safeloop.cli.options import Desk, common
from safeloop.cli.sessions import resolve
from safeloop.errors import LedgerError
from safeloop.ledger.reader import LedgerReader
from safeloop.ledger.state import State, read_state, state_path
from safeloop.review.auditing.audit import audit as audit_ledger
from safeloop.review.auditing.verdict import render_report


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


def _state(desk: Desk, reader: LedgerReader) -> State | None:
    """Return what this machine last signed, if it is the machine that signs; an auditor's own has no such file."""
    try:
        return read_state(state_path(desk.settings.keys, reader.origin()))
    except LedgerError as error:
        desk.screen.alarm(f"note: {error}")
        return None
