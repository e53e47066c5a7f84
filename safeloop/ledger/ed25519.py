"""Ed25519 public keys: which ones are admitted, what they are called, and what they verify.

A few public keys are points of small order: with the neutral element, for example, one fixed signature
verifies for every message, in every common library. Whoever pinned such a key would have pinned anybody.
They are found by a rule rather than by a list. On the curve -x² + y² = 1 + d·x²·y² (RFC 8032 section 5.1):

- y = 1 is the neutral element and y = -1 has order 2;
- a doubled point has y = 1 exactly where x = 0, and y = -1 where y = 0: the points with y = 0 have order 4;
- a doubled point has y = 0 exactly where y² = -x²; with the curve's equation that is d·y⁴ + 2·y² - 1 = 0:
  the points of order 8, and the cofactor being 8, there are no others.

x plays no part, so the sign bit is ignored. A second encoding of the same point (y not below p, RFC 8032
section 5.1.3) is refused for itself: one key would have two names.
"""

from __future__ import annotations

import hashlib
from functools import lru_cache

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from safeloop.errors import KeyUnusable

PUBLIC_KEY_BYTES = 32

_P = 2**255 - 19
_D = -121665 * pow(121666, -1, _P) % _P
_SIGN_BIT = 1 << 255


def check_public_key(raw: bytes) -> None:
    """Admit a raw public key, or say why not.

    Raises:
        KeyUnusable: Not 32 bytes, a point of small order, or not the canonical encoding of its point.
    """
    if len(raw) != PUBLIC_KEY_BYTES:
        raise KeyUnusable(f"an Ed25519 public key has {PUBLIC_KEY_BYTES} bytes, this one has {len(raw)}")
    y = int.from_bytes(raw, "little") & ~_SIGN_BIT
    if y * (y * y - 1) * (_D * y**4 + 2 * y * y - 1) % _P == 0:
        raise KeyUnusable(f"public key {raw.hex()} is a point of small order: a signature that verifies "
                          "under it proves nothing")
    if y >= _P:
        raise KeyUnusable(f"public key {raw.hex()} is not the canonical encoding of its point")


def verify(public_raw: bytes, signature: bytes, message: bytes) -> bool:
    """Say whether this key signed this message; never true under a key that is not admitted."""
    public_key = _admitted(public_raw)
    if public_key is None:
        return False
    try:
        public_key.verify(signature, message)
    except InvalidSignature:
        return False
    return True


def key_id(raw: bytes) -> str:
    """Name a key: lower-case hex SHA-256 of the raw public key, as a row's `writer` does."""
    return hashlib.sha256(raw).hexdigest()


@lru_cache(maxsize=256)
def _admitted(raw: bytes) -> Ed25519PublicKey | None:
    # An audit verifies millions of rows under a handful of keys: each key is judged and loaded once.
    try:
        check_public_key(raw)
    except KeyUnusable:
        return None
    return Ed25519PublicKey.from_public_bytes(raw)
