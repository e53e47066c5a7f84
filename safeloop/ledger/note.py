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
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from safeloop.errors import ProofError, SignatureMismatch, VerificationError
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
        return f"{self.name}+{self.key_hash.hex()}+{encode_base64(_ED25519 + self.public)}"


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
        return f"{self.origin}\n{self.size}\n{encode_base64(self.root)}\n"


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
    typed = decode_base64(encoded, "verifier key")
    if len(typed) != 33 or typed[:1] != _ED25519:
        raise ProofError(f"the verifier key of {name[:60]!a} is not Ed25519")
    verifier = Verifier(name, typed[1:])
    if verifier.key_hash.hex() != key_hash:
        raise ProofError(f"the verifier key of {name[:60]!a} does not have the hash that it states")
    return verifier


def sign_checkpoint(checkpoint: Checkpoint, verifier: Verifier, signer: Callable[[bytes], bytes]) -> str:
    """Return the signed note; `signer` returns the Ed25519 signature of `verifier`'s key over bytes."""
    signature = encode_base64(verifier.key_hash + signer(checkpoint.text.encode()))
    return f"{checkpoint.text}\n— {verifier.name} {signature}\n"


def parse_checkpoint(note: str) -> Checkpoint:
    """Read the checkpoint of a note without checking any signature; say so wherever this is used.

    Raises:
        ProofError: Not a checkpoint.
    """
    if note.startswith("old "):  # no origin has a space in it
        raise ProofError("it is a consistency proof, and no checkpoint",
                         hint="verify it by itself: safeloop verify PROOF --checkpoint FILE, with the older checkpoint")
    text, _ = split_note(note)
    lines = text.split("\n")
    if len(lines) != 4 or not lines[0]:  # the text ends in a newline, so that the fourth is empty
        raise ProofError("a checkpoint has three lines: origin, size, root; extension lines are not used")
    if not _DECIMAL.match(lines[1]):
        raise ProofError(f"the checkpoint's size is not a decimal number: {lines[1][:30]!a}")
    root = decode_base64(lines[2], "root")
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
    text, signatures = split_note(note)
    # Each signature once: a megabyte of one good line must not take seconds.
    found = {sig for name, sig in signatures if name == verifier.name and sig[:4] == verifier.key_hash}
    if not found:
        raise _unsigned(verifier, [sig[:4].hex() for name, sig in signatures if name == verifier.name])
    if not all(ed25519.verify(verifier.public, sig[4:], text.encode()) for sig in found):
        raise SignatureMismatch(f"the checkpoint's signature does not verify under {verifier.name}")
    return checkpoint


def bears_name_of(note: str, verifier: Verifier) -> bool:
    """Say whether a note has a line that claims to be this key's signature, whether or not it verifies."""
    try:
        _, signatures = split_note(note)
    except VerificationError:
        return False
    return any(name == verifier.name and sig[:4] == verifier.key_hash for name, sig in signatures)


def _unsigned(verifier: Verifier, others: list[str]) -> SignatureMismatch:
    """Say that a key has not signed; another one that goes by its name may have followed it."""
    words = f"no signature by the key {verifier.name}+{verifier.key_hash.hex()}"
    if not others:
        return SignatureMismatch(words)
    return SignatureMismatch(
        f"{words}, but one by another key of that name, {others[0]}",
        hint="if the operator replaced the log key, which they tell you over another channel, their new pins have it: "
             "safeloop trust import FILE --trust DIR; if not, rely on nothing of this",
    )


def has_signature(note: str, verifier: Verifier) -> bool:
    """Say whether a note is a checkpoint of this key's origin with a valid signature by it, and no invalid one."""
    try:
        verify_checkpoint(note, verifier)
    except VerificationError:
        return False
    return True


def render_receipt(receipt: Receipt) -> str:
    """Render a `.tlog-proof`; `extra` is base64(sig || PAE)."""
    extra = encode_base64(receipt.signature + seal.pae(receipt.body))
    return f"{_PROOF_HEADER}\nextra {extra}\nindex {receipt.index}\n{render_hashes(receipt.proof)}\n{receipt.note}"


def parse_receipt(text: str) -> Receipt:
    """Read a `.tlog-proof` of a row.

    Raises:
        ProofError: Not one, or its `extra` is not a row.
    """
    head, separator, note = text.partition("\n\n")
    lines = head.split("\n")
    if lines[0] != _PROOF_HEADER:
        raise ProofError(f"not a receipt: the first line is not {_PROOF_HEADER}")
    if not separator or len(lines) < 3:
        raise ProofError("not a receipt to its end: `extra`, `index` or the empty line before the note is missing")
    if not lines[1].startswith("extra ") or not lines[2].startswith("index "):
        raise ProofError("a receipt states `extra` and then `index`")
    if not _DECIMAL.match(lines[2][6:]):
        raise ProofError("the receipt's index is not a decimal number")
    extra = decode_base64(lines[1][6:], "extra")
    try:
        body = seal.body_of(extra[seal.SIGNATURE_BYTES :])
    except ValueError as error:
        raise ProofError(f"the receipt's extra is not a row: {error}") from None
    return Receipt(int(lines[2][6:]), parse_hashes(lines[3:]), note, body, extra[: seal.SIGNATURE_BYTES])


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


def split_note(note: str) -> tuple[str, list[tuple[str, bytes]]]:
    """Split a note into its text, newline included, and (key name, hash and signature) pairs; nothing is verified.

    Raises:
        ProofError: Not a signed note.
    """
    if len(note) > _MAX_NOTE_BYTES:
        raise ProofError(f"a note of more than {_MAX_NOTE_BYTES} characters")
    text, separator, signatures = note.rpartition("\n\n")
    if not separator or not signatures.endswith("\n"):
        raise ProofError("not a signed note: no empty line before the signatures, or no final newline")
    pairs = []
    for line in signatures[:-1].split("\n"):
        dash, _, rest = line.partition(" ")
        name, _, encoded = rest.partition(" ")
        signature = decode_base64(encoded, "signature") if dash == "—" and _NAME.match(name) else b""
        if len(signature) < 5:
            raise ProofError("a signature line is not of the form '— name base64'")
        pairs.append((name, signature))
    if any(ord(character) < 0x20 and character != "\n" for character in text):
        raise ProofError("a note holds no control characters")
    return text + "\n", pairs


def render_hashes(proof: Iterable[bytes]) -> str:
    """Render the hashes of a proof, one a line."""
    return "".join(f"{encode_base64(step)}\n" for step in proof)


def parse_hashes(lines: Iterable[str]) -> tuple[bytes, ...]:
    """Read the hashes of a proof.

    Raises:
        ProofError: A line is not the base64 of 32 bytes.
    """
    proof = tuple(decode_base64(line, "proof hash") for line in lines)
    if any(len(step) != 32 for step in proof):
        raise ProofError("a proof hash is not 32 bytes")
    return proof


def encode_base64(data: bytes) -> str:
    """Return standard base64 (RFC 4648, section 4), as every line of these formats has it."""
    return base64.b64encode(data).decode("ascii")


def decode_base64(text: str, what: str) -> bytes:
    """Return what canonical standard base64 stands for; `what` is what messages call it.

    Raises:
        ProofError: Anything else.
    """
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise ProofError(f"the {what} is not base64") from None
    if encode_base64(data) != text:
        raise ProofError(f"the {what} is not canonical base64")
    return data
