"""`ledger`, `key`, `trust`, `config`: what is kept, by whom, and whom you trust."""

from __future__ import annotations

from pathlib import Path

import click

from safeloop.cli.options import Desk, common
from safeloop.cli.settings import KNOWN
from safeloop.errors import EncodingError, KeyUnusable, SettingError
from safeloop.ledger.adoption import adopt
from safeloop.ledger.allowed_signers import AllowedSigner
from safeloop.ledger.sshsig import PublicKey
from safeloop.ledger.trust import add_reviewer

_MOST_NOTE_BYTES = 1_000_000


@click.group()
def ledger() -> None:
    """Keep a ledger."""


@ledger.command("adopt")
@click.option("--checkpoint", required=True, metavar="FILE", help="A checkpoint that you kept.")
@common()
def adopt_command(desk: Desk, checkpoint: str) -> None:
    """Take over a ledger that was moved, restored or brought from another machine.

    The ledger must extend the checkpoint; what came after it is taken on your word, and a row says so.
    """
    row = adopt(desk.settings.ledger, read_text(Path(checkpoint), "checkpoint"), keys=desk.settings.keys)
    desk.screen.result(
        f"adopted {desk.settings.ledger}, row {row.id}", {"ledger": str(desk.settings.ledger), "row": row.id}
    )


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


@click.group()
def trust() -> None:
    """Say whose signatures count."""


@trust.command("show")
@common(trust=True, ledger=False)
def trust_show(desk: Desk) -> None:
    """Show a trust folder: logs, writers, reviewers, revocations."""
    found = desk.trust()
    logs = sorted(verifier.vkey for verifier in found.policy.logs.values())
    writers = [_signer(signer) for signer in found.writers.values()]
    reviewers = [_signer(signer) for signer in found.reviewers]
    revoked = [f"{line.key_id} {line.origin} {line.size}" for line in found.revoked]
    facts = {"trust": str(found.path), "logs": logs, "writers": writers, "reviewers": reviewers, "revoked": revoked,
             "release_policy": found.release_policy_text}
    lines = [f"trust folder {found.path}" + (" (this machine's own keys)" if found.is_self else "")]
    for title, items in (("log", logs), ("writer", writers), ("reviewer", reviewers), ("revoked", revoked)):
        lines += [f"{title:9} {item}" for item in items]
    if not reviewers:
        lines.append("reviewer  none: safeloop trust add-reviewer YOU@EXAMPLE.ORG KEY.pub")
    desk.screen.result("\n".join(lines), facts)


@trust.command("add-reviewer")
@click.argument("principal")
@click.argument("public_key", type=click.Path(path_type=Path))
@click.option("--another", is_flag=True, help="A further key of somebody who has one already.")
@common(trust=True, ledger=False)
def trust_add_reviewer(desk: Desk, principal: str, public_key: Path, another: bool) -> None:
    """Let a person's SSH key attest: PRINCIPAL is their name or address, PUBLIC_KEY their .pub file."""
    if not desk.settings.trust.is_dir():
        raise KeyUnusable(f"there is no trust folder at {desk.settings.trust}", hint="safeloop init makes one")
    key_text = read_text(public_key, "public key")
    if "PRIVATE KEY" in key_text:
        raise SettingError(f"{public_key} is a private key", hint=f"give the public one: {public_key}.pub")
    try:
        added = add_reviewer(desk.settings.trust, principal, key_text, addition=another)
    except EncodingError as error:
        raise SettingError(f"{public_key}: {error}", hint=f"ssh-keygen -l -f {public_key}") from None
    desk.screen.result(
        f"{principal} may review with {added.fingerprint}",
        {"trust": str(desk.settings.trust), "principal": principal, "fingerprint": added.fingerprint},
    )


@click.command()
@common()
def config(desk: Desk) -> None:
    """Show every setting, its value, and where that comes from."""
    values = {known.name: desk.settings.get(known.name) for known in KNOWN}
    shown = {"keys": str(desk.settings.keys), "trust": str(desk.settings.trust)}
    lines = []
    for known in KNOWN:
        value = shown.get(known.name, values[known.name].value)
        lines.append(f"{known.name:13} {'-' if value is None else value!s:34} {values[known.name].origin}")
    facts = {
        name: {"value": shown.get(name, value.value), "origin": value.origin} for name, value in values.items()
    }
    desk.screen.result("\n".join(lines), {"settings": facts})


def read_text(path: Path, what: str) -> str:
    """Read a small text file that the command line named.

    Raises:
        SettingError: It cannot be read, is too large, or is not text.
    """
    try:
        with path.open("rb") as file:
            data = file.read(_MOST_NOTE_BYTES + 1)
    except OSError as error:
        raise SettingError(f"{what} {path} cannot be read: {error.strerror}", hint=f"ls -l {path}") from None
    if len(data) > _MOST_NOTE_BYTES:
        raise SettingError(f"{what} {path} is larger than {_MOST_NOTE_BYTES:,} bytes")
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        raise SettingError(f"{what} {path} is not text") from None


def _signer(signer: AllowedSigner) -> str:
    return f"{','.join(signer.principals)} {signer.key.fingerprint}"
