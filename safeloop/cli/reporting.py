"""`report`: one file that shows a session or the whole ledger, and verifies it in a browser."""

from __future__ import annotations

import hashlib
import os
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path

import click

from safeloop.cli.auditing import processors, state_of
from safeloop.cli.options import Desk, common
from safeloop.cli.sessions import resolve
from safeloop.cli.words import plural
from safeloop.errors import ExitCode, SettingError
from safeloop.ledger.durable import stream_file
from safeloop.ledger.reader import LedgerReader
from safeloop.review.auditing.audit import audit
from safeloop.review.reporting.charts import can_draw
from safeloop.review.reporting.ledger import glance_at
from safeloop.review.reporting.report import Report, ledger_report, require_room, session_report

_STDOUT = Path("-")


@click.command()
@click.argument("session", required=False)
@click.option("--out", required=True, type=click.Path(path_type=Path, allow_dash=True), metavar="FILE",
              help="Where the page is written; - is stdout.")
@click.option("--force", is_flag=True, help="Replace a file that is there.")
@common(trust=True)
def report(desk: Desk, session: str | None, out: Path, force: bool) -> int:
    """Write a page that shows a session, or without SESSION the whole ledger, and verifies it in a browser.

    One file without network. A session is verified with pinned keys first, as review does, and nothing is written if
    it does not hold. Of a whole ledger that an audit fails the page is written, says so, and the exit code is 11.
    """
    if desk.screen.as_json and out == _STDOUT:
        raise SettingError("--json and --out - cannot both have stdout", hint="--out FILE")
    if not can_draw():
        desk.screen.note("note: the page has tables and no charts; for those: pip install 'safeloop[report]'")
    with ExitStack() as stack:
        reader = stack.enter_context(desk.read_ledger())
        made, is_true = _session(desk, reader, session) if session is not None else _ledger(desk, reader, stack)
        digest = hashlib.sha256()
        _write(out, _hashed(made, digest), force=force)
    _say(desk, made, out, digest.hexdigest())
    if not is_true:
        desk.screen.alarm("note: the ledger fails its audit, and the page says so: safeloop audit")
    return ExitCode.DONE if is_true else ExitCode.VERIFICATION_FAILED


def _session(desk: Desk, reader: LedgerReader, typed: str) -> tuple[Report, bool]:
    name = resolve(reader, typed)
    return session_report(reader, desk.trust(), name, desk.settings.ledger, datetime.now(UTC)), True


def _ledger(desk: Desk, reader: LedgerReader, stack: ExitStack) -> tuple[Report, bool]:
    require_room(reader)
    trust, state, now = desk.trust(), state_of(desk, reader), datetime.now(UTC)  # the state before the rows, as audit
    audited = audit(reader, trust, state=state, processes=processors())
    glance = glance_at(reader, now)
    stack.enter_context(reader.snapshot())
    return ledger_report(reader, trust, audited, glance, now), not audited.findings


def _hashed(made: Report, digest: hashlib._Hash) -> Iterator[bytes]:
    for piece in made.pieces():
        digest.update(piece)
        yield piece


def _write(out: Path, pieces: Iterator[bytes], *, force: bool) -> None:
    if out == _STDOUT:
        for piece in pieces:
            sys.stdout.buffer.write(piece)
        return
    if not force and os.path.lexists(out):
        raise _in_the_way(out)
    if not stream_file(out, pieces, replace=force):
        raise _in_the_way(out)


def _in_the_way(out: Path) -> SettingError:
    return SettingError(f"there is a file at {out} already: nothing was changed", hint="--force replaces it")


def _say(desk: Desk, made: Report, out: Path, digest: str) -> None:
    words = f"page of {plural(made.rows, 'row')} in {out}, sha256 {digest}"
    facts = {"path": str(out), "sha256": digest, "rows": made.rows, "session": made.session}
    if out == _STDOUT:
        desk.screen.note(words)
    else:
        desk.screen.result(words, facts)
