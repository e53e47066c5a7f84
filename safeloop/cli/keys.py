"""`key`: the keys that sign rows and heads."""

from __future__ import annotations

import click

from safeloop.cli.options import Desk, common
from safeloop.ledger.sshsig import PublicKey


@click.group()
def key() -> None:
    """Know the keys."""


@key.command("show")
@common()
def key_show(desk: Desk) -> None:
    """Show the public keys: the writer's, and the log's for this ledger if it is there."""
    folder = desk.key_folder()
    writer, log = folder.writer(), folder.log()
    lines = [
        f"folder   {folder.path}",
        f"writer   {PublicKey('ssh-ed25519', writer.public).openssh}",
        f"         key id {writer.key_id}",
        f"log      {PublicKey('ssh-ed25519', log.public).openssh}",
    ]
    facts = {"folder": str(folder.path), "writer": writer.public.hex(), "writer_key_id": writer.key_id,
             "log": log.public.hex(), "vkey": None}
    if desk.settings.ledger.exists():
        with desk.read_ledger() as reader:
            facts["vkey"] = f"{desk.trust().log_for(reader.origin()).vkey}"
        lines.append(f"vkey     {facts['vkey']}")
    desk.screen.result("\n".join(lines), facts)
