"""`checkpoint`: proofs that others can keep."""

from __future__ import annotations

import click

from safeloop.cli.options import Desk, common
from safeloop.errors import LedgerError


@click.command()
@common()
def checkpoint(desk: Desk) -> None:
    """Print the newest signed checkpoint, to keep where this machine's operator cannot reach it.

    A later audit proves from it that nothing before it was changed or removed.
    """
    with desk.read_ledger() as reader:
        note = reader.head()
        if note is None:
            raise LedgerError(f"{reader.path} has no head", hint="safeloop audit")
        if desk.screen.as_json:
            desk.screen.result("", {"origin": reader.origin(), "note": note})
        else:
            desk.screen.exact(note)
