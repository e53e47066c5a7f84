r"""Content: prompts, replies, files and frames, kept apart from the rows that commit to them.

    salted_sha256 = SHA-256("safeloop.content.v1\0" || salt || bytes)

The salt makes a commitment say nothing about short or guessable content once salt and bytes are erased.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from safeloop.errors import VerificationError
from safeloop.ledger.encoding import encode

SALT_BYTES = 32
_DOMAIN = b"safeloop.content.v1\0"
JSON = "application/json"
TEXT = "text/plain; charset=utf-8"
BYTES = "application/octet-stream"


def salted_sha256(salt: bytes, data: bytes) -> bytes:
    """Return the commitment's digest, 32 bytes."""
    return hashlib.sha256(_DOMAIN + salt + data).digest()


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


def check_content(commitment: Mapping[str, Any], salt: bytes, data: bytes) -> None:
    """Check stored bytes against the commitment that names them.

    Raises:
        VerificationError: They are not the committed bytes.
    """
    if salted_sha256(salt, data).hex() != commitment["salted_sha256"] or len(data) != commitment["bytes"]:
        raise VerificationError(f"content {commitment['salted_sha256'][:8]} is not what the row committed to")


def manifest(entries: list[dict[str, Any]]) -> bytes:
    """Return the bytes of a manifest: a canonical array of objects in the given order."""
    return encode(entries)
