"""Commitments: they bind bytes, length and salt, and say nothing without the salt."""

from __future__ import annotations

import hashlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from safeloop.errors import VerificationError
from safeloop.ledger.content import Content, check_content, manifest, salted_sha256
from safeloop.ledger.kinds import commitment
from tests.ledger.making import vector


def test_the_vector_s_commitment_holds() -> None:
    golden = json.loads(vector("content.json"))
    salt, data = bytes.fromhex(golden["salt"]), bytes.fromhex(golden["content"])
    assert salted_sha256(salt, data).hex() == golden["salted_sha256"]
    assert Content(data, "text/plain", salt).commitment == {
        "bytes": len(data), "salted_sha256": golden["salted_sha256"], "type": "text/plain"
    }


@given(st.binary(max_size=100), st.binary(min_size=32, max_size=32))
def test_a_commitment_opens_to_its_own_bytes_only(data: bytes, salt: bytes) -> None:
    content = Content(data, "text/plain", salt)
    assert commitment(content.commitment)
    check_content(content.commitment, salt, data)
    for other_salt, other in ((salt, data + b"\0"), (salt, data[:-1] if data else b"x"), (salt[::-1] + b"\0", data)):
        with pytest.raises(VerificationError, match=f"content {content.digest.hex()[:8]} is not what"):
            check_content(content.commitment, other_salt, other)


def test_bytes_cannot_be_moved_between_salt_and_content_unseen() -> None:
    content = Content(b"abc", "text/plain", b"s" * 32)
    # The concatenation is the same, so the digest is; only the length tells, and it is in the commitment.
    assert salted_sha256(b"s" * 32 + b"a", b"bc") == content.digest
    with pytest.raises(VerificationError):
        check_content(content.commitment, b"s" * 32 + b"a", b"bc")


def test_equal_contents_under_two_salts_have_nothing_in_common() -> None:
    one, other = Content(b"yes", "text/plain", b"1" * 32), Content(b"yes", "text/plain", b"2" * 32)
    assert one.digest != other.digest
    assert hashlib.sha256(b"yes").digest() not in (one.digest, other.digest)


def test_bytes_and_salt_stay_out_of_what_is_printed() -> None:
    assert repr(Content(b"secret", "text/plain", b"salt" * 8)) == "Content(type='text/plain')"


def test_a_manifest_is_canonical_and_keeps_its_order() -> None:
    assert manifest([{"name": "b"}, {"name": "a"}]) == b'[{"name":"b"},{"name":"a"}]'
    assert manifest([]) == b"[]"
