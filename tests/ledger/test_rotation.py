"""Rotation and revocation: every ledger follows the new key, and nothing that the old one could still do counts."""

from __future__ import annotations

import contextlib
import json
import re
import threading
from pathlib import Path

import pytest

from safeloop.errors import KeyUnusable, LedgerError, LedgerLocked, SettingError, SignatureMismatch
from safeloop.ledger import Draft, Ledger, Row, ed25519
from safeloop.ledger.keys import KeyFolder, SigningKey
from safeloop.ledger.note import Checkpoint, Verifier, sign_checkpoint, verify_checkpoint
from safeloop.ledger.reader import LedgerReader
from safeloop.ledger.site import real_path
from safeloop.ledger.state import KnownLedgers
from safeloop.ledger.succession import Role, name_key, read_key, rotation, successor
from safeloop.ledger.trust import load_trust
from safeloop.ledger.upkeep.adoption import adopt
from safeloop.ledger.upkeep.inventory import inventory
from safeloop.ledger.upkeep.revocation import revoke
from safeloop.ledger.upkeep.rotation import rotate
from tests.ledger.making import add, verified_rows


@pytest.fixture
def folder(tmp_path: Path) -> KeyFolder:
    return KeyFolder(tmp_path / "keys")


def made(path: Path, folder: KeyFolder, rows: int = 2) -> Path:
    with contextlib.closing(Ledger(path, keys=folder)) as ledger:
        add(ledger, rows)
    return path


def appended(path: Path, folder: KeyFolder) -> Row:
    with contextlib.closing(Ledger(path, keys=folder, create=False)) as ledger:
        return add(ledger)[0]


def head(path: Path) -> str:
    with LedgerReader(path) as reader:
        return reader.head() or ""


def test_the_old_writer_signs_the_row_that_names_the_new_one_and_nothing_after_it(tmp_path, folder):
    path = made(tmp_path / "l.db", folder)
    old = folder.writer()
    done = rotate(folder, Role.WRITER)
    ((where, row),) = done.rows
    assert (where, row.kind, row.session, row.writer) == (real_path(path), "key", "ledger", old.key_id)
    assert (done.old, done.new, done.gone, done.resumed) == (old.key_id, folder.writer().key_id, (), False)
    assert row.data["event"] == "rotate"
    assert read_key(row.data["key"], row.ledger).public == done.public == folder.writer().public
    assert appended(path, folder).writer == done.new != old.key_id
    assert len(verified_rows(path, folder.path)) == 4
    assert load_trust(folder.self_trust).writer(old.key_id) is not None
    assert sorted(each.name for each in folder.path.glob("*.pem")) == ["log.pem", "writer.pem"]


def test_a_rotation_clears_private_keys_that_a_crash_left_and_nothing_else(tmp_path, folder):
    made(tmp_path / "l.db", folder)
    left = [folder.path / f".{name}.pem.{'0f' * 8}" for name in ("writer", "writer.next", "log", "log.next")]
    for path in left:
        path.hardlink_to(folder.path / "writer.pem")
    kept = [folder.path / name for name in (".writer.pem.bak", f".other.pem.{'0f' * 8}", f".writer.pem.{'0f' * 9}",
                                            f"writer.pem.{'0f' * 8}")]
    for path in kept:
        path.write_text("somebody's own")
    rotate(folder, Role.LOG)
    assert not any(path.exists() for path in left) and all(path.exists() for path in kept)


def test_a_temporary_name_that_cannot_be_removed_stops_the_rotation_before_it_begins(tmp_path, folder):
    made(tmp_path / "l.db", folder)
    left = folder.path / f".writer.pem.{'0f' * 8}"
    left.mkdir()
    with pytest.raises(KeyUnusable, match="cannot be removed"):
        rotate(folder, Role.WRITER)
    assert folder.waiting_public("writer") is None


def test_the_old_log_key_signs_the_head_with_the_row_and_the_new_one_every_head_after_it(tmp_path, folder):
    path = made(tmp_path / "l.db", folder)
    old, note = folder.log().public, head(path)
    origin = KnownLedgers(folder.path).all()[0].origin
    rotate(folder, Role.LOG)
    verify_checkpoint(head(path), Verifier(origin, old))
    appended(path, folder)
    verify_checkpoint(head(path), Verifier(origin, folder.log().public))
    trust = load_trust(folder.self_trust)
    assert [key.public for key in trust.policy.logs[origin]] == [old, folder.log().public]
    assert trust.log_for(origin, note).public == old
    assert trust.log_for(origin, head(path)) == trust.log_for(origin) == Verifier(origin, folder.log().public)
    known = KnownLedgers(folder.path).at(real_path(path))
    assert known is not None and known.log == Verifier(origin, folder.log().public).vkey
    assert len(verified_rows(path, folder.path)) == 4
    adopt(path, note, keys=folder)  # a checkpoint by the old key still says what it said


@pytest.mark.parametrize("role", Role)
def test_a_program_that_has_the_ledger_open_signs_on_with_the_new_key(tmp_path, folder, role):
    path = tmp_path / "l.db"
    with contextlib.closing(Ledger(path, keys=folder)) as running:
        add(running, 3)
        for _ in range(2):
            done = rotate(folder, role)
            row = add(running)[0]
            assert (row.writer == done.new) is (role is Role.WRITER)
            signer = Verifier(running.origin, folder.log().public)
            assert verify_checkpoint(running.head()[1], signer) == running.head()[0]
    verified_rows(path, folder.path)


def test_whoever_adds_the_row_themselves_signs_on_with_the_new_key_too(tmp_path, folder):
    with contextlib.closing(Ledger(tmp_path / "l.db", keys=folder)) as ledger:
        old, new = folder.writer().key_id, folder.make_successor("writer")
        data = rotation(name_key(Role.WRITER, new.public, ledger.origin), ledger.origin, old, new.sign)
        ledger.append(lambda _: [Draft("ledger", "key", data)])
        assert add(ledger)[0].writer == new.key_id


def test_a_program_whose_key_folder_lacks_the_new_key_is_refused_and_writes_nothing(tmp_path, folder):
    path = made(tmp_path / "l.db", folder)
    before = {file.name: file.read_bytes() for file in folder.path.glob("*.pem")}
    rotate(folder, Role.WRITER)
    for name, data in before.items():
        (folder.path / name).write_bytes(data)  # an older backup of the key folder
    with pytest.raises(KeyUnusable, match="was replaced by .* not in this key folder") as caught:
        appended(path, folder)
    assert "newest backup" in caught.value.hint
    with LedgerReader(path) as reader:
        assert reader.size() == 3


def test_every_ledger_of_the_folder_gets_its_row_and_one_that_is_gone_is_named(tmp_path, folder):
    paths = [made(tmp_path / f"{name}.db", folder) for name in "abc"]
    (tmp_path / "b.db").rename(tmp_path / "elsewhere.db")
    done = rotate(folder, Role.LOG)
    assert [path for path, _ in done.rows] == [paths[0], paths[2]]
    ((path, why),) = done.gone
    assert path == paths[1] and "is gone or empty" in why
    (tmp_path / "elsewhere.db").rename(paths[1])  # it comes back: its head is by a key that is no more
    assert appended(paths[1], folder).idx == 2
    for path in paths:
        appended(path, folder)
        verified_rows(path, folder.path)


def test_a_ledger_that_takes_no_row_stops_the_rotation_until_it_is_mended_or_skipped(tmp_path, folder):
    good, bad = made(tmp_path / "a.db", folder), made(tmp_path / "b.db", folder)
    rest = bad.read_bytes()
    bad.write_bytes(b"not a database" * 100)
    old = folder.writer().key_id
    with pytest.raises(LedgerError, match="not a database") as caught:
        rotate(folder, Role.WRITER)
    assert f"--skip {bad}" in caught.value.__notes__[0]
    assert folder.writer().key_id == old
    assert appended(good, folder).writer != old, "its row has decided"
    done = rotate(folder, Role.WRITER, skip=[bad])
    assert (done.resumed, done.rows, [path for path, _ in done.gone]) == (True, (), [bad])
    bad.write_bytes(rest)
    assert appended(bad, folder).writer == done.new


def test_a_ledger_that_is_made_during_a_rotation_is_handed_over_as_well(tmp_path, folder, monkeypatch):
    made(tmp_path / "a.db", folder)
    real = KnownLedgers.all
    late = iter([tmp_path / "late.db"])

    def all_of(self: KnownLedgers) -> object:
        found = real(self)
        for path in late:  # as another process would, just after the list was read
            made(path, folder)
        return found

    monkeypatch.setattr(KnownLedgers, "all", all_of)
    done = rotate(folder, Role.WRITER)
    assert [path.name for path, _ in done.rows] == ["a.db", "late.db"]


def test_two_rotations_at_once_are_refused(tmp_path, folder, monkeypatch):
    made(tmp_path / "a.db", folder)
    entered, leave = threading.Event(), threading.Event()
    real = KeyFolder.promote

    def slow(self: KeyFolder, role: str) -> None:
        entered.set()
        leave.wait(20)
        real(self, role)

    monkeypatch.setattr(KeyFolder, "promote", slow)
    other = threading.Thread(target=rotate, args=(folder, Role.LOG))
    other.start()
    try:
        assert entered.wait(20)
        with pytest.raises(LedgerLocked, match="another rotation"):
            rotate(folder, Role.WRITER)
    finally:
        leave.set()
        other.join()


def test_there_must_be_keys(folder):
    with pytest.raises(KeyUnusable, match="no keys"):
        rotate(folder, Role.WRITER)
    with pytest.raises(KeyUnusable, match="no key at"):
        inventory(folder)
    folder.create()
    (folder.path / "rotation.lock").mkdir()
    with pytest.raises(KeyUnusable, match=r"rotation\.lock cannot be opened"):
        rotate(folder, Role.WRITER)


def test_keys_without_a_ledger_rotate(folder):
    folder.create()
    old = folder.writer().key_id
    done = rotate(folder, Role.WRITER)
    assert (done.old, done.rows) == (old, ())
    assert inventory(folder).ledgers == inventory(folder).retired == ()


# What a row must prove


def test_only_a_good_proof_for_this_ledger_role_and_key_makes_a_successor(tmp_path, folder):
    path = made(tmp_path / "l.db", folder)
    old, new, other = folder.writer(), SigningKey.ephemeral(), SigningKey.ephemeral()
    with contextlib.closing(Ledger(path, keys=folder)) as ledger:
        origin = ledger.origin
        named = name_key(Role.WRITER, new.public, origin)
        good = rotation(named, origin, old.key_id, new.sign)
        bad = [
            rotation(named, origin, old.key_id, other.sign),
            rotation(named, "safeloop.local/other", old.key_id, new.sign),
            rotation(named, origin, other.key_id, new.sign),
            good | {"proof": None}, good | {"proof": "!"}, good | {"key": "ssh-ed25519 AAAA"}, good | {"key": "x"},
            good | {"key": good["key"] + " comment"}, good | {"event": "revoke"},
            rotation(name_key(Role.LOG, new.public, origin), origin, old.key_id, new.sign),
        ]
        rows = ledger.append(lambda _: [Draft("ledger", "key", data) for data in bad])
    assert successor(rows, Role.WRITER, old.key_id) is None
    assert successor(rows, Role.WRITER, other.key_id) is None, "a row vouches only for its own signer's successor"


def test_a_small_order_key_is_never_named(tmp_path):
    small = json.loads((Path(__file__).parent.parent / "vectors" / "small_order_keys.json").read_text())
    for raw in map(bytes.fromhex, re.findall("[0-9a-f]{64}", json.dumps(small))):
        for role in Role:
            with pytest.raises(KeyUnusable):
                name_key(role, raw, "safeloop.local/x")


# Revocation


def test_a_replaced_writer_is_revoked_from_now_on_and_once(tmp_path, folder):
    path = made(tmp_path / "l.db", folder)
    done = rotate(folder, Role.WRITER)
    gone = revoke(path, done.old[:8], keys=folder)
    assert (gone.line.key_id, gone.line.size, gone.row.data["not_after_size"]) == (done.old, 3, 3)
    assert gone.row.writer == done.new
    assert load_trust(folder.self_trust).revoked_from(done.old, gone.line.origin) == 3
    appended(path, folder)
    assert revoke(path, done.old, keys=folder) == gone
    earlier = revoke(path, done.old, keys=folder, size=1, voiding=True)
    assert (earlier.row.idx, load_trust(folder.self_trust).revoked_from(done.old, gone.line.origin)) == (5, 1)
    assert (folder.self_trust / "revoked").read_text() == f"{gone.line.line}\n{earlier.line.line}\n"


@pytest.mark.parametrize(("size", "words"), [(0, r"signed 13 rows \(1, 2, .*, 10, \.\.\.\) from row 1"),
                                             (11, r"signed 2 rows \(12, 13\) from row 12"),
                                             (12, "signed row 13 from row 13 on: none of it")])
def test_a_bound_before_rows_of_the_key_is_refused_unless_it_is_meant(tmp_path, folder, size, words):
    path = made(tmp_path / "l.db", folder)
    for _ in range(10):
        appended(path, folder)
    done = rotate(folder, Role.WRITER)
    with pytest.raises(SettingError, match=words) as refused:
        revoke(path, done.old, keys=folder, size=size)
    assert refused.value.hint.startswith("--from-row 14 voids nothing; --yes")
    assert load_trust(folder.self_trust).revoked == ()
    with LedgerReader(path) as reader:
        assert reader.size() == 13
    assert revoke(path, done.old, keys=folder, size=13).line.size == 13
    assert revoke(path, done.old, keys=folder, size=size, voiding=True).line.size == size


@pytest.mark.parametrize("role", Role)
def test_a_key_that_signs_or_waits_to_sign_is_never_revoked(tmp_path, folder, role):
    path = made(tmp_path / "l.db", folder)
    rotate(folder, role)
    waiting = folder.make_successor(role)
    for key in (folder.signer(role), waiting):
        if role is Role.WRITER and key is waiting:
            from safeloop.ledger.trust import pin_writer

            pin_writer(folder.self_trust, "waiting", key.public)
        elif key is waiting:
            continue
        with pytest.raises(KeyUnusable, match="still signs"):
            revoke(path, key.key_id, keys=folder)
    with LedgerReader(path) as reader:
        assert reader.size() == 3


def test_a_key_that_still_signs_in_this_ledger_is_not_revoked_there(tmp_path, folder):
    """A ledger that came back after a rotation has no row; its own last key is the folder's new one."""
    path = made(tmp_path / "l.db", folder)
    new = folder.make_successor("writer")
    with contextlib.closing(Ledger(path, keys=folder)) as ledger:
        data = rotation(name_key(Role.WRITER, new.public, ledger.origin), ledger.origin, folder.writer().key_id, new.sign)
        ledger.append(lambda _: [Draft("ledger", "key", data)])
    with pytest.raises(KeyUnusable, match="still signs"):
        revoke(path, folder.writer().key_id, keys=folder)


@pytest.mark.parametrize("key_id", ["", "0123456", "f" * 64, "g" * 8])
def test_an_id_that_names_no_key_is_refused(tmp_path, folder, key_id):
    path = made(tmp_path / "l.db", folder)
    with pytest.raises(SettingError, match="keys pinned in"):
        revoke(path, key_id, keys=folder)


def test_a_bound_beyond_the_ledger_is_refused(tmp_path, folder):
    path = made(tmp_path / "l.db", folder)
    done = rotate(folder, Role.WRITER)
    with pytest.raises(SettingError, match="3 rows, and not yet 4"):
        revoke(path, done.old, keys=folder, size=4)


def test_a_checkpoint_beyond_the_bound_of_its_log_key_does_not_count(tmp_path, folder):
    path = made(tmp_path / "l.db", folder)
    old = folder.log()
    rotate(folder, Role.LOG)
    note = head(path)
    line = revoke(path, old.key_id, keys=folder).line
    trust = load_trust(folder.self_trust)
    assert trust.log_for(line.origin, note).public == old.public, "the bound is inclusive"
    forged = sign_checkpoint(Checkpoint(line.origin, 4, b"\7" * 32), Verifier(line.origin, old.public), old.sign)
    assert ed25519.key_id(old.public) == line.key_id
    with pytest.raises(SignatureMismatch, match="a checkpoint of 4 rows, .* revoked for more than 3"):
        trust.log_for(line.origin, forged)
    with pytest.raises(SignatureMismatch):
        adopt(path, forged, keys=folder)
    appended(path, folder)


def test_what_is_known_of_the_keys_is_listed(tmp_path, folder):
    path = made(tmp_path / "l.db", folder)
    made(tmp_path / "gone.db", folder).unlink()
    old = folder.writer().key_id
    rotate(folder, Role.WRITER)
    waiting = folder.make_successor("log")
    line = revoke(path, old, keys=folder).line
    found = inventory(folder)
    assert [each.key_id for each in found.current] == [folder.writer().key_id, folder.log().key_id]
    assert [each.key_id for each in found.waiting] == [waiting.key_id]
    assert [each.key_id for each in found.retired] == [old]
    assert (found.revoked, found.encrypted) == ((line,), ())
    assert [each.is_there for each in found.ledgers] == [True, False]
