import hashlib
import json
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from hypothesis import given
from hypothesis import strategies as st

from safeloop.errors import KeyUnusable
from safeloop.ledger import ed25519

VECTORS = json.loads((Path(__file__).parent.parent / "vectors" / "small_order_keys.json").read_text())
SMALL_ORDER = [bytes.fromhex(key) for key in VECTORS["public_keys_hex"]]
UNIVERSAL = bytes.fromhex(VECTORS["signature_that_verifies_for_any_message_under_the_first"])
P = 2**255 - 19
D = -121665 * pow(121666, -1, P) % P


def private(seed: int) -> Ed25519PrivateKey:
    return Ed25519PrivateKey.from_private_bytes(bytes([seed]) * 32)


def add(one: tuple[int, int], two: tuple[int, int]) -> tuple[int, int]:
    """Add two points of the curve -x² + y² = 1 + d·x²·y², by its definition."""
    (x1, y1), (x2, y2) = one, two
    product = D * x1 * x2 * y1 * y2
    return ((x1 * y2 + x2 * y1) * pow(1 + product, -1, P) % P, (y1 * y2 + x1 * x2) * pow(1 - product, -1, P) % P)


def point(raw: bytes) -> tuple[int, int]:
    encoded = int.from_bytes(raw, "little")
    y = (encoded & (2**255 - 1)) % P
    x_squared = (y * y - 1) * pow(D * y * y + 1, -1, P) % P
    x = pow(x_squared, (P + 3) // 8, P)
    if x * x % P != x_squared:
        x = x * pow(2, (P - 1) // 4, P) % P
    assert x * x % P == x_squared, "not on the curve"
    return (x if x % 2 == encoded >> 255 else -x % P, y)


def test_the_plain_library_accepts_one_signature_for_any_message_and_we_do_not():
    key = Ed25519PublicKey.from_public_bytes(SMALL_ORDER[0])
    for message in (b"", b"pay alice", b"pay mallory"):
        key.verify(UNIVERSAL, message)  # no exception: this is the danger
        assert not ed25519.verify(SMALL_ORDER[0], UNIVERSAL, message)


def test_there_are_fourteen_different_encodings_in_the_vectors():
    assert len(set(SMALL_ORDER)) == 14


@pytest.mark.parametrize("raw", SMALL_ORDER, ids=bytes.hex)
def test_a_small_order_key_is_never_admitted(raw):
    with pytest.raises(KeyUnusable, match="small order"):
        ed25519.check_public_key(raw)
    assert not ed25519.verify(raw, UNIVERSAL, b"anything")


@pytest.mark.parametrize("raw", SMALL_ORDER, ids=bytes.hex)
def test_the_refused_keys_really_have_small_order(raw):
    eightfold = point(raw)
    for _ in range(3):
        eightfold = add(eightfold, eightfold)
    assert eightfold == (0, 1)


@given(st.integers(0, 255))
def test_an_honest_key_times_eight_is_not_neutral_and_is_admitted(seed):
    raw = private(seed).public_key().public_bytes_raw()
    eightfold = point(raw)
    for _ in range(3):
        eightfold = add(eightfold, eightfold)
    assert eightfold != (0, 1)
    ed25519.check_public_key(raw)


@pytest.mark.parametrize("offset", range(2, 19))
@pytest.mark.parametrize("sign", [0, 1 << 255])
def test_a_second_encoding_of_a_point_is_refused(offset, sign):
    raw = (P + offset | sign).to_bytes(32, "little")
    with pytest.raises(KeyUnusable, match="not the canonical encoding"):
        ed25519.check_public_key(raw)


def test_the_largest_and_smallest_canonical_coordinates_are_not_refused_for_their_encoding():
    ed25519.check_public_key((P - 2).to_bytes(32, "little"))
    ed25519.check_public_key((2).to_bytes(32, "little"))


@pytest.mark.parametrize("size", [0, 1, 31, 33, 64])
def test_a_key_of_another_length_is_refused(size):
    with pytest.raises(KeyUnusable, match=f"has 32 bytes, this one has {size}"):
        ed25519.check_public_key(b"\x05" * size)
    assert not ed25519.verify(b"\x05" * size, b"\x00" * 64, b"")


def test_a_signature_verifies_under_its_own_key_only():
    signature = private(1).sign(b"message")
    one, two = (private(seed).public_key().public_bytes_raw() for seed in (1, 2))
    assert ed25519.verify(one, signature, b"message")
    assert not ed25519.verify(two, signature, b"message")
    assert not ed25519.verify(one, signature, b"Message")


@given(at=st.integers(0, 511))
def test_a_signature_with_one_bit_flipped_does_not_verify(at):
    signature = bytearray(private(1).sign(b"message"))
    signature[at // 8] ^= 1 << at % 8
    assert not ed25519.verify(private(1).public_key().public_bytes_raw(), bytes(signature), b"message")


@given(raw=st.binary(max_size=40), signature=st.binary(max_size=70), message=st.binary(max_size=9))
def test_any_bytes_are_answered_with_no(raw, signature, message):
    assert ed25519.verify(raw, signature, message) is False


def test_a_signature_with_s_beyond_the_group_order_does_not_verify():
    group_order = 2**252 + 27742317777372353535851937790883648493
    signature = private(1).sign(b"message")
    again = int.from_bytes(signature[32:], "little") + group_order
    raw = private(1).public_key().public_bytes_raw()
    assert not ed25519.verify(raw, signature[:32] + again.to_bytes(32, "little"), b"message")


def test_a_key_is_named_by_the_hash_of_its_raw_bytes():
    raw = private(7).public_key().public_bytes_raw()
    assert ed25519.key_id(raw) == hashlib.sha256(raw).hexdigest()
