r"""Content: prompts, replies, files and frames, kept apart from the rows that commit to them.

    salted_sha256 = SHA-256("safeloop.content.v1\0" || salt || bytes)

The salt makes a commitment say nothing about short or guessable content once salt and bytes are erased.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from safeloop.errors import EncodingError, VerificationError
from safeloop.ledger.encoding import encode, parse
from safeloop.ledger.kinds import Claim, commitment

SALT_BYTES = 32
DOMAIN = b"safeloop.content.v1\0"
JSON = "application/json"
TEXT = "text/plain; charset=utf-8"
BYTES = "application/octet-stream"


def salted_sha256(salt: bytes, data: bytes) -> bytes:
    """Return the commitment's digest, 32 bytes."""
    return hashlib.sha256(DOMAIN + salt + data).digest()


@dataclass(frozen=True, slots=True)
class Content:
    """Bytes with the salt that commits to them.

    Attributes:
        data: The bytes as they are stored.
        type: Media type.
        salt: 32 random bytes, never used twice.
    """

    data: bytes = field(repr=False)
    type: str
    salt: bytes = field(repr=False)

    @property
    def digest(self) -> bytes:
        """The key under which the content is stored."""
        return salted_sha256(self.salt, self.data)

    @property
    def commitment(self) -> dict[str, Any]:
        """What a row holds in place of the bytes."""
        return {"bytes": len(self.data), "salted_sha256": self.digest.hex(), "type": self.type}


def check_content(commitment: Mapping[str, Any], salt: bytes, data: bytes, media_type: object = None) -> None:
    """Check stored bytes against the commitment that names them.

    Args:
        commitment: As the row holds it.
        salt: As stored.
        data: As stored.
        media_type: What is stored as the type; None where none is stored with the bytes.

    Raises:
        VerificationError: They are not the committed bytes, or are said to be of another type.
    """
    if media_type not in (None, commitment["type"]):
        raise VerificationError(f"content {commitment['salted_sha256'][:8]} is not of the type that the row states")
    if salted_sha256(salt, data).hex() != commitment["salted_sha256"] or len(data) != commitment["bytes"]:
        raise VerificationError(f"content {commitment['salted_sha256'][:8]} is not what the row committed to")


def is_claimed(claim: Claim, salt: bytes, data: bytes, media_type: object) -> bool:
    """Say whether `check_content` would admit stored bytes, which have a type."""
    size, digest, stated = claim
    return media_type == stated and len(data) == size and salted_sha256(salt, data).hex() == digest


def manifest(entries: list[dict[str, Any]]) -> bytes:
    """Return the bytes of a manifest: a canonical array of objects in the given order."""
    return encode(entries)


MANIFESTS: dict[str, tuple[str, str | None]] = {
    "close": ("files", "file_count"), "release": ("files", "file_count"),
    "intent": ("request", None), "erase": ("contents", "count"),
}
"""By kind: the key of the manifest, and of the number of its entries."""


def commitments(value: Any) -> Iterator[dict[str, Any]]:
    """Yield every commitment inside a value: the objects with exactly its three keys."""
    if isinstance(value, dict) and "salted_sha256" in value and commitment(value):
        yield value
        return
    items = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    for item in items:
        if isinstance(item, dict | list):
            yield from commitments(item)


def manifest_entries(data: bytes) -> list[dict[str, Any]]:
    """Read a manifest: a canonical array of objects.

    Raises:
        EncodingError: It is not one.
    """
    entries = parse(data)
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise EncodingError("not a list of objects")
    return entries
