"""Attestations: statement and row agree, and a signature that is there verifies."""

import json
import re
from dataclasses import dataclass
from typing import Any

from tests.verifier import sshsig
from tests.verifier.findings import Report
from tests.verifier.notes import BadNote, parse
from tests.verifier.rows import AT, HEX, Row
from tests.verifier.session import Session
from tests.verifier.trust import Trust

TEXTS = ("checkpoint", "ledger", "notes", "reviewer", "session")
OTHERS = ("decision", "session_head", "session_rows", "stated_at")
SUBJECTS = ("frame.txt", "SHA256SUMS", "output.txt")


class BadStatement(ValueError):
    """No statement, or one that is about something else than its row."""


@dataclass(frozen=True)
class Statement:
    """What a reviewer signed."""

    predicate: dict[str, Any]
    digests: tuple[str, ...]


@dataclass(frozen=True)
class Voice:
    """An attestation that counts: whose, when it was stated, and about what."""

    row: Row
    raw: bytes
    stated_at: str
    about: tuple[str, ...]

    @property
    def is_accept(self) -> bool:
        return self.row.data["decision"] == "accept"


def check(rows: list[Row], report: Report) -> None:
    """Report **attestation**."""
    for row in rows:
        if row.is_sound and row.is_known and row.kind == "attestation":
            try:
                _agreed(row)
            except BadStatement as error:
                report.fail(row.idx, "attestation", str(error))


def voice(session: Session, close: Row, row: Row, trust: Trust) -> Voice | None:
    """Return an attestation that counts for a release, or nothing."""
    try:
        said = _agreed(row)
        note = parse(said.predicate["checkpoint"])
    except (BadStatement, BadNote):
        return None
    signer = _signer(row)
    cut = said.predicate["session_head"], said.predicate["session_rows"]
    if signer is None or cut != (close.leaf.hex(), close.n + 1) or row.session != session.name:
        return None
    if note.origin != row.body["ledger"] or not close.idx < note.size <= row.idx:
        return None
    if not trust.may_sign(signer, row.data["reviewer"], "safeloop-review", row.at):
        return None
    return Voice(row, signer.raw, said.predicate["stated_at"], said.digests)


def _signer(row: Row) -> sshsig.Signer | None:
    if row.data["signature"] is None:
        return None
    return sshsig.verify(row.data["signature"], "safeloop-review", row.data["statement"].encode())


def _agreed(row: Row) -> Statement:
    """Return the statement of a row that agrees with it.

    Raises:
        BadStatement: It does not, or the signature that is there does not verify.
    """
    said = _statement(row.data["statement"])
    if row.data["signature"] is not None and _signer(row) is None:
        raise BadStatement("the signature does not verify")
    wanted = {key: row.data[key] for key in ("decision", "notes", "reviewer")}
    wanted |= {key: row.body[key] for key in ("ledger", "session")}
    if any(said.predicate[key] != value for key, value in wanted.items()) or said.digests[0] != row.data["frame"]:
        raise BadStatement("the statement is about something else than its row")
    return said


def _statement(text: str) -> Statement:
    """Read a statement of exactly these keys, in JCS."""
    try:
        told = json.loads(text)
        predicate = told["predicate"]
        digests = tuple(subject["digest"]["sha256"] for subject in told["subject"])
        exact = {
            "_type": "https://in-toto.io/Statement/v1", "predicateType": "urn:safeloop:human-review:v1",
            "predicate": {key: predicate[key] for key in (*TEXTS, *OTHERS)},
            "subject": [{"digest": {"sha256": one}, "name": name}
                        for name, one in zip(SUBJECTS, digests, strict=False)],
        }
        forms = [
            json.dumps(exact, sort_keys=True, separators=(",", ":"), ensure_ascii=False) == text,
            all(isinstance(predicate[key], str) for key in TEXTS), predicate["decision"] in ("accept", "reject"),
            len(digests) in (2, 3), all(_fits(HEX, one) for one in (*digests, predicate["session_head"])),
            type(predicate["session_rows"]) is int and 1 <= predicate["session_rows"] < 2**53,
            _fits(AT, predicate["stated_at"]),
        ]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise BadStatement(f"no statement: {error}") from None
    if not all(forms):
        raise BadStatement("a statement of another form")
    return Statement(predicate, digests)


def _fits(form: re.Pattern[str], value: object) -> bool:
    return isinstance(value, str) and form.fullmatch(value) is not None
