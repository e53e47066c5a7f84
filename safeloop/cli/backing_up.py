"""`backup`: a copy that can be restored."""

from __future__ import annotations

from pathlib import Path

import click

from safeloop.cli.options import Desk, common
from safeloop.cli.words import plural
from safeloop.ledger.upkeep.backup import backup as backup_ledger


@click.command()
@click.argument("file", type=click.Path(path_type=Path))
@common(quiet=True)
def backup(desk: Desk, file: Path) -> None:
    """Copy ledger and content to FILE and its .content.db, as they are at one moment, while others go on writing.

    Nothing is replaced. The copy can be audited where it lies: safeloop audit --ledger FILE; it is never written to.
    """
    done = backup_ledger(desk.settings.ledger, file, keys=desk.key_folder().path)
    content = None if done.content is None else str(done.content)
    desk.screen.result(
        f"backed up {plural(done.size, 'row')} to {done.ledger}" + (f" and {content}" if content else ""),
        {"ledger": str(done.ledger), "content": content, "size": done.size, "note": done.note},
    )
    if content is None:
        desk.screen.alarm("note: there is no content database beside the ledger")
    desk.screen.note("keep the keys too, elsewhere: without them nothing can be added to a restored ledger")
