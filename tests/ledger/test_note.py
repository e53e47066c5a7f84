"""Checkpoints, verifier keys and receipts: byte for byte the vectors, and nothing that only looks like them."""

from __future__ import annotations

import base64
import hashlib
import json
import time
from dataclasses import replace

import pytest
import tlog_scales.signing as scales_signing
import tlog_scales.tlog as scales
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from safeloop.errors import KeyUnusable, ProofError, SafeloopError, SignatureMismatch
from safeloop.ledger import ed25519, merkle, note
from safeloop.ledger.note import Checkpoint, Receipt, Verifier
from tests.ledger.making import vector

LOG = Ed25519PrivateKey.from_private_bytes(bytes.fromhex(vector("log_seed.hex").strip()))
ORIGIN = "vectors.example/ledger-1"
VERIFIER = Verifier(ORIGIN, LOG.public_key().public_bytes_raw())
ROOTS = [bytes.fromhex(root) for root in json.loads(vector("tree.json"))["roots"]]
SIZES = (0, 1, 13, 41)
NOTE = vector("checkpoint-13.txt")


def signed(text: str, name: str = ORIGIN, key: Ed25519PrivateKey = LOG) -> str:
    """Sign any text as a note, well-formed or not."""
    verifier = Verifier(name, key.public_key().public_bytes_raw())
    signature = base64.b64encode(verifier.key_hash + key.sign(text.encode())).decode()
    return f"{text}\n— {name} {signature}\n"


@pytest.mark.parametrize("size", SIZES)
def test_the_checkpoints_of_the_vectors_are_signed_byte_for_byte(size: int) -> None:
    assert note.sign_checkpoint(Checkpoint(ORIGIN, size, ROOTS[size]), VERIFIER, LOG.sign) == vector(
        f"checkpoint-{size}.txt"
    )


@pytest.mark.parametrize("size", SIZES)
def test_the_checkpoints_of_the_vectors_verify_here_and_elsewhere(size: int) -> None:
    text = vector(f"checkpoint-{size}.txt")
    assert note.verify_checkpoint(text, VERIFIER) == Checkpoint(ORIGIN, size, ROOTS[size])
    theirs = scales.Checkpoint.from_text(text)
    theirs.verify(scales_signing.Vkey.from_string(vector("log.vkey").strip()))
    assert (theirs.origin, theirs.size, theirs.root_hash) == (ORIGIN, size, ROOTS[size])


def test_a_checkpoint_signed_elsewhere_verifies_here() -> None:
    signer = scales_signing.PlainEd25519Signer(ORIGIN, LOG)
    text = scales.Checkpoint.make_signed(ORIGIN, 7, b"r" * 32, [signer]).serialize()
    assert note.verify_checkpoint(text, VERIFIER) == Checkpoint(ORIGIN, 7, b"r" * 32)


def test_the_verifier_key_is_the_vector_s_both_ways() -> None:
    text = vector("log.vkey").strip()
    assert VERIFIER.vkey == text
    assert note.parse_vkey(text) == VERIFIER
    assert scales_signing.Vkey.from_string(text).serialize() == text


@pytest.mark.parametrize("key", json.loads(vector("small_order_keys.json"))["public_keys_hex"])
def test_a_key_of_small_order_is_no_verifier_by_any_way_in(key: str) -> None:
    raw = bytes.fromhex(key)
    with pytest.raises(KeyUnusable):
        Verifier(ORIGIN, raw)
    typed = b"\x01" + raw
    key_hash = hashlib.sha256(ORIGIN.encode() + b"\n" + typed).hexdigest()[:8]
    with pytest.raises(KeyUnusable):
        note.parse_vkey(f"{ORIGIN}+{key_hash}+{base64.b64encode(typed).decode()}")


def test_one_signature_under_a_small_order_key_would_have_opened_every_note() -> None:
    small = json.loads(vector("small_order_keys.json"))
    raw = bytes.fromhex(small["public_keys_hex"][0])
    forged = bytes.fromhex(small["signature_that_verifies_for_any_message_under_the_first"])
    assert not ed25519.verify(raw, forged, b"anything")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "not a verifier key"),
        ("name", "not a verifier key"),
        ("name+10f2d4c1", "not a verifier key"),
        ("name+10f2d4c1+!!", "not base64"),
        ("name+10f2d4c1+AQ==", "not Ed25519"),
        (VERIFIER.vkey.replace("+Ae", "+Be"), "not Ed25519"),
        (VERIFIER.vkey.replace("+10f2d4c1", "+00000000"), "hash"),
        (VERIFIER.vkey.replace("+10f2d4c1", "+10F2D4C1"), "hash"),
        (VERIFIER.vkey.replace(ORIGIN, "other.example/x"), "hash"),
        (VERIFIER.vkey.replace(ORIGIN, ""), "no space"),
        (VERIFIER.vkey.replace(ORIGIN, "a b"), "no space"),
        (VERIFIER.vkey.replace(ORIGIN, "a\u2003b"), "no space"),
        (VERIFIER.vkey.replace(ORIGIN, "a\x01b"), "no space"),
        (VERIFIER.vkey.replace(ORIGIN, "a\ud800b"), "no space"),
        (VERIFIER.vkey + "\n", "not canonical base64|not base64"),
        (VERIFIER.vkey + "é", "not base64"),
    ],
)
def test_a_verifier_key_with_anything_wrong_is_refused(text: str, reason: str) -> None:
    with pytest.raises(ProofError, match=reason):
        note.parse_vkey(text)


def test_a_verifier_of_the_wrong_length_is_refused() -> None:
    with pytest.raises(KeyUnusable, match="33"):
        Verifier(ORIGIN, b"k" * 33)


def test_a_note_may_carry_signatures_of_strangers() -> None:
    stranger = signed(Checkpoint(ORIGIN, 13, ROOTS[13]).text, "witness.example/w", Ed25519PrivateKey.generate())
    both = NOTE + stranger.rpartition("\n\n")[2]
    assert note.verify_checkpoint(both, VERIFIER).size == 13


def test_a_second_line_under_the_same_key_must_verify_too() -> None:
    line = NOTE.rpartition("\n\n")[2]
    bad = line[:-12] + ("A" if line[-12] != "A" else "B") + line[-11:]
    with pytest.raises(SignatureMismatch, match="does not verify"):
        note.verify_checkpoint(NOTE + bad, VERIFIER)


def test_only_strangers_signatures_are_no_signature() -> None:
    text = Checkpoint(ORIGIN, 13, ROOTS[13]).text
    with pytest.raises(SignatureMismatch, match="no signature by the key"):
        note.verify_checkpoint(signed(text, "witness.example/w", Ed25519PrivateKey.generate()), VERIFIER)
    with pytest.raises(SignatureMismatch, match="no signature by the key"):
        note.verify_checkpoint(signed(text, ORIGIN, Ed25519PrivateKey.generate()), VERIFIER)


def test_another_log_s_checkpoint_does_not_pass_under_this_key() -> None:
    text = Checkpoint("other.example/log", 13, ROOTS[13]).text
    with pytest.raises(ProofError, match="is of 'other.example/log'"):
        note.verify_checkpoint(signed(text), VERIFIER)


@given(st.integers(0, len(NOTE.encode()) * 8 - 1))
def test_a_flipped_bit_anywhere_in_a_note_is_found(bit: int) -> None:
    changed = bytearray(NOTE.encode())
    changed[bit // 8] ^= 1 << bit % 8
    try:
        text = bytes(changed).decode()
    except UnicodeDecodeError:
        return
    with pytest.raises((ProofError, SignatureMismatch)):
        note.verify_checkpoint(text, VERIFIER)


@given(st.text(st.characters()) | st.text(st.sampled_from("— \n+ab1=/\x00é\ud800"), max_size=60))
def test_arbitrary_text_is_refused_as_what_it_is_not(text: str) -> None:
    for read in (note.parse_checkpoint, note.parse_receipt, note.parse_vkey):
        with pytest.raises(SafeloopError):
            read(text)
    with pytest.raises(SafeloopError):
        note.parse_checkpoint(f"{NOTE.rpartition(chr(10))[0]}{text}\x00")


ROOT64 = base64.b64encode(ROOTS[13]).decode()


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (NOTE.rstrip("\n"), "no final newline"),
        (NOTE + "\n", "no final newline|no empty line|signature line"),
        (NOTE.replace("\n\n", "\n"), "no empty line"),
        (NOTE.replace("—", "-"), "signature line"),
        (NOTE.replace("— ", "—"), "signature line"),
        (NOTE.replace(f"— {ORIGIN} ", f"— {ORIGIN}"), "signature line"),
        (NOTE.replace(f"— {ORIGIN}", "— a+b"), "signature line"),
        (NOTE.rpartition(" ")[0] + " AAAA\n", "signature line"),
        (NOTE.rpartition(" ")[0] + " A\n", "signature is not base64"),
        (NOTE.replace("\n", "\r\n"), "no empty line"),
        (signed(f"{ORIGIN}\n13\n{ROOT64}\nextension\n"), "extension lines"),
        (signed(f"{ORIGIN}\n13\n"), "three lines"),
        (signed(f"{ORIGIN}\n13\n{ROOT64}"), "no empty line"),
        (signed(f"\n13\n{ROOT64}\n"), "three lines"),
        (signed(f"{ORIGIN}\n013\n{ROOT64}\n"), "not a decimal"),
        (signed(f"{ORIGIN}\n+13\n{ROOT64}\n"), "not a decimal"),
        (signed(f"{ORIGIN}\n-1\n{ROOT64}\n"), "not a decimal"),
        (signed(f"{ORIGIN}\n1 \n{ROOT64}\n"), "not a decimal"),
        (signed(f"{ORIGIN}\n١٣\n{ROOT64}\n"), "not a decimal"),
        (signed(f"{ORIGIN}\n{'9' * 20}\n{ROOT64}\n"), "not a decimal"),
        (signed(f"{ORIGIN}\n13\n{ROOT64[:-1]}\n"), "root is not base64"),
        (signed(f"{ORIGIN}\n13\n{ROOT64[:-2]}1=\n"), "canonical base64"),
        (signed(f"{ORIGIN}\n13\nAAAA\n"), "not 32 bytes"),
        (signed(f"{ORIGIN}\t\n13\n{ROOT64}\n"), "control characters"),
        ("a" * 1_000_001, "more than 1000000"),
    ],
)
def test_a_note_that_departs_from_the_form_is_refused(text: str, reason: str) -> None:
    with pytest.raises(ProofError, match=reason):
        note.parse_checkpoint(text)


def test_a_note_of_exactly_the_limit_and_a_signature_of_one_byte_are_read() -> None:
    line = "\n\n— a AAAAAAA=\n"
    text = "x" * (1_000_000 - len(line))
    assert note.split_note(text + line) == (text + "\n", [("a", bytes(5))])
    with pytest.raises(ProofError, match="more than 1000000"):
        note.split_note("x" + text + line)


def test_whether_a_key_signed_a_note_is_asked_of_the_signature_and_the_origin() -> None:
    stranger = Verifier(ORIGIN, Ed25519PrivateKey.generate().public_key().public_bytes_raw())
    assert note.has_signature(NOTE, VERIFIER)
    for text, key in ((NOTE, stranger), (NOTE.replace("13", "14"), VERIFIER), ("", VERIFIER),
                      (NOTE, Verifier("other.example/x", VERIFIER.public))):
        assert not note.has_signature(text, key)


def test_one_good_line_thousands_of_times_is_verified_once() -> None:
    many = NOTE + NOTE.rpartition("\n\n")[2] * 7_500
    began = time.process_time()
    note.parse_checkpoint(many)
    read = time.process_time()
    assert note.verify_checkpoint(many, VERIFIER).size == 13
    # Reading it is some 20 milliseconds; to verify each line would take a second.
    assert time.process_time() - read < 12 * (read - began)


def test_a_receipt_of_the_only_row_needs_no_hash() -> None:
    row = json.loads(vector("rows.json"))["rows"][0]
    body, signature = row["body"].encode(), bytes.fromhex(row["signature"])
    checkpoint = Checkpoint(ORIGIN, 1, bytes.fromhex(row["leaf"]))
    made = Receipt(0, (), signed(checkpoint.text), body, signature)
    assert note.parse_receipt(note.render_receipt(made)) == made
    assert note.verify_receipt(made, VERIFIER) == checkpoint


@pytest.mark.parametrize("index", [0, 17, 40])
def test_receipts_are_rendered_and_read_byte_for_byte(index: int) -> None:
    text = vector(f"row-{index}.tlog-proof")
    receipt = note.parse_receipt(text)
    assert note.render_receipt(receipt) == text
    row = json.loads(vector("rows.json"))["rows"][index]
    assert (receipt.index, receipt.body, receipt.signature) == (
        index, row["body"].encode(), bytes.fromhex(row["signature"])
    )
    assert receipt.note == vector("checkpoint-41.txt")
    assert note.verify_receipt(receipt, VERIFIER) == Checkpoint(ORIGIN, 41, ROOTS[41])
    scales.InclusionProof(index, 41, list(receipt.proof)).check(bytes.fromhex(row["leaf"]), ROOTS[41])


def test_a_receipt_is_made_from_the_tree_alone() -> None:
    row = json.loads(vector("rows.json"))["rows"][17]
    frontier, stored = merkle.Frontier(), {}
    for leaf in json.loads(vector("tree.json"))["leaves"]:
        stored.update({(level, at): digest for level, at, digest in frontier.append(bytes.fromhex(leaf))})
    proof = merkle.inclusion_proof(17, 41, lambda level, at: stored[level, at])
    made = Receipt(17, proof, vector("checkpoint-41.txt"), row["body"].encode(), bytes.fromhex(row["signature"]))
    assert note.render_receipt(made) == vector("row-17.tlog-proof")


def test_a_receipt_for_another_row_place_or_log_is_refused() -> None:
    receipt = note.parse_receipt(vector("row-17.tlog-proof"))
    other = note.parse_receipt(vector("row-40.tlog-proof"))
    for forged in (
        replace(receipt, index=18),
        replace(receipt, index=41),
        replace(receipt, body=other.body),
        replace(receipt, signature=other.signature),
        replace(receipt, proof=receipt.proof[:-1]),
        replace(receipt, proof=(*receipt.proof, receipt.proof[0])),
        replace(receipt, note=NOTE),
    ):
        with pytest.raises(ProofError):
            note.verify_receipt(forged, VERIFIER)
    with pytest.raises(SignatureMismatch):
        note.verify_receipt(receipt, Verifier(ORIGIN, Ed25519PrivateKey.generate().public_key().public_bytes_raw()))


RECEIPT = vector("row-17.tlog-proof")
EXTRA = RECEIPT.splitlines()[1]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (RECEIPT.replace("@v1", "@v2"), "the first line is not"),
        (RECEIPT.split("\n\n")[0], "not a receipt to its end"),
        (RECEIPT.replace(EXTRA + "\n", ""), "`extra`"),
        (RECEIPT.replace("index 17\n", ""), "`extra`"),
        (RECEIPT.replace("extra ", "Extra "), "`extra`"),
        (RECEIPT.replace("index ", "Index "), "`extra`"),
        ("c2sp.org/tlog-proof@v1\n\n", "not a receipt to its end"),
        (f"c2sp.org/tlog-proof@v1\n{EXTRA}\n\n", "not a receipt to its end"),
        (RECEIPT.replace("index 17", "index 017"), "not a decimal"),
        (RECEIPT.replace("index 17", "index 17 "), "not a decimal"),
        (RECEIPT.replace(EXTRA, "extra !"), "extra is not base64"),
        (RECEIPT.replace(EXTRA, "extra AAAA"), "not a row"),
        (RECEIPT.replace(EXTRA, "extra "), "not a row"),
        (RECEIPT.replace(EXTRA, EXTRA[:-4]), "not base64|not a row"),
        (RECEIPT.replace("index 17\n", "index 17\nAAAA\n"), "not 32 bytes"),
        (RECEIPT.replace("index 17\n", "index 17\n!!\n"), "proof hash is not base64"),
    ],
)
def test_a_receipt_that_departs_from_the_form_is_refused(text: str, reason: str) -> None:
    with pytest.raises(ProofError, match=reason):
        note.parse_receipt(text)


def test_a_receipt_without_a_note_verifies_nothing() -> None:
    with pytest.raises(ProofError):
        note.verify_receipt(note.parse_receipt(RECEIPT.split("\n\n")[0] + "\n\n"), VERIFIER)
