"""Signed notes, checkpoints and receipts, as C2SP defines them.

    c2sp.org/signed-note      text, an empty line, and one line per signature: "— name base64(key hash || signature)"
    c2sp.org/tlog-checkpoint  the text: origin, size, base64 root, one a line
    c2sp.org/tlog-proof       a receipt: index, inclusion proof and checkpoint, with the row in `extra`
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass

from safeloop.errors import ProofError, SignatureMismatch
from safeloop.ledger import ed25519, merkle, seal

_ED25519 = b"\x01"
_DECIMAL = re.compile(r"(0|[1-9][0-9]{0,18})\Z")
_NAME = re.compile(r"[^\s+\x00-\x1f\ud800-\udfff]+\Z")
_MAX_NOTE_BYTES = 1_000_000
_PROOF_HEADER = "c2sp.org/tlog-proof@v1"


@dataclass(frozen=True, slots=True)
class Verifier:
    """A named Ed25519 key that signs notes.

    Attributes:
        name: The key's name; of a log, its origin.
        public: 32 bytes, never a small-order point.
    """

    name: str
    public: bytes

    def __post_init__(self) -> None:
        if not _NAME.match(self.name):
            raise ProofError(f"a key name holds no space and no plus sign: {self.name[:60]!a}")
        ed25519.check_public_key(self.public)

    @property
    def key_hash(self) -> bytes:
        """The four bytes that a signature line begins with."""
        return hashlib.sha256(self.name.encode() + b"\n" + _ED25519 + self.public).digest()[:4]

    @property
    def vkey(self) -> str:
        """The key as a policy or a reader pins it."""
        return f"{self.name}+{self.key_hash.hex()}+{_base64(_ED25519 + self.public)}"


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A log's size and Merkle root under its origin.

    Attributes:
        origin: The log's name.
        size: Number of leaves.
        root: 32 bytes.
    """

    origin: str
    size: int
    root: bytes

    @property
    def text(self) -> str:
        """The exact text that is signed, with its final newline."""
        return f"{self.origin}\n{self.size}\n{_base64(self.root)}\n"


@dataclass(frozen=True, slots=True)
class Receipt:
    """One row's place in a log, provable offline.

    Attributes:
        index: The row's `idx`.
        proof: The RFC 6962 inclusion proof.
        note: The signed checkpoint that the proof leads to.
        body: The row's body.
        signature: The row's signature.
    """

    index: int
    proof: tuple[bytes, ...]
    note: str
    body: bytes
    signature: bytes


def parse_vkey(text: str) -> Verifier:
    """Read `name+hash+base64(type || key)`.

    Raises:
        ProofError: Not the form, not Ed25519, or the hash is not the key's.
        KeyUnusable: A key that must never be admitted.
    """
    parts = text.split("+", 2)
    if len(parts) != 3:
        raise ProofError(f"not a verifier key (name+hash+key): {text[:80]!a}")
    name, key_hash, encoded = parts
    typed = _unbase64(encoded, "verifier key")
    if len(typed) != 33 or typed[:1] != _ED25519:
        raise ProofError(f"the verifier key of {name[:60]!a} is not Ed25519")
    verifier = Verifier(name, typed[1:])
    if verifier.key_hash.hex() != key_hash:
        raise ProofError(f"the verifier key of {name[:60]!a} does not have the hash that it states")
    return verifier


def sign_checkpoint(checkpoint: Checkpoint, verifier: Verifier, signer: Callable[[bytes], bytes]) -> str:
    """Return the signed note; `signer` returns the Ed25519 signature of `verifier`'s key over bytes."""
    signature = _base64(verifier.key_hash + signer(checkpoint.text.encode()))
    return f"{checkpoint.text}\n— {verifier.name} {signature}\n"


def parse_checkpoint(note: str) -> Checkpoint:
    """Read the checkpoint of a note without checking any signature; say so wherever this is used.

    Raises:
        ProofError: Not a checkpoint.
    """
    text, _ = _split_note(note)
    lines = text.split("\n")
    if len(lines) != 4 or lines[3] or not lines[0]:
        raise ProofError("a checkpoint has three lines: origin, size, root; extension lines are not used")
    if not _DECIMAL.match(lines[1]):
        raise ProofError(f"the checkpoint's size is not a decimal number: {lines[1][:30]!a}")
    root = _unbase64(lines[2], "root")
    if len(root) != 32:
        raise ProofError("the checkpoint's root is not 32 bytes")
    return Checkpoint(lines[0], int(lines[1]), root)


def verify_checkpoint(note: str, verifier: Verifier) -> Checkpoint:
    """Check a note under a pinned key; signatures by keys that are not known are passed over.

    Raises:
        SignatureMismatch: No signature by this key, or one that does not verify.
        ProofError: Not a checkpoint, or of another origin than the key's name.
    """
    checkpoint = parse_checkpoint(note)
    if checkpoint.origin != verifier.name:
        raise ProofError(f"the checkpoint is of {checkpoint.origin[:80]!a}, not of {verifier.name}")
    text, signatures = _split_note(note)
    found = [sig for name, sig in signatures if name == verifier.name and sig[:4] == verifier.key_hash]
    if not found:
        raise SignatureMismatch(f"no signature by the key {verifier.name}+{verifier.key_hash.hex()}")
    if not all(ed25519.verify(verifier.public, sig[4:], text.encode()) for sig in found):
        raise SignatureMismatch(f"the checkpoint's signature does not verify under {verifier.name}")
    return checkpoint


def render_receipt(receipt: Receipt) -> str:
    """Render a `.tlog-proof`; `extra` is base64(sig || PAE)."""
    extra = _base64(receipt.signature + seal.pae(receipt.body))
    hashes = "".join(f"{_base64(step)}\n" for step in receipt.proof)
    return f"{_PROOF_HEADER}\nextra {extra}\nindex {receipt.index}\n{hashes}\n{receipt.note}"


def parse_receipt(text: str) -> Receipt:
    """Read a `.tlog-proof` of a row.

    Raises:
        ProofError: Not one, or its `extra` is not a row.
    """
    head, separator, note = text.partition("\n\n")
    lines = head.split("\n")
    if not separator or len(lines) < 3 or lines[0] != _PROOF_HEADER:
        raise ProofError(f"not a receipt: the first line is not {_PROOF_HEADER}")
    if not lines[1].startswith("extra ") or not lines[2].startswith("index "):
        raise ProofError("a receipt states `extra` and then `index`")
    if not _DECIMAL.match(lines[2][6:]):
        raise ProofError("the receipt's index is not a decimal number")
    extra = _unbase64(lines[1][6:], "extra")
    try:
        body = seal.body_of(extra[seal.SIGNATURE_BYTES :])
    except ValueError as error:
        raise ProofError(f"the receipt's extra is not a row: {error}") from None
    proof = tuple(_unbase64(line, "proof hash") for line in lines[3:])
    if any(len(step) != 32 for step in proof):
        raise ProofError("a proof hash is not 32 bytes")
    return Receipt(int(lines[2][6:]), proof, note, body, extra[: seal.SIGNATURE_BYTES])


def verify_receipt(receipt: Receipt, log: Verifier) -> Checkpoint:
    """Check that a receipt's row is in the log; the row's own signature is the caller's next question.

    Raises:
        SignatureMismatch: The checkpoint is not signed by `log`.
        ProofError: The row is not where the receipt says.
    """
    checkpoint = verify_checkpoint(receipt.note, log)
    leaf = seal.leaf(receipt.body, receipt.signature)
    merkle.verify_inclusion(leaf, receipt.index, checkpoint.size, receipt.proof, checkpoint.root)
    return checkpoint


def _split_note(note: str) -> tuple[str, list[tuple[str, bytes]]]:
    """Split a note into its text, newline included, and (key name, hash and signature) pairs."""
    if len(note) > _MAX_NOTE_BYTES:
        raise ProofError(f"a note of more than {_MAX_NOTE_BYTES} characters")
    text, separator, signatures = note.rpartition("\n\n")
    if not separator or not signatures.endswith("\n"):
        raise ProofError("not a signed note: no empty line before the signatures, or no final newline")
    pairs = []
    for line in signatures[:-1].split("\n"):
        dash, _, rest = line.partition(" ")
        name, space, encoded = rest.partition(" ")
        signature = _unbase64(encoded, "signature") if space and dash == "—" and _NAME.match(name) else b""
        if len(signature) < 5:
            raise ProofError("a signature line is not of the form '— name base64'")
        pairs.append((name, signature))
    if any(ord(character) < 0x20 and character != "\n" for character in text):
        raise ProofError("a note holds no control characters")
    return text + "\n", pairs


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")


def _unbase64(text: str, what: str) -> bytes:
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise ProofError(f"the {what} is not base64") from None
    if _base64(data) != text:
        raise ProofError(f"the {what} is not canonical base64")
    return data
