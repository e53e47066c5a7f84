"""`erase`: content goes, the record stays."""

from __future__ import annotations

import contextlib

import click

from safeloop.cli.deciding import answered
from safeloop.cli.options import Desk, common
from safeloop.cli.screen import has_terminal
from safeloop.cli.sessions import resolve
from safeloop.cli.words import plural
from safeloop.errors import NeedsTerminal, NotAttested, SessionNotFoundError, SettingError
from safeloop.ledger.reader import LedgerReader
from safeloop.ledger.upkeep import erasing
from safeloop.ledger.upkeep.erasing import Erasure, Plan
from safeloop.loop.clearing import has_staging, remove_staging, resting
from safeloop.loop.place import staging_path

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

    With a SESSION its staging folder goes too. A COMMITMENT is at least 8 digits of one content's salted SHA-256, as
    the log shows it. What other sessions commit to as well stays, and so do the frames that attestations keep. It
    cannot be undone.
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
    staged = _staged(desk, plan)
    for line in [*_preview(plan), *(f"{folder}, to be removed" for folder in staged if plan.is_session)]:
        desk.screen.note(line)
    if not yes:
        _confirm(plan)
    done = _erased(desk, plan, reason)
    rows = f", row {', '.join(map(str, done.rows))}" if done.rows else "; nothing new to list"
    removed = staged if plan.is_session else []
    desk.screen.result(
        f"erased {plural(done.erased, 'content')}{rows}" + "".join(f"\nremoved {folder}" for folder in removed),
        {"target": plan.target, "rows": list(done.rows), "erased": done.erased, "listed": plan.count,
         "bytes": plan.bytes, "shared": plan.shared, "frames_kept": plan.frames, "missing": plan.missing,
         "removed": removed},
    )
    desk.screen.note("not reached: released files, exports, backups, and copies that anybody made")
    for folder in () if plan.is_session else staged:
        desk.screen.note(f"what the session staged is still there: rm -r {folder}")


def _staged(desk: Desk, plan: Plan) -> list[str]:
    """Return the staging folders of the sessions concerned, as far as they are there."""
    path = desk.settings.ledger
    return [str(staging_path(path, part.session)) for part in plan.parts if has_staging(path, part.session)]


def _erased(desk: Desk, plan: Plan, reason: str) -> Erasure:
    """Erase while nobody runs the session; a crash before its staging folder is gone leaves it to the same command."""
    with contextlib.ExitStack() as stack:
        ledger = stack.enter_context(contextlib.closing(desk.open_ledger()))
        if plan.is_session:
            stack.enter_context(resting(desk.settings.ledger, plan.target))
        done = erasing.erase(ledger, plan, reason)
        if plan.is_session:
            remove_staging(desk.settings.ledger, plan.target)
    return done


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
    if answered(f"this cannot be undone. Type {expected} to erase: ") != expected.lower():
        raise NotAttested("that was not it; nothing was erased", hint="")


def _finish(desk: Desk) -> None:
    ledger = desk.open_ledger()
    try:
        erased = erasing.finish(ledger)
    finally:
        ledger.close()
    desk.screen.result(f"erased {plural(erased, 'content')} that rows had listed", {"erased": erased})
