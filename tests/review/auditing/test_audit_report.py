"""What an audit says: its two verdicts, its words, its JSON, and what it makes of attestations."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from safeloop.ledger import sshsig
from safeloop.ledger.content import TEXT
from safeloop.ledger.trust import REVIEW_NAMESPACE, add_reviewer
from safeloop.review.attesting.attestation import Digests, Statement, statement
from safeloop.review.auditing.findings import Rule, finding
from safeloop.review.auditing.verdict import AuditReport, render_report
from tests.review.attacks import Draft, Ledger, Session, Victim, by_hand, found, make, set_signature

FRAME = b"safeloop frame v1\n"


def stated(victim: Victim, of: Session, /, **changes: Any) -> Statement:
    digests = Digests(hashlib.sha256(FRAME).hexdigest(), "1" * 64, None)
    honest = Statement(
        digests, victim.head(), "accept", victim.origin, "read it", "alice@example.org", of.id,
        of.rows[-1].leaf, len(of.rows), "2026-11-21T07:00:00.000000Z",
    )
    return replace(honest, **changes)


def attest(victim: Victim, words: bytes, signature: str | None, **changes: Any) -> None:
    """Append an attestation row, with whatever it says beside its statement."""
    ledger = Ledger(victim.path, keys=victim.keys)
    frame = ledger.content(FRAME, TEXT)
    data = {
        "decision": "accept", "reviewer": "alice@example.org", "frame": hashlib.sha256(FRAME).hexdigest(),
        "frame_text": frame.commitment, "notes": "read it", "statement": words.decode(), "signature": signature,
    }
    ledger.append(lambda view: [Draft("alpha", "attestation", data | changes, (frame,))])
    ledger.close()


def public(key: Ed25519PrivateKey) -> str:
    return key.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()


def test_an_attestation_by_a_pinned_reviewer_passes_without_a_word(tmp_path: Path) -> None:
    victim, alpha, _ = make(tmp_path)
    key = Ed25519PrivateKey.generate()
    words = statement(stated(victim, alpha))
    attest(victim, words, sshsig.sign(key, REVIEW_NAMESPACE, words))
    report = victim.audit()
    assert found(report) == []
    assert any("1 attestation not signed by a reviewer pinned" in note for note in report.notes)
    add_reviewer(victim.keys / "self", "alice@example.org", public(key))
    assert not any("attestation" in note for note in victim.audit().notes)


def test_an_unsigned_attestation_is_a_note(tmp_path: Path) -> None:
    victim, alpha, _ = make(tmp_path)
    attest(victim, statement(stated(victim, alpha)), None)
    report = victim.audit()
    assert found(report) == []
    assert any("1 attestation not signed" in note for note in report.notes)


@pytest.mark.parametrize(("change", "words"), [
    ({"session": "beta"}, "another session than its row"), ({"ledger": "example.org/log"}, "another ledger"),
    ({"decision": "reject"}, "another decision"), ({"reviewer": "mallory"}, "another reviewer"),
    ({"notes": ""}, "another notes"), ({"digests": Digests("2" * 64, "1" * 64, None)}, "another frame"),
])
def test_an_attestation_moved_or_embellished_is_found(tmp_path: Path, change: dict[str, Any], words: str) -> None:
    victim, alpha, _ = make(tmp_path)
    key = Ed25519PrivateKey.generate()
    said = statement(stated(victim, alpha, **change))
    attest(victim, said, sshsig.sign(key, REVIEW_NAMESPACE, said))
    report = victim.audit()
    assert found(report) == [("attestation", 11)]
    assert words in report.findings[0].message


def test_a_signature_for_another_purpose_or_text_is_found(tmp_path: Path) -> None:
    victim, alpha, _ = make(tmp_path)
    key = Ed25519PrivateKey.generate()
    words = statement(stated(victim, alpha))
    attest(victim, words, sshsig.sign(key, "safeloop-approval", words))
    attest(victim, words, sshsig.sign(key, REVIEW_NAMESPACE, words + b" "))
    attest(victim, words, "no signature at all")
    attest(victim, b"no statement at all", None)
    assert found(victim.audit()) == [("attestation", row) for row in (11, 12, 13, 14)]


def test_a_person_reads_row_rule_remedy_and_the_verdict_last(tmp_path: Path) -> None:
    victim, _, _ = make(tmp_path)
    set_signature(victim.path, 6, bytes(64))
    report = replace(victim.audit(), is_self=False, notes=())
    writer = victim.writer.key_id[:8]
    assert render_report(report) == (
        f"row 7: signature does not verify under writer {writer}\n"
        "  rule: each row is signed by a pinned writer    hint: compare with a backup: safeloop log beta --json\n"
        "record FAIL (1 finding), the other 9 rows stand\n"
    )


def test_gaps_and_notes_are_told_before_the_verdict(tmp_path: Path) -> None:
    victim, _, _ = make(tmp_path)
    by_hand(victim, "hand", 1)
    lines = render_report(victim.audit(checkpoints=[victim.head()])).splitlines()
    assert lines[0] == "not checked: 1 session ungoverned: hand"
    assert lines[1] == "  rule: sessions are opened by a loop, inside ceilings    hint: safeloop review hand"
    assert lines[2].startswith("note: no state of this ledger")
    assert lines[3] == (
        "record PASS, 11 rows stand; INCOMPLETE (1 gap); judged by `self`, the keys that this machine pinned for itself"
    )


def report_of(*findings: str, rows: int = 3, standing: int = 3) -> AuditReport:
    faults = tuple(finding(Rule.SIGNATURE, words) for words in findings)
    return AuditReport("example.org/log", rows, None, rows, standing, faults, (), (), is_self=False)


def test_the_verdict_says_what_is_left_standing() -> None:
    assert report_of().verdict == "record PASS, 3 rows stand"
    assert report_of(rows=1, standing=1).verdict == "record PASS, 1 row stands"
    assert report_of("one").verdict == "record FAIL (1 finding); by their own signatures 3 rows stand"
    assert report_of("one", "two", standing=1).verdict == "record FAIL (2 findings), the other 1 row stands"
    assert report_of("one", standing=0).verdict == "record FAIL (1 finding), no row stands"


def test_hostile_text_cannot_steer_the_terminal() -> None:
    text = render_report(report_of("row 1: \x1b[2J\u202e\nrecord PASS"))
    assert "\x1b" not in text
    assert "\u202e" not in text
    assert text.count("\n") == 3


def test_json_says_the_same_and_is_versioned(tmp_path: Path) -> None:
    victim, _, _ = make(tmp_path)
    by_hand(victim, "hand", 1)
    set_signature(victim.path, 6, bytes(64))
    report = victim.audit(session=None)
    value = json.loads(json.dumps(report.as_json()))
    assert list(value) == [
        "version", "ledger", "size", "session", "record", "completeness", "tree", "since", "rows", "rows_standing", "findings", "gaps",
        "notes", "self", "verdict", "exit_code",
    ]
    assert value["findings"] == [{
        "rule": "signature", "row": 7, "session": "beta", "message": report.findings[0].message,
        "remedy": "compare with a backup: safeloop log beta --json",
    }]
    assert value["gaps"][0]["rule"] == "ungoverned"
    assert (value["version"], value["exit_code"]) == (1, 11)
    assert (value["record"], value["completeness"]) == ("FAIL", "INCOMPLETE")
    assert (value["rows"], value["rows_standing"], value["self"], value["ledger"]) == (11, 10, True, victim.origin)
    assert value["notes"] == list(report.notes)
    assert value["verdict"] == report.verdict


@pytest.mark.parametrize("rule", Rule)
def test_every_rule_has_a_sentence_and_a_remedy_that_names_the_session_if_it_can(rule: Rule) -> None:
    named, unnamed = finding(rule, "words", session="alpha"), finding(rule, "words")
    assert rule.sentence
    assert named.remedy
    assert "{" not in named.remedy + unnamed.remedy
    assert ("alpha" in named.remedy) == ("SESSION" in unnamed.remedy)
