"""`checkpoint`, `receipt`: proofs that others can keep."""

from __future__ import annotations

from pathlib import Path

import click

from safeloop.cli.inputs import read_text
from safeloop.cli.options import Desk, common
from safeloop.cli.sessions import resolve_row
from safeloop.errors import LedgerError, SessionNotFoundError, SettingError, VerificationError
from safeloop.ledger.consistency import render_consistency
from safeloop.ledger.durable import create_file
from safeloop.ledger.note import Checkpoint, render_receipt
from safeloop.ledger.proofs import consistency, prove
from safeloop.ledger.reader import LedgerReader
from safeloop.ledger.rows import Row, parse_row
from safeloop.ledger.trust import Trust
from safeloop.review.record import check_signature
from safeloop.review.witnesses import open_head

_FILE = click.Path(path_type=Path)
_MOST_DIGITS = 16
Bound = Checkpoint | int


@click.command()
@click.option("--since", metavar="FILE|SIZE", help="Print a consistency proof from this checkpoint or size.")
@click.option("--to", "until", metavar="FILE|SIZE", help="With --since: up to this one; else the newest.")
@common(trust=True)
def checkpoint(desk: Desk, since: str | None, until: str | None) -> None:
    """Print the newest signed checkpoint, to keep where this machine's operator cannot reach it.

    A later audit proves from it that nothing before it was changed or removed. With --since it prints the proof that
    the ledger only grew, in the form that witnesses take (c2sp.org/tlog-witness, add-checkpoint). Up to a SIZE that
    is not the newest the ledger keeps no signature: then the three lines of its checkpoint stand there unsigned, and
    only who has kept a signed one of that size can verify the proof.
    """
    with desk.read_ledger() as reader:
        if since is not None:
            _print_consistency(desk, reader, since, until)
            return
        if until is not None:
            raise SettingError("--to needs --since", hint="safeloop checkpoint --since OLD --to NEW")
        note = reader.head()
        if note is None:
            raise LedgerError(f"{reader.path} has no head", hint="safeloop audit")
        if desk.screen.as_json:
            desk.screen.result("", {"origin": reader.origin(), "note": note})
        else:
            desk.screen.exact(note)


@click.command()
@click.argument("session", metavar="SESSION[:N]")
@click.option("--out", type=_FILE, metavar="FILE", help="Write it there, to a file that is not there yet.")
@common(trust=True)
def receipt(desk: Desk, session: str, out: Path | None) -> None:
    """Print a receipt (.tlog-proof): one row, and the proof that it is in the ledger, for safeloop verify.

    SESSION is an id, a unique prefix, or latest; `ledger` for rows about the ledger itself. N is the row's place in
    the session, from 0, as `safeloop log --json` has it; without it, the session's last row, whose chain commits to
    every row before it. What would not verify is not printed.
    """
    trust = desk.trust()
    with desk.read_ledger() as reader:
        row = _row(reader, session)
        check_signature(row, trust)
        made = prove(reader, (row.idx, row.body, row.sig), trust.log_for(row.ledger, reader.head() or ""))
    text = render_receipt(made)
    if out is not None and not create_file(out, text.encode()):
        raise SettingError(f"there is a file at {out} already: nothing was changed", hint="name another with --out")
    facts = {"session": row.session, "row": row.id, "n": row.n, "kind": row.kind, "leaf": row.leaf}
    if desk.screen.as_json:
        desk.screen.result("", {**facts, "receipt": text, "out": None if out is None else str(out)})
    elif out is None:
        desk.screen.exact(text)
    else:
        desk.screen.result(f"receipt of row {row.id} ({row.kind}, n {row.n} of {row.session}) in {out}")


def _row(reader: LedgerReader, typed: str) -> Row:
    """Find a row by an index, and make sure from its bytes that it is the one."""
    session, n = resolve_row(reader, typed)
    found = reader.last_row_of(session) if n is None else reader.row_of(session, n)
    if found is None:
        which = "no rows yet" if n is None else f"no row {n}"
        raise SessionNotFoundError(f"session {session} has {which}",
                                   hint=f"safeloop log {session} --json")
    row = parse_row(*found)
    if row.session != session or n not in (None, row.n):
        raise LedgerError(f"{reader.path}: an index leads to another row than was asked for", hint="safeloop audit")
    return row


def _print_consistency(desk: Desk, reader: LedgerReader, since: str, until: str | None) -> None:
    trust = desk.trust()
    older, _ = _bound(since, trust)
    newer, note = (None, "") if until is None else _bound(until, trust)
    origin = next((each.origin for each in (older, newer) if isinstance(each, Checkpoint)), reader.origin())
    made = consistency(reader, older, newer, trust.log_for(origin, reader.head() or ""), note)
    text = render_consistency(made)
    is_signed = "\n\n" in made.note
    if desk.screen.as_json:
        desk.screen.result("", {"origin": origin, "old": made.old, "hashes": len(made.proof), "signed": is_signed,
                                "proof": text})
        return
    desk.screen.exact(text)
    if not is_signed:
        size = made.note.split("\n")[1]
        desk.screen.note(
            f"note: the ledger keeps no signature of {size} rows, so the proof's last three lines are no signed note; "
            f"verifying it takes a checkpoint of {size} rows that somebody kept, beside the older one: "
            "safeloop verify PROOF --checkpoint OLDER --checkpoint NEWER. Without --to it ends in the signed head"
        )


def _bound(typed: str, trust: Trust) -> tuple[Bound, str]:
    """Read a size, or a checkpoint in a file, which must be signed by a pinned log."""
    if typed.isascii() and typed.isdigit() and len(typed) <= _MOST_DIGITS:
        return int(typed), ""
    text = read_text(Path(typed), "checkpoint")
    try:
        head = open_head(text, trust)
    except VerificationError as error:
        raise VerificationError(f"checkpoint {typed} cannot be used: {error}",
                                hint=error.hint or "give what safeloop checkpoint printed") from None
    return head.checkpoint, head.note
