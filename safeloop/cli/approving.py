"""`approvals`, `approve`, `refuse`: destructive calls that wait for a reviewer, and what the reviewer says."""

from __future__ import annotations

import contextlib
import shlex
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from safeloop.cli.approver import APPROVE, show, signed_with
from safeloop.cli.inputs import read_text
from safeloop.cli.moments import duration_of
from safeloop.cli.options import Desk, common, signing
from safeloop.cli.patience import typed
from safeloop.cli.screen import has_terminal
from safeloop.cli.sessions import short
from safeloop.cli.words import age
from safeloop.errors import LedgerError, NeedsTerminal, NotAttested, SettingError
from safeloop.ledger.approval import GRANTED, REFUSED, Decision, parse_statement
from safeloop.ledger.durable import create_file, make_folder
from safeloop.ledger.signers import as_armor
from safeloop.ledger.trust import APPROVAL_NAMESPACE
from safeloop.ledger.visible import visible
from safeloop.review.record import load_record
from safeloop.tools.approvals import Request, Signed, expiry_of, pending, record

_FEWEST_TYPED = 4
_MOST_SHOWN = 64  # with its margin it fits into a line of a terminal, which breaks none then
_MOST_OF_TOOL = 32  # so does it behind what stands before it
_PATIENCE_S = 600.0


@click.command()
@common(trust=True)
def approvals(desk: Desk) -> None:
    """List the destructive calls that wait for a reviewer, or for their session to go on, the oldest first.

    This is for finding one's way, as the inbox: approve shows a call in full, and checks its row before.
    """
    now = datetime.now(UTC)
    with desk.read_ledger() as reader:
        requests = pending(reader, desk.trust(), now)
    names = tuple(each.call.session for each in requests)
    lines = [_line(each, now, names) for each in requests]
    desk.screen.result("\n".join(lines) or "nothing waits", {"approvals": [_facts(each) for each in requests]})


@click.command()
@click.argument("call", metavar="ID", required=False)
@click.option("--expires", default="1h", show_default=True, help="How long it holds: 30m, 12h, 2d; at most 30 days.")
@signing
@common(trust=True)
def approve(
    desk: Desk, call: str | None, expires: str, export_to: Path | None, stated: Path | None, signature: Path | None
) -> None:
    """Sign that a destructive call may run: with exactly these arguments, once, until it expires.

    The call is shown first, and the word must be typed in full. Without a terminal, sign elsewhere: --export DIR, sign
    DIR/statement.json with `ssh-keygen -Y sign -n safeloop-approval`, then --statement and --signature.
    """
    if signature is not None or stated is not None:
        _record(desk, _signed_elsewhere(stated, signature, GRANTED))
        return
    request = _found(desk, call)
    if request.arguments is None:
        raise NotAttested("nobody can approve what cannot be shown: its arguments are no longer kept",
                          hint=f"safeloop refuse {request.id}")
    end = expiry_of(datetime.now(UTC), duration_of("--expires", expires))
    decision = request.decided(GRANTED, _required(desk, f"approve {request.id}", "reviewer", "--as NAME"), end)
    if export_to is not None:
        _export(desk, request, decision, export_to)
        return
    if not has_terminal():
        raise NeedsTerminal("only a person at a terminal can approve a call",
                            hint=f"safeloop approve {request.id} --export DIR, and sign it elsewhere")
    key = Path(_required(desk, f"approve {request.id}", "reviewer_key", "--key FILE")).expanduser()
    show(desk.screen, request)
    until = f"it may then run once, until {decision.expires_at}. Type the word {APPROVE} in full: "
    if (typed(until, _PATIENCE_S) or "").lower() != APPROVE:
        raise NotAttested("not approved: the call waits on", hint=f"safeloop refuse {request.id} ends that")
    _record(desk, signed_with(decision, key))


@click.command()
@click.argument("call", metavar="ID", required=False)
@signing
@common(trust=True)
def refuse(desk: Desk, call: str | None, export_to: Path | None, stated: Path | None, signature: Path | None) -> None:
    """Sign that a destructive call must not run; the model is told when its session goes on. It is final."""
    if signature is not None or stated is not None:
        _record(desk, _signed_elsewhere(stated, signature, REFUSED))
        return
    request = _found(desk, call)
    decision = request.decided(REFUSED, _required(desk, f"refuse {request.id}", "reviewer", "--as NAME"), None)
    if export_to is not None:
        _export(desk, request, decision, export_to)
        return
    key = Path(_required(desk, f"refuse {request.id}", "reviewer_key", "--key FILE")).expanduser()
    _record(desk, signed_with(decision, key))


def _found(desk: Desk, named: str | None) -> Request:
    """Return the call that is meant, its row verified: by its id, or by the session that waits for it."""
    if named is None:
        raise SettingError("this takes the ID of a call", hint="safeloop approvals lists them")
    with desk.read_ledger() as reader:
        requests = pending(reader, desk.trust(), datetime.now(UTC))
        found = [each for each in requests if named in (each.call.leaf, each.call.session)] or [
            each for each in requests
            if len(named) >= _FEWEST_TYPED and (each.call.leaf.startswith(named) or each.call.session.startswith(named))
        ]
        if len(found) != 1:
            which = "several calls wait" if found else "no call waits"
            raise LedgerError(f"{which} under '{visible(named, 60)}'", hint="safeloop approvals lists those that do")
        verified = load_record(reader, desk.trust(), found[0].call.session).rows
    if found[0].call not in verified:
        raise LedgerError("the ledger changed while it was read", hint="the same command again")
    return found[0]


def _signed_elsewhere(stated: Path | None, signature: Path | None, wanted: str) -> Signed:
    if stated is None or signature is None:
        raise SettingError("a signature made elsewhere comes with its statement",
                           hint="--statement DIR/statement.json --signature DIR/statement.json.sig")
    decision = parse_statement(read_text(stated, "statement").encode())
    if decision.decision != wanted:
        raise SettingError(f"{stated} states {decision.decision}, not {wanted}",
                           hint="safeloop approve records what was granted, safeloop refuse what was refused")
    return Signed(decision, as_armor(read_text(signature, "signature").encode()))


def _export(desk: Desk, request: Request, decision: Decision, folder: Path) -> None:
    make_folder(folder)
    if any(folder.iterdir()):
        raise SettingError(f"{folder} is not empty", hint="name a new folder for each export")
    files = {folder / "call.txt": f"{request.text}\n".encode(), folder / "statement.json": decision.statement}
    for path, data in files.items():
        create_file(path, data)
    command = APPROVE if decision.decision == GRANTED else "refuse"
    statement = folder / "statement.json"
    desk.screen.result("\n".join(map(str, files)), {**_stated(decision), "files": [str(path) for path in files]})
    shown = shlex.quote(str(statement))
    desk.screen.note(
        f"next: read {folder / 'call.txt'}, then ssh-keygen -Y sign -f KEY -n {APPROVAL_NAMESPACE} {shown}, then\n"
        f"safeloop {command} --statement {shown} --signature {shown}.sig"
    )


def _record(desk: Desk, signed: Signed) -> None:
    with contextlib.closing(desk.open_ledger()) as ledger:
        row = record(ledger, signed, desk.trust())
    decision = signed.decision
    until = "" if decision.expires_at is None else f" until {decision.expires_at}"
    desk.screen.result(
        f"{decision.decision} by {decision.by}{until}, row {row.id}", {**_stated(decision), "row": row.id}
    )
    desk.screen.note(f"next: safeloop resume {decision.session}")


def _required(desk: Desk, command: str, name: str, option: str) -> str:
    value = desk.settings.get(name).value
    if not value:
        raise SettingError(f"a decision needs {option}",
                           hint=f"safeloop {command} --as NAME --key FILE; or set SAFELOOP_{name.upper()}")
    return str(value)


def _stated(decision: Decision) -> dict[str, Any]:
    return {"session": decision.session, "call": decision.call, "decision": decision.decision, "by": decision.by,
            "expires_at": decision.expires_at}


def _line(request: Request, now: datetime, names: tuple[str, ...]) -> str:
    call = request.call
    since = age(now - datetime.fromisoformat(call.at))
    shown = "(no longer kept)" if request.arguments is None else request.arguments.decode("utf-8", "surrogatepass")
    tool = visible(call.data["tool"], _MOST_OF_TOOL)
    return (f"{request.id}  {request.state:8} {since:>6}  {short(call.session, names):13} {tool}\n"
            f"{'':12}  {visible(shown, _MOST_SHOWN)}")


def _facts(request: Request) -> dict[str, Any]:
    call = request.call
    command = f"safeloop resume {call.session}" if request.state == GRANTED else f"safeloop approve {request.id}"
    return {
        "id": request.id, "call": call.leaf, "state": request.state, "session": call.session, "row": call.id,
        "at": call.at, "turn": call.data["turn"], "tool": call.data["tool"], "permission": call.data["permission"],
        "arguments": request.value, "next": command,
    }
