"""Checkpoints under pinned keys: the log's signature, and the witnesses that the policy demands. Pure.

The one place where an audit and a verification ask whether a quorum of witnesses has cosigned.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from safeloop.ledger.cosignature import Cosignature, cosigned, has_quorum
from safeloop.ledger.note import Checkpoint, parse_checkpoint, verify_checkpoint
from safeloop.ledger.trust import Trust

WITNESS_HINT = (
    "have the witnesses cosign this very checkpoint, for one of another size does not stand in for it: a release's is "
    "release/checkpoint.txt, a receipt's the note at its end; add their lines to a copy and give it: --checkpoint FILE"
)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class SignedHead:
    """A checkpoint that verified under the pinned key of its log.

    Attributes:
        note: The signed note, whatever cosignatures it carries.
    """

    checkpoint: Checkpoint
    note: str


@dataclass(frozen=True, slots=True)
class Witnessed:
    """What pinned witnesses say about one checkpoint.

    Attributes:
        is_enough: Whether they are the quorum of the policy; one of an empty log never is, for it covers nothing.
        seen: Which witness saw it, and when, each as a sentence.
        faults: Cosignatures that do not count, each as a clause.
    """

    is_enough: bool
    seen: tuple[str, ...]
    faults: tuple[str, ...]


def open_head(note: str, trust: Trust) -> SignedHead:
    """Verify a note under the pinned key of the origin that it states.

    Raises:
        KeyUnusable: The trust folder pins no log of this origin.
        VerificationError: Not a checkpoint, or its signature does not hold.
    """
    return SignedHead(verify_checkpoint(note, trust.log_for(parse_checkpoint(note).origin, note)), note)


def witnessed(heads: Sequence[SignedHead], trust: Trust) -> Witnessed:
    """Ask the policy of one of these notes at least; what is wrong with a cosignature is said of each."""
    asked = trust.policy.quorum is not None
    enough = not asked
    seen: list[str] = []
    faults: list[str] = []
    for head in heads:
        found = cosigned(head.note, trust.policy)
        names = [each.witness for each in found.valid]
        enough = enough or (head.checkpoint.size > 0 and has_quorum(trust.policy, names))
        seen += [_sentence(each, head.checkpoint) for each in found.valid]
        faults += found.faults
    return Witnessed(enough, tuple(dict.fromkeys(seen)), tuple(dict.fromkeys(faults)))


def _sentence(cosignature: Cosignature, checkpoint: Checkpoint) -> str:
    try:
        time = (_EPOCH + timedelta(seconds=cosignature.time)).isoformat().replace("+00:00", "Z")
    except OverflowError:
        time = f"{cosignature.time} seconds after 1970"
    return f"witness {cosignature.witness} saw the ledger of {checkpoint.size:,} rows by {time}"
