"""Where something made here may come to lie: never on the ledger's own files, nor among keys or pins. Links count."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from safeloop.errors import SettingError


def target_of(named: Path, ledger: Path, kept: Iterable[Path], *, hint: str) -> Path:
    """Return the path of a new file or folder with its parent resolved; links in the parent are followed once, now.

    Args:
        named: As it was named.
        ledger: The ledger's file.
        kept: Keys and pins: folders, in which nothing else comes to lie, and files. They need not exist.
        hint: What names another.

    Raises:
        SettingError: It has no name of its own, or no folder to lie in, or is where ledger, keys or pins are kept.
    """
    if named.name in {"", ".."}:
        raise SettingError(f"{named} is not the name of something new", hint=hint)
    parent = Path(os.path.realpath(named.parent))
    if not parent.is_dir():
        raise SettingError(f"there is no folder {parent}", hint=f"mkdir -p {parent}")
    target = parent / named.name
    if _is_of_the_ledger(target, Path(os.path.realpath(ledger))):
        raise SettingError(f"{target} is a place of the ledger's own", hint=hint)
    for place in kept:
        if target.is_relative_to(os.path.realpath(place)):
            raise SettingError(f"{target} lies among keys or pins, in {place}", hint=hint)
    return target


def _is_of_the_ledger(target: Path, ledger: Path) -> bool:
    """Say whether SQLite or the loop would take the target for theirs: side files, and the folder of sessions."""
    stem = ledger.name.removesuffix(".db")
    files = (ledger.name, f"{stem}.content.db")
    sides = {f"{name}{suffix}" for name in files for suffix in ("", "-journal", "-wal", "-shm")}
    is_side = target.parent == ledger.parent and target.name in sides
    return is_side or target.is_relative_to(ledger.with_name(f"{stem}.sessions"))
