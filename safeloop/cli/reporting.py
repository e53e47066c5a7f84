"""`report`: one file that shows a session or the whole ledger, and verifies it in a browser."""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Iterable
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
from safeloop.review.reporting.charts import can_draw
from safeloop.review.reporting.report import Digested, Report, ledger_report, session_report
from safeloop.review.target import target_of

_STDOUT = Path("-")
_ELSEWHERE = "--out FILE names another; --out - is stdout"


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
    target = out if out == _STDOUT else _target(desk, out, force=force)
    if not can_draw():
        desk.screen.note("note: the page has tables and no charts; for those: pip install 'safeloop[report]'")
    with ExitStack() as stack:
        reader = stack.enter_context(desk.read_ledger())
        made = _session(desk, reader, session) if session is not None else _ledger(desk, reader, stack)
        page = Digested(made.pieces())
        _write(target, page, force=force)
    _say(desk, made, out, page.sha256)
    if not made.holds:
        desk.screen.alarm("note: the ledger fails its audit, and the page says so: safeloop audit")
    return ExitCode.DONE if made.holds else ExitCode.VERIFICATION_FAILED


def _session(desk: Desk, reader: LedgerReader, typed: str) -> Report:
    name = resolve(reader, typed)
    return session_report(reader, desk.trust(), name, desk.settings.ledger, datetime.now(UTC))


def _ledger(desk: Desk, reader: LedgerReader, stack: ExitStack) -> Report:
    trust, state = desk.trust(), state_of(desk, reader)  # before the rows, as audit
    return stack.enter_context(ledger_report(reader, trust, state, datetime.now(UTC), processes=processors()))


def _target(desk: Desk, out: Path, *, force: bool) -> Path:
    """Return where the page is written, unless something is there, or is to be, that is no page's place.

    Raises:
        SettingError: The ledger, keys or pins are kept there; or there is a file already, or no regular one.
    """
    kept = (*desk.key_folder().places, desk.settings.trust)
    target = target_of(out, desk.settings.ledger, kept, hint=_ELSEWHERE)
    if os.path.lexists(target):
        if not stat.S_ISREG(target.lstat().st_mode):
            raise SettingError(f"{out} is not a regular file: nothing was changed", hint=_ELSEWHERE)
        if not force:
            raise _in_the_way(out)
    return target


def _write(target: Path, pieces: Iterable[bytes], *, force: bool) -> None:
    if target == _STDOUT:
        for piece in pieces:
            sys.stdout.buffer.write(piece)
    elif not stream_file(target, pieces, replace=force):
        raise _in_the_way(target)


def _in_the_way(out: Path) -> SettingError:
    return SettingError(f"there is a file at {out} already: nothing was changed", hint="--force replaces it")


def _say(desk: Desk, made: Report, out: Path, digest: str) -> None:
    words = f"page of {plural(made.rows, 'row')} in {out}, sha256 {digest}"
    facts = {"path": str(out), "sha256": digest, "rows": made.rows, "session": made.session}
    if out == _STDOUT:
        desk.screen.note(words)
    else:
        desk.screen.result(words, facts)
