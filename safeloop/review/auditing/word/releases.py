"""Releases: each had the attestations that its policy asked for, by the rule of the gate and from rows alone.

Reviewers' keys are judged at each row's `at`; a release judges them when it is made. The frame itself is not rendered
again here: an accept speaks for the frame that it names, and all that a release counts must name one and the same.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from safeloop.errors import EncodingError, VerificationError
from safeloop.ledger import Row, sshsig
from safeloop.ledger.trust import REVIEW_NAMESPACE, Trust
from safeloop.review.attesting.attestation import parse_statement
from safeloop.review.attesting.eligibility import Invalid, pinned
from safeloop.review.attesting.judgement import (
    Claim,
    Subject,
    binding_misfits,
    checkpoint_misfits,
    is_dated_ahead,
    is_overtaken,
)
from safeloop.review.auditing.word.states import Reviewed, Voice, files_digest
from safeloop.review.releasing.gate import ACCEPT, outcome_reasons
from safeloop.review.releasing.policy import ReleasePolicy, read_canonical


def hear(session: Reviewed, row: Row, trust: Trust) -> None:
    """Take in an `attestation` row; whether it counted is asked when a release rests on it."""
    voice = _voice(session, row, trust)
    if isinstance(voice, Invalid):
        session.silent[row.leaf] = f"row {row.id} counts for nothing: {voice.reason}"
    else:
        session.voices += (voice,)


def faults(session: Reviewed, row: Row) -> Iterator[str]:
    """Say what a `release` row lacks."""
    data = row.data
    if session.void:
        yield f"row {session.void} came after the session's close and voids it"
    if files_digest(data["files"], data["file_count"]) != session.files:
        yield "its files are not those of the session's close row"
    try:
        policy = read_canonical(data["policy"])
    except EncodingError as error:
        yield f"it states no release policy: {error}"
        return
    yield from (reason.message for reason in outcome_reasons(row.session, session.outcome, policy))
    yield from _unsupported(session, tuple(data["attestations"]), policy)


def _voice(session: Reviewed, row: Row, trust: Trust) -> Voice | Invalid:
    data, claim = row.data, Claim(row.data, row.idx)
    if data["signature"] is None:
        return Invalid("it is not signed")
    subject = Subject(row.ledger, row.session, session.cut, session.cut_rows, session.cut_idx)
    try:
        stated = parse_statement(data["statement"].encode())
        misfits = (*binding_misfits(stated, claim, subject), *checkpoint_misfits(stated, claim, subject))
        if misfits:
            return Invalid(misfits[0])
        key = sshsig.verify(data["signature"], REVIEW_NAMESPACE, data["statement"].encode())
    except VerificationError as error:
        return Invalid(str(error))
    found = pinned(key, stated.reviewer, trust, datetime.fromisoformat(row.at), row.ledger, row.idx)
    if isinstance(found, Invalid):
        return found
    digests = stated.digests
    return Voice(row.id, row.leaf, key.raw, stated.decision, stated.stated_at, is_dated_ahead(row),
                 (digests.frame, digests.sums, digests.output))


def _unsupported(session: Reviewed, leaves: tuple[str, ...], policy: ReleasePolicy) -> Iterator[str]:
    """Say which of the attestations that a release names do not carry it, and what speaks against it."""
    voices = {voice.leaf: voice for voice in session.voices}
    for leaf in leaves:
        if leaf not in voices:
            yield session.silent.get(leaf, f"attestation {leaf[:8]} is no earlier row of the session")
    named = [voices[leaf] for leaf in dict.fromkeys(leaves) if leaf in voices]
    subjects = {voice.about for voice in named}
    if len(subjects) > 1:
        yield "its attestations are about different frames"
        return
    counted = [voice for voice in session.voices if voice.about in subjects]
    latest = {voice.key: voice for at, voice in enumerate(counted) if not _is_overtaken(voice, counted[:at])}
    accepts = [voice for voice in named if voice.decision == ACCEPT and latest.get(voice.key) is voice]
    for voice in named:
        if voice not in accepts:
            why = "is a reject" if voice.decision != ACCEPT else "does not stand: the same key decided otherwise"
            yield f"row {voice.row} {why}"
    if policy.any_reject_blocks:
        rejects = [voice for voice in latest.values() if voice.decision != ACCEPT and voice not in named]
        yield from (f"row {voice.row} rejects it" for voice in rejects)
    if len(accepts) < policy.accepts:
        yield f"{len(accepts)} of {policy.accepts} accepts that count"


def _is_overtaken(voice: Voice, earlier: list[Voice]) -> bool:
    """Say whether an accept counts for nothing because its key signed an earlier row; a reject never does."""
    return voice.decision == ACCEPT and any(
        other.key == voice.key
        and is_overtaken(voice.stated_at, other.stated_at, is_dated_ahead=other.is_dated_ahead) for other in earlier
    )
