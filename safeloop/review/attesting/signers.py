"""Signing an attestation with a key that the reviewer already has."""

from __future__ import annotations

from pathlib import Path

from safeloop.ledger.signers import sign_as
from safeloop.ledger.trust import REVIEW_NAMESPACE


def sign_statement(statement: bytes, key: Path) -> str:
    """Return the armored SSHSIG of a statement, namespace `safeloop-review`; arguments and errors as in `sign_as`."""
    return sign_as(REVIEW_NAMESPACE, statement, key)
