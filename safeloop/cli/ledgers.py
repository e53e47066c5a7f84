"""`ledger`: keep a ledger."""

from __future__ import annotations

from pathlib import Path

import click

from safeloop.cli.importing import import_command
from safeloop.cli.inputs import read_text
from safeloop.cli.limiting import limits_command
from safeloop.cli.options import Desk, common
from safeloop.ledger.upkeep.adoption import adopt


@click.group()
def ledger() -> None:
    """Keep a ledger."""


@ledger.command("adopt")
@click.option("--checkpoint", required=True, metavar="FILE", help="A checkpoint that you kept.")
@common()
def adopt_command(desk: Desk, checkpoint: str) -> None:
    """Take over a ledger that was moved or brought from another machine, or whose state was lost.

    The ledger must extend the checkpoint, and all that this key folder has signed of it: of a backup that is older
    nothing is adopted. What came after the checkpoint is taken on your word, and a row says so.
    """
    row = adopt(desk.settings.ledger, read_text(Path(checkpoint), "checkpoint"), keys=desk.key_folder())
    desk.screen.result(
        f"adopted {desk.settings.ledger}, row {row.id}", {"ledger": str(desk.settings.ledger), "row": row.id}
    )


ledger.add_command(import_command)
ledger.add_command(limits_command)
