"""One file of proof, told by its first line: a receipt, a consistency proof, or a checkpoint. Pure: bytes to values."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from safeloop.errors import KeyUnusable, ProofError, VerificationError
from safeloop.ledger import escaped, visible
from safeloop.ledger.consistency import Consistency, parse_consistency, verify_consistency
from safeloop.ledger.note import parse_checkpoint
from safeloop.ledger.trust import Trust
from safeloop.review.verifying.heads import judge_head, open_kept
from safeloop.review.verifying.receipts import open_receipt
from safeloop.review.verifying.verification import WHAT_IT_CAN_BE, Findings, Verification
from safeloop.review.witnesses import SignedHead, open_head

_RECEIPT, _CONSISTENCY = "c2sp.org/tlog-proof@", "old "
_ANOTHER = {
    "receipt": "ask whoever keeps the ledger for another: safeloop receipt SESSION:N",
    "consistency proof": "ask whoever keeps the ledger for another: safeloop checkpoint --since FILE",
    "checkpoint": WHAT_IT_CAN_BE,
}


def verify_document(data: bytes, trust: Trust, kept: Sequence[str] = ()) -> Verification:
    """Verify one file of proof.

    Args:
        data: The file.
        trust: The reader's pins.
        kept: Signed notes that the reader kept; an older one is what a consistency proof begins from.
    """
    findings = Findings()
    try:
        text = data.decode()
    except UnicodeDecodeError:
        findings.refuse("it is not text, and so no proof of any kind", WHAT_IT_CAN_BE)
        return findings.verification("file", {}, is_self=trust.is_self)
    if not text.strip():
        findings.refuse("there is nothing in it to verify", WHAT_IT_CAN_BE)
        return findings.verification("file", {}, is_self=trust.is_self)
    judge, subject = _verify_checkpoint, "checkpoint"
    if text.startswith(_RECEIPT):
        judge, subject = _verify_receipt, "receipt"
    elif text.startswith(_CONSISTENCY):
        judge, subject = _verify_consistency, "consistency proof"
    facts: dict[str, object] = {}
    try:
        judge(text, open_kept(kept, trust, findings), trust, findings, facts)
    except (KeyUnusable, VerificationError) as error:
        findings.refuse_error(error, _ANOTHER[subject])
    return findings.verification(subject, facts, is_self=trust.is_self)


def _verify_receipt(
    text: str, kept: Sequence[SignedHead], trust: Trust, findings: Findings, facts: dict[str, object]
) -> None:
    found = open_receipt(text, trust)
    row, checkpoint = found.row, found.head.checkpoint
    facts |= {"ledger": checkpoint.origin, "size": checkpoint.size, "session": row.session, "row": row.id, "n": row.n,
              "kind": row.kind, "leaf": row.leaf}
    findings.proved += [
        f"row {row.id} ({row.kind}, n {row.n} of session {row.session}) is in ledger {checkpoint.origin}, "
        f"under its checkpoint of {checkpoint.size:,} rows",
        f"the pinned writer {row.writer[:8]} signed it, and says that it was at {row.at}",
    ]
    findings.unproved += [
        "what the row commits to: content is not in a receipt",
        "the rows around it: safeloop audit, where the ledger is",
    ]
    if not found.is_known:
        findings.unproved.append(f"what a row of kind {row.kind} means: this version does not know it")
    judge_head(found.head, kept, trust, findings)


def _verify_checkpoint(
    text: str, kept: Sequence[SignedHead], trust: Trust, findings: Findings, facts: dict[str, object]
) -> None:
    head = open_head(text, trust)
    facts |= {"ledger": head.checkpoint.origin, "size": head.checkpoint.size}
    findings.proved.append(
        f"the pinned log key signed {head.checkpoint.size:,} rows of ledger {head.checkpoint.origin}"
    )
    findings.unproved.append("the rows themselves: safeloop audit --checkpoint FILE, where the ledger is")
    judge_head(head, kept, trust, findings)


def _verify_consistency(
    text: str, kept: Sequence[SignedHead], trust: Trust, findings: Findings, facts: dict[str, object]
) -> None:
    found = _signed(parse_consistency(text), kept)
    origin = parse_checkpoint(found.note).origin
    older = [each for each in kept if each.checkpoint.size == found.old and each.checkpoint.origin == origin]
    facts |= {"ledger": escaped(origin), "old": found.old}
    if found.old == 0:
        findings.refuse("a proof from size 0 proves nothing: every ledger grew out of an empty one",
                        "safeloop checkpoint --since FILE, with a checkpoint that you kept")
    elif not older:
        findings.refuse(f"the older checkpoint, of {found.old:,} rows of {escaped(origin)}, was not given",
                        "give the one that you kept: --checkpoint FILE")
    for each in older[:1]:
        newer = verify_consistency(found, each.checkpoint, trust.log_for(origin, found.note))
        facts["size"] = newer.size
        findings.proved.append(f"ledger {origin} of {newer.size:,} rows begins with the {found.old:,} rows that the "
                               "checkpoint signed that you kept: none of them was changed or removed")
        findings.unproved.append("the rows themselves: safeloop audit --checkpoint FILE, where the ledger is")
        others = [other for other in kept if other is not each]
        judge_head(SignedHead(newer, found.note), others, trust, findings)


def _signed(proof: Consistency, kept: Sequence[SignedHead]) -> Consistency:
    """Return a proof up to a size of which the ledger keeps no signature with the signed note that the reader kept.

    Raises:
        ProofError: They kept none of exactly this checkpoint.
    """
    if "\n\n" in proof.note:
        return proof
    for each in kept:
        if each.checkpoint.text == proof.note:
            return replace(proof, note=each.note)
    size = proof.note.split("\n")[1] if proof.note.count("\n") > 1 else "so many"
    raise ProofError(
        f"the newer checkpoint, of {visible(size, 20)} rows, is not signed: the proof is up to a size of which the "
        "ledger keeps no signature, and no checkpoint that was given is of that size and root",
        hint="give the signed one beside the older, if you kept it: --checkpoint FILE --checkpoint FILE; or ask "
             "whoever keeps the ledger for a proof up to its head: safeloop checkpoint --since FILE",
    )
