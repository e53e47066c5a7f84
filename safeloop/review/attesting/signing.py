"""From a shown frame to an attestation row: state, sign, judge, and append under the ledger's lock.

The row is only added while the session still is what was shown. A signature is judged before it is recorded, by
the rule of the gate: one that would count for nothing is refused, because in a list it would look like any other.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from safeloop.errors import NotAttested, SettingError, VerificationError
from safeloop.ledger import Content, Draft, Ledger, View, visible
from safeloop.ledger.content import TEXT
from safeloop.ledger.durable import create_file, make_folder
from safeloop.ledger.rows import timestamp
from safeloop.review.attesting.attestation import (
    DECISIONS,
    FRAME,
    OUTPUT,
    SUMS,
    AttestationResult,
    Statement,
    parse_statement,
    statement,
)
from safeloop.review.attesting.eligibility import Invalid, pinned
from safeloop.review.attesting.judgement import Claim, ahead, check_claim
from safeloop.review.cut import cut_of

if TYPE_CHECKING:
    from safeloop.ledger import Row
    from safeloop.ledger.sshsig import PublicKey
    from safeloop.ledger.trust import Trust
    from safeloop.review.framing.shown import ShownFrame

STATEMENT = "statement.json"
MAX_NOTES_BYTES = 4_000
_HARMLESS = ("attestation", "release", "reconcile")
Sign = Callable[[bytes], str]


def state(shown: ShownFrame, decision: str, reviewer: str, notes: str, now: datetime) -> bytes:
    """Return the statement of a decision about a shown frame, to be signed.

    Args:
        shown: The frame.
        decision: `accept` or `reject`.
        reviewer: Who decides; for a signature, the name under which their key is pinned.
        notes: Their words, at most 4,000 UTF-8 bytes.
        now: The moment, aware and in UTC.

    Raises:
        SettingError: The decision, the name or the notes cannot be stated.
        NotAttested: Nothing may be attested here any more.
    """
    shown.require_attestable()
    if decision not in DECISIONS:
        raise SettingError(f"a decision is accept or reject, not {visible(decision, 60)}")
    _require_text("reviewer", reviewer)
    if not reviewer.strip():
        raise SettingError("an attestation names its reviewer", hint="safeloop attest SESSION --as NAME")
    _require_text("notes", notes)
    if len(notes.encode()) > MAX_NOTES_BYTES:
        raise SettingError(f"the notes have {len(notes.encode())} bytes, more than {MAX_NOTES_BYTES}",
                           hint="keep a longer report beside the ledger, and its SHA-256 in the notes")
    cut = shown.facts.cut
    return statement(Statement(
        digests=shown.digests, checkpoint=shown.record.note, decision=decision, ledger=shown.record.ledger,
        notes=notes, reviewer=visible(reviewer), session=shown.record.session, session_head=cut.leaf,
        session_rows=cut.n + 1, stated_at=timestamp(now),
    ))


def require_eligible(shown: ShownFrame, reviewer: str, key: PublicKey, trust: Trust, now: datetime) -> None:
    """Refuse a reviewer and a key that can never count, before anything is shown to them.

    Raises:
        NotAttested: Its signature would count for nothing; the message says why, and the hint what mends it.
    """
    judged = pinned(key, reviewer, trust, now, shown.record.ledger, shown.record.head.size)
    if isinstance(judged, Invalid):
        raise NotAttested(f"nothing that this key signs would count: {judged.reason}", hint=judged.hint)


def attest_unsigned(ledger: Ledger, shown: ShownFrame, stated: bytes) -> AttestationResult:
    """Record a statement without a signature; it counts for nothing at the gate."""
    return _append(ledger, shown, stated, None)


def attest_signed(
    ledger: Ledger, shown: ShownFrame, stated: bytes, sign: Sign, trust: Trust, now: datetime
) -> AttestationResult:
    """Sign a statement about the frame that was shown, and record it.

    Args:
        ledger: Where to; the ledger that the frame was read from.
        shown: The very frame that the reviewer saw.
        stated: From `state`, or made from the same frame elsewhere.
        sign: Returns the armored signature of bytes.
        trust: The pinned reviewers.
        now: The moment, aware: the reviewer's key must be pinned then, and no accept may be stated later.

    Raises:
        NotAttested: The signature would count for nothing; the message says why.
        VerificationError: The session changed while it was read.
        KeyUnusable: The key could not sign.
    """
    shown.require_attestable()
    signature = sign(stated)
    claim = Claim(_claimed(stated, signature, _no_content(shown)), shown.record.head.size)
    judged = check_claim(claim, shown.record, shown.digests, trust, now)
    if claim.data["decision"] == "accept" and not isinstance(judged, Invalid):
        judged = ahead(Draft(shown.record.session, "attestation", claim.data), now) or judged
    if isinstance(judged, Invalid):
        _refuse_again(shown, claim)
        raise NotAttested(
            f"this attestation would count for nothing: {judged.reason}",
            hint=judged.hint or f"reviewers are pinned in {trust.path / 'reviewers'}; read the frame and sign it again",
        )
    return _append(ledger, shown, stated, signature)


def _refuse_again(shown: ShownFrame, claim: Claim) -> None:
    """Refuse a statement that is recorded, with its row: what is wrong with it is that it comes a second time."""
    for row in shown.record.kinds("attestation"):
        if row.data["statement"] == claim.data["statement"] and row.data["signature"] is not None:
            raise NotAttested(f"this statement is recorded already, as row {row.id}",
                              hint=f"safeloop review {row.session} shows what was decided")


def export(shown: ShownFrame, stated: bytes, folder: Path) -> tuple[Path, ...]:
    """Write what a reviewer needs to sign elsewhere: the statement's exact bytes and all its subjects.

    `ssh-keygen -Y sign -n safeloop-review -f KEY statement.json` then makes `statement.json.sig`.

    Args:
        shown: The frame.
        stated: From `state`.
        folder: Made where it is missing; must be empty.

    Raises:
        SettingError: The folder holds something.
    """
    make_folder(folder)
    if any(folder.iterdir()):
        raise SettingError(f"{folder} is not empty", hint="name a new folder for each export")
    files = {FRAME: shown.data, SUMS: shown.sums, STATEMENT: stated}
    if shown.output is not None:
        files[OUTPUT] = shown.output
    for name, data in files.items():
        create_file(folder / name, data)
    return tuple(folder / name for name in files)


def _append(ledger: Ledger, shown: ShownFrame, stated: bytes, signature: str | None) -> AttestationResult:
    frame = ledger.content(shown.data, TEXT)
    draft = Draft(shown.record.session, "attestation", _claimed(stated, signature, frame), (frame,))

    def decide(view: View) -> tuple[Draft, ...]:
        _require_unchanged(shown, view.session(shown.record.session))
        return (draft,)

    if ledger.origin != shown.record.ledger:
        raise VerificationError(f"the frame is of ledger {shown.record.ledger}, not of {ledger.origin}")
    return AttestationResult.of(ledger.append(decide)[0])


def _require_unchanged(shown: ShownFrame, rows: tuple[Row, ...]) -> None:
    """Refuse to attest what has changed since it was rendered; other attestations and releases change nothing."""
    known = [row.leaf for row in shown.record.rows]
    added = rows[len(known):]
    cut = cut_of(rows)
    if (
        [row.leaf for row in rows[:len(known)]] != known
        or any(row.kind not in _HARMLESS for row in added)
        or cut is None or cut.leaf != shown.facts.cut.leaf
    ):
        raise VerificationError(
            f"session {shown.record.session} changed while it was read: nothing was attested",
            hint=f"safeloop review {shown.record.session}",
        )


def _claimed(stated: bytes, signature: str | None, frame: Content) -> dict[str, Any]:
    """Return the data of the row; what the statement says too is taken from it."""
    found = parse_statement(stated)
    return {
        "decision": found.decision, "reviewer": found.reviewer, "frame": found.digests.frame,
        "frame_text": frame.commitment, "notes": found.notes, "statement": stated.decode(), "signature": signature,
    }


def _no_content(shown: ShownFrame) -> Content:
    """Stand in for the frame's content where nothing is stored yet; a judgement does not look at its salt."""
    return Content(shown.data, TEXT, bytes(32))


def _require_text(what: str, text: str) -> None:
    if "\0" in text or any("\ud800" <= each <= "\udfff" for each in text):
        raise SettingError(f"the {what} holds U+0000 or a lone surrogate", hint="no row can hold it: take it out")
