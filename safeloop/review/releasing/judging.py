"""Judging a session's attestations for a release: at one moment, and never laxer than that moment's clock. Pure.

Of an accept, the key must be pinned at the moment of judging; where a row of the session claims a later one, a clock
was set back, and the key must be pinned then too. An accept that is stated later than the moment counts for nothing
yet: it could be put behind a reject that its reviewer signs tomorrow. A reject stands once its key was pinned when it
was stated: that a key expires lifts nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from safeloop.ledger.visible import moment_text
from safeloop.review.attesting.eligibility import Invalid
from safeloop.review.attesting.judgement import ahead, check_attestation, moment_stated

if TYPE_CHECKING:
    from safeloop.ledger import Row
    from safeloop.ledger.sshsig import PublicKey
    from safeloop.ledger.trust import Trust
    from safeloop.review.attesting.attestation import Digests
    from safeloop.review.record import Record

@dataclass(frozen=True, slots=True)
class Judged:
    """An attestation row, and whose key signed it or why it counts for nothing."""

    row: Row
    by: PublicKey | Invalid


def judge_attestations(
    record: Record, digests: Digests, trust: Trust, at: datetime | None = None
) -> tuple[Judged, ...]:
    """Judge every attestation of a session.

    Args:
        record: The verified session.
        digests: Of the frame, the sums and the output as they are now.
        trust: Who may review.
        at: The (aware) moment of judging; None is each row's own time, as an audit judges.
    """
    # Of one form and length, these texts have the order of the moments.
    newest = datetime.fromisoformat(max(row.at for row in record.rows))
    return tuple(
        Judged(row, _judge(row, record, digests, trust, at, newest)) for row in record.kinds("attestation")
    )


def _judge(
    row: Row, record: Record, digests: Digests, trust: Trust, at: datetime | None, newest: datetime
) -> PublicKey | Invalid:
    """Judge one of them.

    Args:
        row: The attestation; the others are those of `judge_attestations`.
        newest: The latest moment that a row of the session claims.
    """
    def judged(moment: datetime) -> PublicKey | Invalid:
        return check_attestation(row, record, digests.frame, digests.sums, digests.output, trust, moment)

    if at is None:
        return judged(datetime.fromisoformat(row.at))
    found = judged(at)
    if row.data.get("decision") != "accept":
        stated = moment_stated(row.data)
        return judged(stated) if isinstance(found, Invalid) and stated is not None else found
    if not isinstance(found, Invalid) and newest > at:
        found = judged(newest)
        if isinstance(found, Invalid):
            return Invalid(f"{found.reason}; a row of the session is of {moment_text(newest)}, and this clock says "
                           f"{moment_text(at)}", found.hint)
    return found if isinstance(found, Invalid) else ahead(row, at) or found
