"""Revocation: from a row on, a key that was replaced no longer counts in a ledger, whoever still holds it.

Bounded by the tree's size and never by time, which is the writer's claim: what a stolen key signs is dated as its
thief likes, but it cannot come before rows that the tree already has.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Sequence
from dataclasses import dataclass

from safeloop.errors import KeyUnusable, SettingError
from safeloop.ledger import trust
from safeloop.ledger.keys import KeyFolder
from safeloop.ledger.ledger import Ledger, View
from safeloop.ledger.policy import Revocation
from safeloop.ledger.reader import LedgerReader
from safeloop.ledger.rows import LEDGER_SESSION, Draft, Row
from safeloop.ledger.succession import REVOKE, NamedKey, Role, name_key

_FEWEST_DIGITS = 8
_MOST_NAMED = 10


@dataclass(frozen=True, slots=True)
class Revoked:
    """What was revoked, and the row that says so.

    Attributes:
        row: The row; the one of an earlier call where that said the same.
        line: What the trust folder `self` has now, and auditors need in theirs.
    """

    key: NamedKey
    row: Row
    line: Revocation


def revoke(
    db_path: str | os.PathLike[str], key_id: str, *, keys: KeyFolder, size: int | None = None, voiding: bool = False
) -> Revoked:
    """Revoke a key that signs no more, in one ledger.

    Args:
        db_path: The ledger.
        key_id: The key's id, or a prefix of at least eight digits.
        keys: The key folder; the key must be pinned in its `self`.
        size: The first row index that does not count, and the largest checkpoint that does; None is the ledger's
            size at this moment.
        voiding: True says that rows which the key signed from there on shall no longer count, and that audits of
            this ledger shall fail on them for ever; without it such a bound is refused.

    Raises:
        SettingError: No pinned key, or several, have this id; the size is beyond the ledger's; or rows would be
            voided, and nobody said that they shall be.
        KeyUnusable: The key still signs.
    """
    with contextlib.closing(Ledger(db_path, keys=keys, create=False)) as ledger:
        key = _pinned(keys, key_id, ledger.origin)
        _refuse_current(keys, key)
        if size is not None and not voiding:
            _refuse_voiding(db_path, key, size)
        found: list[Row] = []
        rows = ledger.append(lambda view: _drafts(view, key, size, found))
        row = rows[0] if rows else min(found, key=lambda each: int(each.data["not_after_size"]))
        line = Revocation(key.key_id, ledger.origin, row.data["not_after_size"])
    trust.revoke(keys.self_trust, line)
    return Revoked(key, row, line)


def _pinned(keys: KeyFolder, key_id: str, origin: str) -> NamedKey:
    """Find a key by the beginning of its id among those that `self` pins for this ledger."""
    pinned = trust.load_trust(keys.self_trust)
    named = [name_key(Role.WRITER, signer.key.raw, origin) for signer in pinned.writers.values()]
    named += [name_key(Role.LOG, log.public, origin) for log in pinned.policy.logs.get(origin, ())]
    found = [each for each in named if each.key_id.startswith(key_id.lower())]
    if len(key_id) < _FEWEST_DIGITS or len(found) != 1:
        raise SettingError(
            f"{len(found)} keys pinned in {keys.self_trust} for this ledger have an id that begins with {key_id[:70]!a}"
            f", of at least {_FEWEST_DIGITS} digits",
            hint="safeloop key list",
        )
    return found[0]


def _refuse_current(keys: KeyFolder, key: NamedKey) -> None:
    if key.public in (keys.public(key.role), keys.waiting_public(key.role)):
        raise KeyUnusable(
            f"{key.role} key {key.key_id[:8]} still signs: revoked now, it would void what is written next",
            hint=f"safeloop key rotate --role {key.role}, then revoke it",
        )


def _refuse_voiding(db_path: str | os.PathLike[str], key: NamedKey, size: int) -> None:
    """Refuse a bound before rows that the key signed; none can come after this was asked, for it signs no more."""
    # A body is canonical, and a quote within a text is escaped: this finds the key `writer` only.
    mark = b'"writer":"%s"' % key.key_id.encode()
    with LedgerReader(db_path) as reader:
        signed = [idx + 1 for idx, body, _ in reader.rows(size) if mark in body]
    if signed:
        count, named = len(signed), ", ".join(map(str, signed[:_MOST_NAMED]))
        rows = f"row {named}" if count == 1 else f"{count:,} rows ({named}{', ...' if count > _MOST_NAMED else ''})"
        raise SettingError(
            f"writer key {key.key_id[:8]} signed {rows} from row {size + 1} on: none of it would count any more, and "
            "every audit of this ledger would FAIL from then on",
            hint=f"--from-row {signed[-1] + 1} voids nothing; --yes, if a thief signed this and it shall not count",
        )


def _drafts(view: View, key: NamedKey, size: int | None, found: list[Row]) -> Sequence[Draft]:
    """Draft the row, or put the one that says so already into `found`."""
    wanted = view.size if size is None else size
    if wanted > view.size:
        raise SettingError(f"the ledger has {view.size} rows, and not yet {wanted}",
                           hint="a bound of at most that many rows; without --from-row and --size it is all of them")
    if key.key_id in (view.writer, view.log):
        raise KeyUnusable(f"key {key.key_id[:8]} still signs in this ledger", hint="safeloop key rotate")
    found += [
        row for row in view.kinds("key")
        if row.data["event"] == REVOKE and row.data["key"] == key.text and row.data["not_after_size"] <= wanted
    ]
    if found:
        return ()
    data = {"event": REVOKE, "key": key.text, "proof": None, "not_after_size": wanted, "checkpoint": None}
    return (Draft(LEDGER_SESSION, "key", data),)
