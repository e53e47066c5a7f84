"""Whether a key may review in somebody's name: asked before a frame is shown, when it is signed, at the gate. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from safeloop.ledger.ed25519 import key_id
from safeloop.ledger.trust import REVIEW_NAMESPACE, Standing
from safeloop.ledger.visible import moment_text, shell_word

if TYPE_CHECKING:
    from datetime import datetime

    from safeloop.ledger.allowed_signers import AllowedSigner
    from safeloop.ledger.sshsig import PublicKey
    from safeloop.ledger.trust import Trust

_NEW_KEY = "ssh-keygen -t ed25519 makes another, and"


@dataclass(frozen=True, slots=True)
class Invalid:
    """Why an attestation counts for nothing, as a clause; the hint is the command that mends it, where there is one."""

    reason: str
    hint: str = field(default="", compare=False)


def pinned(
    key: PublicKey, reviewer: str, trust: Trust, at: datetime, ledger: str, size: int
) -> PublicKey | Invalid:
    """Return the key if it may review in this person's name; else why it may not.

    Args:
        key: What signs, or is to.
        reviewer: The name in the statement.
        trust: Who may review.
        at: The moment at which the key must be pinned, aware.
        ledger: The origin; revocations are for one.
        size: Rows of the ledger before the attestation: a revocation holds from a number of rows on.
    """
    match trust.standing(key, reviewer, REVIEW_NAMESPACE, at, ledger, size):
        case Standing.COUNTS:
            return key
        case Standing.OPERATOR:
            return Invalid(f"{key.fingerprint} is the operator's own key, which never counts as a reviewer's",
                           f"{_NEW_KEY} {_adding(trust, reviewer)} pins it")
        case Standing.UNPINNED:
            return _unpinned(key, reviewer, trust, at)
        case Standing.REVOKED:
            revoked = trust.revoked_from(key_id(key.raw), ledger)
            return Invalid(f"{key.fingerprint} of {reviewer} is revoked for all rows after the first {revoked}",
                           f"{_NEW_KEY} {_adding(trust, reviewer)} --another pins it")


def _unpinned(key: PublicKey, reviewer: str, trust: Trust, at: datetime) -> Invalid:
    """Say what is wrong with a key that is not the operator's: another's, nobody's, or not now."""
    named = tuple(line for line in trust.reviewers if reviewer in line.principals)
    lines = tuple(line for line in named if line.key == key)
    if lines:
        reason, hint = _not_now(lines, at)
        return Invalid(f"{key.fingerprint} of {reviewer} is pinned, but not for reviews at this time: {reason}",
                       hint or f"{_NEW_KEY} {_adding(trust, reviewer)} --another pins it")
    where = trust.path / "reviewers"
    if not named:
        return Invalid(f"{key.fingerprint} is not pinned as a key of {reviewer} in {where}, which has no such name",
                       _as_another(key, trust) or _adding(trust, reviewer))
    return Invalid(f"{key.fingerprint} is not pinned as a key of {reviewer} in {where}",
                   _as_another(key, trust) or f"{_adding(trust, reviewer)} --another, or sign with the pinned key")


def _as_another(key: PublicKey, trust: Trust) -> str:
    names = ", ".join(name for line in trust.reviewers if line.key == key for name in line.principals)
    return f"it is pinned as a key of {names}: name its owner with --as" if names else ""


def _not_now(lines: Iterable[AllowedSigner], at: datetime) -> tuple[str, str]:
    """Say why the lines of one key admit nothing at that moment: of several reasons, the one of the last line."""
    reason, hint = "", ""
    for line in lines:
        if line.namespaces is not None and REVIEW_NAMESPACE not in line.namespaces:
            reason = f"its line is for {', '.join(line.namespaces)} only"
            hint = f'its line in the file reviewers needs {REVIEW_NAMESPACE}: namespaces="{REVIEW_NAMESPACE}"'
        elif line.valid_after is not None and line.is_early(at):
            reason = f"it is valid from {moment_text(line.valid_after)} on"
            hint = "wait, or sign with another pinned key"
        elif line.valid_before is not None and line.is_expired(at):
            reason, hint = f"it expired at {moment_text(line.valid_before)}", ""
    return reason, hint


def _adding(trust: Trust, reviewer: str) -> str:
    """Return the command that pins a key, naming the folder unless it is the default one."""
    where = "" if trust.is_self else f" --trust {shell_word(str(trust.path))}"
    return f"safeloop trust add-reviewer {shell_word(reviewer)} KEY.pub{where}"
