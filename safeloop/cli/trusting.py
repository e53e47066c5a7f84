"""`trust`: whose signatures count."""

from __future__ import annotations

from pathlib import Path

import click

from safeloop.cli.inputs import read_text
from safeloop.cli.options import Desk, common
from safeloop.errors import EncodingError, KeyUnusable, SettingError
from safeloop.ledger.allowed_signers import AllowedSigner
from safeloop.ledger.trust import add_reviewer


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


def _signer(signer: AllowedSigner) -> str:
    return f"{','.join(signer.principals)} {signer.key.fingerprint}"
