"""Armored SSH signatures (SSHSIG) by Ed25519 keys, with and without a security key."""

import hashlib
from dataclasses import dataclass

from tests.verifier.keys import BadKey, admitted, b64, ssh_blob, verifies

BEGIN, END = "-----BEGIN SSH SIGNATURE-----", "-----END SSH SIGNATURE-----"


@dataclass(frozen=True)
class Signer:
    """Whose signature it is."""

    raw: bytes
    kind: str


def _string(raw: bytes) -> bytes:
    return len(raw).to_bytes(4, "big") + raw


def verify(armored: str, namespace: str, message: bytes) -> Signer | None:
    """Return who signed, or nothing if the signature does not verify in this namespace."""
    try:
        return _verify(armored, namespace.encode(), message)
    except (BadKey, ValueError):
        return None


def _verify(armored: str, namespace: bytes, message: bytes) -> Signer | None:
    lines = armored.strip("\n").split("\n")
    if lines[0] != BEGIN or lines[-1] != END:
        return None
    blob = b64("".join(lines[1:-1]))
    if blob[:10] != b"SSHSIG\0\0\0\1":
        return None
    public, space, reserved, algorithm, signature = ssh_blob(blob[10:])
    if space != namespace or algorithm not in (b"sha256", b"sha512"):
        return None
    digest = hashlib.new(algorithm.decode(), message).digest()
    signed = b"SSHSIG" + _string(space) + _string(reserved) + _string(algorithm) + _string(digest)
    kind, raw, *rest = ssh_blob(public)
    size = int.from_bytes(signature[:4], "big")
    if signature[4 : 4 + size] != kind:
        return None
    tail = signature[4 + size :]
    length = int.from_bytes(tail[:4], "big")
    sig, flags = tail[4 : 4 + length], tail[4 + length :]
    if kind == b"ssh-ed25519" and not rest and not flags:
        held = verifies(admitted(raw), sig, signed)
    elif kind == b"sk-ssh-ed25519@openssh.com" and len(rest) == 1 and len(flags) == 5 and flags[0] & 1:
        held = verifies(admitted(raw), sig, hashlib.sha256(rest[0]).digest() + flags + hashlib.sha256(signed).digest())
    else:
        held = False
    return Signer(raw, kind.decode()) if held and len(sig) == 64 else None
