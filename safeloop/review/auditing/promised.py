"""What content must be besides the bytes that a row committed to: of its plain digest, and a true list. Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from typing import Any

from safeloop.ledger import Row
from safeloop.ledger.kinds import commitment

DIGESTS = {"open": ("task", "input_hash"), "attestation": ("frame_text", "frame")}
_OF_FILES = frozenset({"close", "release"})
_FILE = frozenset({"after", "before", "name"})


def digested(row: Row) -> tuple[str, str] | None:
    """Return the keys of the content whose plain SHA-256 a row states, and of that digest; None if it states none.

    An attestation without a signature may have come over from elsewhere, with a frame that nobody can render here.

    Args:
        row: Its data has the form of its kind.
    """
    keys = DIGESTS.get(row.kind)
    return None if keys is None or (row.kind == "attestation" and row.data["signature"] is None) else keys


def digest_fault(row: Row, key: str, stated: str, data: bytes) -> str:
    """Return why content is not what the row's plain digest says, or nothing."""
    is_same = hashlib.sha256(data).hexdigest() == row.data[stated]
    return "" if is_same else f"its {stated} is not the SHA-256 of its {key}"


def list_fault(row: Row, number: int | None, entries: Sequence[Mapping[str, Any]]) -> str:
    """Return why a manifest is not the one that its row speaks of, or nothing.

    Args:
        row: Of a kind that has one.
        number: How many entries the row says that there are; None if it does not say.
        entries: Those of the manifest.
    """
    if number not in (None, len(entries)):
        return f"it has {len(entries):,} entries, and the row says {number:,}"
    return files_fault(entries) if row.kind in _OF_FILES else ""


def files_fault(entries: Iterable[Mapping[str, Any]]) -> str:
    """Return why a manifest is no list of files, or nothing: each once, by the bytes of its name, with its content."""
    names = []
    for number, entry in enumerate(entries, 1):
        if entry.keys() != _FILE or type(entry["name"]) is not str or not all(_is_content(entry, key) for key in _FILE):
            return f"entry {number} is not a file's: after, before and name"
        names.append(entry["name"].encode())
    if any(one >= other for one, other in pairwise(names)):
        return "its names are not each there once and in the order of their bytes"
    return ""


def _is_content(entry: Mapping[str, Any], key: str) -> bool:
    return key == "name" or commitment(entry[key]) or (key == "before" and entry[key] is None)
