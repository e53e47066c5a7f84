"""What a writer signs, and what becomes a leaf.

DSSE's pre-authentication encoding over bytes, never characters (secure-systems-lab/dsse, protocol.md):

    PAE  = "DSSEv1 36 application/vnd.safeloop.row.v1+json " LEN " " BODY
    sig  = Ed25519(writer key, PAE)
    leaf = SHA-256(0x00 || sig || PAE)
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

PAYLOAD_TYPE = b"application/vnd.safeloop.row.v1+json"
SIGNATURE_BYTES = 64
_PREFIX = b"DSSEv1 %d %s " % (len(PAYLOAD_TYPE), PAYLOAD_TYPE)


def pae(body: bytes) -> bytes:
    """Return the exact bytes that a row's signature covers."""
    return _PREFIX + b"%d " % len(body) + body


def pre_authentication(payload_type: bytes, body: bytes) -> bytes:
    """Return DSSE's pre-authentication encoding of a payload of any type."""
    return b"DSSEv1 %d %s %d " % (len(payload_type), payload_type, len(body)) + body


def body_of(sealed: bytes) -> bytes:
    """Return the body inside a pre-authentication encoding, as a receipt carries it.

    Raises:
        ValueError: Not the encoding of a row.
    """
    if not sealed.startswith(_PREFIX):
        raise ValueError("not the pre-authentication encoding of a row")
    length, space, body = sealed[len(_PREFIX) :].partition(b" ")
    if not space or not length.isdigit() or pae(body) != sealed:
        raise ValueError("the length in the pre-authentication encoding is not its body's")
    return body


def sign(private: Ed25519PrivateKey, body: bytes) -> bytes:
    """Sign a body; 64 bytes."""
    return private.sign(pae(body))


def leaf(body: bytes, signature: bytes) -> bytes:
    """Return the RFC 6962 leaf hash of a row, 32 bytes; it commits to the signature too."""
    return sealed_leaf(pae(body), signature)


def sealed_leaf(message: bytes, signature: bytes) -> bytes:
    """Return the same of what `pae` returned."""
    return hashlib.sha256(b"\x00" + signature + message).digest()
