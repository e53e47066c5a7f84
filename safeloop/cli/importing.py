"""`ledger import`: take over a ledger of the tutorial."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from safeloop.cli.options import Desk, common
from safeloop.cli.words import plural
from safeloop.errors import SpecError
from safeloop.ledger.store.tutorial import TutorialFile
from safeloop.ledger.upkeep.importing import Conversion, import_tutorial
from safeloop.review.attesting.imported import imported_attestation
from safeloop.spec import SpecDraft, to_row


@click.command("import")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--name", metavar="NAME", help="What to call the import; else the file's own name.")
@common()
def import_command(desk: Desk, file: Path, name: str | None) -> None:
    """Take over a ledger of the tutorial: each of its sessions becomes an ungoverned one, import:NAME:SESSION.

    The old file is only read. A row that this ledger cannot hold refuses the whole; the same command again completes
    what was cut short, and does nothing where all is there.
    """
    with TutorialFile(Path(file)) as old:
        ledger = desk.open_ledger()
        try:
            done = import_tutorial(ledger, old, Conversion(_spec_data, imported_attestation), name)
        finally:
            ledger.close()
    told = f"imported {plural(done.rows, 'row')} of {file} as import:{done.name}"
    if not done.written:
        told = f"{file} was imported before, as import:{done.name}; nothing to do"
    desk.screen.result(
        told, {"session": f"import:{done.name}", "rows": done.rows, "written": done.written,
               "left_out": list(done.others)},
    )
    if done.others:
        desk.screen.note(f"left out, for they are no part of the tutorial's ledger: {', '.join(done.others)}")


def _spec_data(old: Mapping[str, object]) -> dict[str, Any] | None:
    """Return the data of a `spec` row, or None if no row can hold these answers."""
    answers = [old[key] for key in ("what_it_does", "what_it_does_not", "done_looks_like")]
    texts = [answer for answer in answers if isinstance(answer, str)]
    try:
        return to_row(SpecDraft(*texts)) if len(texts) == len(answers) else None
    except SpecError:
        return None
