"""The trust folder: the public keys that an auditor pins, outside any ledger, in formats of others.

    policy        C2SP tlog-policy: `log VKEY`, witnesses, groups, and the quorum
    writers       OpenSSH allowed_signers: who may write rows; plain keys without options
    reviewers     OpenSSH allowed_signers: who may attest and approve; `ssh-keygen -Y verify -f` reads it
    revoked       lines `key-id origin size`: a bound in rows, because time is the writer's claim
    release.toml  handed over unread; the release rule reads it

Only `policy` must be there; without the others nobody is trusted, and nothing is revoked. A line that is not
understood is an error, never skipped: it may have been meant to restrict a key.
"""

from __future__ import annotations

import fcntl
import os
from contextlib import contextmanager
from dataclasses import dataclass, replace
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING

from safeloop.errors import KeyUnusable, SignatureMismatch
from safeloop.ledger import ed25519, sshsig
from safeloop.ledger.allowed_signers import (
    AllowedSigner,
    check_name,
    numbered_lines,
    parse_allowed_signer,
    parse_allowed_signers,
    parse_moment,
)
from safeloop.ledger.durable import make_folder, replace_file
from safeloop.ledger.note import Verifier, bears_name_of, has_signature, parse_checkpoint
from safeloop.ledger.policy import Policy, Revocation, parse_policy, parse_revoked
from safeloop.ledger.regular import read_regular
from safeloop.ledger.sshsig import PublicKey
from safeloop.ledger.visible import shell_word

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from datetime import datetime

REVIEW_NAMESPACE = "safeloop-review"
APPROVAL_NAMESPACE = "safeloop-approval"
_NEVER_COUNTS = "the operator's own key never counts as a reviewer's"
NO_PINS = "safeloop trust import FILE --trust DIR makes one of pins that somebody exported; safeloop init makes `self`"
"""What helps where there is no trust folder."""
_MAX_FILE_BYTES = 1_000_000


class Standing(Enum):
    """What a key is worth under a statement that was signed in somebody's name."""

    COUNTS = "counts"
    OPERATOR = "the operator's own key"
    UNPINNED = "not pinned for that"
    REVOKED = "revoked"


@dataclass(frozen=True, slots=True)
class Trust:
    """A trust folder as it was read.

    Attributes:
        writers: By key id.
        release_policy_text: The text of `release.toml`, unread; None where there is no such file.
        path: The folder, for messages.
        is_self: True for a folder named `self`: a ledger's creation pins its own keys there, so that an audit
            against it trusts the machine that wrote the ledger, and says so.
    """

    policy: Policy
    writers: Mapping[str, AllowedSigner]
    reviewers: tuple[AllowedSigner, ...]
    revoked: tuple[Revocation, ...]
    release_policy_text: str | None
    path: Path
    is_self: bool

    @property
    def operator_keys(self) -> frozenset[bytes]:
        """The raw writer and log keys: a review or an approval signed with one of them never counts."""
        writers = {signer.key.raw for signer in self.writers.values()}
        return frozenset(writers | self.policy.log_keys)

    def log_for(self, origin: str, note: str = "") -> Verifier:
        """Return the pinned key of this log: the newest, or the one that signed a note.

        Args:
            note: Where none of several keys signed it, the one that it claims, or else the newest, is returned, and
                its verification will fail.

        Raises:
            KeyUnusable: The policy pins no log of this origin.
            SignatureMismatch: The note is signed by a key that was revoked for checkpoints of its size.
        """
        keys = self.policy.logs.get(origin, ())
        if not keys:
            hint = f"safeloop trust import FILE --trust {self.path}, or its line in {self.path / 'policy'}: log VKEY"
            raise KeyUnusable(f"trust folder {self.path} pins no log of this origin: {origin[:200]!a}", hint=hint)
        claimed = (key for key in keys if bears_name_of(note, key))
        return signing_log(note, keys, self.revoked) or next(claimed, keys[-1])

    def writer(self, key_id: str) -> PublicKey | None:
        """Return the pinned writer key with this id, or None."""
        return self.writers[key_id].key if key_id in self.writers else None

    def revoked_from(self, key_id: str, origin: str) -> int | None:
        """Return the first row index from which this key cannot be relied on in this ledger, or None."""
        sizes = [line.size for line in self.revoked if (line.key_id, line.origin) == (key_id, origin)]
        return min(sizes, default=None)

    def reviewer_keys(self, principal: str, namespace: str, at: datetime) -> tuple[PublicKey, ...]:
        """Return the keys that may sign as this person at that (aware) moment; the operator's own never may."""
        own = self.operator_keys
        keys = (line.key for line in self.reviewers if line.admits(principal, namespace, at))
        return tuple(dict.fromkeys(key for key in keys if key.raw not in own))

    def standing(
        self, key: PublicKey, principal: str, namespace: str, at: datetime, origin: str, idx: int
    ) -> Standing:
        """Say whether a key may sign in a person's name; of several reasons why not, the first of the enum's.

        Args:
            key: What signed, or is to.
            principal: The person.
            namespace: What it is signed for.
            at: The moment at which the key must be pinned, aware.
            origin: The ledger; revocations are for one.
            idx: Position of the signed row, from 0: a revocation holds from a number of rows on.
        """
        if key.raw in self.operator_keys:
            return Standing.OPERATOR
        if key not in self.reviewer_keys(principal, namespace, at):
            return Standing.UNPINNED
        size = self.revoked_from(ed25519.key_id(key.raw), origin)
        return Standing.COUNTS if size is None or idx < size else Standing.REVOKED


def signing_log(note: str, keys: Iterable[Verifier], revoked: Iterable[Revocation]) -> Verifier | None:
    """Return the first of these keys of one log that signed a checkpoint and may sign one of its size, or None.

    Raises:
        SignatureMismatch: It is signed only by keys that were revoked for checkpoints of its size.
    """
    refused = ""
    for key in keys:
        if not has_signature(note, key):
            continue
        key_id, size = ed25519.key_id(key.public), parse_checkpoint(note).size
        bounds = [line.size for line in revoked if (line.key_id, line.origin) == (key_id, key.name)]
        if not bounds or size <= min(bounds):
            return key
        refused = f"a checkpoint of {size} rows, signed by log key {key_id[:8]}, revoked for more than {min(bounds)}"
    if refused:
        raise SignatureMismatch(refused)
    return None


def pinned_logs(path: Path | str, origin: str) -> tuple[tuple[Verifier, ...], tuple[Revocation, ...]]:
    """Return the keys that a trust folder pins for a log, and its revocations; none where there is no such folder.

    Raises:
        KeyUnusable: A line that is not understood.
    """
    folder = Path(path)
    return _logs(folder).get(origin, ()), parse_revoked(read_pin_file(folder / "revoked"), str(folder / "revoked"))


def load_trust(path: Path | str) -> Trust:
    """Read a trust folder; nothing is created.

    Raises:
        KeyUnusable: No such folder, no policy, or a file, named with its line, that is not understood.
    """
    folder = Path(path)
    if not folder.is_dir():
        raise KeyUnusable(f"{folder} is not a trust folder", hint=NO_PINS)
    if not os.path.lexists(folder / "policy"):
        raise KeyUnusable(f"trust folder {folder} has no file policy",
                          hint=f"{NO_PINS}; its lines: log VKEY, quorum none")
    release_policy = folder / "release.toml"
    return Trust(
        policy=parse_policy(read_pin_file(folder / "policy"), str(folder / "policy")),
        writers=_writers(folder),
        reviewers=parse_allowed_signers(read_pin_file(folder / "reviewers"), str(folder / "reviewers")),
        revoked=parse_revoked(read_pin_file(folder / "revoked"), str(folder / "revoked")),
        release_policy_text=read_pin_file(release_policy) if os.path.lexists(release_policy) else None,
        path=folder,
        is_self=folder.resolve().name == "self",
    )


def pin_log(path: Path | str, verifier: Verifier, *, addition: bool = False) -> None:
    """Pin a log key, unless it is pinned already; makes the folder where it is missing.

    Args:
        path: The trust folder.
        verifier: The key, named by its origin.
        addition: Where the origin has another key, this one comes beside it (a rotation).

    Raises:
        KeyUnusable: The origin has another key, the key is a reviewer's, or the folder is unusable.
    """
    with _locked(path) as folder:
        _refuse_reviewer(folder, verifier.public)
        line, file = f"log {verifier.vkey}", folder / "policy"
        parse_policy(f"{line}\nquorum none\n")  # never leave behind what cannot be read again
        pinned = _logs(folder).get(verifier.name, ())
        if pinned and verifier not in pinned and not addition:
            raise KeyUnusable(f"{file} has another key of {verifier.name}", hint="edit that line by hand")
        if verifier not in pinned:
            _append(file, read_pin_file(file) or "quorum none\n", line)


def pin_writer(path: Path | str, name: str, raw: bytes, *, addition: bool = False) -> None:
    """Pin a writer key, unless it is pinned already; makes the folder where it is missing.

    Args:
        path: The trust folder.
        name: A label there; rows name writers by key id.
        raw: The Ed25519 public key, 32 bytes.
        addition: Where the name has another key, this one comes beside it (a rotation).

    Raises:
        KeyUnusable: The name has another key, the key is a reviewer's, or something here is unusable.
    """
    signer = AllowedSigner((check_name(name, "writers"),), PublicKey(sshsig.PLAIN, raw))
    with _locked(path) as folder:
        _refuse_reviewer(folder, raw)
        _add_signer(folder / "writers", signer, f"{name} {signer.key.openssh}", addition=addition)


def revoke(path: Path | str, revocation: Revocation) -> None:
    """Add a line to `revoked`, unless it is there already.

    Raises:
        KeyUnusable: The file holds what is not understood, or the folder is unusable.
    """
    with _locked(path) as folder:
        file = folder / "revoked"
        if revocation not in parse_revoked(read_pin_file(file), str(file)):
            _append(file, read_pin_file(file), revocation.line)


def add_reviewer(
    path: Path | str, principal: str, public_key: str, *, addition: bool = False, valid_after: str | None = None,
    valid_before: str | None = None,
) -> PublicKey:
    """Pin a reviewer's key, unless it is pinned already, and return it; makes the folder where it is missing.

    Args:
        path: The trust folder.
        principal: The name that goes into statements, such as `alice@example.org`.
        public_key: The text of a `.pub` file; its comment is ignored.
        addition: Where the person has another key, this one comes beside it.
        valid_after: The first moment at which the key counts, in UTC: `20261121Z`, `202611210730Z`, with seconds too;
            None is always.
        valid_before: The last, in the same form.

    Raises:
        EncodingError: Not one OpenSSH public key.
        KeyUnusable: The person has another key, or this one with other options; a key, a name or a moment that is
            not admitted; a writer's or log's key; an unusable folder.
    """
    key = sshsig.parse_public_key(public_key)
    limits = {"valid-after": valid_after, "valid-before": valid_before}
    options = [f'namespaces="{REVIEW_NAMESPACE},{APPROVAL_NAMESPACE}"']
    options += [f'{name}="{_in_utc(moment, name)}"' for name, moment in limits.items() if moment is not None]
    line = f"{check_name(principal, 'reviewers')} {','.join(options)} {key.openssh}"
    signer = parse_allowed_signer(line, "reviewers")
    with _locked(path) as folder:
        logs = {log.public for logs in _logs(folder).values() for log in logs}
        if ed25519.key_id(key.raw) in _writers(folder) or key.raw in logs:
            raise KeyUnusable(
                f"{key.fingerprint} is a writer or log key pinned in {folder}: {_NEVER_COUNTS}",
                hint="ssh-keygen -t ed25519 -f reviewer, "
                f"then safeloop trust add-reviewer {shell_word(principal)} reviewer.pub",
            )
        _add_signer(folder / "reviewers", signer, line, addition=addition)
    return key


def _in_utc(moment: str, option: str) -> str:
    """Return a moment that means the same on every machine that reads it."""
    if not moment.endswith("Z"):
        raise KeyUnusable(f"{option}: {moment[:80]!a} is not in UTC", hint="YYYYMMDDZ, or YYYYMMDDHHMMZ, with the Z")
    parse_moment(moment, option)
    return moment


def _logs(folder: Path) -> Mapping[str, tuple[Verifier, ...]]:
    return parse_policy(read_pin_file(folder / "policy") or "quorum none", str(folder / "policy")).logs


def _writers(folder: Path) -> dict[str, AllowedSigner]:
    """Read `writers`: plain keys by id. A key on several lines has the names of all of them."""
    writers: dict[str, AllowedSigner] = {}
    for where, line in numbered_lines(read_pin_file(folder / "writers"), str(folder / "writers")):
        signer = parse_allowed_signer(line, where)
        if signer.key.type != sshsig.PLAIN or signer != AllowedSigner(signer.principals, signer.key):
            raise KeyUnusable(f"{where}: a writer is a plain ssh-ed25519 key without options", hint="see `revoked`")
        key_id = ed25519.key_id(signer.key.raw)
        known = writers[key_id].principals if key_id in writers else ()
        writers[key_id] = replace(signer, principals=known + signer.principals)
    return writers


def _refuse_reviewer(folder: Path, raw: bytes) -> None:
    for line in parse_allowed_signers(read_pin_file(folder / "reviewers"), "reviewers"):
        if line.key.raw == raw:
            raise KeyUnusable(f"{line.principals[0]} is pinned as a reviewer with this key: {_NEVER_COUNTS}")


def _add_signer(file: Path, signer: AllowedSigner, written: str, *, addition: bool) -> None:
    person = signer.principals[0]
    text = read_pin_file(file)
    lines = [line for line in parse_allowed_signers(text, str(file)) if person in line.principals]
    if any(replace(line, principals=signer.principals) == signer for line in lines):
        return
    if any(line.key.raw == signer.key.raw for line in lines):
        raise KeyUnusable(f"{file} has this key of {person} with other options", hint=f"edit that line of {file}")
    if lines and not addition:
        further = f"safeloop trust add-reviewer {person} KEY.pub --another, if it is a further one"
        hint = further if signer.namespaces else f"edit that line of {file}"
        raise KeyUnusable(f"{file} has another key of {person}", hint=hint)
    _append(file, text, written)


def _append(file: Path, text: str, line: str) -> None:
    separator = "\n" if text and not text.endswith("\n") else ""
    replace_file(file, f"{text}{separator}{line}\n".encode())


def read_pin_file(file: Path) -> str:
    """Return the text of a trust folder's file; empty where there is none (a link to nowhere is unreadable).

    Raises:
        KeyUnusable: No regular file, unreadable, too large, or not UTF-8.
    """
    hint = f"ls -ld {file}; pins that somebody exported: safeloop trust import FILE --trust DIR"
    try:
        if not os.path.lexists(file):
            return ""
        data, _ = read_regular(file, _MAX_FILE_BYTES + 1)
        if len(data) > _MAX_FILE_BYTES:
            raise KeyUnusable(f"{file} has more than {_MAX_FILE_BYTES} bytes", hint=hint)
        return data.decode()
    except OSError as error:
        raise KeyUnusable(f"{file} cannot be read: {error.strerror}", hint=hint) from error
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise KeyUnusable(f"{file} line {line}: not UTF-8", hint=hint) from error


@contextmanager
def _locked(path: Path | str) -> Iterator[Path]:
    """Make the folder where it is missing, and hold it: of two pins at once, neither may be lost."""
    folder = Path(path)
    make_folder(folder)
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    except OSError as error:
        raise KeyUnusable(f"trust folder {folder} cannot be opened: {error.strerror}") from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield folder
    finally:
        os.close(descriptor)
