r"""Cosignatures of witnesses on a checkpoint (c2sp.org/tlog-cosignature, `cosignature/v1`), and the quorum over them.

    — NAME base64(key hash || u64 timestamp || signature of "cosignature/v1\ntime TIMESTAMP\n" || note text)

The key hash is over NAME, a line feed, 0x04 and the key: a log's own signature (0x01) is never taken for one. A
cosignature says that its witness had seen this log grow into this checkpoint, and no other, by that time.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from safeloop.ledger import ed25519
from safeloop.ledger.note import split_note
from safeloop.ledger.policy import Policy, Witness

_HASH_BYTES, _TIME_BYTES, _SIGNATURE_BYTES = 4, 8, 64
_MOST_SECONDS = 2**63 - 1


@dataclass(frozen=True, slots=True)
class Cosignature:
    """A cosignature that verifies.

    Attributes:
        witness: The witness's name in the policy.
        time: Seconds since 1970, UTC: the witness's claim of when it saw this checkpoint.
    """

    witness: str
    time: int


@dataclass(frozen=True, slots=True)
class Cosigned:
    """What the pinned witnesses say about one note; lines by anybody else are passed over.

    Attributes:
        valid: At most one for each witness, its latest.
        faults: Lines in the name and key of a pinned witness that do not count, each as a clause.
    """

    valid: tuple[Cosignature, ...]
    faults: tuple[str, ...]


def cosigned(note: str, policy: Policy) -> Cosigned:
    """Check every cosignature on a note by a witness of the policy.

    Raises:
        ProofError: Not a signed note.
    """
    text, signatures = split_note(note)
    logs = policy.log_keys
    latest: dict[str, int] = {}
    faults = []
    for witness in policy.witnesses.values():
        for name, signature in signatures:
            if (name, signature[:_HASH_BYTES]) != (witness.key_name, witness.key_hash):
                continue
            found = _time(witness, signature[_HASH_BYTES:], text.encode(), logs)
            if isinstance(found, str):
                faults.append(f"the cosignature of {witness.name} {found}")
            else:
                latest[witness.name] = max(found, latest.get(witness.name, 0))
    return Cosigned(tuple(Cosignature(name, time) for name, time in latest.items()), tuple(faults))


def has_quorum(policy: Policy, witnesses: Collection[str]) -> bool:
    """Say whether these witnesses, by their names in the policy, are enough for it.

    A policy that asks for none is always satisfied; a witness that is named twice counts once.
    """
    if policy.quorum is None:
        return True
    met = {name for name in witnesses if name in policy.witnesses}
    for group in policy.groups.values():  # members are defined before the group that has them
        if len(met.intersection(group.members)) >= group.threshold:
            met.add(group.name)
    return policy.quorum in met


def _time(witness: Witness, signature: bytes, text: bytes, logs: Collection[bytes]) -> int | str:
    """Return when it was signed, or why it does not count."""
    if len(signature) != _TIME_BYTES + _SIGNATURE_BYTES:
        return f"has {len(signature)} bytes, not {_TIME_BYTES + _SIGNATURE_BYTES}"
    if witness.public in logs:
        return "is by a log's own key, which is no witness"
    time = int.from_bytes(signature[:_TIME_BYTES], "big")
    if not 0 < time <= _MOST_SECONDS:
        return f"states the time {time}, which no witness can have seen"
    message = b"cosignature/v1\ntime %d\n" % time + text
    if not ed25519.verify(witness.public, signature[_TIME_BYTES:], message):
        return "does not verify"
    return time
