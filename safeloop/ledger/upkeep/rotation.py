"""Rotation: the old key vouches for the new one in every ledger that they share, and is then gone.

    1  the new key, as a successor that waits in the key folder
    2  its public half, pinned in `self` beside the old one: old rows must verify for ever
    3  a `rotate` row in each ledger, signed by the old key, with the new key's proof of possession
    4  the successor in the place of the old key

Each step is durable before the next one begins, and none is done twice: what a crash left is finished by the same
command. In between, the row decides who signs in its ledger (`Site.succeeded`), so that every ledger can be appended
to at any moment.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from safeloop.errors import KeyUnusable, LedgerError, LedgerLocked, LedgerNotFound
from safeloop.ledger import trust
from safeloop.ledger.keys import KeyFolder, SigningKey
from safeloop.ledger.ledger import Ledger, View
from safeloop.ledger.note import Verifier
from safeloop.ledger.rows import LEDGER_SESSION, Draft, Row
from safeloop.ledger.state import KnownLedger, KnownLedgers
from safeloop.ledger.succession import Role, name_key, rotation


@dataclass(frozen=True, slots=True)
class Rotation:
    """What a rotation did.

    Attributes:
        old: Id of the key that was replaced.
        new: Id of the key that signs now.
        public: The raw key that signs now.
        rows: The rows that were added by this call, each with its ledger's path.
        gone: The paths of ledgers that have no row, and why.
        resumed: A rotation that a crash had left was finished, and no other begun.
    """

    role: Role
    old: str
    new: str
    public: bytes
    rows: tuple[tuple[Path, Row], ...]
    gone: tuple[tuple[Path, str], ...]
    resumed: bool


def rotate(keys: KeyFolder, role: Role, *, skip: Sequence[Path] = ()) -> Rotation:
    """Replace the key of a role, or finish a replacement that a crash left.

    Args:
        keys: The key folder; its passphrase encrypts the new key if the old one is encrypted.
        role: Which of its keys.
        skip: Real paths of ledgers that are there and cannot be written any more.

    Raises:
        KeyUnusable: A key or the key folder is missing or unusable.
        LedgerError: A ledger that is there takes no row; nothing is lost, and the same command goes on.
    """
    if not keys.has_keys():
        raise KeyUnusable(f"there are no keys in {keys.path}", hint="safeloop key new")
    with _alone(keys):
        keys.clear_unfinished()  # or a private half that is to be gone would stay under a second name
        resumed = keys.waiting_public(role) is not None
        new = keys.make_successor(role)
        old = keys.signer(role).key_id
        work = _Work(keys, role, new, frozenset(skip))
        known = KnownLedgers(keys.path)
        while True:
            work.hand_over(known.all())
            with known.locked():
                # One that was made meanwhile has the old key; one that is remembered from here on has the new one.
                if work.has_seen(known.all()):
                    keys.promote(role)
                    return Rotation(role, old, new.key_id, new.public, tuple(work.rows), tuple(work.gone), resumed)


class _Work:
    """The ledgers of a key folder, handed over one by one."""

    def __init__(self, keys: KeyFolder, role: Role, new: SigningKey, skip: frozenset[Path]) -> None:
        self._keys, self._role, self._new, self._skip = keys, role, new, skip
        self._seen: set[Path] = set()
        self.rows: list[tuple[Path, Row]] = []
        self.gone: list[tuple[Path, str]] = []

    def has_seen(self, ledgers: Sequence[KnownLedger]) -> bool:
        """Say whether none of these is left to be handed over."""
        return all(each.path in self._seen for each in ledgers)

    def hand_over(self, ledgers: Sequence[KnownLedger]) -> None:
        """Pin the new key for each ledger that was not seen yet, and add the row there."""
        for each in ledgers:
            if each.path in self._seen:
                continue
            self._pin(each)
            if each.path in self._skip:
                self.gone.append((each.path, "it was to be skipped"))
            else:
                self._record(each)
            self._seen.add(each.path)

    def _pin(self, ledger: KnownLedger) -> None:
        folder, public = self._keys.self_trust, self._new.public
        if self._role is Role.WRITER:
            trust.pin_writer(folder, f"writer-{self._new.key_id[:8]}", public)
            return
        verifier = Verifier(ledger.origin, public)
        trust.pin_log(folder, verifier, addition=True)
        KnownLedgers(self._keys.path).remember(replace(ledger, log=verifier.vkey))

    def _record(self, ledger: KnownLedger) -> None:
        try:
            with contextlib.closing(Ledger(ledger.path, keys=self._keys, create=False)) as opened:
                rows = opened.append(lambda view: self._draft(view, opened.origin))
        except LedgerNotFound as error:
            self.gone.append((ledger.path, error.message))
            return
        except LedgerError as error:
            error.add_note(
                f"the new key waits in {self._keys.path}; the same command goes on from here, and with "
                f"--skip {ledger.path} without this ledger"
            )
            raise
        self.rows += [(ledger.path, row) for row in rows]

    def _draft(self, view: View, origin: str) -> tuple[Draft, ...]:
        signs = view.writer if self._role is Role.WRITER else view.log
        if signs == self._new.key_id:
            return ()  # it has its row
        key = name_key(self._role, self._new.public, origin)
        return (Draft(LEDGER_SESSION, "key", rotation(key, origin, signs, self._new.sign)),)


@contextlib.contextmanager
def _alone(keys: KeyFolder) -> Iterator[None]:
    """Keep other rotations of this key folder away."""
    path = keys.path / "rotation.lock"
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise KeyUnusable(f"{path} cannot be opened: {error.strerror}", hint=f"ls -ld {keys.path}") from None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError:
        raise LedgerLocked(f"another rotation of {keys.path} is in progress", hint=f"fuser -v {path}") from None
    finally:
        os.close(descriptor)
