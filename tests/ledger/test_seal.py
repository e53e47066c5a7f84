"""What is signed, against DSSE by somebody else, and against counting characters."""

from __future__ import annotations

import hashlib
import json

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st
from securesystemslib.dsse import Envelope

from safeloop.ledger import seal
from tests.ledger.making import vector


@given(st.binary(max_size=300))
def test_the_encoding_is_dsse_s_own(body: bytes) -> None:
    assert seal.pae(body) == Envelope(body, seal.PAYLOAD_TYPE.decode(), {}).pae()


def test_bytes_are_counted_and_never_characters() -> None:
    assert seal.pae("é".encode()) == "DSSEv1 36 application/vnd.safeloop.row.v1+json 2 é".encode()


@given(st.binary(max_size=300))
def test_a_body_comes_back_out_of_its_encoding(body: bytes) -> None:
    assert seal.body_of(seal.pae(body)) == body


@pytest.mark.parametrize(
    "sealed",
    [
        b"",
        b"DSSEv1 36 application/vnd.safeloop.row.v1+json",
        b"DSSEv1 36 application/vnd.safeloop.row.v1+json 2",
        b"DSSEv1 36 application/vnd.safeloop.row.v1+json 2 abc",
        b"DSSEv1 36 application/vnd.safeloop.row.v1+json 02 ab",
        b"DSSEv1 36 application/vnd.safeloop.row.v1+json +2 ab",
        b"DSSEv1 36 application/vnd.safeloop.row.v1+json -2 ab",
        b"DSSEv1 36 application/vnd.safeloop.row.v1+json  ab",
        b"DSSEv1 36 application/vnd.safeloop.row.v1+json 2_ ab",
        b"DSSEv1 28 application/vnd.in-toto+json 2 ab",
        b"SSHSIG",
        "DSSEv1 36 application/vnd.safeloop.row.v1+json ² ab".encode(),
    ],
)
def test_what_is_no_encoding_of_a_row_has_no_body(sealed: bytes) -> None:
    with pytest.raises(ValueError, match="pre-authentication encoding"):
        seal.body_of(sealed)


def test_the_vectors_are_signed_byte_for_byte() -> None:
    rows = json.loads(vector("rows.json"))
    private = Ed25519PrivateKey.from_private_bytes(bytes.fromhex(rows["writer_seed"]))
    assert private.public_key().public_bytes_raw().hex() == rows["writer_public"]
    assert hashlib.sha256(bytes.fromhex(rows["writer_public"])).hexdigest() == rows["writer_id"]
    assert len(rows["rows"]) == 41
    for row in rows["rows"]:
        body = row["body"].encode()
        assert hashlib.sha256(seal.pae(body)).hexdigest() == row["pae_sha256"]
        assert seal.sign(private, body).hex() == row["signature"]
        assert seal.leaf(body, bytes.fromhex(row["signature"])).hex() == row["leaf"]
        private.public_key().verify(bytes.fromhex(row["signature"]), seal.pae(body))


def test_the_leaf_commits_to_every_bit_of_signature_and_body() -> None:
    row = json.loads(vector("rows.json"))["rows"][1]
    body, signature = row["body"].encode(), bytes.fromhex(row["signature"])
    leaves = {seal.leaf(body, signature)}
    for bit in range(0, len(body) * 8, 37):
        flipped = bytearray(body)
        flipped[bit // 8] ^= 1 << bit % 8
        leaves.add(seal.leaf(bytes(flipped), signature))
    for bit in range(512):
        flipped = bytearray(signature)
        flipped[bit // 8] ^= 1 << bit % 8
        leaves.add(seal.leaf(body, bytes(flipped)))
    assert len(leaves) == 1 + len(range(0, len(body) * 8, 37)) + 512


def test_a_signature_over_the_bare_body_is_none() -> None:
    private = Ed25519PrivateKey.generate()
    with pytest.raises(InvalidSignature):
        private.public_key().verify(private.sign(b"{}"), seal.pae(b"{}"))
