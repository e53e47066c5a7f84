"""The session lock."""

import os
import subprocess
import sys
import threading
import time

import pytest

from safeloop.errors import LedgerError, LedgerLocked
from safeloop.loop.lock import held, is_held
from tests.loop.child import Child


@pytest.fixture
def lock(tmp_path):
    return tmp_path / "x.sessions" / "abc" / "lock"


def test_a_lock_excludes_a_second_holder_of_the_same_process_and_is_free_afterwards(lock):
    with held(lock, "session s"):
        with pytest.raises(LedgerLocked, match="session s is running in this process already"), held(lock, "session s"):
            pass
        assert is_held(lock, "session s")
    assert not is_held(lock, "session s")
    with held(lock, "session s"):
        pass


def test_asking_whether_a_lock_is_held_does_not_drop_it(lock, tmp_path):
    with held(lock, "it"):
        assert is_held(lock, "it")
        with Child("holds", tmp_path / "l.db", lock) as child:
            assert child.end()[1]["raised"] == "LedgerLocked"


def test_a_lock_that_was_never_made_is_not_held_and_asking_does_not_make_it(lock):
    assert not is_held(lock, "it")
    assert not lock.parent.exists()


def test_a_lock_excludes_threads_of_one_process(lock):
    held_by, go_on = [], threading.Event()

    def work():
        try:
            with held(lock, "it"):
                held_by.append(threading.get_ident())
                go_on.wait(10)
        except LedgerLocked:
            held_by.append(None)
            go_on.set()

    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len([holder for holder in held_by if holder]) == 1
    assert None in held_by


def test_a_lock_is_released_by_an_exception(lock):
    with pytest.raises(ValueError, match="x"), held(lock, "it"):
        raise ValueError("x")
    assert not is_held(lock, "it")


def test_waiting_for_another_holder_ends_when_it_lets_go(lock, tmp_path):
    with Child("holds", tmp_path / "l.db", lock) as child:
        child.reach("holding")
        threading.Timer(0.2, child.process.kill).start()
        started = time.monotonic()
        with held(lock, "it", wait_s=20):
            assert 0.1 < time.monotonic() - started < 10


def test_waiting_for_another_holder_ends_with_the_wait(lock, tmp_path):
    with Child("holds", tmp_path / "l.db", lock) as child:
        child.reach("holding")
        with pytest.raises(LedgerLocked, match="another process") as locked, held(lock, "it", wait_s=0.1):
            pass
    assert locked.value.hint == f"fuser -v {lock}"


def test_a_forked_child_neither_has_the_lock_nor_takes_it_from_its_parent(lock):
    program = f"""
import os, sys
from pathlib import Path
from safeloop.loop.lock import held, is_held
lock = Path({str(lock)!r})
ready, go = os.pipe(), os.pipe()
with held(lock, "it"):
    if os.fork() == 0:
        first = is_held(lock, "it")     # the parent's
        os.write(ready[1], b".")
        os.read(go[0], 1)               # until the parent has let go
        second = is_held(lock, "it")
        with held(lock, "it"):
            third = True
        os._exit((first, second, third) != (True, False, True))
    os.read(ready[0], 1)
    assert is_held(lock, "it")
os.write(go[1], b".")
sys.exit(os.waitstatus_to_exitcode(os.wait()[1]))
"""
    assert subprocess.run([sys.executable, "-c", program], check=False, timeout=30).returncode == 0


def test_a_program_that_was_started_meanwhile_does_not_inherit_the_lock(lock, tmp_path):
    with held(lock, "it"):
        sleeper = subprocess.Popen(["sleep", "30"], close_fds=False)
    try:
        with Child("holds", tmp_path / "l.db", lock) as child:
            child.reach("holding")
            child.process.kill()
    finally:
        sleeper.kill()
        sleeper.wait()


def test_a_lock_that_is_a_link_is_refused(lock, tmp_path):
    lock.parent.mkdir(parents=True)
    (tmp_path / "elsewhere").touch()
    lock.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(LedgerError, match="cannot be made"), held(lock, "it"):
        pass


def test_a_folder_that_cannot_be_made_is_said(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(LedgerError, match="cannot be made") as refused, held(tmp_path / "file" / "a" / "lock", "it"):
        pass
    assert refused.value.hint.startswith("ls -ld")


def test_folders_on_the_way_are_for_their_owner_alone_whatever_the_umask(lock):
    before = os.umask(0)
    try:
        with held(lock, "it"):
            modes = [path.stat().st_mode & 0o777 for path in (lock.parent.parent, lock.parent, lock)]
    finally:
        os.umask(before)
    assert modes == [0o700, 0o700, 0o600]
