"""Whether a key may review in somebody's name, without any session: each no with its reason, and what mends it."""

import base64
from datetime import UTC, datetime
from pathlib import Path

import pytest

from safeloop.errors import NotAttested
from safeloop.ledger.ed25519 import key_id
from safeloop.ledger.keys import read_pem
from safeloop.ledger.sshsig import HARDWARE, PLAIN, PublicKey
from safeloop.ledger.trust import Trust, load_trust
from safeloop.review.attesting.eligibility import Invalid, pinned
from tests.review.sessions import completed

ALICE, BOB = "alice@example.org", "bob@example.org"
KEY = PublicKey(PLAIN, base64.b64decode("11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo="))  # RFC 8032, test 1
NOW, ORIGIN = datetime(2026, 11, 22, tzinfo=UTC), "safeloop.local/one"


def trusting(folder: Path, reviewers: str = "", revoked: str = "") -> Trust:
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in (("policy", "quorum none\n"), ("reviewers", reviewers), ("revoked", revoked)):
        (folder / name).write_text(text)
    return load_trust(folder)


CASES = {
    "nobody": ("", ALICE, "which has no such name", f"safeloop trust add-reviewer {ALICE} KEY.pub --trust "),
    "another's": (f"{BOB} {KEY.openssh}\n", ALICE, f"not pinned as a key of {ALICE}",
                  f"it is pinned as a key of {BOB}: name its owner with --as"),
    "another key": (f"{ALICE} {PublicKey(HARDWARE, KEY.raw, 'ssh:').openssh}\n", ALICE, f"not pinned as a key of {ALICE}",
                    "--another, or sign with the pinned key"),
    "expired": (f'{ALICE} valid-before="20260101Z" {KEY.openssh}\n', ALICE, "it expired at 2026-01-01T00:00:00Z",
                "ssh-keygen -t ed25519 makes another"),
    "not yet": (f'{ALICE} valid-after="20270101Z" {KEY.openssh}\n', ALICE, "it is valid from 2027-01-01T00:00:00Z on",
                "wait"),
    "not for reviews": (f'{ALICE} namespaces="git,file" {KEY.openssh}\n', ALICE, "its line is for git, file only",
                        'namespaces="safeloop-review"'),
    "each line for another reason": (
        f'{ALICE} namespaces="git" {KEY.openssh}\n{ALICE} valid-before="20260101Z" {KEY.openssh}\n', ALICE,
        "it expired at", "ssh-keygen"),
}


@pytest.mark.parametrize("case", CASES)
def test_a_key_that_does_not_count_is_refused_with_its_reason_and_what_mends_it(tmp_path: Path, case: str):
    reviewers, name, reason, hint = CASES[case]
    found = pinned(KEY, name, trusting(tmp_path / "pins", reviewers), NOW, ORIGIN, 9)
    assert isinstance(found, Invalid) and reason in found.reason and hint in found.hint, found
    assert (f"--trust {tmp_path / 'pins'}" in found.hint) == ("safeloop trust" in found.hint)


def test_the_default_folder_is_not_named_in_a_hint(tmp_path: Path):
    found = pinned(KEY, ALICE, trusting(tmp_path / "self"), NOW, ORIGIN, 9)
    assert isinstance(found, Invalid) and found.hint == f"safeloop trust add-reviewer {ALICE} KEY.pub"


@pytest.mark.parametrize(("origin", "size", "counts"), [
    (ORIGIN, 4, True), (ORIGIN, 5, False), (ORIGIN, 6, False), ("safeloop.local/other", 6, True),
])
def test_a_revocation_holds_from_its_size_on_and_for_its_ledger(tmp_path: Path, origin: str, size: int, counts: bool):
    trust = trusting(tmp_path / "pins", f"{ALICE} {KEY.openssh}\n", f"{key_id(KEY.raw)} {ORIGIN} 5\n")
    found = pinned(KEY, ALICE, trust, NOW, origin, size)
    assert (found == KEY) is counts
    if not counts:
        assert isinstance(found, Invalid) and "is revoked for all rows after the first 5" in found.reason
        assert "--another" in found.hint


def test_one_line_that_admits_is_enough(tmp_path: Path):
    reviewers = f'{ALICE} valid-before="20260101Z" {KEY.openssh}\n{ALICE} {KEY.openssh}\n'
    assert pinned(KEY, ALICE, trusting(tmp_path / "pins", reviewers), NOW, ORIGIN, 9) == KEY


def test_a_surface_refuses_before_anything_is_shown_what_it_would_refuse_afterwards(ledger, surface, keys):
    shown = surface.show(completed(ledger).session)
    own = PublicKey(PLAIN, read_pem(keys / "writer.pem").public_key().public_bytes_raw())
    for key, said in ((KEY, "is not pinned as a key of"), (own, "is the operator's own key")):
        with pytest.raises(NotAttested, match=f"nothing that this key signs would count: .*{said}") as caught:
            surface.require_eligible(shown, ALICE, key)
        assert f"safeloop trust add-reviewer {ALICE} KEY.pub" in caught.value.hint
    (keys / "self" / "reviewers").write_text(f"{ALICE} {KEY.openssh}\n")
    surface.require_eligible(shown, ALICE, KEY)
