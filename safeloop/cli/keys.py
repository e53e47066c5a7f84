"""`key`: the keys that sign rows and heads, from their making to their revocation."""

from __future__ import annotations

from typing import Any

import click

from safeloop.cli.options import Desk, common
from safeloop.errors import KeyUnusable, SettingError
from safeloop.ledger.site import real_path
from safeloop.ledger.sshsig import PLAIN, PublicKey
from safeloop.ledger.succession import Role
from safeloop.ledger.upkeep.inventory import HeldKey, Inventory, inventory
from safeloop.ledger.upkeep.revocation import revoke
from safeloop.ledger.upkeep.rotation import Rotation, rotate

_ROLES = tuple(str(role) for role in Role)


@click.group()
def key() -> None:
    """Make, list, replace and revoke keys."""


@key.command("new")
@click.option("--encrypt", is_flag=True, help="With the passphrase that the settings lead to: safeloop help keys")
@common(ledger=False)
def key_new(desk: Desk, encrypt: bool) -> None:
    """Make the key folder's writer and log key, where there is none; never replaces one.

    safeloop init makes plain ones by itself. To have encrypted keys, run this first: safeloop help keys
    """
    folder = desk.key_folder()
    there = [path for path in folder.private_files if path.exists()]
    if there:
        raise KeyUnusable(f"there is a key at {there[0]} already", hint="safeloop key rotate replaces it")
    folder.create(encrypted=encrypt)
    held = [HeldKey(role, folder.public(role)) for role in Role]
    desk.screen.result(
        "\n".join([f"folder   {folder.path}", *_shown(held)]),
        {"folder": str(folder.path), "encrypted": encrypt, "keys": [_facts(each) for each in held]},
    )
    desk.screen.note("back this folder up, and keep agents out of it; next: safeloop init")


@key.command("list")
@common(ledger=False)
def key_list(desk: Desk) -> None:
    """List the keys that sign, wait, or signed before, what was revoked, and for which ledgers.

    The id of a key is the SHA-256 of its 32 raw bytes: a row's `writer`, and what safeloop key revoke takes.
    """
    folder = desk.key_folder()
    found = inventory(folder)
    desk.screen.result(
        "\n".join([f"folder   {folder.path}", *_listing(found)]),
        {
            "folder": str(folder.path), "keys": [_facts(each) for each in found.current],
            "encrypted": [str(role) for role in found.encrypted], "waiting": [_facts(each) for each in found.waiting],
            "retired": [_facts(each) for each in found.retired], "revoked": [each.line for each in found.revoked],
            "ledgers": [
                {"path": str(each.path), "origin": each.origin, "vkey": each.vkey, "there": each.is_there}
                for each in found.ledgers
            ],
        },
    )


@key.command("rotate")
@click.option("--role", type=click.Choice(_ROLES), help="Only this key; else both, one after the other.")
@click.option("--skip", multiple=True, metavar="PATH", help="A ledger that is there and cannot be written any more.")
@common(ledger=False)
def key_rotate(desk: Desk, role: str | None, skip: tuple[str, ...]) -> None:
    """Replace keys: in every ledger the old one signs a row that names the new one, and is deleted.

    What a crash left is finished by the same command. Whoever audits needs the new public keys:
    safeloop trust export
    """
    skipped = [real_path(path) for path in skip]
    done = [rotate(desk.key_folder(), Role(each), skip=skipped) for each in ([role] if role else _ROLES)]
    for path, why in {pair for each in done for pair in each.gone}:
        desk.screen.alarm(f"warning: {path} has no row of it ({why}): tell its auditors of the new key yourself")
    desk.screen.result("\n".join(map(_told, done)), {"rotations": [_rotation(each) for each in done]})
    desk.screen.note("next: safeloop trust export FILE, for auditors; if the old key was stolen: safeloop key revoke")


@key.command("revoke")
@click.argument("key_id", metavar="KEY-ID")
@click.option("--from-row", type=click.IntRange(min=1), metavar="N", help="The first row that does not count.")
@click.option("--size", type=click.IntRange(min=0), metavar="N", help="The same, as a size: so many rows count.")
@click.option("--yes", is_flag=True, help="Also where rows that the key signed no longer count then.")
@common()
def key_revoke(desk: Desk, key_id: str, from_row: int | None, size: int | None, yes: bool) -> None:
    """Revoke a key that was replaced: rows by it from a row on, or checkpoints beyond that size, no longer count.

    It is bounded by rows, not by time, and holds for one ledger; without a bound, from now on. A row says so, and a
    line in `self`; auditors need the same line in the `revoked` file of their trust folder. Where the key signed rows
    from there on, they are named and nothing is revoked without --yes: audits fail on such rows from then on.
    """
    if from_row is not None and size is not None:
        raise SettingError("--from-row and --size say the same", hint="give one of them")
    bound = size if from_row is None else from_row - 1
    done = revoke(desk.settings.ledger, key_id, keys=desk.key_folder(), size=bound, voiding=yes)
    line = done.line
    desk.screen.result(
        f"revoked {done.key.role} key {line.key_id} in {line.origin} from row {line.size + 1} on; row {done.row.id}",
        {"role": str(done.key.role), "key_id": line.key_id, "origin": line.origin, "size": line.size,
         "row": done.row.id, "line": line.line},
    )
    desk.screen.note(f"auditors need this line in `revoked` (or safeloop trust export FILE): {line.line}")
    others = [each for each in inventory(desk.key_folder()).ledgers if each.origin != line.origin and each.is_there]
    for each in others:
        desk.screen.note(f"it still counts in {each.path}: safeloop key revoke {line.key_id[:16]} --ledger {each.path}")


def _listing(found: Inventory) -> list[str]:
    lines = _shown(found.current)
    lines += [f"sealed   the {role} key is encrypted" for role in found.encrypted]
    lines += [f"waiting  {each.role} {each.key_id}: safeloop key rotate --role {each.role} goes on with it"
              for each in found.waiting]
    lines += [f"retired  {each.role} {each.key_id}" for each in found.retired]
    lines += [f"revoked  {each.key_id} in {each.origin} from row {each.size + 1} on" for each in found.revoked]
    for held in found.ledgers:
        lines += [f"ledger   {held.path}{'' if held.is_there else ' (gone)'}", f"         vkey {held.vkey}"]
    return lines


def _shown(held: list[HeldKey] | tuple[HeldKey, ...]) -> list[str]:
    lines: list[str] = []
    for each in held:
        lines += [f"{each.role:8} {PublicKey(PLAIN, each.public).openssh}", f"         key id {each.key_id}"]
    return lines


def _facts(held: HeldKey) -> dict[str, Any]:
    return {"role": str(held.role), "public": held.public.hex(), "key_id": held.key_id,
            "openssh": PublicKey(PLAIN, held.public).openssh}


def _told(done: Rotation) -> str:
    rows = "".join(f"\n         row {row.id} of {path}" for path, row in done.rows)
    what = " (what was begun before)" if done.resumed else ""
    return f"{done.role:8} {done.old[:16]} replaced by {done.new}{what}{rows}"


def _rotation(done: Rotation) -> dict[str, Any]:
    return {
        "role": str(done.role), "old": done.old, "new": done.new, "resumed": done.resumed,
        "openssh": PublicKey(PLAIN, done.public).openssh,
        "rows": [{"ledger": str(path), "row": row.id} for path, row in done.rows],
        "gone": [{"ledger": str(path), "why": why} for path, why in done.gone],
    }
