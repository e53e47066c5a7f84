"""Witnesses with keys of their own: what a checkpoint looks like when they have cosigned it."""

from __future__ import annotations

import base64
import hashlib
from dataclasses import dataclass

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from safeloop.ledger.note import Verifier
from safeloop.ledger.policy import Policy, parse_policy

TIME = 1_795_000_000


@dataclass(frozen=True)
class SigningWitness:
    """A witness that signs whatever it is given; `seed` is its key."""

    seed: int
    name: str = "witness.example/w"

    @property
    def key(self) -> Ed25519PrivateKey:
        return Ed25519PrivateKey.from_private_bytes(bytes([self.seed]) * 32)

    @property
    def _typed(self) -> bytes:
        return b"\x04" + self.key.public_key().public_bytes_raw()

    @property
    def key_hash(self) -> bytes:
        return hashlib.sha256(self.name.encode() + b"\n" + self._typed).digest()[:4]

    @property
    def vkey(self) -> str:
        return f"{self.name}+{self.key_hash.hex()}+{base64.b64encode(self._typed).decode()}"

    def line(self, note: str, time: int = TIME, *, signed_time: int | None = None, header: str = "cosignature/v1") -> str:
        """Return the signature line that it adds to a note."""
        text = note.rpartition("\n\n")[0] + "\n"
        stated = time if signed_time is None else signed_time
        signature = self.key.sign(f"{header}\ntime {stated}\n{text}".encode())
        return self.raw_line(time.to_bytes(8, "big") + signature)

    def raw_line(self, payload: bytes) -> str:
        return f"— {self.name} {base64.b64encode(self.key_hash + payload).decode()}\n"


ONE, TWO, THREE = (SigningWitness(seed, f"w{seed}.example") for seed in (11, 12, 13))


def policy_text(quorum: str, *logs: Verifier) -> str:
    """A policy over three witnesses: `pair` is two of them, `nested` is one and a pair."""
    lines = [f"log {log.vkey}" for log in logs]
    lines += [f"witness {name} {witness.vkey}" for name, witness in (("one", ONE), ("two", TWO), ("three", THREE))]
    lines += ["group pair 2 two three", "group nested all one pair", f"quorum {quorum}"]
    return "\n".join(lines) + "\n"


def policy(quorum: str, *logs: Verifier) -> Policy:
    return parse_policy(policy_text(quorum, *logs))
