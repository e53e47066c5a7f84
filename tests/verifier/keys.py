"""Ed25519 keys in the three ways the page writes them, and the points that are refused."""

import base64
import binascii
import hashlib
from dataclasses import dataclass

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

P = 2**255 - 19
D = -121665 * pow(121666, P - 2, P) % P
LOG, WITNESS = 1, 4


class BadKey(ValueError):
    """This is no key that is admitted."""


def b64(text: str) -> bytes:
    """Decode standard base64 with padding, and nothing that would be encoded otherwise."""
    try:
        raw = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise BadKey(f"not base64: {error}") from None
    if base64.b64encode(raw).decode() != text:
        raise BadKey("not canonical base64")
    return raw


def admitted(raw: bytes) -> bytes:
    """Return a raw public key, unless it is of small order or not the canonical encoding of a point."""
    if len(raw) != 32:
        raise BadKey("not 32 bytes")
    y = int.from_bytes(raw, "little") & (2**255 - 1)
    sign = raw[31] >> 7
    if y >= P:
        raise BadKey("not canonical")
    if y in (0, 1, P - 1) or (D * pow(y, 4, P) + 2 * y * y - 1) % P == 0:
        raise BadKey("of small order")
    square = (y * y - 1) * pow(D * y * y + 1, P - 2, P) % P
    if pow(square, (P - 1) // 2, P) not in (0, 1) or (square == 0 and sign):
        raise BadKey("no point")
    return raw


def key_id(raw: bytes) -> str:
    return hashlib.sha256(raw).hexdigest()


def verifies(raw: bytes, signature: bytes, message: bytes) -> bool:
    try:
        Ed25519PublicKey.from_public_bytes(raw).verify(signature, message)
    except (InvalidSignature, ValueError):
        return False
    return True


def ssh_blob(blob: bytes) -> list[bytes]:
    """Split the length-prefixed strings of an SSH blob."""
    parts = []
    while blob:
        size = int.from_bytes(blob[:4], "big")
        if len(blob) < 4 + size:
            raise BadKey("a short blob")
        parts.append(blob[4 : 4 + size])
        blob = blob[4 + size :]
    return parts


def from_ssh(text: str) -> bytes:
    """Return the raw key of `ssh-ed25519 BASE64`."""
    words = text.split(" ")
    if len(words) != 2 or words[0] != "ssh-ed25519":
        raise BadKey("not an ssh-ed25519 key")
    parts = ssh_blob(b64(words[1]))
    if len(parts) != 2 or parts[0] != b"ssh-ed25519":
        raise BadKey("not an ssh-ed25519 key")
    return admitted(parts[1])


@dataclass(frozen=True)
class VKey:
    """A verifier key of a signed note."""

    name: str
    kind: int
    raw: bytes

    @property
    def hash(self) -> bytes:
        return hashlib.sha256(self.name.encode() + b"\n" + bytes([self.kind]) + self.raw).digest()[:4]


def from_vkey(text: str, kind: int) -> VKey:
    """Parse `NAME+HASH+BASE64`."""
    parts = text.split("+", 2)
    if len(parts) != 3 or not parts[0] or any(mark.isspace() for mark in text):
        raise BadKey("not a verifier key")
    raw = b64(parts[2])
    if len(raw) != 33 or raw[0] != kind:
        raise BadKey("a verifier key of another type")
    key = VKey(parts[0], kind, admitted(raw[1:]))
    if key.hash.hex() != parts[1]:
        raise BadKey("the hash of the verifier key is another")
    return key
