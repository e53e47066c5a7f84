"""Consistency proofs as text: the body of c2sp.org/tlog-witness `add-checkpoint`, which any witness takes.

    old 20852014
    PlRNCrwHpqhGrupue0L7gxbjbMiKA9temvuZZDDpkaw=
    ...

    the newer checkpoint, a signed note
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from safeloop.errors import ProofError
from safeloop.ledger import merkle
from safeloop.ledger.note import Checkpoint, Verifier, parse_hashes, render_hashes, verify_checkpoint

_OLD = re.compile(r"old (0|[1-9][0-9]{0,18})\Z")
_MOST_STEPS = 63  # c2sp.org/tlog-witness
MAX_BYTES = 1_000_000


@dataclass(frozen=True, slots=True)
class Consistency:
    """A proof that one tree grew into another.

    Attributes:
        old: Size of the older tree.
        proof: The RFC 6962 consistency proof.
        note: The newer checkpoint: a signed note, or its text alone where nobody signed that size.
    """

    old: int
    proof: tuple[bytes, ...]
    note: str


def render_consistency(consistency: Consistency) -> str:
    """Render the body of an `add-checkpoint` request."""
    return f"old {consistency.old}\n{render_hashes(consistency.proof)}\n{consistency.note}"


def parse_consistency(text: str) -> Consistency:
    """Read the body of an `add-checkpoint` request; nothing is verified.

    Raises:
        ProofError: Not one.
    """
    if len(text) > MAX_BYTES:
        raise ProofError(f"a consistency proof of more than {MAX_BYTES} characters")
    head, separator, note = text.partition("\n\n")
    first, *lines = head.split("\n")
    match = _OLD.match(first)
    if not separator or match is None:
        raise ProofError("not a consistency proof: the first line is not `old SIZE`, or the empty line is missing")
    if len(lines) > _MOST_STEPS:
        raise ProofError(f"a consistency proof has at most {_MOST_STEPS} hashes, this one has {len(lines)}")
    return Consistency(int(match[1]), parse_hashes(lines), note)


def verify_consistency(consistency: Consistency, older: Checkpoint, log: Verifier) -> Checkpoint:
    """Check that the log of a checkpoint grew into the newer one, and return that.

    Args:
        consistency: The proof.
        older: The checkpoint that somebody kept, verified by whoever calls.
        log: The pinned key.

    Raises:
        SignatureMismatch: The newer checkpoint is not signed by `log`.
        ProofError: The proof is not between these two, or does not hold.
    """
    newer = verify_checkpoint(consistency.note, log)
    if older.origin != newer.origin:
        raise ProofError(f"the older checkpoint is of {older.origin[:80]!a}, not of {newer.origin}")
    if older.size != consistency.old:
        raise ProofError(f"the proof begins at size {consistency.old}, and the older checkpoint has {older.size}")
    merkle.verify_consistency(older.size, newer.size, consistency.proof, older.root, newer.root)
    return newer
