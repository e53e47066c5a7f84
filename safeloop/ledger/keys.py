"""The key folder: one writer key, one log key, the state of each ledger, and which ledgers it has made.

It lies outside the project and outside any folder that a tool can reach: `SAFELOOP_KEYS`, else
`safeloop/keys` in the XDG config folder. This is the only module that reads private keys.
"""

from __future__ import annotations

import base64
import os
import stat
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
    load_ssh_private_key,
)

from safeloop.errors import KeyUnusable
from safeloop.ledger import ed25519
from safeloop.ledger.durable import create_file, make_folder

WRITER = "writer"
LOG = "log"
SELF_TRUST = "self"


@dataclass(frozen=True, slots=True)
class SigningKey:
    """A private key that signs and otherwise stays where it is.

    Attributes:
        public: 32 raw bytes.
        key_id: SHA-256 of `public`, hex: a row's `writer`.
        sign: Returns the Ed25519 signature over bytes, 64 bytes.
    """

    public: bytes
    key_id: str
    sign: Callable[[bytes], bytes]

    @classmethod
    def of(cls, private: Ed25519PrivateKey) -> SigningKey:
        """Wrap a private key."""
        public = private.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
        return cls(public, ed25519.key_id(public), private.sign)

    @classmethod
    def ephemeral(cls) -> SigningKey:
        """Make a key that is gone with the process."""
        return cls.of(Ed25519PrivateKey.generate())


def default_folder() -> Path:
    """Return the key folder of this environment; it may not exist."""
    named = os.environ.get("SAFELOOP_KEYS")
    if named:
        return Path(named)
    config = os.environ.get("XDG_CONFIG_HOME")
    # The XDG text: a relative path in the variable is invalid and ignored.
    base = Path(config) if config and Path(config).is_absolute() else Path.home() / ".config"
    return base / "safeloop" / "keys"


class KeyFolder:
    """The folder's keys. Nothing is read or made until it is asked for.

    Args:
        path: The folder; None is `default_folder()`.
    """

    def __init__(self, path: str | os.PathLike[str] | None = None) -> None:
        self.path = Path(path) if path is not None else default_folder()

    @property
    def self_trust(self) -> Path:
        """The trust folder that pins this folder's own keys, and is only as good as they are."""
        return self.path / SELF_TRUST

    @property
    def private_files(self) -> tuple[Path, ...]:
        """The private keys' files; they may not exist."""
        return (self._file(WRITER), self._file(LOG))

    def create(self) -> None:
        """Make the folder and whichever key is missing; two processes that race end with the same keys."""
        make_folder(self.path)
        for role in (WRITER, LOG):
            if not self._file(role).exists():
                pem = Ed25519PrivateKey.generate().private_bytes(
                    Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()
                )
                create_file(self._file(role), pem)

    def has_keys(self) -> bool:
        """Say whether both keys are here, without reading them."""
        return self._file(WRITER).exists() and self._file(LOG).exists()

    def writer(self) -> SigningKey:
        """Return the key that signs rows.

        Raises:
            KeyUnusable: Missing, readable by others, encrypted, or not Ed25519.
        """
        return SigningKey.of(read_pem(self._file(WRITER)))

    def log(self) -> SigningKey:
        """Return the key that signs heads.

        Raises:
            KeyUnusable: As for `writer`.
        """
        return SigningKey.of(read_pem(self._file(LOG)))

    def _file(self, role: str) -> Path:
        return self.path / f"{role}.pem"


def read_pem(path: Path) -> Ed25519PrivateKey:
    """Read a PKCS#8 Ed25519 key.

    Raises:
        KeyUnusable: Missing, readable by others, encrypted, or not Ed25519; the hint mends it.
    """
    data = _read_private(path)
    try:
        private = load_pem_private_key(data, None)
    except TypeError:
        raise KeyUnusable(
            f"key {path} is encrypted, and this version reads plain keys only",
            hint=f"openssl pkey -in {path} -out {path}.plain && chmod 600 {path}.plain && mv {path}.plain {path}",
        ) from None
    except (ValueError, UnsupportedAlgorithm):
        raise KeyUnusable(
            f"{path} is not a private key in PEM form", hint="restore it from a backup of the key folder"
        ) from None
    if not isinstance(private, Ed25519PrivateKey):
        raise KeyUnusable(f"key {path} is not Ed25519", hint="restore it from a backup of the key folder")
    return private


def make_reviewer_key(path: Path, comment: str) -> None:
    """Make an SSH key for somebody who has none: a private file of 0600, and its `.pub` beside it.

    Raises:
        KeyUnusable: There is something at one of the paths, or they cannot be written.
    """
    private = Ed25519PrivateKey.generate()
    pem = private.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption())
    line = private.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH)
    for target, data in ((path, pem), (path.with_name(f"{path.name}.pub"), line + b" " + comment.encode() + b"\n")):
        if not create_file(target, data):
            raise KeyUnusable(f"there is a file at {target} already", hint="choose another path")


def read_reviewer_key(path: Path) -> Ed25519PrivateKey | None:
    """Read a reviewer's own key if it is a plain Ed25519 file; None means that `ssh-keygen` must sign with it.

    Raises:
        KeyUnusable: Missing, a folder, or readable by others.
    """
    data = _read_private(path)
    try:
        private = load_ssh_private_key(data, None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        # Encrypted, of another type, a hardware key's handle, or a public key whose private half an agent holds.
        return None
    # A hardware key loads as plain Ed25519; only the type string tells them apart.
    return private if isinstance(private, Ed25519PrivateKey) and b"sk-ssh-" not in _decoded(data) else None


def _decoded(data: bytes) -> bytes:
    """Return the inner bytes of an OpenSSH private key file, where the type string stands in clear."""
    lines = [line for line in data.splitlines() if not line.startswith(b"-----")]
    return base64.b64decode(b"".join(lines))


def _read_private(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            data = file.read(100_000)
    except FileNotFoundError:
        raise KeyUnusable(
            f"there is no key at {path}",
            hint="safeloop init makes a ledger's keys, and a lost one comes back from a backup only; "
            "ssh-keygen -t ed25519 makes a reviewer's",
        ) from None
    except OSError as error:
        raise KeyUnusable(f"key {path} cannot be read: {error.strerror}", hint=f"ls -l {path}") from None
    if stat.S_IMODE(mode) & 0o077:
        raise KeyUnusable(
            f"key {path} can be read by others (mode {stat.S_IMODE(mode):04o})", hint=f"chmod 600 {path}"
        )
    return data
