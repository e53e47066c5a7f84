"""The key folder: one writer key, one log key, the state of each ledger, and which ledgers it has made.

It lies outside the project and outside any folder that a tool can reach: `SAFELOOP_KEYS`, else
`safeloop/keys` in the XDG config folder. This is the only module that reads private keys.

    writer.pem, log.pem             the keys that sign, PKCS#8
    writer.next.pem, log.next.pem   successors, which wait until every ledger has the row that names them

An encrypted file begins with a line `public: ssh-ed25519 …`, so that what only looks needs no passphrase; text before
the first boundary is permitted by RFC 7468, section 2, and passed over by openssl. Whoever signs compares it.
"""

from __future__ import annotations

import base64
import functools
import os
import stat
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
    load_ssh_private_key,
)

from safeloop.errors import KeyUnusable, SafeloopError
from safeloop.ledger import ed25519, sshsig
from safeloop.ledger.durable import clear_temporaries, create_file, make_folder, move_file
from safeloop.ledger.regular import read_regular
from safeloop.ledger.visible import shell_word

WRITER = "writer"
LOG = "log"
SELF_TRUST = "self"

Passphrase = Callable[[], bytes]
FEWEST_PASSPHRASE_BYTES = 12  # of a new one: PKCS#8 as OpenSSL writes it slows a guess down by little
_ENCRYPTED = b"-----BEGIN ENCRYPTED PRIVATE KEY-----"
_PUBLIC_LINE = b"public: "
_MOST_BYTES = 100_000


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
        passphrase: Returns what opens encrypted keys; asked at the first of them, and once.
    """

    def __init__(
        self, path: str | os.PathLike[str] | None = None, passphrase: Passphrase | None = None
    ) -> None:
        self.path = Path(path) if path is not None else default_folder()
        self._passphrase = None if passphrase is None else functools.cache(passphrase)

    @classmethod
    def of(cls, keys: str | os.PathLike[str] | KeyFolder | None) -> KeyFolder:
        """Return the folder that is meant by a path, by itself, or by None."""
        return keys if isinstance(keys, KeyFolder) else cls(keys)

    @property
    def self_trust(self) -> Path:
        """The trust folder that pins this folder's own keys, and is only as good as they are."""
        return self.path / SELF_TRUST

    @property
    def private_files(self) -> tuple[Path, ...]:
        """The private keys' files; they may not exist."""
        return tuple(file(role) for role in (WRITER, LOG) for file in (self._file, self._waiting))

    @property
    def places(self) -> tuple[Path, ...]:
        """The folder, and the private keys' files, which may be links to elsewhere."""
        return (self.path, *self.private_files)

    def create(self, *, encrypted: bool = False) -> None:
        """Make the folder and whichever key is missing; two processes that race end with the same keys.

        Raises:
            KeyUnusable: The folder cannot be made, or there is no passphrase that could encrypt.
        """
        make_folder(self.path)
        self._require_own()
        for role in (WRITER, LOG):
            if not self._file(role).exists():
                create_file(self._file(role), self._new_key(encrypted=encrypted))

    def has_keys(self) -> bool:
        """Say whether both keys are here, without reading them."""
        return self._file(WRITER).exists() and self._file(LOG).exists()

    def writer(self) -> SigningKey:
        """Return the key that signs rows.

        Raises:
            KeyUnusable: Missing, readable by others, encrypted, or not Ed25519; or others can write the folder.
        """
        return self.signer(WRITER)

    def log(self) -> SigningKey:
        """Return the key that signs heads.

        Raises:
            KeyUnusable: As for `writer`.
        """
        return self.signer(LOG)

    def signer(self, role: str) -> SigningKey:
        """Return the key of a role.

        Raises:
            KeyUnusable: As for `writer`.
        """
        return self._signing(self._file(role))

    def successor(self, role: str) -> SigningKey | None:
        """Return the key that waits to follow, if there is one.

        Raises:
            KeyUnusable: As for `writer`.
        """
        if not self._waiting(role).exists():
            return None
        return self._signing(self._waiting(role))

    def find(self, role: str, key_id: str) -> SigningKey | None:
        """Return the role's key with this id, whether it signs already or waits to follow; None if neither is it.

        Raises:
            KeyUnusable: A key is there and cannot be read.
        """
        # The successor first: meanwhile it may be moved to the other's place, and never back.
        for path in (self._waiting(role), self._file(role)):
            try:
                found = self._signing(path)
            except KeyUnusable:
                if path.exists():
                    raise
                continue
            if found.key_id == key_id:
                return found
        return None

    def make_successor(self, role: str) -> SigningKey:
        """Make the key that will follow, durably and encrypted if the present one is; one that waits already stays.

        Raises:
            KeyUnusable: As for `writer`; nothing was made.
        """
        self.signer(role)  # first: what does not open the present key must not seal the next one
        encrypted = _ENCRYPTED in _read_private(self._file(role))
        create_file(self._waiting(role), self._new_key(encrypted=encrypted))
        return self._signing(self._waiting(role))

    def promote(self, role: str) -> None:
        """Put the waiting successor in the place of the key, whose private half is then gone.

        Raises:
            KeyUnusable: There is none, or the folder cannot be written.
        """
        move_file(self._waiting(role), self._file(role))

    def clear_unfinished(self) -> None:
        """Remove private keys that a crash left under a temporary name: unused ones, and second names of used ones.

        Only while nobody else makes keys here.

        Raises:
            KeyUnusable: One cannot be removed.
        """
        for path in self.private_files:
            clear_temporaries(path)

    def public(self, role: str) -> bytes:
        """Return the public half of a role's key, 32 bytes; what this folder encrypted itself needs no passphrase.

        Raises:
            KeyUnusable: As for `writer`.
        """
        return _public_half(self._file(role), self._passphrase)

    def waiting_public(self, role: str) -> bytes | None:
        """Return the public half of the key that waits to follow, if there is one."""
        path = self._waiting(role)
        return _public_half(path, self._passphrase) if path.exists() else None

    def is_encrypted(self, role: str) -> bool:
        """Say whether a role's key needs a passphrase."""
        return _ENCRYPTED in _read_private(self._file(role))

    def _signing(self, path: Path) -> SigningKey:
        self._require_own()
        return SigningKey.of(read_pem(path, self._passphrase))

    def _require_own(self) -> None:
        """Refuse to sign where others could put another key, another state, or other pins in the place of these."""
        try:
            mode = stat.S_IMODE(self.path.stat().st_mode)
        except OSError:
            return  # the key in it is missing or unreadable then, and is said to be
        if mode & 0o022:
            raise KeyUnusable(
                f"key folder {self.path} can be written by others (mode {mode:04o})", hint=f"chmod 700 {self.path}"
            )

    def _file(self, role: str) -> Path:
        return self.path / f"{role}.pem"

    def _waiting(self, role: str) -> Path:
        return self.path / f"{role}.next.pem"

    def _new_key(self, *, encrypted: bool) -> bytes:
        private = Ed25519PrivateKey.generate()
        if not encrypted:
            return private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        if self._passphrase is None:
            raise KeyUnusable("there is no passphrase to encrypt with", hint=_SET_ONE)
        passphrase = self._passphrase()
        if len(passphrase) < FEWEST_PASSPHRASE_BYTES:
            raise KeyUnusable(
                f"a passphrase of {len(passphrase)} bytes is soon guessed; {FEWEST_PASSPHRASE_BYTES} are the fewest",
                hint="openssl rand -base64 24 makes one",
            )
        pem = private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(passphrase))
        line = private.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH)
        return _PUBLIC_LINE + line + b"\n" + pem


_LOST = "safeloop init makes a ledger's keys, and a lost one comes back from a backup only"
_SET_ONE = "set SAFELOOP_KEY_PASSPHRASE_FILE or SAFELOOP_KEY_PASSPHRASE_COMMAND: safeloop help keys"


def read_pem(path: Path, passphrase: Passphrase | None = None) -> Ed25519PrivateKey:
    """Read a PKCS#8 Ed25519 key.

    Args:
        passphrase: Asked for only if the key is encrypted.

    Raises:
        KeyUnusable: Missing, readable by others, encrypted with another passphrase or without one being known, not
            Ed25519, or not the key that its first line says; the hint mends it.
    """
    data = _read_private(path)
    is_encrypted = _ENCRYPTED in data
    if is_encrypted and passphrase is None:
        raise KeyUnusable(f"key {path} is encrypted, and no passphrase is set", hint=_SET_ONE)
    secret = passphrase() if is_encrypted and passphrase is not None else None
    try:
        private = load_pem_private_key(data, secret)
    except (TypeError, ValueError, UnsupportedAlgorithm):
        if is_encrypted:
            raise KeyUnusable(
                f"the passphrase does not open key {path}, or the key is damaged",
                hint="safeloop config shows which passphrase file or command is used",
            ) from None
        raise KeyUnusable(
            f"{path} is not a private key in PEM form", hint="restore it from a backup of the key folder"
        ) from None
    if not isinstance(private, Ed25519PrivateKey):
        raise KeyUnusable(f"key {path} is not Ed25519", hint="restore it from a backup of the key folder")
    stated = _stated_public(data, path)
    if stated is not None and stated != private.public_key().public_bytes_raw():
        raise KeyUnusable(
            f"key {path} is another one than its first line says", hint="restore it from a backup of the key folder"
        )
    return private


def _public_half(path: Path, passphrase: Passphrase | None) -> bytes:
    data = _read_private(path)
    stated = _stated_public(data, path) if _ENCRYPTED in data else None
    return read_pem(path, passphrase).public_key().public_bytes_raw() if stated is None else stated


def _stated_public(data: bytes, path: Path) -> bytes | None:
    """Return the key that the first line of a file states, if it states one."""
    line = data.partition(b"\n")[0]
    if not line.startswith(_PUBLIC_LINE):
        return None
    try:
        return sshsig.parse_public_key(line.removeprefix(_PUBLIC_LINE).decode("ascii")).raw
    except (SafeloopError, UnicodeDecodeError):
        raise KeyUnusable(
            f"the first line of key {path} is no public key", hint="restore it from a backup of the key folder"
        ) from None


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
    data = _read_private(path, _lost_reviewer(path))
    try:
        private = load_ssh_private_key(data, None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        # Encrypted, of another type, a hardware key's handle, or a public key whose private half an agent holds.
        return None
    # A hardware key loads as plain Ed25519; only the type string tells them apart.
    return private if isinstance(private, Ed25519PrivateKey) and b"sk-ssh-" not in _decoded(data) else None


def read_reviewer_public(path: Path) -> sshsig.PublicKey:
    """Return the public half of a reviewer's own key, without its passphrase.

    Raises:
        KeyUnusable: As `read_reviewer_key` does; or a key of a type that is not accepted.
        EncodingError: Not an OpenSSH private key.
    """
    return sshsig.parse_private_file(_read_private(path, _lost_reviewer(path)))


def _lost_reviewer(path: Path) -> str:
    """Say what helps a reviewer whose private file is not there: an agent may have it."""
    public = path.with_name(f"{path.name}.pub")
    if public.is_file():
        return f"--key {shell_word(str(public))}, if an agent holds the private half: ssh-add -l"
    return "ssh-keygen -t ed25519 makes a reviewer's key; ssh-add -L lists the keys of an agent"


def _decoded(data: bytes) -> bytes:
    """Return the inner bytes of an OpenSSH private key file, where the type string stands in clear."""
    lines = [line for line in data.splitlines() if not line.startswith(b"-----")]
    return base64.b64decode(b"".join(lines))


def _read_private(path: Path, if_lost: str = _LOST) -> bytes:
    try:
        data, mode = read_regular(path, _MOST_BYTES)
    except FileNotFoundError:
        raise KeyUnusable(f"there is no key at {path}", hint=if_lost) from None
    except OSError as error:
        raise KeyUnusable(f"key {path} cannot be read: {error.strerror}", hint=f"ls -l {path}") from None
    if stat.S_IMODE(mode) & 0o077:
        raise KeyUnusable(
            f"key {path} can be read by others (mode {stat.S_IMODE(mode):04o})", hint=f"chmod 600 {path}"
        )
    return data
