"""What a reviewer signs: an in-toto Statement v1 over the frame, `SHA256SUMS` and the output.

    {"_type":"https://in-toto.io/Statement/v1","predicate":{...},"predicateType":"urn:safeloop:human-review:v1",...}

Exact bytes: RFC 8785 (JCS), no newline at the end. The keys are ASCII and the only numbers are counts, so that
Python's own `json` is exact; the ledger's encoder is not used because its keys have no upper case.

The subjects are documents of the review, named as they lie beside each other in an export or a proof bundle:
`frame.txt`, `SHA256SUMS`, and `output.txt` with the model's last answer, if there is one. A staged file that has
one of these names is none of them: staged files are named in `SHA256SUMS` and nowhere else.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any

from safeloop.errors import EncodingError
from safeloop.ledger import Row
from safeloop.ledger.encoding import MAX_BODY_BYTES, MAX_INTEGER

STATEMENT_TYPE = "https://in-toto.io/Statement/v1"
PREDICATE_TYPE = "urn:safeloop:human-review:v1"
FRAME, SUMS, OUTPUT = "frame.txt", "SHA256SUMS", "output.txt"
DECISIONS = ("accept", "reject")

_HEX = re.compile(r"[0-9a-f]{64}\Z")
_AT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z\Z", re.ASCII)
_TEXTS = ("checkpoint", "ledger", "notes", "reviewer", "session")


@dataclass(frozen=True, slots=True)
class Digests:
    """SHA-256 of the subjects, hex; `output` is None where the session has none."""

    frame: str
    sums: str
    output: str | None


@dataclass(frozen=True, slots=True)
class Statement:
    """What a reviewer states.

    Attributes:
        digests: Of what they looked at.
        checkpoint: The ledger's head when the frame was rendered, a signed note.
        decision: `accept` or `reject`.
        session_head: Leaf of the row at the cut, hex.
        session_rows: Rows of the session up to the cut, that one included.
        stated_at: The reviewer's clock, in the form of a row's `at`.
    """

    digests: Digests
    checkpoint: str
    decision: str
    ledger: str
    notes: str
    reviewer: str
    session: str
    session_head: str
    session_rows: int
    stated_at: str


@dataclass(frozen=True, slots=True)
class AttestationResult:
    """An `attestation` row in the tutorial's names.

    Attributes:
        id: The row's number, from 1.
        attested_at: The time of the row: the writer's claim.
        frame_hash: SHA-256 of the frame, hex.
    """

    id: int
    session_id: str
    reviewer: str
    attested_at: str
    notes: str
    frame_hash: str

    @classmethod
    def of(cls, row: Row) -> AttestationResult:
        """Take the fields of an `attestation` row."""
        data = row.data
        return cls(row.id, row.session, data["reviewer"], row.at, data["notes"], data["frame"])


def statement(stated: Statement) -> bytes:
    """Return the exact bytes that are signed.

    Raises:
        EncodingError: A value that no statement can hold.
    """
    subjects = [(FRAME, stated.digests.frame), (SUMS, stated.digests.sums)]
    if stated.digests.output is not None:
        subjects.append((OUTPUT, stated.digests.output))
    predicate = {
        "checkpoint": stated.checkpoint, "decision": stated.decision, "ledger": stated.ledger,
        "notes": stated.notes, "reviewer": stated.reviewer, "session": stated.session,
        "session_head": stated.session_head, "session_rows": stated.session_rows, "stated_at": stated.stated_at,
    }
    _check(predicate, subjects)
    return _encode({
        "_type": STATEMENT_TYPE,
        "predicate": predicate,
        "predicateType": PREDICATE_TYPE,
        "subject": [{"digest": {"sha256": digest}, "name": name} for name, digest in subjects],
    })


def parse_statement(data: bytes) -> Statement:
    """Read a statement strictly: these keys, these types, and exactly these bytes.

    Raises:
        EncodingError: Anything else.
    """
    if len(data) > MAX_BODY_BYTES:
        raise EncodingError(f"a statement of {len(data)} bytes, more than {MAX_BODY_BYTES}")
    try:
        value = json.loads(data)
        found = _read(value)
    except (ValueError, RecursionError):  # not UTF-8 and not JSON are ValueErrors both
        raise EncodingError("the statement is not JSON") from None
    except (KeyError, TypeError, IndexError):
        raise EncodingError("the statement lacks a part of an in-toto Statement v1 over a review") from None
    # What was left unread, or written in another way, shows in the bytes.
    if statement(found) != data:
        raise EncodingError("the statement is not in its canonical form: other keys, order, spaces or escapes")
    return found


def _read(value: Any) -> Statement:
    predicate = value["predicate"]
    digests = [subject["digest"]["sha256"] for subject in value["subject"]]
    return Statement(
        Digests(digests[0], digests[1], digests[2] if len(digests) > 2 else None),
        predicate["checkpoint"], predicate["decision"], predicate["ledger"], predicate["notes"],
        predicate["reviewer"], predicate["session"], predicate["session_head"], predicate["session_rows"],
        predicate["stated_at"],
    )


def _check(predicate: dict[str, Any], subjects: list[tuple[str, Any]]) -> None:
    forms = {
        **{key: _is_text(predicate[key]) for key in _TEXTS},
        "decision": predicate["decision"] in DECISIONS,
        "session_head": _matches(_HEX, predicate["session_head"]),
        "session_rows": type(predicate["session_rows"]) is int and 1 <= predicate["session_rows"] <= MAX_INTEGER,
        "stated_at": _matches(_AT, predicate["stated_at"]),
        **{name: _matches(_HEX, digest) for name, digest in subjects},
    }
    wrong = [key for key, right in forms.items() if not right]
    if wrong:
        raise EncodingError(f"a statement's {', '.join(wrong)} is not of its form")


def _matches(form: re.Pattern[str], value: object) -> bool:
    return isinstance(value, str) and form.match(value) is not None


def _is_text(value: object) -> bool:
    """Say whether this is text that a row can hold: without U+0000 and lone surrogates."""
    return isinstance(value, str) and not any(each == "\0" or "\ud800" <= each <= "\udfff" for each in value)


def _encode(value: object) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()
