"""One file of proof, offline: what a receipt, a checkpoint and a consistency proof show, and every way to fake one."""

from __future__ import annotations

import base64
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from safeloop.ledger.consistency import render_consistency
from safeloop.ledger.ed25519 import key_id
from safeloop.ledger.keys import KeyFolder
from safeloop.ledger.merkle import root as root_of
from safeloop.ledger.note import (
    Checkpoint,
    Receipt,
    Verifier,
    parse_checkpoint,
    parse_receipt,
    render_receipt,
    sign_checkpoint,
)
from safeloop.ledger.policy import Revocation
from safeloop.ledger.proofs import consistency, receipt
from safeloop.ledger.reader import LedgerReader
from safeloop.ledger.seal import leaf
from safeloop.ledger.trust import Trust
from safeloop.review.verifying.documents import verify_document
from safeloop.review.verifying.verification import Fault, Verification, render_verification
from tests.ledger.witnessing import ONE, THREE, TIME, TWO, policy
from tests.review.attacks import Sealed, Victim, by_hand, make
from tests.review.verifying.office import names_a_step


@pytest.fixture
def victim(tmp_path: Path) -> Victim:
    return make(tmp_path)[0]


def log_of(victim: Victim) -> Verifier:
    return Verifier(victim.origin, victim.log.public)


def receipt_of(victim: Victim, idx: int = 4) -> str:
    with LedgerReader(victim.path) as reader:
        return render_receipt(receipt(reader, idx, log_of(victim)))


def forged(victim: Victim, sealed: Sealed, origin: str = "") -> str:
    """A receipt for one row of whatever content, in a tree of its own, under the real log key."""
    body, signature = sealed
    name = origin or victim.origin
    log = Verifier(name, victim.log.public)
    note = sign_checkpoint(Checkpoint(name, 1, root_of([leaf(body, signature)])), log, victim.log.sign)
    return render_receipt(Receipt(0, (), note, body, signature))


def verify(text: str | bytes, trust: Trust, *kept: str) -> Verification:
    return verify_document(text if isinstance(text, bytes) else text.encode(), trust, kept)


def reasons(found: Verification) -> str:
    assert not found.is_verified
    assert found.exit_code == 11
    assert found.proved == ()
    assert all(names_a_step(each.hint) for each in found.faults), found.faults
    return "; ".join(each.message for each in found.faults)


def test_a_receipt_proves_its_row_and_says_what_it_does_not_prove(victim: Victim) -> None:
    found = verify(receipt_of(victim), victim.trust())
    assert found.is_verified
    assert found.exit_code == 0
    assert (found.facts["row"], found.facts["kind"], found.facts["n"]) == (5, "close", 4)
    assert any("content is not in a receipt" in each for each in found.unproved)
    assert found.verdict.startswith("receipt verified; judged by `self`")
    assert render_verification(found).endswith(f"{found.verdict}\n")


def test_every_line_of_a_receipt_matters(victim: Victim) -> None:
    text, trust = receipt_of(victim), victim.trust()
    lines = text.split("\n")
    for number, line in enumerate(lines[:-1]):
        without = "\n".join(lines[:number] + lines[number + 1 :])
        assert not verify(without, trust).is_verified, f"without line {number}: {line!r}"
        if line:
            middle = len(line) // 2
            other = "A" if line[middle] != "A" else "B"
            changed = "\n".join([*lines[:number], line[:middle] + other + line[middle + 1 :], *lines[number + 1 :]])
            assert not verify(changed, trust).is_verified, f"changed line {number}: {line!r}"


@pytest.mark.parametrize("index", [0, 3, 5, 9, 10, 2**60])
def test_a_row_is_not_proved_anywhere_but_in_its_place(victim: Victim, index: int) -> None:
    moved = render_receipt(replace(parse_receipt(receipt_of(victim)), index=index))
    assert "leaf" in reasons(verify(moved, victim.trust())) or "too long" in reasons(verify(moved, victim.trust()))


def test_a_row_of_another_ledger_under_the_same_key_is_refused(victim: Victim, tmp_path: Path) -> None:
    other = Victim(tmp_path / "other.db", victim.keys)
    by_hand(other, "theirs", 1)
    # The log key of the folder signs a tree of this origin that has the other ledger's row.
    said = reasons(verify(forged(victim, other.sealed()[0]), victim.trust()))
    assert f"row 1 was written for ledger {other.origin}, and the receipt is of {victim.origin}" in said


def test_a_receipt_under_an_origin_that_is_not_pinned_says_how_to_pin_it(victim: Victim) -> None:
    found = verify(forged(victim, victim.sealed()[0], "attacker.example/log"), victim.trust())
    assert "pins no log of this origin" in reasons(found)
    assert "log VKEY" in found.faults[0].hint


def test_the_body_of_another_row_is_refused(victim: Victim) -> None:
    one, other = parse_receipt(receipt_of(victim, 4)), parse_receipt(receipt_of(victim, 9))
    assert "not in the tree" in reasons(verify(render_receipt(replace(one, body=other.body)), victim.trust()))
    swapped = replace(one, body=other.body, signature=other.signature)
    assert "not in the tree" in reasons(verify(render_receipt(swapped), victim.trust()))


@pytest.mark.parametrize("keep", [0, 1, 2])
def test_a_truncated_proof_is_refused(victim: Victim, keep: int) -> None:
    whole = parse_receipt(receipt_of(victim))
    assert len(whole.proof) > keep
    assert "not in the tree" in reasons(verify(render_receipt(replace(whole, proof=whole.proof[:keep])), victim.trust()))


def test_a_row_of_a_writer_who_is_not_pinned_is_refused(victim: Victim) -> None:
    trust = replace(victim.trust(), writers={})
    assert "is not pinned" in reasons(verify(receipt_of(victim), trust))


def test_a_revoked_writer_counts_up_to_the_row_before_and_no_further(victim: Victim) -> None:
    writer = key_id(victim.writer.public)
    trust = replace(victim.trust(), revoked=(Revocation(writer, victim.origin, 4),))
    assert verify(receipt_of(victim, 3), trust).is_verified
    assert "was revoked from row 5 on" in reasons(verify(receipt_of(victim, 4), trust))
    elsewhere = replace(trust, revoked=(Revocation(writer, "other.example/log", 0),))
    assert verify(receipt_of(victim, 4), elsewhere).is_verified


def test_a_log_key_that_was_revoked_before_this_size_is_refused(victim: Victim) -> None:
    trust = replace(victim.trust(), revoked=(Revocation(key_id(victim.log.public), victim.origin, 9),))
    assert "a checkpoint of 10 rows, signed by log key" in reasons(verify(receipt_of(victim), trust))


def test_a_row_whose_signature_is_not_its_writer_s_is_refused_though_the_log_has_it(victim: Victim) -> None:
    body, signature = victim.sealed()[0]
    broken = bytes([signature[0] ^ 1]) + signature[1:]
    assert "signature does not verify under writer" in reasons(verify(forged(victim, (body, broken)), victim.trust()))


@pytest.mark.parametrize(("change", "reason"), [
    ({"v": 2}, "version 2 is not known"),
    ({"n": -1}, "n is not an integer from 0"),
    ({"extra": 1}, "keys are not the nine"),
    ({"data": {}}, "row 1"),
])
def test_a_signed_row_that_is_not_of_the_format_is_refused(victim: Victim, change: dict[str, Any], reason: str) -> None:
    body = victim.bodies()[0] | change
    assert reason in reasons(verify(forged(victim, victim.seal(body)), victim.trust()))


def test_bytes_that_are_not_canonical_are_refused_though_signed_and_logged(victim: Victim) -> None:
    body = victim.sealed()[0][0].replace(b'{"at"', b'{ "at"', 1)
    assert "not canonical" in reasons(verify(forged(victim, victim.seal(body)), victim.trust()))


def test_a_kind_that_is_not_known_is_proved_as_bytes_and_said_to_be_that(victim: Victim) -> None:
    found = verify(forged(victim, victim.seal(victim.bodies()[0] | {"kind": "prophecy"})), victim.trust())
    assert found.is_verified
    assert any("this version does not know it" in each for each in found.unproved)
    assert not any("does not know it" in each for each in verify(receipt_of(victim), victim.trust()).unproved)


@pytest.mark.parametrize("data", [b"", b" \n\t\n", b"\xff\xfe", b"hello\n", b"old 5\n", b"c2sp.org/tlog-proof@v2\n\n", b"\n\n",
                                  b"c2sp.org/tlog-proof@v1\n", b"old \xc3\xa9\n\n", b"x" * 2_000_000])
def test_what_is_no_proof_at_all_fails_with_a_reason(victim: Victim, data: bytes) -> None:
    found = verify(data, victim.trust())
    assert reasons(found)
    assert render_verification(found).count("NOT verified") == 1


def test_a_kept_checkpoint_of_the_same_size_must_have_the_same_root(victim: Victim) -> None:
    trust = victim.trust()
    assert any("checkpoint 1 that you kept" in each for each in verify(receipt_of(victim), trust, victim.head()).proved)
    forked = sign_checkpoint(Checkpoint(victim.origin, 10, b"r" * 32), log_of(victim), victim.log.sign)
    found = verify(receipt_of(victim), trust, forked)
    assert "two histories under one key" in reasons(found)
    stranger = sign_checkpoint(Checkpoint(victim.origin, 10, b"r" * 32), log_of(victim), KeyFolder(victim.keys).writer().sign)
    assert "checkpoint 1 cannot be used" in reasons(verify(receipt_of(victim), trust, stranger))


def test_a_kept_checkpoint_of_another_size_proves_nothing_and_is_said_to(victim: Victim) -> None:
    earlier = victim.head()
    by_hand(victim, "later", 2)
    found = verify(receipt_of(victim), victim.trust(), earlier)
    assert found.is_verified
    assert any("from 10 to 12 rows" in each for each in found.unproved)


def grown(victim: Victim) -> tuple[str, str]:
    """The checkpoint of ten rows, and the proof that twelve rows continue it."""
    earlier = victim.head()
    by_hand(victim, "later", 2)
    with LedgerReader(victim.path) as reader:
        return earlier, render_consistency(consistency(reader, parse_checkpoint(earlier), None, log_of(victim)))


def test_a_consistency_proof_is_worth_something_with_the_checkpoint_that_it_begins_from_only(victim: Victim) -> None:
    earlier, proof = grown(victim)
    trust = victim.trust()
    assert verify(proof, trust, earlier).is_verified
    assert verify(proof, trust, victim.head(), earlier).is_verified
    assert "the older checkpoint, of 10 rows" in reasons(verify(proof, trust))
    assert "the older checkpoint, of 10 rows" in reasons(verify(proof, trust, victim.head()))
    other = sign_checkpoint(Checkpoint(victim.origin, 10, b"r" * 32), log_of(victim), victim.log.sign)
    assert "not one history" in reasons(verify(proof, trust, other))
    found = verify(proof, trust, earlier)
    assert found.facts == {"ledger": victim.origin, "old": 10, "size": 12}
    assert "the rows themselves: safeloop audit --checkpoint FILE, where the ledger is" in found.unproved


def test_the_older_checkpoint_is_one_of_the_same_ledger(victim: Victim) -> None:
    _, proof = grown(victim)
    theirs = Verifier("other.example/log", victim.log.public)
    trust = victim.trust()
    both = replace(trust, policy=replace(trust.policy, logs={**trust.policy.logs, theirs.name: (theirs,)}))
    foreign = sign_checkpoint(Checkpoint(theirs.name, 10, b"r" * 32), theirs, victim.log.sign)
    assert "the older checkpoint, of 10 rows" in reasons(verify(proof, both, foreign))
    assert "checkpoint 1 is of other.example/log" in reasons(verify(receipt_of(victim), both, foreign))


def test_the_newer_checkpoint_of_a_proof_is_held_against_all_that_was_kept_and_the_witnesses(victim: Victim) -> None:
    earlier, proof = grown(victim)
    fork = sign_checkpoint(Checkpoint(victim.origin, 12, b"r" * 32), log_of(victim), victim.log.sign)
    assert "two histories under one key" in reasons(verify(proof, victim.trust(), earlier, fork))
    trust = replace(victim.trust(), policy=policy("one", log_of(victim)))
    assert "demands the quorum one" in reasons(verify(proof, trust, earlier))
    assert verify(proof + ONE.line(victim.head()), trust, earlier).is_verified


def test_a_proof_from_an_empty_ledger_proves_nothing(victim: Victim) -> None:
    nothing = sign_checkpoint(Checkpoint(victim.origin, 0, root_of([])), log_of(victim), victim.log.sign)
    with LedgerReader(victim.path) as reader:
        proof = render_consistency(consistency(reader, 0, None, log_of(victim)))
    assert "from size 0 proves nothing" in reasons(verify(proof, victim.trust(), nothing))


def test_an_unsigned_end_of_a_proof_is_verified_by_a_checkpoint_that_was_kept_and_by_nothing_else(victim: Victim) -> None:
    earlier = victim.head()
    by_hand(victim, "hand", 1)
    between = victim.head()
    by_hand(victim, "hand", 2)
    with LedgerReader(victim.path) as reader:
        bare = render_consistency(consistency(reader, parse_checkpoint(earlier), 11, log_of(victim)))
    assert bare.endswith(f"\n\n{parse_checkpoint(between).text}")
    found = verify(bare, victim.trust(), earlier)
    assert "the newer checkpoint, of 11 rows, is not signed" in reasons(found)
    assert "safeloop checkpoint --since FILE" in found.faults[0].hint and "--checkpoint FILE" in found.faults[0].hint
    fork = sign_checkpoint(Checkpoint(victim.origin, 11, b"r" * 32), log_of(victim), victim.log.sign)
    for useless in (victim.head(), fork):
        assert "the newer checkpoint, of 11 rows, is not signed" in reasons(verify(bare, victim.trust(), earlier, useless))
    held = verify(bare, victim.trust(), earlier, between)
    assert held.is_verified and held.facts["size"] == 11
    assert "the older checkpoint, of 10 rows" in reasons(verify(bare, victim.trust(), between))
    assert "is not signed" in reasons(verify("old 10\n\nx", victim.trust(), earlier))


def test_a_proof_given_as_a_checkpoint_is_said_to_be_one(victim: Victim) -> None:
    earlier, proof = grown(victim)
    found = verify(receipt_of(victim), victim.trust(), proof)
    assert "checkpoint 1 cannot be used: it is a consistency proof, and no checkpoint" in reasons(found)
    assert found.faults[0].hint.startswith("verify it by itself: safeloop verify PROOF --checkpoint FILE")
    assert any("safeloop verify PROOF --checkpoint OLDER" in each
               for each in verify(victim.head(), victim.trust(), earlier).unproved)


def test_a_false_signature_of_an_older_pinned_key_is_no_unknown_key(victim: Victim) -> None:
    newer = Verifier(victim.origin, KeyFolder(victim.keys).writer().public)
    both = replace(victim.trust(), policy=replace(victim.trust().policy, logs={victim.origin: (log_of(victim), newer)}))
    assert verify(victim.head(), both).is_verified
    found = verify(victim.head().replace("\n10\n", "\n11\n"), both)
    assert "the checkpoint's signature does not verify" in reasons(found)
    assert "trust import" not in found.faults[0].hint


def test_pins_from_before_a_rotation_are_what_the_hint_speaks_of(victim: Victim) -> None:
    old = replace(victim.trust(), policy=replace(victim.trust().policy, logs={
        victim.origin: (Verifier(victim.origin, KeyFolder(victim.keys).writer().public),)}))
    for proof in (victim.head(), receipt_of(victim)):
        found = verify(proof, old)
        assert f"but one by another key of that name, {log_of(victim).key_hash.hex()}" in reasons(found)
        assert [("trust import" in each.hint, "for another" in each.hint) for each in found.faults] == [(True, False)]


def test_a_checkpoint_alone_proves_that_the_log_key_signed_it(victim: Victim) -> None:
    assert verify(victim.head(), victim.trust()).is_verified
    found = verify(victim.head(), victim.trust(), victim.head())
    assert found.is_verified
    assert found.facts == {"ledger": victim.origin, "size": 10}
    assert "the rows themselves: safeloop audit --checkpoint FILE, where the ledger is" in found.unproved
    assert reasons(verify(victim.head().replace("\n10\n", "\n11\n"), victim.trust()))


@pytest.mark.parametrize(("quorum", "witnesses", "enough"), [
    ("one", (ONE,), True), ("one", (TWO,), False), ("one", (), False), ("pair", (TWO, TWO), False),
    ("pair", (TWO, THREE), True), ("nested", (ONE, TWO, THREE), True), ("nested", (ONE, TWO), False),
])
def test_a_quorum_that_the_policy_demands_must_have_cosigned(
    victim: Victim, quorum: str, witnesses: tuple[Any, ...], enough: bool
) -> None:
    trust = replace(victim.trust(), policy=policy(quorum, log_of(victim)))
    lines = "".join(each.line(victim.head()) for each in witnesses)
    for text in (receipt_of(victim) + lines, victim.head() + lines):
        found = verify(text, trust)
        assert found.is_verified is enough
        assert enough or f"demands the quorum {quorum}" in reasons(found)
        assert verify(text, trust, victim.head()).is_verified is enough, "a note without the lines takes nothing away"
        assert not any("the policy demands no witness" in each for each in found.unproved)
        assert verify(text.removesuffix(lines) if lines else text, trust, victim.head() + lines).is_verified is enough


def test_a_cosignature_of_another_checkpoint_does_not_count(victim: Victim) -> None:
    trust = replace(victim.trust(), policy=policy("one", log_of(victim)))
    earlier = victim.head()
    by_hand(victim, "later", 1)
    replayed = verify(receipt_of(victim) + ONE.line(earlier), trust)
    assert "demands the quorum" in reasons(replayed)
    assert any("does not verify" in each for each in replayed.unproved)
    assert "demands the quorum" in reasons(verify(receipt_of(victim), trust, earlier + ONE.line(earlier)))


def test_the_time_of_a_witness_is_told_even_where_no_calendar_has_it(victim: Victim) -> None:
    trust = replace(victim.trust(), policy=policy("one", log_of(victim)))
    note = victim.head()
    told = "witness one saw the ledger of 10 rows by 2026-11-18T11:06:40Z"
    assert told in verify(note + ONE.line(note, TIME), trust).proved
    found = verify(note + ONE.line(note, 2**63 - 1), trust)
    assert any("9223372036854775807 seconds after 1970" in each for each in found.proved)


def test_a_name_that_would_write_on_the_terminal_is_shown_as_an_escape(victim: Victim) -> None:
    text = f"\x1b[31m{victim.head()}"
    assert "\x1b" not in render_verification(verify(text, victim.trust()))
    extra = base64.b64encode(b"\x1b[2J" * 20).decode()
    assert "\x1b" not in render_verification(verify(f"c2sp.org/tlog-proof@v1\nextra {extra}\nindex 0\n\n", victim.trust()))


def test_where_no_witness_is_demanded_a_split_view_is_not_excluded_and_that_is_said(victim: Victim) -> None:
    words = "that everybody is shown this same ledger: the policy demands no witness"
    assert words in verify(receipt_of(victim), victim.trust()).unproved


def test_with_a_fault_nothing_is_verified_and_with_nothing_proved_neither() -> None:
    fault = Fault("it is false", "safeloop verify")
    for faults, proved, verified in (((), ("it holds",), True), ((fault,), ("it holds",), False), ((), (), False)):
        found = Verification("receipt", {}, faults, proved, (), path="a\x1bb")
        assert (found.is_verified, found.exit_code) == (verified, 0 if verified else 11)
    assert Verification("file", {}, (fault,), (), ()).verdict == "file NOT verified (1 reason)"
    assert Verification("file", {}, (fault,) * 2, (), (), path="a\x1bb").verdict == (
        "a\\u{1b}b: file NOT verified (2 reasons)"
    )


def test_json_says_the_same(victim: Victim) -> None:
    good, bad = verify(receipt_of(victim), victim.trust()).as_json(), verify("", victim.trust()).as_json()
    assert (good["verified"], good["exit_code"], good["subject"], good["row"], good["faults"]) == (True, 0, "receipt", 5, [])
    assert (bad["verified"], bad["exit_code"], bad["subject"], bad["proved"]) == (False, 11, "file", [])
