"""`trust`: whose signatures count."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from safeloop.cli.deciding import ask_fingerprint
from safeloop.cli.inputs import read_bytes, read_text
from safeloop.cli.options import Desk, common
from safeloop.cli.screen import has_terminal
from safeloop.errors import EncodingError, KeyUnusable, NeedsTerminal, SettingError, VerificationError
from safeloop.ledger.allowed_signers import AllowedSigner, parse_allowed_signers
from safeloop.ledger.durable import create_file
from safeloop.ledger.ed25519 import key_id
from safeloop.ledger.keys import SELF_TRUST
from safeloop.ledger.policy import Revocation
from safeloop.ledger.sshsig import KEY_TYPES
from safeloop.ledger.trust import APPROVAL_NAMESPACE, NO_PINS, REVIEW_NAMESPACE, Trust, add_reviewer, read_pin_file
from safeloop.ledger.upkeep.pins import MAX_BYTES, differs, export_pins, parse_pins, place_pins, read_pins
from safeloop.ledger.visible import escaped, moment_text


@click.group()
def trust() -> None:
    """Say whose signatures count."""


@trust.command("show")
@common(trust=True, ledger=False)
def trust_show(desk: Desk) -> None:
    """Show a trust folder: logs, writers, reviewers, revocations."""
    lines, facts = _listing(desk.trust())
    desk.screen.result("\n".join(lines), facts)


@trust.command("export")
@click.argument("file", type=click.Path(path_type=Path))
@common(trust=True, ledger=False)
def trust_export(desk: Desk, file: Path) -> None:
    """Write the public pins of a trust folder to one new file, for an auditor; its SHA-256 is the fingerprint.

    Send the file by any way, and the fingerprint by another: by telephone, on paper, from a page that is yours.
    """
    data = export_pins(desk.settings.trust)
    if not create_file(file, data):
        raise SettingError(f"there is a file at {file} already: nothing was changed", hint="name another")
    sha256 = hashlib.sha256(data).hexdigest()
    desk.screen.result(f"{sha256}  {file}", {"file": str(file), "sha256": sha256, "trust": str(desk.settings.trust)})
    desk.screen.note("give the auditor the file, and over another channel its SHA-256; they run: "
                     f"safeloop trust import {file.name} --trust DIR")


@trust.command("import")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--sha256", metavar="HEX", help="The file's fingerprint as you were told it; else it is asked for.")
@click.option("--force", is_flag=True, help="Replace another trust folder, which is kept beside it.")
@common(trust="The folder to pin them in; never the key folder's self.", ledger=False)
def trust_import(desk: Desk, file: Path, sha256: str | None, force: bool) -> None:
    """Pin the keys of an exported file in the trust folder --trust DIR, after you have compared its fingerprint."""
    folder = desk.settings.trust
    if folder.resolve().name == SELF_TRUST:
        raise SettingError(f"{folder} is where a machine pins its own keys", hint="name another: --trust DIR")
    pins = parse_pins(read_bytes(file, "file of pins", MAX_BYTES))
    lines, facts = _listing(replace(read_pins(pins, folder), path=folder))
    if not force and differs(pins, folder):
        raise KeyUnusable(f"{folder} is there and pins something else: nothing was changed",
                          hint="compare: safeloop trust show --trust DIR; then --force, which keeps the old one")
    desk.screen.note("\n".join(["would pin:", *lines]))
    _compare(pins.sha256, sha256)
    kept = place_pins(pins, folder) if differs(pins, folder) or not folder.exists() else None
    desk.screen.result(f"pinned in {folder}" + (f"; what was there is in {kept}" if kept else ""),
                       {**facts, "sha256": pins.sha256, "replaced": None if kept is None else str(kept)})


def _compare(found: str, told: str | None) -> None:
    """Compare a fingerprint with the one that the auditor was told."""
    if told is None and not has_terminal():
        raise NeedsTerminal("a fingerprint is compared at a terminal, or given",
                            hint="safeloop trust import FILE --sha256 HEX, as the operator told you")
    if told is None:
        ask_fingerprint(found)
    elif told.strip().lower() != found:
        raise VerificationError("the file's SHA-256 is not the one that was given; nothing was pinned",
                                hint="ask for it again, over a channel that you trust: the operator's sha256sum FILE")


def _listing(found: Trust) -> tuple[list[str], dict[str, Any]]:
    logs = sorted(key.vkey for keys in found.policy.logs.values() for key in keys)
    writers = [_signer(signer, found.revoked) for signer in found.writers.values()]
    reviewers = [_signer(signer, found.revoked, datetime.now(UTC)) for signer in found.reviewers]
    revoked = [line.line for line in found.revoked]
    facts = {"trust": str(found.path), "logs": logs, "writers": writers, "reviewers": reviewers, "revoked": revoked,
             "release_policy": found.release_policy_text}
    lines = [f"trust folder {found.path}" + (" (this machine's own keys)" if found.is_self else "")]
    witnesses = [witness.vkey for witness in found.policy.witnesses.values()]
    quorum = [found.policy.quorum] if found.policy.quorum is not None else []
    policy = [] if found.release_policy_text is None else [f"{len(found.release_policy_text):,} characters"]
    for title, items in (("log", logs), ("witness", witnesses), ("quorum", quorum), ("writer", writers),
                         ("reviewer", reviewers), ("revoked", revoked), ("release.toml", policy)):
        lines += [f"{title:9} {escaped(item)}" for item in items]
    if not reviewers:
        lines.append("reviewer  none: safeloop trust add-reviewer YOU@EXAMPLE.ORG KEY.pub")
    return lines, {**facts, "witnesses": witnesses, "quorum": found.policy.quorum}


@trust.command("add-reviewer")
@click.argument("principal")
@click.argument("public_key", type=click.Path(path_type=Path))
@click.option("--another", is_flag=True, help="A further key of somebody who has one already.")
@click.option("--valid-after", metavar="WHEN", help="The key counts from then on, in UTC: 20261121Z or 202611210730Z.")
@click.option("--valid-before", metavar="WHEN", help="It counts until then, in the same form.")
@common(trust=True, ledger=False)
def trust_add_reviewer(
    desk: Desk, principal: str, public_key: Path, another: bool, valid_after: str | None, valid_before: str | None
) -> None:
    """Let a person's SSH key attest: PRINCIPAL is their name or address, PUBLIC_KEY their .pub file."""
    folder = desk.settings.trust
    if not folder.is_dir():
        raise KeyUnusable(f"there is no trust folder at {folder}", hint=NO_PINS)
    key_text = _one_key(read_text(public_key, "public key"), public_key)
    try:
        added = add_reviewer(folder, principal, key_text, addition=another, valid_after=valid_after,
                             valid_before=valid_before)
    except EncodingError as error:
        raise SettingError(f"{public_key}: {error}", hint=f"ssh-keygen -l -f {public_key}") from None
    pinned = parse_allowed_signers(read_pin_file(folder / "reviewers"), str(folder / "reviewers"))
    others = sorted({name for line in pinned if line.key.raw == added.raw for name in line.principals})
    desk.screen.result(
        f"{principal} may review with {added.fingerprint}",
        {"trust": str(folder), "principal": principal, "fingerprint": added.fingerprint, "key_id": key_id(added.raw)},
    )
    if shared := [name for name in others if name != principal]:
        desk.screen.note(f"{escaped(' and '.join(shared))} has this key too: it counts once")


def _one_key(text: str, file: Path) -> str:
    """Return the one line of a public key, as a `.pub` file, an agent or a web page has it.

    Raises:
        SettingError: A private key, several keys, or options before the key: they were meant to restrict it.
    """
    if "PRIVATE KEY" in text:
        raise SettingError(f"{file} is a private key", hint=f"give the public one: {file}.pub")
    lines = [line.strip() for line in text.splitlines() if line.strip() and not line.strip().startswith("#")]
    if len(lines) > 1:
        raise SettingError(f"{file} has {len(lines)} lines, and a person is trusted key by key",
                           hint=f"put the one that they sign with into a file of its own: grep ed25519 {file}")
    (line,) = lines or ("",)
    if not line.startswith(KEY_TYPES) and any(f" {name} " in line for name in KEY_TYPES):
        raise SettingError(f"{file} has options, or a name, before the key: they would not be obeyed here",
                           hint="give the key alone: its type and base64; --valid-before WHEN limits it")
    return line


def _signer(signer: AllowedSigner, revoked: Iterable[Revocation] = (), now: datetime | None = None) -> str:
    """Return one line about a signer: who, which key, and whatever limits it; a plain one has no limits."""
    words = [f"{','.join(signer.principals)} {signer.key.fingerprint}"]
    for name, moment in (("from", signer.valid_after), ("until", signer.valid_before)):
        if moment is not None:
            words.append(f"{name} {moment_text(moment)}")
    if now is not None and signer.is_early(now):
        words.append("not valid yet")
    if now is not None and signer.is_expired(now):
        words.append("EXPIRED")
    if signer.namespaces is not None and not {REVIEW_NAMESPACE, APPROVAL_NAMESPACE} <= set(signer.namespaces):
        words.append(f"for {' '.join(signer.namespaces)} only")
    mine = key_id(signer.key.raw)
    words += [f"REVOKED in {line.origin} from row {line.size + 1} on" for line in revoked if line.key_id == mine]
    return ", ".join(words)
