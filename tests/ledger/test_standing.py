"""What a key is worth in somebody's name: one rule for reviews and for approvals, with the bounds of its line."""

from __future__ import annotations

import base64
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest

from safeloop.ledger import sshsig
from safeloop.ledger.allowed_signers import AllowedSigner
from safeloop.ledger.approval import Where, signature_fault
from safeloop.ledger.ed25519 import key_id
from safeloop.ledger.keys import make_reviewer_key, read_reviewer_key
from safeloop.ledger.sshsig import PLAIN, PublicKey
from safeloop.ledger.trust import APPROVAL_NAMESPACE, REVIEW_NAMESPACE, Standing, Trust, load_trust
from safeloop.ledger.visible import moment_text
from safeloop.review.attesting.eligibility import Invalid, pinned

ALICE, BOB = "alice@example.org", "bob@example.org"
KEY = PublicKey(PLAIN, base64.b64decode("11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo="))  # RFC 8032, test 1
NOW, ORIGIN, SIZE = datetime(2026, 11, 22, tzinfo=UTC), "safeloop.local/one", 5
REVOKED = f"{key_id(KEY.raw)} {ORIGIN} {SIZE}\n"
SECOND = timedelta(seconds=1)


def trusting(folder: Path, reviewers: str, revoked: str = "", writers: str = "") -> Trust:
    folder.mkdir(exist_ok=True)
    files = {"policy": "quorum none\n", "reviewers": reviewers, "revoked": revoked, "writers": writers}
    for name, text in files.items():
        (folder / name).write_text(text)
    return load_trust(folder)


def line(namespace: str, options: str = "", person: str = ALICE) -> str:
    return f'{person} namespaces="{namespace}"{options} {KEY.openssh}\n'


@pytest.mark.parametrize("namespace", [REVIEW_NAMESPACE, APPROVAL_NAMESPACE])
@pytest.mark.parametrize(("person", "options", "revoked", "idx", "standing"), [
    (ALICE, "", "", 9, Standing.COUNTS), (BOB, "", "", 9, Standing.UNPINNED), (BOB, "", REVOKED, 9, Standing.UNPINNED),
    (ALICE, ',valid-before="20261121235959Z"', "", 9, Standing.UNPINNED),
    (ALICE, ',valid-after="20261122000001Z"', "", 9, Standing.UNPINNED),
    (ALICE, "", REVOKED, SIZE - 1, Standing.COUNTS), (ALICE, "", REVOKED, SIZE, Standing.REVOKED),
    (ALICE, "", REVOKED.replace("one", "two"), SIZE, Standing.COUNTS),
])
def test_each_reason_is_found_at_its_bound_and_in_its_namespace_alone(
    tmp_path: Path, namespace: str, person: str, options: str, revoked: str, idx: int, standing: Standing
) -> None:
    trust = trusting(tmp_path / "pins", line(namespace, options), revoked)
    assert trust.standing(KEY, person, namespace, NOW, ORIGIN, idx) is standing
    other = APPROVAL_NAMESPACE if namespace == REVIEW_NAMESPACE else REVIEW_NAMESPACE
    assert trust.standing(KEY, person, other, NOW, ORIGIN, idx) is Standing.UNPINNED


def test_the_operators_own_key_is_called_that_whatever_else_is_wrong_with_it(tmp_path: Path) -> None:
    own = f"worker {KEY.openssh}\n"
    for reviewers in ("", line(REVIEW_NAMESPACE)):
        trust = trusting(tmp_path / "pins", reviewers, REVOKED, own)
        assert trust.standing(KEY, ALICE, REVIEW_NAMESPACE, NOW, ORIGIN, 9) is Standing.OPERATOR


@pytest.mark.parametrize("case", ["counts", "operator", "unpinned", "revoked"])
def test_a_review_and_an_approval_are_judged_alike(tmp_path: Path, case: str) -> None:
    make_reviewer_key(tmp_path / "k", "alice")
    private = read_reviewer_key(tmp_path / "k")
    assert private is not None
    key = PublicKey(PLAIN, private.public_key().public_bytes_raw())
    trust = trusting(
        tmp_path / "pins", "" if case == "unpinned" else f"{ALICE} {key.openssh}\n",
        f"{key_id(key.raw)} {ORIGIN} {SIZE}\n" if case == "revoked" else "",
        f"worker {key.openssh}\n" if case == "operator" else "",
    )
    stated = "{}"
    data = {"by": ALICE, "statement": stated, "signature": sshsig.sign(private, APPROVAL_NAMESPACE, stated.encode())}
    fault = signature_fault(data, Where(ORIGIN, "s", SIZE), trust, NOW)
    review = pinned(key, ALICE, trust, NOW, ORIGIN, SIZE)
    words = {"counts": "", "operator": "is the operator's own key", "unpinned": f"is not pinned as a key of {ALICE}",
             "revoked": f"revoked for all rows after the first {SIZE}"}[case]
    assert (fault == "") is (review == key) is (case == "counts")
    assert words in fault
    assert not isinstance(review, Invalid) or words in review.reason


@pytest.mark.parametrize(("seconds", "early", "expired"), [
    (-2, True, False), (-1, False, False), (0, False, False), (1, False, False), (2, False, True),
])
def test_a_key_counts_from_its_first_moment_to_its_last_both_included(seconds: int, early: bool, expired: bool) -> None:
    signer = AllowedSigner((ALICE,), KEY, None, NOW - SECOND, NOW + SECOND)
    at = NOW + seconds * SECOND
    assert (signer.is_early(at), signer.is_expired(at)) == (early, expired)
    assert signer.admits(ALICE, REVIEW_NAMESPACE, at) is not (early or expired)
    always = AllowedSigner((ALICE,), KEY)
    assert not always.is_early(at) and not always.is_expired(at)


def test_a_moment_is_told_in_utc_whatever_zone_it_is_in() -> None:
    at = datetime(2026, 11, 22, 1, 2, 3, 999_999, tzinfo=timezone(timedelta(hours=9)))
    assert moment_text(at) == "2026-11-21T16:02:03Z"
