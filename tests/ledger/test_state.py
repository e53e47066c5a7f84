"""What the key folder remembers: never lowered, whole or refused, and a lock that dies with its process."""

from __future__ import annotations

import fcntl
import hashlib
import os
import threading
import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from safeloop.errors import ExitCode, KeyUnusable, LedgerLocked, StateMismatch
from safeloop.ledger.encoding import encode
from safeloop.ledger.state import (
    KnownLedger,
    KnownLedgers,
    State,
    StateFile,
    create_state,
    read_state,
    state_path,
)
from tests.ledger.making import python

SLOT = 16_384


def one(size: int, path: str = "/l.db") -> State:
    return State(Path(path), size, bytes([size % 256]) * 32)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "a.state"
    create_state(path, one(0))
    return path


def write(path: Path, *states: State) -> None:
    opened = StateFile(path)
    with opened.locked(1):
        opened.read()
        for state in states:
            opened.write(state)
    opened.close()


def test_a_state_is_named_by_the_digest_of_its_origin_and_private(tmp_path: Path) -> None:
    path = state_path(tmp_path, "safeloop.local/x")
    assert path == tmp_path / f"{hashlib.sha256(b'safeloop.local/x').hexdigest()}.state"
    create_state(path, one(0))
    assert path.stat().st_mode & 0o777 == 0o600
    assert read_state(path) == one(0)


def test_making_a_state_never_overwrites_one(file: Path) -> None:
    write(file, one(5))
    create_state(file, one(0))
    assert read_state(file) == one(5)


@given(st.integers(1, 2**53 - 1), st.binary(min_size=32, max_size=32), st.binary(min_size=1, max_size=200))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=50)
def test_what_was_written_is_read_even_with_a_path_that_is_no_text(
    file: Path, size: int, root: bytes, name: bytes
) -> None:
    file.unlink(missing_ok=True)
    state = State(Path(os.fsdecode(b"/" + name.replace(b"\0", b"x").replace(b"/", b"y"))), size, root)
    create_state(file, one(0))
    write(file, state)
    assert read_state(file) == state


def test_the_longest_path_fits_into_a_slot(file: Path) -> None:
    state = State(Path("/" + "/".join(["\udcff" * 250] * 16)), 7, b"r" * 32)
    write(file, state, State(state.path, 8, b"r" * 32))
    assert read_state(file) == State(state.path, 8, b"r" * 32)
    assert file.stat().st_size == 2 * SLOT


def test_one_torn_slot_costs_one_step_and_no_more(file: Path) -> None:
    write(file, one(1), one(2), one(3))
    whole = file.read_bytes()
    newest = 0 if b'"size":3' in whole[:SLOT] else 1
    for cut in (0, 1, 20, 60, 150):  # within the line and within its checksum
        torn = bytearray(whole)
        torn[newest * SLOT + cut] ^= 0x01
        file.write_bytes(torn)
        assert read_state(file) == one(2)
    write(file, one(4))
    assert read_state(file) == one(4)


def test_the_newer_slot_is_never_the_one_that_is_written_over(file: Path) -> None:
    for size in range(1, 9):
        before = file.read_bytes()
        write(file, one(size))
        after = file.read_bytes()
        changed = {0 if offset < SLOT else 1 for offset in range(2 * SLOT) if before[offset] != after[offset]}
        held = [slot for slot in (0, 1) if f'"size":{size - 1}'.encode() in before[slot * SLOT : (slot + 1) * SLOT]]
        assert len(changed) == 1
        assert size == 1 or changed != set(held)


@pytest.mark.parametrize(
    "damage",
    [
        b"", b"x", b"\0" * 2 * SLOT, b"{}\n" * 100, b"\xff" * 2 * SLOT,
    ],
)
def test_two_damaged_slots_are_an_error_and_are_left_alone(file: Path, damage: bytes) -> None:
    file.write_bytes(damage)
    with pytest.raises(StateMismatch, match="neither slot is whole") as caught:
        read_state(file)
    assert "adopt" in caught.value.hint
    opened = StateFile(file)
    with opened.locked(1), pytest.raises(StateMismatch, match="neither slot is whole"):
        opened.read()
    opened.close()
    assert file.read_bytes() == damage


@pytest.mark.parametrize(
    "value",
    [
        [], "text", {}, {"path": 5, "root": "00", "size": 1}, {"path": "/", "root": 5, "size": 1},
        {"path": "/", "root": "zz", "size": 1}, {"path": "/", "root": "00", "size": None},
        {"path": None, "root": "00", "size": 0},
    ],
)
def test_a_slot_with_a_right_checksum_and_a_wrong_content_is_no_state(file: Path, value: object) -> None:
    line = encode(value)
    slot = line + b"\n" + hashlib.sha256(line).hexdigest().encode() + b"\n"
    file.write_bytes(slot.ljust(SLOT, b"\0") * 2)
    with pytest.raises(StateMismatch):
        read_state(file)


def test_a_missing_state_is_none_to_a_reader_and_an_error_to_a_writer(tmp_path: Path) -> None:
    assert read_state(tmp_path / "none.state") is None
    with pytest.raises(StateMismatch, match="another machine, other keys, or it was removed") as caught:
        StateFile(tmp_path / "none.state")
    assert "adopt" in caught.value.hint


def test_a_folder_in_the_place_of_a_state_is_said_to_be_unreadable(tmp_path: Path) -> None:
    (tmp_path / "a.state").mkdir()
    with pytest.raises(KeyUnusable, match="cannot be read: Is a directory"):
        read_state(tmp_path / "a.state")
    with pytest.raises(KeyUnusable, match="cannot be opened: Is a directory"):
        StateFile(tmp_path / "a.state")


def test_a_reader_waits_out_a_slot_that_is_being_written(file: Path) -> None:
    whole = file.read_bytes()
    file.write_bytes(b"\0" * 2 * SLOT)
    descriptor = os.open(file, os.O_WRONLY)
    timer = threading.Timer(0.001, lambda: os.pwrite(descriptor, whole, 0))
    timer.start()
    try:
        assert read_state(file) == one(0)
    finally:
        timer.join()
        os.close(descriptor)


def test_a_lock_held_elsewhere_is_waited_for_and_then_named(file: Path) -> None:
    other = os.open(file, os.O_RDWR)
    fcntl.flock(other, fcntl.LOCK_EX)
    opened = StateFile(file)
    begin = time.monotonic()
    with pytest.raises(LedgerLocked, match=r"has held the ledger for 0\.2 s") as caught, opened.locked(0.2):
        pytest.fail("the lock was not ours")
    assert 0.2 <= time.monotonic() - begin < 2
    assert caught.value.hint == f"fuser -v {file}"
    assert caught.value.exit_code == ExitCode.UNUSABLE
    os.close(other)
    with opened.locked(0.2):
        pass
    opened.close()


def test_the_lock_goes_with_the_process_that_held_it(file: Path) -> None:
    code = """
import sys, time
from pathlib import Path
from safeloop.ledger.state import StateFile
opened = StateFile(Path(sys.argv[1]))
with opened.locked(5):
    print("held", flush=True)
    time.sleep(60)
"""
    with python(code, file) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        process.kill()
    opened = StateFile(file)
    with opened.locked(1):
        assert opened.read() == one(0)
    opened.close()


def test_a_state_removed_or_replaced_while_open_is_refused_even_so(file: Path) -> None:
    opened = StateFile(file)
    file.unlink()
    with pytest.raises(StateMismatch, match="was removed while the ledger was open"), opened.locked(1):
        pytest.fail("the state is gone")
    create_state(file, one(0))
    with pytest.raises(StateMismatch, match="was removed"), opened.locked(1):
        pytest.fail("this is another file")
    opened.close()


def test_a_fork_s_copy_does_not_unlock_its_parent(file: Path) -> None:
    opened = StateFile(file)
    with opened.locked(1):
        child = os.fork()
        if child == 0:
            with opened.locked(1):  # the lock is shared, so this succeeds at once
                pass
            os._exit(0)
        os.waitpid(child, 0)
        other = StateFile(file)
        with pytest.raises(LedgerLocked), other.locked(0.05):
            pytest.fail("the child has unlocked the parent")
        other.close()
    opened.close()


def test_another_process_s_lock_is_never_let_go(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened = StateFile(file)
    with monkeypatch.context() as patch, opened.locked(1):
        patch.setattr("safeloop.ledger.state.os.getpid", lambda: -1)
    other = StateFile(file)
    with pytest.raises(LedgerLocked), other.locked(0):
        pytest.fail("the lock was let go")
    other.close()
    opened.close()


def test_a_state_that_cannot_be_written_says_that_the_rows_are_safe(file: Path) -> None:
    opened = StateFile(file)
    opened._descriptor, real = os.open(file, os.O_RDONLY), opened._descriptor
    with pytest.raises(KeyUnusable, match="cannot be written: Bad file descriptor; the rows themselves are recorded"):
        opened.write(one(1))
    os.close(real)
    opened.close()


def test_an_adoption_sets_both_slots(file: Path) -> None:
    write(file, one(8), one(9))
    opened = StateFile(file)
    with opened.locked(1):
        opened.read()
        opened.overwrite(one(3, "/elsewhere.db"))
        assert opened.read() == one(3, "/elsewhere.db")
    opened.close()
    assert file.read_bytes().count(b'"size":3') == 2
    assert read_state(file) == one(3, "/elsewhere.db")


def known(path: str, origin: str) -> KnownLedger:
    return KnownLedger(Path(path), origin, f"{origin}+00+AA")


def test_ledgers_are_remembered_and_one_that_moved_is_listed_once(tmp_path: Path) -> None:
    ledgers = KnownLedgers(tmp_path)
    assert ledgers.at(Path("/a")) is None
    ledgers.remember(known("/a", "o/1"))
    ledgers.remember(known("/b \udcff\n", "o/2"))
    ledgers.remember(known("/a", "o/1"))
    assert ledgers.at(Path("/a")) == known("/a", "o/1")
    assert ledgers.at(Path("/b \udcff\n")) == known("/b \udcff\n", "o/2")
    ledgers.remember(known("/c", "o/1"))
    assert ledgers.at(Path("/a")) is None
    assert ledgers.at(Path("/c")) == known("/c", "o/1")
    listed = tmp_path / "known_ledgers"
    assert len(listed.read_text().splitlines()) == 2
    assert listed.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    "text",
    ["x", "{}", "[]", "5", '"text"', '{"path":5,"origin":"o","log":"l"}', '{"path":"/a","origin":"o"}', "null", "{"],
)
def test_a_damaged_list_is_an_error_and_never_an_empty_list(tmp_path: Path, text: str) -> None:
    good = '{"log": "l", "origin": "o/1", "path": "/a"}\n'
    for damaged in (text, good + text, text + "\n" + good):
        (tmp_path / "known_ledgers").write_text(damaged)
        with pytest.raises(KeyUnusable, match="known_ledgers is damaged") as caught:
            KnownLedgers(tmp_path).at(Path("/elsewhere"))
        assert "backup" in caught.value.hint
        with pytest.raises(KeyUnusable):
            KnownLedgers(tmp_path).remember(known("/b", "o/2"))
        assert (tmp_path / "known_ledgers").read_text() == damaged


def test_a_list_that_cannot_be_read_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "known_ledgers").write_bytes(b"\xff\xfe")
    with pytest.raises(KeyUnusable, match="cannot be read"):
        KnownLedgers(tmp_path).at(Path("/a"))
    (tmp_path / "known_ledgers").unlink()
    (tmp_path / "known_ledgers").mkdir()
    with pytest.raises(KeyUnusable, match="cannot be read"):
        KnownLedgers(tmp_path).at(Path("/a"))


def test_processes_that_remember_at_once_lose_nothing(tmp_path: Path) -> None:
    code = """
import sys
from pathlib import Path
from safeloop.ledger.state import KnownLedger, KnownLedgers
for number in range(10):
    KnownLedgers(Path(sys.argv[1])).remember(KnownLedger(Path(f"/{sys.argv[2]}/{number}"), f"o/{sys.argv[2]}.{number}", "k"))
"""
    processes = [python(code, tmp_path, name) for name in "abcd"]
    for process in processes:
        assert process.communicate(timeout=60)[1] == ""
    assert len((tmp_path / "known_ledgers").read_text().splitlines()) == 40
