"""Which keys a key folder has, had and waits for, without reading a private half that is encrypted."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from safeloop.ledger import ed25519
from safeloop.ledger.keys import KeyFolder
from safeloop.ledger.note import Verifier
from safeloop.ledger.policy import Revocation
from safeloop.ledger.state import KnownLedgers
from safeloop.ledger.succession import Role
from safeloop.ledger.trust import Trust, load_trust


@dataclass(frozen=True, slots=True)
class HeldKey:
    """One key of the folder, or one that it had."""

    role: Role
    public: bytes

    @property
    def key_id(self) -> str:
        """SHA-256 of the raw public key, hex."""
        return ed25519.key_id(self.public)


@dataclass(frozen=True, slots=True)
class HeldLedger:
    """A ledger that the folder signs.

    Attributes:
        vkey: The verifier key of its next head.
        is_there: There is something at its path.
    """

    path: Path
    origin: str
    vkey: str
    is_there: bool


@dataclass(frozen=True, slots=True)
class Inventory:
    """What `key list` shows.

    Attributes:
        current: The keys that sign, writer first.
        encrypted: The roles whose key needs a passphrase.
        waiting: Successors of a rotation that was not finished.
        retired: Keys that are pinned in `self` and sign no more.
    """

    current: tuple[HeldKey, ...]
    encrypted: tuple[Role, ...]
    waiting: tuple[HeldKey, ...]
    retired: tuple[HeldKey, ...]
    revoked: tuple[Revocation, ...]
    ledgers: tuple[HeldLedger, ...]


def inventory(keys: KeyFolder) -> Inventory:
    """Look at a key folder.

    Raises:
        KeyUnusable: A key, the trust folder `self` or the list of ledgers is not usable.
    """
    current = tuple(HeldKey(role, keys.public(role)) for role in Role)
    waiting = tuple(HeldKey(role, public) for role in Role if (public := keys.waiting_public(role)) is not None)
    # Without a ledger nothing is pinned yet.
    pinned = load_trust(keys.self_trust) if os.path.lexists(keys.self_trust) else None
    log = next(each.public for each in current if each.role is Role.LOG)
    ledgers = tuple(
        HeldLedger(each.path, each.origin, Verifier(each.origin, log).vkey, each.path.exists())
        for each in KnownLedgers(keys.path).all()
    )
    return Inventory(
        current, tuple(role for role in Role if keys.is_encrypted(role)), waiting,
        () if pinned is None else tuple(each for each in _pinned(pinned) if each not in (*current, *waiting)),
        () if pinned is None else pinned.revoked, ledgers,
    )


def _pinned(trust: Trust) -> dict[HeldKey, None]:
    """Return the pinned keys, each once, however many ledgers it signs."""
    writers = (HeldKey(Role.WRITER, signer.key.raw) for signer in trust.writers.values())
    logs = (HeldKey(Role.LOG, log.public) for logs in trust.policy.logs.values() for log in logs)
    return dict.fromkeys((*writers, *logs))
