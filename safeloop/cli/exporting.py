"""`export`: the ledger as files."""

from __future__ import annotations

from pathlib import Path

import click

from safeloop.cli.options import Desk, common
from safeloop.cli.sessions import resolve
from safeloop.cli.words import plural
from safeloop.ledger.upkeep.export import export as export_ledger


@click.command()
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
@click.argument("session", required=False)
@common(trust=True)
def export(desk: Desk, folder: Path, session: str | None) -> None:
    """Write rows, signatures, proofs and content to a new folder DIR, as files that openssl and sha256sum check.

    README.txt in it says what each file is. Public keys are not among them: they must come from elsewhere.
    """
    with desk.read_ledger() as reader:
        name = None if session is None else resolve(reader, session)
        log = desk.trust().log_for(reader.origin(), reader.head() or "")
        done = export_ledger(reader, log, folder, name)
    desk.screen.result(
        f"exported {plural(done.rows, 'row')} and {plural(done.contents, 'content')} to {done.folder}",
        {"folder": str(done.folder), "session": name, "rows": done.rows, "contents": done.contents,
         "missing": done.missing},
    )
    if done.missing:
        desk.screen.note(f"{plural(done.missing, 'content')} missing: safeloop audit says whether a row erased them")
