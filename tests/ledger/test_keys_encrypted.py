"""Encrypted keys: what signs needs the passphrase, what looks does not, and nothing in clear is left beside them."""

from __future__ import annotations

import contextlib
import subprocess
from pathlib import Path

import pytest

from safeloop.errors import KeyUnusable
from safeloop.ledger import Ledger
from safeloop.ledger.keys import KeyFolder
from safeloop.ledger.reader import LedgerReader
from safeloop.ledger.succession import Role
from safeloop.ledger.upkeep.inventory import inventory
from safeloop.ledger.upkeep.rotation import rotate
from tests.ledger.making import add

PASSPHRASE = b"twelve bytes and more"


@pytest.fixture
def folder(tmp_path: Path) -> KeyFolder:
    made = KeyFolder(tmp_path / "keys", lambda: PASSPHRASE)
    made.create(encrypted=True)
    return made


def test_openssl_opens_what_was_encrypted_with_the_passphrase_and_with_no_other(folder: KeyFolder) -> None:
    command = ["openssl", "pkey", "-in", folder.path / "writer.pem", "-pubout", "-outform", "DER", "-passin"]
    shown = subprocess.run([*command, f"pass:{PASSPHRASE.decode()}"], capture_output=True, check=True).stdout
    assert shown.endswith(folder.writer().public)
    assert subprocess.run([*command, "pass:other"], capture_output=True, check=False).returncode != 0


def test_whoever_looks_needs_no_passphrase_and_whoever_signs_does(folder: KeyFolder) -> None:
    looking = KeyFolder(folder.path)
    assert looking.public("writer") == folder.writer().public
    assert inventory(looking).encrypted == tuple(Role)
    for sign in (looking.writer, looking.log):
        with pytest.raises(KeyUnusable, match="encrypted, and no passphrase is set"):
            sign()


def test_another_passphrase_is_said_to_be_that(folder: KeyFolder) -> None:
    with pytest.raises(KeyUnusable, match=r"the passphrase does not open key .*writer\.pem") as caught:
        KeyFolder(folder.path, lambda: b"another passphrase").writer()
    assert "safeloop config" in caught.value.hint


def test_the_passphrase_is_asked_for_once_and_only_if_a_key_is_encrypted(tmp_path: Path, folder: KeyFolder) -> None:
    asked: list[int] = []

    def passphrase() -> bytes:
        asked.append(1)
        return PASSPHRASE

    plain = KeyFolder(tmp_path / "plain", passphrase)
    plain.create()
    plain.writer()
    assert asked == []
    with contextlib.closing(Ledger(tmp_path / "l.db", keys=KeyFolder(folder.path, passphrase))) as ledger:
        add(ledger)
    assert asked == [1]


def test_a_ledger_is_read_without_the_passphrase_that_wrote_it(tmp_path: Path, folder: KeyFolder) -> None:
    with contextlib.closing(Ledger(tmp_path / "l.db", keys=folder)) as ledger:
        add(ledger)
    with LedgerReader(tmp_path / "l.db") as reader:
        assert reader.size() == 1
    with pytest.raises(KeyUnusable, match="no passphrase is set"):
        Ledger(tmp_path / "l.db", keys=folder.path)


@pytest.mark.parametrize("role", Role)
def test_the_successor_of_an_encrypted_key_is_encrypted_and_of_a_plain_one_plain(
    tmp_path: Path, folder: KeyFolder, role: Role
) -> None:
    with contextlib.closing(Ledger(tmp_path / "l.db", keys=folder)) as running:
        add(running)
        rotate(folder, role)
        add(running)
    assert folder.is_encrypted(role)
    assert all(b"BEGIN PRIVATE KEY" not in path.read_bytes() for path in folder.path.iterdir() if path.is_file())
    plain = KeyFolder(tmp_path / "plain", lambda: PASSPHRASE)
    plain.create()
    rotate(plain, role)
    assert not plain.is_encrypted(role)


def test_a_rotation_without_the_passphrase_changes_nothing(folder: KeyFolder) -> None:
    before = {path.name: path.read_bytes() for path in folder.path.iterdir() if path.suffix == ".pem"}
    with pytest.raises(KeyUnusable, match="no passphrase"):
        rotate(KeyFolder(folder.path), Role.WRITER)
    assert {path.name: path.read_bytes() for path in folder.path.iterdir() if path.suffix == ".pem"} == before


@pytest.mark.parametrize("role", Role)
def test_a_rotation_with_another_passphrase_leaves_nothing_that_blocks_the_right_one(
    tmp_path: Path, folder: KeyFolder, role: Role
) -> None:
    with contextlib.closing(Ledger(tmp_path / "l.db", keys=folder)) as ledger:
        add(ledger)
    wrong = KeyFolder(folder.path, lambda: b"another passphrase")
    with pytest.raises(KeyUnusable, match=rf"the passphrase does not open key .*/{role}\.pem"):
        rotate(wrong, role)
    assert sorted(path.name for path in folder.path.glob("*.pem")) == ["log.pem", "writer.pem"]
    done = rotate(folder, role)
    assert (done.resumed, folder.signer(role).key_id) == (False, done.new)


@pytest.mark.parametrize("passphrase", [b"", b"eleven byte"])
def test_a_passphrase_that_is_soon_guessed_encrypts_nothing(tmp_path: Path, passphrase: bytes) -> None:
    made = KeyFolder(tmp_path / "k", lambda: passphrase)
    with pytest.raises(KeyUnusable, match="soon guessed"):
        made.create(encrypted=True)
    with pytest.raises(KeyUnusable, match="no passphrase to encrypt with"):
        KeyFolder(tmp_path / "k").create(encrypted=True)
    assert list((tmp_path / "k").iterdir()) == []


def test_a_first_line_that_names_another_key_is_found_by_whoever_signs(folder: KeyFolder) -> None:
    path = folder.path / "writer.pem"
    log_line = (folder.path / "log.pem").read_bytes().partition(b"\n")[0]
    rest = path.read_bytes().partition(b"\n")[2]
    path.write_bytes(log_line + b"\n" + rest)
    with pytest.raises(KeyUnusable, match="is another one than its first line says"):
        folder.writer()
    path.write_bytes(b"public: nonsense\n" + rest)
    for look in (folder.writer, lambda: folder.public("writer")):
        with pytest.raises(KeyUnusable, match="is no public key"):
            look()
    path.write_bytes(rest)  # as openssl writes it: what only looks needs the passphrase too
    assert folder.public("writer") == folder.writer().public
    with pytest.raises(KeyUnusable, match="no passphrase"):
        KeyFolder(folder.path).public("writer")


def test_a_successor_that_cannot_be_read_is_an_error_and_not_another_key(folder: KeyFolder) -> None:
    new = folder.make_successor("writer")
    assert folder.find("writer", new.key_id) is not None
    assert folder.find("writer", folder.writer().key_id) is not None
    assert folder.find("writer", "0" * 64) is None
    (folder.path / "writer.next.pem").chmod(0o644)
    with pytest.raises(KeyUnusable, match="read by others"):
        folder.find("writer", new.key_id)


def test_a_promotion_without_a_successor_is_an_error(folder: KeyFolder) -> None:
    assert folder.successor("log") is None
    with pytest.raises(KeyUnusable, match="cannot be moved"):
        folder.promote("log")
