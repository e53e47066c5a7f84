"""What an attestation row proves by itself: that its reviewer signed what it says.

Whether it counts, for which frame and before which release, is the rule of `judgement`, which needs the whole session.
"""

from __future__ import annotations

from datetime import datetime

from safeloop.errors import VerificationError
from safeloop.ledger import Row, sshsig
from safeloop.ledger.trust import REVIEW_NAMESPACE, Trust
from safeloop.review.attesting.attestation import parse_statement


def misstatement(row: Row) -> str:
    """Return what an `attestation` row, of its kind's form, gets wrong about its own statement, or nothing."""
    data = row.data
    try:
        stated = parse_statement(data["statement"].encode())
        if data["signature"] is not None:
            sshsig.verify(data["signature"], REVIEW_NAMESPACE, data["statement"].encode())
    except VerificationError as error:
        return str(error)
    pairs = {
        "ledger": (stated.ledger, row.ledger), "session": (stated.session, row.session),
        "frame": (stated.digests.frame, data["frame"]), "decision": (stated.decision, data["decision"]),
        "reviewer": (stated.reviewer, data["reviewer"]), "notes": (stated.notes, data["notes"]),
    }
    wrong = [name for name, (one, other) in pairs.items() if one != other]
    return f"its statement has another {', '.join(wrong)} than its row" if wrong else ""


def is_by_pinned_reviewer(row: Row, trust: Trust) -> bool:
    """Say whether a reviewer whom the auditor pinned signed it, judged at the row's own claim of the time.

    Args:
        row: An `attestation` row without misstatement.
        trust: The auditor's pins.
    """
    if row.data["signature"] is None:
        return False
    key = sshsig.verify(row.data["signature"], REVIEW_NAMESPACE, row.data["statement"].encode())
    return key in trust.reviewer_keys(row.data["reviewer"], REVIEW_NAMESPACE, datetime.fromisoformat(row.at))
