"""`erase`: content goes, the record stays."""

from __future__ import annotations

from pathlib import Path

import click

from safeloop.cli.options import Desk, common
from safeloop.cli.screen import has_terminal
from safeloop.cli.sessions import resolve
from safeloop.cli.words import plural
from safeloop.errors import NeedsTerminal, NotAttested, SessionNotFoundError, SettingError
from safeloop.ledger.reader import LedgerReader
from safeloop.ledger.upkeep import erasing
from safeloop.ledger.upkeep.erasing import Plan
from safeloop.loop.place import session_folder

_TYPED = 8


@click.command()
@click.argument("what", required=False, metavar="SESSION|COMMITMENT")
@click.option("--reason", metavar="TEXT", help="Why; it stays in the ledger for ever.")
@click.option("--frames", is_flag=True, help="Also the frames that attestations keep.")
@click.option("--yes", is_flag=True, help="Do not ask; without a terminal nothing is erased unless this is given.")
@click.option("--pending", is_flag=True, help="Only finish what rows already say, after a crash.")
@common()
def erase(desk: Desk, what: str | None, reason: str | None, frames: bool, yes: bool, pending: bool) -> None:
    """Erase prompts, replies, files and all else that a session's rows commit to; the rows stay, and one more says so.

    A COMMITMENT is at least 8 digits of one content's salted SHA-256, as the log shows it. What other sessions commit
    to as well stays, and so do the frames that attestations keep. It cannot be undone.
    """
    if pending:
        if what is not None or reason is not None:
            raise SettingError("--pending takes neither a session nor a reason: rows have said both", hint="")
        _finish(desk)
        return
    if what is None or reason is None:
        raise SettingError("erase takes a SESSION or a COMMITMENT, and --reason TEXT", hint="safeloop log --json")
    with desk.read_ledger() as reader:
        plan = _plan(reader, what, frames=frames)
    for line in _preview(plan):
        desk.screen.note(line)
    if not yes:
        _confirm(plan)
    ledger = desk.open_ledger()
    try:
        done = erasing.erase(ledger, plan, reason)
    finally:
        ledger.close()
    rows = f", row {', '.join(map(str, done.rows))}" if done.rows else "; nothing new to list"
    desk.screen.result(
        f"erased {plural(done.erased, 'content')}{rows}",
        {"target": plan.target, "rows": list(done.rows), "erased": done.erased, "listed": plan.count,
         "bytes": plan.bytes, "shared": plan.shared, "frames_kept": plan.frames, "missing": plan.missing},
    )
    for line in _outside(desk, plan):
        desk.screen.note(line)


def _plan(reader: LedgerReader, what: str, *, frames: bool) -> Plan:
    """A session comes first; where nothing begins so, it may be a commitment."""
    try:
        session = resolve(reader, what)
    except SessionNotFoundError:
        if not erasing.is_commitment(what):
            raise
        return erasing.plan_content(reader, what)
    return erasing.plan_session(reader, session, frames=frames)


def _preview(plan: Plan) -> list[str]:
    sessions = ", ".join(part.session for part in plan.parts)
    lines = [f"{plural(plan.count, 'content')} of {sessions}, {plural(plan.bytes, 'byte')}, to be erased for good"]
    if plan.frames:
        lines.append(f"{plural(plan.frames, 'frame')} of attestations kept; --frames erases them too")
    if plan.shared:
        lines.append(f"{plural(plan.shared, 'content')} kept: other sessions commit to them too")
    if plan.missing:
        lines.append(f"{plural(plan.missing, 'content')} missing already, and no row says why: an audit fails on that")
    return lines


def _confirm(plan: Plan) -> None:
    if not has_terminal():
        raise NeedsTerminal("only a person at a terminal can be asked whether to erase",
                            hint="--yes, if nobody is to be asked")
    expected = plan.target[:_TYPED]
    typed = click.prompt(f"this cannot be undone. Type {expected} to erase: ", prompt_suffix="", default="",
                         show_default=False, err=True)
    if str(typed).strip() != expected:
        raise NotAttested("that was not it; nothing was erased", hint="")


def _finish(desk: Desk) -> None:
    ledger = desk.open_ledger()
    try:
        erased = erasing.finish(ledger)
    finally:
        ledger.close()
    desk.screen.result(f"erased {plural(erased, 'content')} that rows had listed", {"erased": erased})


def _outside(desk: Desk, plan: Plan) -> list[str]:
    """Say what this command does not reach."""
    folders = [session_folder(desk.settings.ledger, part.session) for part in plan.parts]
    staged = [f"rm -r {folder}" for folder in folders if Path(folder).exists()]
    lines = ["not reached: released files, exports, backups, and copies that anybody made"]
    return [*lines, *(f"the loop's staged copies are still there: {command}" for command in staged)]
