"""Which key follows which: the claim of a `rotate` row, and how anybody checks it.

    {"event":"rotate","key":"ssh-ed25519 AAAA…","proof":"base64 of 64 bytes", …}

The row itself is signed by the old writer key, which so vouches for the new key. The proof is the new key's own
signature, so that nobody can take over a key that they do not hold:

    proof = Ed25519(new key, "DSSEv1 45 application/vnd.safeloop.key-rotation.v1+json " LEN " " CLAIM)
    CLAIM = JCS of {"key":…,"ledger":…,"replaces":…,"role":"writer" or "log"}

`key` is written as the row writes it: in OpenSSH's one-line form for a writer, as a C2SP verifier key, whose name is
the ledger's origin, for a log. `replaces` is the id of the key that is replaced. Pure.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from safeloop.errors import EncodingError, KeyUnusable, ProofError
from safeloop.ledger import ed25519, seal, sshsig
from safeloop.ledger.encoding import encode
from safeloop.ledger.note import Verifier, decode_base64, encode_base64, parse_vkey

if TYPE_CHECKING:
    from collections.abc import Callable

    from safeloop.ledger.rows import Row

CLAIM_TYPE = b"application/vnd.safeloop.key-rotation.v1+json"
ROTATE, REVOKE, ADOPT = "rotate", "revoke", "adopt"


class Role(StrEnum):
    """What a key signs: rows, or heads."""

    WRITER = "writer"
    LOG = "log"


@dataclass(frozen=True, slots=True)
class NamedKey:
    """A public key as a `key` row names it.

    Attributes:
        public: 32 raw bytes, never a small-order point.
        text: The exact text of the row.
    """

    role: Role
    public: bytes
    text: str

    @property
    def key_id(self) -> str:
        """SHA-256 of the raw public key, hex."""
        return ed25519.key_id(self.public)


def name_key(role: Role, public: bytes, origin: str) -> NamedKey:
    """Write a public key as a `key` row of this ledger names it.

    Raises:
        KeyUnusable: A key that must never be admitted.
    """
    ed25519.check_public_key(public)
    if role is Role.LOG:
        return NamedKey(role, public, Verifier(origin, public).vkey)
    return NamedKey(role, public, sshsig.PublicKey(sshsig.PLAIN, public).openssh)


def read_key(text: str, origin: str) -> NamedKey:
    """Read the public key that a `key` row of this ledger names.

    Raises:
        ProofError: Neither form, not canonical, or the key of another log.
        KeyUnusable: A key that must never be admitted.
    """
    if not text.startswith("ssh-"):
        verifier = parse_vkey(text)
        if verifier.name != origin:
            raise ProofError(f"the key is one of the log {verifier.name[:80]!a}, not of {origin}")
        return NamedKey(Role.LOG, verifier.public, text)
    try:
        key = sshsig.parse_public_key(text)
    except EncodingError as error:
        raise ProofError(f"the key is not in OpenSSH's form: {error}") from None
    if key.type != sshsig.PLAIN or key.openssh != text:
        raise ProofError("the key is not a plain ssh-ed25519 key on one line, without a comment")
    ed25519.check_public_key(key.raw)
    return NamedKey(Role.WRITER, key.raw, text)


def claim(key: NamedKey, origin: str, replaces: str) -> bytes:
    """Return the exact bytes that the new key signs."""
    body = encode({"key": key.text, "ledger": origin, "replaces": replaces, "role": str(key.role)})
    return seal.pre_authentication(CLAIM_TYPE, body)


def rotation(key: NamedKey, origin: str, replaces: str, sign: Callable[[bytes], bytes]) -> dict[str, Any]:
    """Return the data of a `rotate` row; `sign` is the new key's."""
    proof = encode_base64(sign(claim(key, origin, replaces)))
    return {"event": ROTATE, "key": key.text, "proof": proof, "not_after_size": None, "checkpoint": None}


def has_possession(data: Mapping[str, Any], key: NamedKey, origin: str, replaces: str) -> bool:
    """Say whether the proof of a `rotate` row is the named key's own, for this ledger and in place of that key."""
    try:
        signature = decode_base64(data["proof"] or "", "proof")
    except ProofError:
        return False
    return ed25519.verify(key.public, signature, claim(key, origin, replaces))


def successor(rows: Iterable[Row], role: Role, key_id: str) -> NamedKey | None:
    """Return the key that signs after `key_id` by the ledger's own rows, or None if that one still does.

    Args:
        rows: The ledger's `key` rows, in order. What breaks a rule is passed over; it is the audit's to name it.
        role: What the key signs.
        key_id: The key that a key folder holds. A writer is followed only by what it vouched for itself.
    """
    last: NamedKey | None = None
    for row in rows:
        if row.kind != "key" or row.data.get("event") != ROTATE:
            continue
        now = key_id if last is None else last.key_id
        try:
            named = read_key(row.data["key"], row.ledger)
        except (KeyUnusable, ProofError):
            continue
        vouched = role is Role.LOG or row.writer == now
        if named.role is role and vouched and has_possession(row.data, named, row.ledger, now):
            last = named
    return last
