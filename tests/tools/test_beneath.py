"""Links, mounts and swaps, against what the kernel offers and against what there is without it."""

from __future__ import annotations

import fcntl
import os
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from safeloop.ledger.guarded import guard
from safeloop.tools import ContainmentError, Root, beneath

from .conftest import SECRET

RACE_S = 0.6
PATIENCE_S = 20.0
SWAPPER = """
import os, sys
folder, bad, link = sys.argv[1:]
os.chdir(folder)
print("ready", flush=True)
count = 0
while True:
    count += 1
    with open("good.next", "w") as file:
        file.write("good")
    os.rename("good.next", "x")
    (os.symlink if link == "symbolic" else os.link)(bad, "bad.next")
    os.rename("bad.next", "x")
    if os.path.lexists("bad.next"):  # the two were one file already
        os.unlink("bad.next")
"""
FOLDER_SWAPPER = """
import os, sys
folder, bad, _ = sys.argv[1:]
os.chdir(folder)
os.mkdir("real")
open("real/secret", "w").write("good")
print("ready", flush=True)
while True:
    os.rename("real", "x")
    os.rename("x", "real")
    os.symlink(bad, "x")
    os.unlink("x")
"""
IS_LOCKED = """
import fcntl, sys
with open(sys.argv[1], "r+") as file:
    try:
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        print("locked")
    else:
        print("free")
"""


@contextmanager
def swapping(program: str, folder: Path, bad: Path, link: str) -> Iterator[None]:
    """Let a second process swap what stands under `x`, as fast as it can, until the end."""
    command = [sys.executable, "-c", program, str(folder), str(bad), link]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None and process.stderr is not None
        assert process.stdout.readline() == "ready\n"
        try:
            yield
            assert process.poll() is None, process.stderr.read()
        finally:
            process.kill()


def racing(is_enough: Callable[[], bool]) -> Iterator[None]:
    """Go on for a while, and longer on a busy machine, where both sides of a race are not seen so soon."""
    began = time.monotonic()
    while (passed := time.monotonic() - began) < RACE_S or (passed < PATIENCE_S and not is_enough()):
        yield


def is_locked(path: Path) -> bool:
    said = subprocess.run([sys.executable, "-c", IS_LOCKED, str(path)], capture_output=True, text=True, check=True)
    return said.stdout == "locked\n"


def test_the_lock_of_a_guarded_file_survives_a_second_process_that_swaps_it_in(
    root: Root, folder: Path, each_way: str
) -> None:
    guarded = folder.parent / "ledger.db"
    guarded.write_bytes(b"rows")
    kept = guard((guarded,))
    with guarded.open("r+b") as file:
        fcntl.lockf(file, fcntl.LOCK_EX)
        assert is_locked(guarded)
        seen: dict[str, int] = {}
        refusal = "x: it belongs to a ledger, or to its keys"
        with swapping(SWAPPER, folder, guarded, "hard"):
            for _ in racing(lambda: {"good", refusal} <= seen.keys()):
                try:
                    seen[root.read("x", 100).decode()] = 1
                except ContainmentError as error:
                    seen[str(error)] = seen.get(str(error), 0) + 1
        assert is_locked(guarded), each_way
    assert "good" in seen and refusal in seen, seen
    assert "rows" not in seen
    del kept


@pytest.mark.parametrize("link", ["symbolic", "hard"])
def test_a_link_swapped_in_by_a_second_process_is_never_followed_and_never_written_through(
    root: Root, folder: Path, outside: Path, each_way: str, link: str
) -> None:
    bad = outside / "secret"
    seen: set[bytes] = set()
    with swapping(SWAPPER, folder, bad, link):
        for _ in racing(lambda: bool(seen & {b"good", b"mine"})):
            with suppress(ContainmentError):
                seen.add(root.read("x", 100))
            with suppress(ContainmentError):
                root.write("x", b"mine")
    # Whoever may make a hard link to a file may as well copy it: only writing through one would be an escape.
    assert seen - {b"good", b"mine", b""} == (seen & {SECRET} if link == "hard" else set())
    assert seen & {b"good", b"mine"}, each_way


def test_a_folder_swapped_for_a_link_by_a_second_process_is_never_gone_through(
    root: Root, folder: Path, outside: Path, each_way: str
) -> None:
    seen: set[bytes] = set()
    refused: list[ContainmentError] = []
    with swapping(FOLDER_SWAPPER, folder, outside, ""):
        for _ in racing(lambda: bool(refused)):
            try:
                seen.add(root.read("x/secret", 100))
            except ContainmentError as error:
                refused[:] = [error]
            with suppress(ContainmentError):
                seen.update(b"good" if entry.size == 4 else b"other" for entry in root.list("x").entries)
    assert seen <= {b"good"}, each_way
    assert refused


def test_what_stands_there_is_not_opened_before_it_was_looked_at(folder: Path, root: Root, each_way: str) -> None:
    """A writer waits at a pipe until somebody opens it: nobody may."""
    os.mkfifo(folder / "pipe")
    for _ in range(3):
        with pytest.raises(ContainmentError, match="not a regular file"):
            root.read("pipe", 10)
    with pytest.raises(OSError, match="No such device"):
        os.open(folder / "pipe", os.O_WRONLY | os.O_NONBLOCK)


def test_a_swap_between_look_and_open_is_refused_and_the_descriptor_of_a_guarded_file_is_kept_open(
    root: Root, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where nothing can be opened by its descriptor; the swap is made at the worst moment, not by chance."""
    guarded = folder.parent / "ledger.db"
    guarded.write_bytes(b"rows")
    kept = guard((guarded,))
    (folder / "x").write_bytes(b"good")
    monkeypatch.setattr(beneath, "can_reopen", lambda: False)
    opened = beneath.open_part

    def swap_and_open(directory: int, part: str, flags: int) -> int:
        (folder / "x").unlink()
        os.link(guarded, folder / "x")
        return opened(directory, part, flags)

    monkeypatch.setattr(beneath, "open_part", swap_and_open)
    with guarded.open("r+b") as file:
        fcntl.lockf(file, fcntl.LOCK_EX)
        with pytest.raises(ContainmentError, match="x: it was replaced while it was opened"):
            root.read("x", 100)
        assert is_locked(guarded)
    os.close(beneath._NEVER_CLOSED.pop())
    del kept


def test_a_pipe_swapped_in_between_look_and_open_is_refused_and_let_go_of(
    root: Root, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "x").write_bytes(b"good")
    monkeypatch.setattr(beneath, "can_reopen", lambda: False)
    opened = beneath.open_part

    def swap_and_open(directory: int, part: str, flags: int) -> int:
        (folder / "x").unlink()
        os.mkfifo(folder / "x")
        return opened(directory, part, flags)

    monkeypatch.setattr(beneath, "open_part", swap_and_open)
    monkeypatch.setattr(beneath, "_NEVER_CLOSED", kept := [])
    before = len(os.listdir("/proc/self/fd"))
    with pytest.raises(ContainmentError, match="x: it is not a regular file"):
        root.read("x", 100)
    assert len(os.listdir("/proc/self/fd")) == before
    assert kept == []


MOUNT = 'mount --bind "$1/inner" "$1/mounted" && touch "$1/onto" && mount --bind "$1/a" "$1/onto" && exec "$2" -c "$3" "$1"'
READ_THE_MOUNTED = """
import sys
from safeloop.tools import ContainmentError, Root
root = Root(sys.argv[1])
for name in ("mounted/b", "onto", "a"):
    try:
        print(root.read(name, 100))
    except ContainmentError as error:
        print(error)
"""


def test_a_mount_of_the_same_device_is_refused_by_the_kernel(folder: Path) -> None:
    if not beneath.has_openat2():
        pytest.skip("this machine has no openat2")
    for name in ("inner", "mounted"):
        (folder / name).mkdir()
    (folder / "inner" / "b").write_bytes(b"behind a mount")
    (folder / "a").write_bytes(b"plain")
    run = ["unshare", "--mount", "sh", "-c", MOUNT, "sh", str(folder)]
    if subprocess.run([*run, "true", ""], check=False, capture_output=True).returncode:
        pytest.skip("this machine does not let tests mount")
    done = subprocess.run([*run, sys.executable, READ_THE_MOUNTED], check=True, capture_output=True, text=True)
    assert done.stdout.splitlines() == [
        "mounted/b: it is on another device", "onto: it is on another device", "b'plain'",
    ]


def test_without_openat2_the_walk_refuses_what_it_refuses(folder: Path, each_way: str) -> None:
    (folder / "link").symlink_to("/etc")
    (folder / "out").symlink_to("../outside/secret")
    descriptor = os.open(folder, beneath.OPEN_FOLDER)
    try:
        for name in ("link", "out"):
            with pytest.raises(OSError):
                os.close(beneath.open_part(descriptor, name, beneath.OPEN_FOLDER))
        made = beneath.open_part(descriptor, "new", beneath.CREATE)
        assert stat.S_IMODE(os.fstat(made).st_mode) == 0o600
        os.close(made)
        with pytest.raises(FileExistsError):
            beneath.open_part(descriptor, "out", beneath.CREATE)
    finally:
        os.close(descriptor)
    assert (folder.parent / "outside" / "secret").read_bytes() == SECRET


def test_a_kernel_or_a_filter_that_refuses_the_call_is_believed(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> int:
        raise PermissionError(1, "Operation not permitted")

    before = len(os.listdir("/proc/self/fd"))
    monkeypatch.setattr(beneath, "_openat2", refuse)
    beneath.has_openat2.cache_clear()
    try:
        assert beneath.has_openat2() is False
    finally:
        beneath.has_openat2.cache_clear()
    monkeypatch.setattr(beneath.platform, "machine", lambda: "pdp11")
    try:
        assert beneath.has_openat2() is False
    finally:
        beneath.has_openat2.cache_clear()
    assert len(os.listdir("/proc/self/fd")) == before


def test_a_folder_that_is_closed_is_not_closed_under_a_call_that_still_uses_it(folder: Path) -> None:
    root = Root(folder)
    held = root._held
    root.close()
    assert held is not None
    assert stat.S_ISDIR(os.fstat(held.descriptor).st_mode)
    with pytest.raises(RuntimeError, match="this folder was closed"):
        root.list()
    number = held.descriptor
    del held
    with pytest.raises(OSError):
        os.fstat(number)
