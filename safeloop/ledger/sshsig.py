"""SSH signatures and who may make them: what `ssh-keygen -Y sign` writes and `ssh-keygen -Y verify` reads.

    -----BEGIN SSH SIGNATURE-----
    U1NIU0lHAAAAAQAAADMAAAALc3NoLWVkMjU1MTkAAAAg...
    -----END SSH SIGNATURE-----

Formats: OpenSSH's PROTOCOL.sshsig, and PROTOCOL.u2f for hardware keys. Two key types are taken,
`ssh-ed25519` and `sk-ssh-ed25519@openssh.com`. The type string decides how a signature is read, never a
library's loader: both types hold the same 32 bytes, and a loader that drops the difference would check a
hardware key's signature as if it were a plain one.

Stricter than OpenSSH: one version, no text around the armor, canonical base64, no key of small order, and a
hardware key must have been touched. As in OpenSSH, the reserved field is ignored: an empty one is signed.

An allowed_signers file (ssh-keygen(1), ALLOWED SIGNERS) says whose keys count, for what and when. Here too
less is accepted than there: no patterns, no `cert-authority`, no line that is not understood.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from safeloop.errors import EncodingError, KeyUnusable, SignatureMismatch
from safeloop.ledger import ed25519
from safeloop.ledger.visible import escaped

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

PLAIN = "ssh-ed25519"
HARDWARE = "sk-ssh-ed25519@openssh.com"
KEY_TYPES = (PLAIN, HARDWARE)
MAX_ARMOR_CHARACTERS = 8192

_MAGIC = b"SSHSIG"
_VERSION = 1
_HASHES = ("sha256", "sha512")
_BEGIN = "-----BEGIN SSH SIGNATURE-----\n"
_END = "-----END SSH SIGNATURE-----"
_COLUMNS = 70  # what ssh-keygen writes; PROTOCOL.sshsig allows lines of up to 76
_ARMOR = re.compile(f"{_BEGIN}((?:[A-Za-z0-9+/=]{{1,76}}\n)+){_END}\n?")
_PRIVATE = re.compile(
    rb"-----BEGIN OPENSSH PRIVATE KEY-----\r?\n((?:[A-Za-z0-9+/=]+\r?\n)+)-----END OPENSSH PRIVATE KEY-----\s*"
)
_PRIVATE_MAGIC = b"openssh-key-v1\0"
_SIGNATURE_BYTES = 64
_ONLY = f"only {PLAIN} and {HARDWARE} are accepted"
_MAKE_A_KEY = "ssh-keygen -t ed25519, or -t ed25519-sk for a hardware key"
_USER_PRESENT = 0x01  # PROTOCOL.u2f: the flag that says somebody touched the key


@dataclass(frozen=True, slots=True)
class PublicKey:
    """An SSH public key that may be pinned; people are counted by `raw` alone.

    Args:
        type: `ssh-ed25519` or `sk-ssh-ed25519@openssh.com`.
        raw: The Ed25519 public key, 32 bytes.
        application: A hardware key's FIDO application (usually `ssh:`), else None.

    Raises:
        KeyUnusable: Another type, or a key that `ed25519.check_public_key` refuses.
    """

    type: str
    raw: bytes
    application: str | None = None

    def __post_init__(self) -> None:
        if self.type not in KEY_TYPES:
            raise KeyUnusable(f"key type {self.type[:80]!a}: {_ONLY}", hint=_MAKE_A_KEY)
        if (self.application is not None) != (self.type == HARDWARE):
            raise KeyUnusable("an application belongs to a hardware key, and to every hardware key")
        if self.application is not None and not _is_plain_text(self.application):
            raise KeyUnusable(f"a hardware key's application is plain text, not {self.application[:80]!a}")
        ed25519.check_public_key(self.raw)

    @property
    def blob(self) -> bytes:
        """The key in SSH wire format, as it stands in a signature and, in base64, in a `.pub` file."""
        wire = _string(self.type.encode()) + _string(self.raw)
        return wire if self.application is None else wire + _string(self.application.encode())

    @property
    def openssh(self) -> str:
        """The line of a `.pub` file, without comment."""
        return f"{self.type} {base64.b64encode(self.blob).decode()}"

    @property
    def fingerprint(self) -> str:
        """`SHA256:...`, as `ssh-keygen -l` prints it."""
        digest = base64.b64encode(hashlib.sha256(self.blob).digest()).decode()
        return "SHA256:" + digest.rstrip("=")


def parse_public_key(line: str) -> PublicKey:
    """Read the line of a `.pub` file: type, base64, and a comment, which is ignored.

    Raises:
        EncodingError: Not such a line, or its two statements of the type differ.
        KeyUnusable: A key that is not accepted.
    """
    fields = re.split("[ \t]+", line.strip(" \t\n"), maxsplit=2)
    if len(fields) < 2 or "\n" in line.strip(" \t\n"):
        raise EncodingError("not an OpenSSH public key: one line, a type and base64")
    if fields[0] not in KEY_TYPES:  # before decoding: the answer names the type, not a detail of its encoding
        return PublicKey(fields[0], b"")
    key = _read_public_key(_base64(fields[1]))
    if key.type != fields[0]:
        raise EncodingError(f"a key announced as {fields[0]} is a {key.type}")
    return key


def parse_private_file(data: bytes) -> PublicKey:
    """Read the public key of an OpenSSH private key file (PROTOCOL.key): it stands in clear, in an encrypted one too.

    Raises:
        EncodingError: Not such a file.
        KeyUnusable: A key that is not accepted.
    """
    match = _PRIVATE.fullmatch(data)
    if match is None:
        raise EncodingError("not an OpenSSH private key")
    wire = _Wire(_base64("".join(match[1].decode().split())))
    if wire.take(len(_PRIVATE_MAGIC)) != _PRIVATE_MAGIC:
        raise EncodingError("not an OpenSSH private key: the file does not begin with openssh-key-v1")
    for _ in ("cipher", "key derivation", "its options"):
        wire.string()
    if wire.uint32() != 1:
        raise EncodingError("an OpenSSH private key file holds one key")
    blob = wire.string()
    key_type = _Wire(blob).text("key type")
    # Of another type neither form nor length is known: made only to be refused, by type, where all keys are.
    return _read_public_key(blob) if key_type in KEY_TYPES else PublicKey(key_type, b"")


def parse_armor(armored: str) -> bytes:
    """Take the armor off: header, base64 lines, footer, LF line ends, and nothing around them.

    The newline after the footer may be missing, and lines may be of any width up to 76;
    `render_armor(parse_armor(text))` is the one form that ssh-keygen writes.

    Raises:
        EncodingError: Anything else, or more than 8,192 characters.
    """
    if len(armored) > MAX_ARMOR_CHARACTERS:
        raise EncodingError(f"an SSH signature of {len(armored)} characters, at most {MAX_ARMOR_CHARACTERS}")
    match = _ARMOR.fullmatch(armored)
    if match is None:
        raise EncodingError("not an armored SSH signature (LF line ends, nothing before or after)")
    return _base64(match[1].replace("\n", ""))


def render_armor(blob: bytes) -> str:
    """Put a signature blob into armor, byte for byte as ssh-keygen writes it."""
    text = base64.b64encode(blob).decode()
    lines = "".join(text[at:at + _COLUMNS] + "\n" for at in range(0, len(text), _COLUMNS))
    return f"{_BEGIN}{lines}{_END}\n"


def signed_data(namespace: str, message: bytes, hash_algorithm: str = "sha512") -> bytes:
    """Return the bytes that are signed for a message (PROTOCOL.sshsig section 3), its reserved field empty.

    Raises:
        EncodingError: An empty namespace, or a hash other than sha256 and sha512.
    """
    if hash_algorithm not in _HASHES:
        raise EncodingError(f"hash {hash_algorithm[:80]!a} is not accepted, only sha256 and sha512")
    digest = hashlib.new(hash_algorithm, message).digest()
    return _MAGIC + _namespace(namespace) + _string(b"") + _string(hash_algorithm.encode()) + _string(digest)


def sign(private: Ed25519PrivateKey, namespace: str, message: bytes) -> str:
    """Sign with a plain Ed25519 key, SHA-512; the result is byte-identical to `ssh-keygen -Y sign`."""
    key = PublicKey(PLAIN, private.public_key().public_bytes_raw())
    signature = private.sign(signed_data(namespace, message))
    return render_armor(_MAGIC + _VERSION.to_bytes(4) + _string(key.blob) + _namespace(namespace) + _string(b"")
                        + _string(b"sha512") + _string(_string(PLAIN.encode()) + _string(signature)))


def verify(armored: str, namespace: str, message: bytes) -> PublicKey:
    """Return the key that signed this message for this namespace; whether it is trusted is another question.

    Raises:
        EncodingError: Not an SSHSIG of version 1 by one of the two key types, to the last byte.
        SignatureMismatch: Another namespace, a key of small order, an untouched hardware key, or a
            signature that does not verify.
    """
    wire = _Wire(parse_armor(armored))
    if wire.take(len(_MAGIC)) != _MAGIC:
        raise EncodingError("not an SSH signature: the blob does not begin with SSHSIG")
    version = wire.uint32()
    if version != _VERSION:
        raise EncodingError(f"SSH signature version {version}, only {_VERSION} is known")
    key_blob, signed_for = wire.string(), wire.string()
    wire.string()  # reserved: ignored, and not part of what was signed (as in OpenSSH)
    hash_algorithm, signature = wire.text("hash algorithm"), wire.string()
    wire.end("SSH signature")
    if _string(signed_for) != _namespace(namespace):
        raise SignatureMismatch(f"signed for namespace {signed_for[:80]!r}, not for {namespace!a}")
    key = _embedded_key(key_blob)
    if not _verifies(key, signature, signed_data(namespace, message, hash_algorithm)):
        raise SignatureMismatch(f"SSH signature does not verify under {key.fingerprint}")
    return key


def _embedded_key(blob: bytes) -> PublicKey:
    key_type = _Wire(blob).text("key type")
    if key_type not in KEY_TYPES:
        raise EncodingError(f"SSH signature by a key of type {key_type[:80]!a}: {_ONLY}", hint=_MAKE_A_KEY)
    try:
        return _read_public_key(blob)
    except KeyUnusable as refused:
        raise SignatureMismatch(f"SSH signature by a key that is not admitted: {refused}") from refused


def _verifies(key: PublicKey, signature: bytes, data: bytes) -> bool:
    wire = _Wire(signature)
    if wire.text("signature type") != key.type:
        raise EncodingError(f"a key of type {key.type} made a signature of another type")
    inner = wire.string()
    if len(inner) != _SIGNATURE_BYTES:
        raise EncodingError(f"an Ed25519 signature has {_SIGNATURE_BYTES} bytes, this one {len(inner)}")
    if key.application is not None:
        # PROTOCOL.u2f, "SSH U2F Signatures": the authenticator signs its own frame around the data's hash.
        flags_and_counter = wire.take(5)
        if not flags_and_counter[0] & _USER_PRESENT:
            raise SignatureMismatch(f"hardware key {key.fingerprint} signed without being touched")
        application = hashlib.sha256(key.application.encode()).digest()
        data = application + flags_and_counter + hashlib.sha256(data).digest()
    wire.end("signature")
    return ed25519.verify(key.raw, inner, data)


def _read_public_key(blob: bytes) -> PublicKey:
    wire = _Wire(blob)
    key_type, raw = wire.text("key type"), wire.string()
    application = wire.text("application") if key_type == HARDWARE else None
    wire.end("public key")
    return PublicKey(key_type, raw, application)


class _Wire:
    """Reads SSH wire format (RFC 4251 section 5) from front to end; what does not fit is an EncodingError."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def take(self, size: int) -> bytes:
        piece = self._data[self._at:self._at + size]
        if len(piece) != size:
            raise EncodingError(f"SSH data is cut short: {size} bytes wanted, {len(piece)} left")
        self._at += size
        return piece

    def uint32(self) -> int:
        return int.from_bytes(self.take(4))

    def string(self) -> bytes:
        return self.take(self.uint32())

    def text(self, what: str) -> str:
        data = self.string()
        try:
            return data.decode()
        except UnicodeDecodeError:
            raise EncodingError(f"{what} in SSH data is not text: {data[:80]!r}") from None

    def end(self, what: str) -> None:
        if self._at != len(self._data):
            raise EncodingError(f"{len(self._data) - self._at} bytes after the end of the {what}")


def _string(data: bytes) -> bytes:
    return len(data).to_bytes(4) + data


def _is_plain_text(text: str) -> bool:
    return text != "" and escaped(text) == text


def _namespace(namespace: str) -> bytes:
    if not _is_plain_text(namespace):
        raise EncodingError(f"a namespace is plain text and never empty, not {namespace[:80]!a}")
    return _string(namespace.encode())


def _base64(text: str) -> bytes:
    """Decode canonical base64: correct padding, no stray bits, one text for the same bytes."""
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise EncodingError("not base64") from None
    if base64.b64encode(data).decode() != text:
        raise EncodingError("not canonical base64")
    return data
