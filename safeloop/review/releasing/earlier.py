"""What an earlier release at a destination consists of: only that is ever replaced."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

from safeloop.errors import VerificationError
from safeloop.review.attesting.attestation import FRAME, OUTPUT, SUMS
from safeloop.review.attesting.sums import parse_sums
from safeloop.review.releasing.bundle import CHECKPOINT
from safeloop.spec.released import PROOF

_MOST_SUMS_BYTES = 64_000_000
_NUMBERED = re.compile(rf"{PROOF}/(statement-[0-9]+\.(json|sig)|receipts/row-[0-9]+\.tlog-proof)")
_NAMED = frozenset(f"{PROOF}/{name}" for name in (FRAME, SUMS, OUTPUT, CHECKPOINT))


def is_bundle(path: Path) -> bool:
    """Say whether a folder looks like a release: itself no link, and with the proof of one in it."""
    proof = path / PROOF
    folders = all(each.is_dir() and not each.is_symlink() for each in (path, proof))
    return folders and all((proof / name).is_file() for name in (FRAME, SUMS, CHECKPOINT))


def foreign_entry(bundle: Path) -> str | None:
    """Return the path, below the folder of a release, of something that is no part of it; None if there is nothing.

    A part is a regular file that `SHA256SUMS` lists or whose name is one of the proof's, and a folder on the way to
    one; what is in the files is not asked.

    Raises:
        VerificationError: `SHA256SUMS` cannot be read, so that nobody can say what belongs to the release.
        OSError: A folder or the file cannot be read.
    """
    listed = _listed(bundle / PROOF / SUMS)
    ways = {PROOF, f"{PROOF}/receipts", *(way for name in listed for way in _ways(name))}
    waiting = [""]
    while waiting:
        below = waiting.pop()
        with os.scandir(bundle / below) as entries:
            found = sorted(entries, key=lambda entry: entry.name)
        for entry in found:
            name = f"{below}{entry.name}"
            if entry.is_dir(follow_symlinks=False) and name in ways:
                waiting.append(f"{name}/")
            elif not (entry.is_file(follow_symlinks=False) and _is_part(name, listed)):
                return name
    return None


def _listed(sums: Path) -> frozenset[str]:
    with sums.open("rb") as file:
        data = file.read(_MOST_SUMS_BYTES + 1)
    if len(data) > _MOST_SUMS_BYTES:
        raise VerificationError(f"{PROOF}/{SUMS} has more than {_MOST_SUMS_BYTES:,} bytes")
    return frozenset(parse_sums(data))


def _ways(name: str) -> Iterator[str]:
    """Yield the folders that a file lies in."""
    parts = name.split("/")
    return ("/".join(parts[:end]) for end in range(1, len(parts)))


def _is_part(name: str, listed: frozenset[str]) -> bool:
    return name in listed or name in _NAMED or _NUMBERED.fullmatch(name) is not None
