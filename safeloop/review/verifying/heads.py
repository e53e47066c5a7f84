"""A checkpoint held against those that the reader kept, and against the witnesses that the policy demands. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from safeloop.errors import KeyUnusable, VerificationError
from safeloop.ledger.trust import Trust
from safeloop.review.verifying.verification import Findings
from safeloop.review.witnesses import WITNESS_HINT, SignedHead, open_head, witnessed

_KEPT = "as safeloop checkpoint printed it: --checkpoint FILE"


def open_kept(notes: Sequence[str], trust: Trust, findings: Findings) -> tuple[SignedHead, ...]:
    """Verify the checkpoints that the reader brought; one that cannot be used speaks against the whole."""
    kept = []
    for number, note in enumerate(notes, 1):
        try:
            kept.append(open_head(note, trust))
        except (KeyUnusable, VerificationError) as error:
            findings.refuse_error(error, _KEPT, f"checkpoint {number} cannot be used")
    return tuple(kept)


def judge_head(head: SignedHead, kept: Sequence[SignedHead], trust: Trust, findings: Findings) -> None:
    """Hold a checkpoint against those that were kept, and against the witnesses that the policy demands."""
    checkpoint = head.checkpoint
    same = []
    for number, each in enumerate(kept, 1):
        other = each.checkpoint
        if other.origin != checkpoint.origin:
            findings.refuse(f"checkpoint {number} is of {other.origin}, not of {checkpoint.origin}",
                            f"give one of the same ledger, {_KEPT}")
        elif other.size != checkpoint.size:
            findings.unproved.append(
                f"one history with checkpoint {number}: from {min(other.size, checkpoint.size):,} to "
                f"{max(other.size, checkpoint.size):,} rows takes a proof of its own: safeloop checkpoint --since "
                "OLDER --to NEWER, where the ledger is, and then safeloop verify PROOF --checkpoint OLDER"
            )
        elif other.root != checkpoint.root:
            findings.refuse(f"checkpoint {number} has another root at {other.size:,} rows: two histories under one key",
                            "keep both notes, for together they prove that the log's key signed two histories: "
                            "safeloop audit --checkpoint FILE, where the ledger is, says which it continues")
        else:
            same.append(each)
            findings.proved.append(f"it is the checkpoint {number} that you kept")
    _judge_witnesses([head, *same], trust, findings)


def _judge_witnesses(heads: Sequence[SignedHead], trust: Trust, findings: Findings) -> None:
    found = witnessed(heads, trust)
    findings.proved += found.seen
    findings.unproved += [f"what a witness's line says: {fault}" for fault in found.faults]
    if not found.is_enough:
        findings.refuse(f"the policy demands the quorum {trust.policy.quorum}, and the checkpoint's cosignatures are "
                        f"not enough for it", WITNESS_HINT)
    if trust.policy.quorum is None:
        findings.unproved.append("that everybody is shown this same ledger: the policy demands no witness")
