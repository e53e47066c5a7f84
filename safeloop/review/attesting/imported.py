"""Attestations of the tutorial as unsigned ones of ours: they say who said what when, and count for nothing."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from safeloop.errors import EncodingError
from safeloop.ledger.kinds import name, notes
from safeloop.ledger.rows import timestamp
from safeloop.ledger.visible import visible
from safeloop.review.attesting.attestation import Digests, Statement, statement


def imported_attestation(
    ledger: str, session: str, old: Mapping[str, object], session_head: str, session_rows: int
) -> dict[str, Any] | None:
    """Return the data of an `attestation` row but for its `frame_text`; None if a row cannot say it.

    Args:
        ledger: The origin.
        session: The session's id in this ledger.
        old: The tutorial's row: `reviewer`, `attested_at`, `notes`, `frame_hash`.
        session_head: Leaf of the session's last row before any attestation, hex.
        session_rows: Rows up to that one.
    """
    reviewer, words, frame = old["reviewer"], old["notes"] or "", old["frame_hash"]
    at = _timestamp(old["attested_at"])
    if not (isinstance(reviewer, str) and isinstance(words, str) and isinstance(frame, str)) or at is None:
        return None
    said = Statement(
        Digests(frame, hashlib.sha256(b"").hexdigest(), None), "", "accept", ledger, words, visible(reviewer), session,
        session_head, session_rows, at,
    )
    try:
        stated = statement(said).decode()
    except EncodingError:
        return None
    if not (name(said.reviewer) and notes(words)):
        return None
    return {"decision": said.decision, "reviewer": said.reviewer, "frame": frame, "notes": words, "statement": stated,
            "signature": None}


def _timestamp(text: object) -> str | None:
    """Return a time of the tutorial's in the form of ours; without a zone it was UTC."""
    try:
        found = datetime.fromisoformat(text) if isinstance(text, str) else None
        if found is None:
            return None
        return timestamp(found.replace(tzinfo=found.tzinfo or UTC).astimezone(UTC))
    except (ValueError, OverflowError):
        return None
