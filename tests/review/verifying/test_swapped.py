"""A downstream job's folder in other hands: whole proofs exchanged, names that look alike, modes, and pins that are missing."""

from __future__ import annotations

import shutil
import unicodedata
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from safeloop.errors import KeyUnusable
from safeloop.ledger import Ledger
from safeloop.ledger.trust import add_reviewer, load_trust
from tests.review.sessions import SessionBuilder
from tests.review.verifying.office import ALICE, FILES, Office

NOW = datetime.now(UTC)


@pytest.fixture
def neighbour(tmp_path: Path, reviewer: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> Iterator[Office]:
    """Another ledger with keys of its own, for which Alice reviews too."""
    keys = tmp_path / "neighbour"
    ledger = Ledger(tmp_path / "neighbour.db", keys=keys)
    (tmp_path / "theirs").mkdir()
    office = Office(ledger, keys, reviewer, tmp_path / "theirs")
    yield office
    ledger.close()


def swap(folder: Path, other: Path, name: str) -> None:
    """Put what another bundle has in the place of this one's."""
    mine, theirs = folder / "release" / name, other / "release" / name
    if theirs.is_dir():
        shutil.rmtree(mine)
        shutil.copytree(theirs, mine)
    else:
        shutil.copy(theirs, mine)


def test_the_proof_of_another_release_does_not_fit_other_files(office: Office) -> None:
    one = office.accepted("one")
    two = office.accepted("two", files={"report.md": (None, b"# Another\n")})
    swap(two, one, ".")
    reasons = office.reasons(two)
    assert "report.md is not the file that was released: its SHA-256 is another" in reasons
    assert "pages/a b.html was released, and is not here" in reasons


def test_the_proof_of_another_release_of_the_same_bytes_is_that_releases_and_says_so(office: Office) -> None:
    """The bytes were accepted, and only there: what a reader must compare is the session."""
    first = office.session()
    office.decide(first)
    one = office.release(first, "one")
    two = office.accepted("two")
    swap(two, one, ".")
    found = office.verify(two, now=datetime.now(UTC))
    assert found.is_verified
    assert found.facts["session"] == first
    assert any(f"this is session {first}, and any other that was accepted is verified too" in each
               for each in found.unproved)


@pytest.mark.parametrize("name", ["receipts", "checkpoint.txt", "statement-1.json", "statement-1.sig", "frame.txt"])
def test_no_part_of_the_proof_comes_from_another_ledger(office: Office, neighbour: Office, name: str) -> None:
    folder = office.accepted(files={"report.md": (None, b"same")})
    neighbour._ssh[ALICE] = office.ssh(ALICE)
    add_reviewer(neighbour.trust_folder, ALICE, office.ssh(ALICE).with_suffix(".pub").read_text())
    swap(folder, neighbour.accepted(files={"report.md": (None, b"same")}), name)
    mine, theirs = office.trust(), neighbour.trust()
    logs, writers = {**mine.policy.logs, **theirs.policy.logs}, {**mine.writers, **theirs.writers}
    both = replace(mine, policy=replace(mine.policy, logs=logs), writers=writers)
    assert office.reasons(folder, trust=both)
    assert office.reasons(folder)


LOOK_ALIKES = {
    "Report.md": "another case", "r\u0435port.md": "a Cyrillic letter", "report.md ": "a blank at the end",
    "report.md\u200b": "a character without width", "\u202edm.troper": "written from right to left", "report.\uff4dd": "a wide letter",
}


@pytest.mark.parametrize("name", LOOK_ALIKES, ids=list(LOOK_ALIKES.values()))
def test_a_file_that_only_looks_like_a_released_one_is_another(office: Office, name: str) -> None:
    folder = office.accepted()
    shutil.copy(folder / "report.md", folder / name)
    (reason,) = office.reasons(folder)
    assert reason.endswith("is no part of the release") and "\u202e" not in reason and "\u200b" not in reason
    (folder / "report.md").unlink()
    assert "report.md was released, and is not here" in office.reasons(folder)


def test_a_name_that_was_composed_otherwise_is_another_name(office: Office) -> None:
    name = unicodedata.normalize("NFC", "h\u00f6he.md")
    folder = office.accepted(files={name: (None, b"x")})
    assert office.verify(folder, now=datetime.now(UTC)).is_verified
    (folder / name).rename(folder / unicodedata.normalize("NFD", name))
    assert len(office.reasons(folder)) == 2


def test_two_names_that_some_file_systems_take_for_one_are_two_here(office: Office) -> None:
    folder = office.accepted(files={"a.md": (None, b"small"), "A.md": (None, b"large")})
    assert office.verify(folder, now=datetime.now(UTC)).is_verified
    (folder / "A.md").unlink()  # as on a disk that has room for one of them
    assert office.reasons(folder) == ["A.md was released, and is not here"]


@pytest.mark.parametrize("place", ["empty", "pages/empty", "release/empty", "release/receipts/empty", "a/b/c"])
def test_a_folder_with_nothing_in_it_is_no_part_of_the_release_either(office: Office, place: str) -> None:
    folder = office.accepted()
    (folder / place).mkdir(parents=True)
    assert office.reasons(folder) == [f"{place}/ is no part of the release"]


def test_a_released_file_that_became_an_empty_folder_is_missing_and_too_much(office: Office) -> None:
    folder = office.accepted()
    (folder / "report.md").unlink()
    (folder / "report.md").mkdir()
    assert office.reasons(folder) == ["report.md was released, and is not here", "report.md/ is no part of the release"]


@pytest.mark.parametrize("mode", [0o755, 0o4755, 0o666])
def test_modes_are_not_signed_and_the_verdict_does_not_pretend_so(office: Office, mode: int) -> None:
    folder = office.accepted()
    assert all(file.stat().st_mode & 0o7111 == 0 for file in folder.rglob("*") if file.is_file())
    (folder / "report.md").chmod(mode)
    found = office.verify(folder, now=datetime.now(UTC))
    assert found.is_verified
    assert any(each.startswith("modes, owners and times of the files") for each in found.unproved)


def test_the_moment_of_judging_is_said_and_is_this_machines(office: Office) -> None:
    folder = office.accepted()
    later = datetime.now(UTC).replace(microsecond=0, year=NOW.year + 1, day=1)
    found = office.verify(folder, now=later)
    assert found.facts["judged_at"] == f"{later:%Y-%m-%dT%H:%M:%SZ}"
    assert any(f"may review at {later:%Y-%m-%dT%H:%M:%SZ}, by the clock of this machine" in each for each in found.proved)


def test_pins_without_reviewers_or_writers_trust_nobody(office: Office, tmp_path: Path) -> None:
    folder = office.accepted()
    for missing, reason in (("reviewers", "0 of 1 accepts that count"), ("writers", "is not pinned")):
        pins = tmp_path / f"without-{missing}"
        shutil.copytree(office.trust_folder, pins)
        (pins / missing).unlink()
        assert any(reason in each for each in office.reasons(folder, trust=load_trust(pins)))
    (tmp_path / "bare").mkdir()
    (tmp_path / "bare/policy").write_text("quorum none\n")
    assert any("pins no log of this origin" in each for each in office.reasons(folder, trust=load_trust(tmp_path / "bare")))
    (tmp_path / "empty").mkdir()
    with pytest.raises(KeyUnusable, match="has no file policy"):
        load_trust(tmp_path / "empty")


def test_what_the_operators_policy_lets_out_is_held_against_the_readers(office: Office) -> None:
    (office.trust_folder / "release.toml").write_text("accept_breach = true\n")
    builder = SessionBuilder(office.ledger).spec().open().turn().close("breached", files=FILES)
    office.decide(builder.session)
    folder = office.release(builder.session)
    assert office.verify(folder, now=datetime.now(UTC)).is_verified
    strict = office.trust(release_policy_text="accepts = 1\n")
    assert any("ended as breached, which the policy does not release" in each
               for each in office.reasons(folder, trust=strict))
