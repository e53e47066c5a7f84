"""An export is checked here by stock tools alone, from files alone: sha256sum, openssl, and the proofs' own verifier."""

from __future__ import annotations

import hashlib
import os
import re
import sqlite3
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from safeloop.errors import LedgerError, SessionNotFoundError, SettingError, VerificationError
from safeloop.ledger import Ledger, seal
from safeloop.ledger.note import Verifier, parse_receipt, verify_receipt
from safeloop.ledger.reader import LedgerReader
from safeloop.ledger.trust import load_trust
from safeloop.ledger.upkeep.erasing import erase, plan_session
from safeloop.ledger.upkeep.export import Export, export
from tests.ledger.making import add
from tests.review.sessions import SessionBuilder


def finished(ledger: Ledger) -> SessionBuilder:
    """A session of its own that completed: a task, a reply, an answer and a file."""
    session = SessionBuilder(ledger).spec().open("Audit this page.").turn("All is well.")
    return session.close(output="All is well.", files={"report.md": (None, b"# Title")})


class Place:
    def __init__(self, folder: Path) -> None:
        self.db, self.keys, self.to = folder / "l.db", folder / "keys", folder / "out"
        self.ledger = Ledger(self.db, keys=self.keys)
        self.session = finished(self.ledger).session
        add(self.ledger, 2, "other")

    @property
    def log(self) -> Verifier:
        return load_trust(self.keys / "self").log_for(self.ledger.origin)

    def export(self, session: str | None = None) -> Export:
        with LedgerReader(self.db) as reader:
            return export(reader, self.log, self.to, session)

    def sums(self) -> subprocess.CompletedProcess[str]:
        command = ["sha256sum", "--check", "--strict", "--quiet", "SHA256SUMS"]
        return subprocess.run(command, cwd=self.to, capture_output=True, text=True, check=False)


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    made = Place(tmp_path)
    yield made
    made.ledger.close()


def files(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def test_sha256sum_knows_every_file_and_finds_a_changed_one(place: Place) -> None:
    place.export()
    listed = {line[66:] for line in (place.to / "SHA256SUMS").read_text().splitlines()}
    assert listed == files(place.to) - {"SHA256SUMS"}
    assert (place.sums().returncode, place.sums().stdout) == (0, "")
    (place.to / "rows" / "3.body").write_bytes(b"{}")
    assert "rows/3.body: FAILED" in place.sums().stdout


def test_openssl_verifies_each_row_with_the_pinned_key_and_no_changed_one(place: Place) -> None:
    done = place.export()
    pinned = next(iter(load_trust(place.keys / "self").writers.values())).key
    key = place.to.parent / "writer.der"
    key.write_bytes(bytes.fromhex("302a300506032b6570032100") + pinned.raw)

    def verified(number: int) -> bool:
        command = ["openssl", "pkeyutl", "-verify", "-pubin", "-keyform", "DER", "-inkey", str(key), "-rawin",
                   "-in", f"rows/{number}.pae", "-sigfile", f"rows/{number}.sig"]
        return subprocess.run(command, cwd=place.to, capture_output=True, check=False).returncode == 0

    assert all(verified(number) for number in range(1, done.rows + 1))
    pae = place.to / "rows" / "1.pae"
    assert seal.body_of(pae.read_bytes()) == (place.to / "rows" / "1.body").read_bytes()
    pae.write_bytes(pae.read_bytes().replace(b"Audit", b"Adiut", 1))
    assert not verified(1)


def test_each_proof_proves_its_row_under_the_checkpoint_beside_it(place: Place) -> None:
    done = place.export()
    note = (place.to / "checkpoint").read_text()
    for number in range(1, done.rows + 1):
        found = parse_receipt((place.to / "rows" / f"{number}.tlog-proof").read_text())
        verify_receipt(found, place.log)
        assert (found.index, found.note) == (number - 1, note)
        assert found.body == (place.to / "rows" / f"{number}.body").read_bytes()


def test_sha256sum_checks_each_commitment(place: Place) -> None:
    done = place.export()
    committed = {digest for path in (place.to / "rows").glob("*.body")
                 for digest in re.findall(r'"salted_sha256":"([0-9a-f]{64})"', path.read_text())}
    there = {path.stem for path in (place.to / "content").glob("*.bytes")}
    assert committed <= there, "and what manifests name, besides"
    assert len(there) == done.contents
    for digest in there:
        script = f"cat content/{digest}.prefix content/{digest}.bytes | sha256sum"
        said = subprocess.run(["sh", "-c", script], cwd=place.to, capture_output=True, text=True, check=True).stdout
        assert said.split()[0] == digest
    assert {path.stat().st_size for path in (place.to / "content").glob("*.prefix")} == {52}


def test_everything_is_its_owner_s_alone_and_no_key_is_in_it(place: Place) -> None:
    place.export()
    assert stat.S_IMODE(place.to.stat().st_mode) == 0o700
    for path in place.to.rglob("*"):
        assert stat.S_IMODE(path.stat().st_mode) == (0o700 if path.is_dir() else 0o600)
    readme = (place.to / "README.txt").read_text()
    assert "must come from elsewhere" in readme
    assert place.ledger.origin in readme
    assert max(map(len, readme.splitlines())) <= 120
    assert not [name for name in files(place.to) if name.endswith((".pem", ".pub", ".key"))]


@pytest.mark.parametrize("session", [None, "other"])
def test_the_commands_of_its_own_text_verify_a_row_as_they_stand(place: Place, session: str | None) -> None:
    place.export(session)
    lines = [line for line in (place.to / "README.txt").read_text().splitlines() if line.startswith("    ")]
    key = next(iter(load_trust(place.keys / "self").writers.values())).key.openssh.split()[1]
    command = ["bash", "-c", "set -e\n" + "\n".join(lines)]

    def verified(key: str) -> str:
        return subprocess.run(command, cwd=place.to, env={**os.environ, "KEY": key}, capture_output=True, text=True,
                              check=False).stdout

    assert verified(key) == "Signature Verified Successfully\n"
    assert place.sums().returncode == 0 and len(key) == 68
    assert "Verified" not in verified(key[:-4] + "AAAA")


def test_one_session_is_its_rows_and_their_content_alone(place: Place) -> None:
    done = place.export("other")
    assert (done.rows, done.contents) == (2, 0)
    bodies = [path.read_text() for path in (place.to / "rows").glob("*.body")]
    assert all('"session":"other"' in body for body in bodies)
    assert place.sums().returncode == 0


def test_erased_content_is_missing_and_the_list_of_it_is_there(place: Place) -> None:
    with LedgerReader(place.db) as reader:
        plan = plan_session(reader, place.session)
    erase(place.ledger, plan, "asked for")
    done = place.export()
    listing = place.ledger.rows(place.session)[-1].data["contents"]["salted_sha256"]
    assert done.contents == 1
    assert (place.to / "content" / f"{listing}.bytes").exists()
    assert done.missing > 0
    assert "Not kept any more" in (place.to / "README.txt").read_text()


def test_what_is_there_is_never_written_over(place: Place) -> None:
    place.to.mkdir()
    assert place.export().rows
    before = hashlib.sha256((place.to / "SHA256SUMS").read_bytes()).hexdigest()
    with pytest.raises(SettingError, match="not an empty folder"):
        place.export()
    assert hashlib.sha256((place.to / "SHA256SUMS").read_bytes()).hexdigest() == before


@pytest.mark.parametrize("what", ["file", "link"])
def test_neither_a_file_nor_a_link_is_a_folder(place: Place, what: str, tmp_path: Path) -> None:
    if what == "file":
        place.to.write_text("mine")
    else:
        (tmp_path / "elsewhere").mkdir()
        place.to.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(SettingError, match="not an empty folder"):
        place.export()


@pytest.mark.parametrize("session", ["nobody", "../x", "", "latest"])
def test_an_unknown_session_leaves_nothing(place: Place, session: str, tmp_path: Path) -> None:
    with pytest.raises(SessionNotFoundError):
        place.export(session)
    assert not place.to.exists()
    assert not list(tmp_path.glob(".out*"))


def test_a_name_or_a_parent_that_cannot_be(place: Place, tmp_path: Path) -> None:
    for folder in (Path("/"), tmp_path / "..", tmp_path / "none" / "out"):
        place.to = folder
        with pytest.raises(SettingError):
            place.export()


ATTACKS = {
    "a changed row": "DROP TRIGGER row_update; UPDATE row SET body = replace(body, 'Audit', 'Adiut') WHERE idx = 0",
    "a changed signature": "DROP TRIGGER row_update; UPDATE row SET sig = zeroblob(64) WHERE idx = 2",
    "a changed hash": "DROP TRIGGER node_update; UPDATE node SET hash = zeroblob(32) WHERE level = 1",
    "another head": "UPDATE head SET note = replace(note, 'safeloop.local', 'safeloop.lokal')",
}


@pytest.mark.parametrize("attack", ATTACKS.values(), ids=ATTACKS)
def test_what_cannot_be_proved_is_not_exported(place: Place, attack: str, tmp_path: Path) -> None:
    place.ledger.close()
    with sqlite3.connect(place.db) as sql:
        sql.executescript(attack)
    with pytest.raises(VerificationError):
        place.export()
    assert not list(tmp_path.glob("*out*"))


def test_content_that_is_not_what_was_committed_is_not_exported(place: Place) -> None:
    place.ledger.close()
    with sqlite3.connect(place.db.with_name("l.content.db")) as sql:
        sql.execute("UPDATE content SET bytes = CAST(bytes || x'00' AS BLOB)")
    with pytest.raises(VerificationError, match="is not what"):
        place.export()
    assert not place.to.exists()


def test_a_folder_that_cannot_be_written_is_said_to_be_that(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    import resource

    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, limits[1]))
    try:
        with pytest.raises(LedgerError):
            place.export()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert not place.to.exists()
