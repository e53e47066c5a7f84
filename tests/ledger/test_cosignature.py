"""Cosignatures and quorums: C2SP's bytes, agreed with by others, and nothing that only looks like a witness."""

from __future__ import annotations

import base64
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
import tlog_scales.signing as scales_signing
import tlog_scales.tlog as scales
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from hypothesis import given
from hypothesis import strategies as st

from safeloop.errors import ProofError
from safeloop.ledger.cosignature import Cosignature, cosigned, has_quorum
from safeloop.ledger.note import Verifier
from safeloop.ledger.policy import parse_policy
from tests.ledger.making import vector
from tests.ledger.witnessing import ONE, TIME, TWO, SigningWitness, policy, policy_text

NOTE = vector("checkpoint-13.txt")
OTHER = vector("checkpoint-41.txt")


def names(note: str, quorum: str = "one") -> list[str]:
    return [each.witness for each in cosigned(note, policy(quorum)).valid]


def test_a_cosignature_says_who_saw_it_and_when() -> None:
    found = cosigned(NOTE + TWO.line(NOTE) + ONE.line(NOTE, TIME + 5), policy("one"))
    assert found.valid == (Cosignature("one", TIME + 5), Cosignature("two", TIME))
    assert found.faults == ()


def test_what_is_verified_here_is_verified_by_an_independent_library_too() -> None:
    theirs = scales.Checkpoint.from_text(NOTE + ONE.line(NOTE))
    theirs.verify(scales_signing.Vkey.from_string(ONE.vkey))
    assert names(NOTE + ONE.line(NOTE)) == ["one"]


def test_a_cosignature_by_openssl_verifies(tmp_path: Path) -> None:
    key, message, signature = tmp_path / "key.pem", tmp_path / "message", tmp_path / "signature"
    key.write_bytes(ONE.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    message.write_text(f"cosignature/v1\ntime {TIME}\n" + NOTE.rpartition("\n\n")[0] + "\n")
    command = ["openssl", "pkeyutl", "-sign", "-rawin", "-inkey", key, "-in", message, "-out", signature]
    subprocess.run(command, check=True, capture_output=True)
    assert names(NOTE + ONE.raw_line(TIME.to_bytes(8, "big") + signature.read_bytes())) == ["one"]


def test_a_note_with_umlauts_in_a_witness_s_name_is_signed_over_bytes() -> None:
    witness = SigningWitness(21, "zeugin.exämple/ü")
    pinned = parse_policy(f"witness zeugin {witness.vkey}\nquorum zeugin\n")
    assert [each.witness for each in cosigned(NOTE + witness.line(NOTE), pinned).valid] == ["zeugin"]


@pytest.mark.parametrize(("line", "reason"), [
    (ONE.line(OTHER), "does not verify"),
    (ONE.line(NOTE, TIME, signed_time=TIME - 60), "does not verify"),
    (ONE.line(NOTE, 0), "states the time 0"),
    (ONE.line(NOTE, 2**63), "states the time 9223372036854775808"),
    (ONE.line(NOTE, header="cosignature/v2"), "does not verify"),
    (ONE.line(NOTE, header="subtree/v1"), "does not verify"),
    (ONE.raw_line(ONE.key.sign(NOTE.rpartition("\n\n")[0].encode() + b"\n")), "has 64 bytes, not 72"),
    (ONE.raw_line(bytes(8)), "has 8 bytes, not 72"),
    (ONE.raw_line(TIME.to_bytes(8, "big") + bytes(64) + b"x"), "has 73 bytes, not 72"),
    (ONE.raw_line(TIME.to_bytes(8, "big") + bytes(64)), "does not verify"),
])
def test_a_line_in_a_pinned_witness_s_name_that_is_not_its_cosignature_of_this_note_is_named(
    line: str, reason: str
) -> None:
    found = cosigned(NOTE + line, policy("one"))
    assert found.valid == ()
    assert found.faults[0].startswith(f"the cosignature of one {reason}")
    assert not has_quorum(policy("one"), names(NOTE + line))


def test_lines_of_strangers_and_of_the_log_are_passed_over_without_a_word() -> None:
    stranger, namesake = SigningWitness(99, "stranger.example"), SigningWitness(98, ONE.name)
    assert cosigned(NOTE + stranger.line(NOTE) + namesake.line(NOTE), policy("one")) == cosigned(NOTE, policy("one"))
    assert cosigned(NOTE, policy("one")).faults == ()


def test_a_witness_counts_once_by_its_latest_time_and_a_bad_line_beside_a_good_one_does_no_harm() -> None:
    found = cosigned(NOTE + ONE.line(NOTE) + ONE.line(NOTE, TIME + 9) + ONE.line(OTHER), policy("one"))
    assert found.valid == (Cosignature("one", TIME + 9),)
    assert found.faults == ("the cosignature of one does not verify",)


def test_a_log_s_own_key_is_no_witness_whatever_the_policy_calls_it() -> None:
    log = Verifier("example.org/log", ONE.key.public_key().public_bytes_raw())
    found = cosigned(NOTE + ONE.line(NOTE), policy("one", log))
    assert found.valid == ()
    assert found.faults == ("the cosignature of one is by a log's own key, which is no witness",)
    assert names(NOTE + ONE.line(NOTE)) == ["one"]


def test_the_log_s_signature_type_cannot_be_taken_for_a_cosignature() -> None:
    key = Ed25519PrivateKey.from_private_bytes(bytes([11]) * 32)
    as_log = Verifier(ONE.name, key.public_key().public_bytes_raw())
    assert as_log.key_hash != ONE.key_hash


@pytest.mark.parametrize(("quorum", "present", "enough"), [
    ("none", [], True),
    ("one", ["one"], True), ("one", ["two", "three"], False), ("one", [], False),
    ("pair", ["two", "three"], True), ("pair", ["two"], False), ("pair", ["two", "two", "one"], False),
    ("nested", ["one", "two", "three"], True), ("nested", ["one", "two"], False), ("nested", ["two", "three"], False),
    ("nested", ["nested"], False), ("pair", ["pair"], False),
])
def test_a_quorum_counts_pinned_witnesses_once_each(quorum: str, present: list[str], enough: bool) -> None:
    assert has_quorum(policy(quorum), present) is enough


def test_a_quorum_that_the_policy_does_not_define_is_never_met() -> None:
    assert not has_quorum(replace(policy("one"), quorum="ghost"), ["one", "two", "three", "ghost"])


def test_groups_as_deep_as_a_policy_can_be_are_counted() -> None:
    lines = ["group g0 any one"] + [f"group g{depth} any g{depth - 1}" for depth in range(1, 5_000)]
    text = policy_text("none").replace("group pair", "\n".join(lines) + "\ngroup pair").replace(
        "group nested all one pair\n", "").replace("quorum none", "quorum g4999")
    deep = parse_policy(text)
    assert has_quorum(deep, ["one"])
    assert not has_quorum(deep, ["two"])


@given(time=st.integers(1, 2**63 - 1), flip=st.integers(0, 72 * 8 - 1))
def test_one_flipped_bit_of_time_or_signature_undoes_it(time: int, flip: int) -> None:
    good = ONE.line(NOTE, time)
    assert cosigned(NOTE + good, policy("one")).valid == (Cosignature("one", time),)
    payload = bytearray(base64.b64decode(good.split(" ")[2])[4:])
    payload[flip // 8] ^= 1 << flip % 8
    assert cosigned(NOTE + ONE.raw_line(bytes(payload)), policy("one")).valid == ()


@pytest.mark.parametrize("time", [1, 2**63 - 1])
def test_the_first_and_the_last_second_that_there_is_count(time: int) -> None:
    assert cosigned(NOTE + ONE.line(NOTE, time), policy("one")).valid == (Cosignature("one", time),)


def test_what_is_no_note_has_no_cosignatures() -> None:
    with pytest.raises(ProofError):
        cosigned("not a note", policy("one"))
