import os
import resource
import signal
import socket
import stat
import subprocess
import sys
import threading
import time
import unicodedata
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from safeloop.errors import ExitCode
from safeloop.tools import ContainmentError, Entry, EntryKind, FileMissingError, Root, contained, entries

from .conftest import SECRET, names_of, without_privileges

pytestmark = pytest.mark.usefixtures("each_way")

NAMES_THAT_NO_TOOL_MAY_USE = [
    ("", "relative and not empty"),
    ("/", "relative and not empty"),
    ("/etc/passwd", "relative and not empty"),
    ("//etc/passwd", "relative and not empty"),
    ("..", "`.` or `..`"),
    ("../outside/secret", "`.` or `..`"),
    ("a/../../outside/secret", "`.` or `..`"),
    ("a/..", "`.` or `..`"),
    (".", "`.` or `..`"),
    ("./a", "`.` or `..`"),
    ("a/./b", "`.` or `..`"),
    ("a//b", "empty parts"),
    ("a/", "empty parts"),
    ("a\0", "NUL"),
    ("\0", "NUL"),
    ("a\0/../../outside/secret", "NUL"),
    ("\ud800", "UTF-8"),
    ("a/\udcff", "UTF-8"),
    ("x" * 256, "each part of a name has at most 255 bytes"),
    ("é" * 128, "each part of a name has at most 255 bytes"),
    ("a/" + "x" * 300, "each part of a name has at most 255 bytes"),
    ("/".join(["d"] * 10_000), "a name has at most 4096 bytes"),
    ("/".join(["d"] * 101), "a name has at most 100 parts"),
    (".safeloop-" + "0" * 32 + ".part", "reserved"),
    ("a/.safeloop-" + "f" * 32 + ".part", "reserved"),
    (7, "must be text"),
    (b"a", "must be text"),
    (["a"], "must be text"),
    (None, "must be text"),
]


@pytest.mark.parametrize(("name", "says"), NAMES_THAT_NO_TOOL_MAY_USE, ids=lambda value: ascii(value)[:30])
def test_a_name_that_is_not_plain_and_relative_is_refused_everywhere(
    root: Root, outside: Path, name: Any, says: str
) -> None:
    with pytest.raises(ContainmentError, match=says) as reading:
        root.read(name, 100)
    with pytest.raises(ContainmentError, match=says):
        root.write(name, b"x")
    if name not in ("", None):  # the root itself may be listed
        with pytest.raises(ContainmentError, match=says):
            root.list(name)
    assert len(str(reading.value)) < 400
    assert reading.value.exit_code is ExitCode.UNEXPECTED


def test_an_error_shows_the_name_without_obeying_it(root: Root) -> None:
    with pytest.raises(FileMissingError) as caught:
        root.read("\x1b[2J\u202e", 10)
    assert str(caught.value) == "\\u{1b}[2J\\u{202e}: there is no such file or folder"


def test_what_is_written_is_read_back(root: Root, folder: Path) -> None:
    root.write("a", b"one")
    root.write("deep/er/b", b"\0two")
    root.write("a", b"three")
    assert (root.read("a", 5), root.read("deep/er/b", 4)) == (b"three", b"\0two")
    assert stat.S_IMODE((folder / "a").stat().st_mode) == 0o600
    assert stat.S_IMODE((folder / "deep").stat().st_mode) == 0o700
    assert stat.S_IMODE((folder / "deep/er").stat().st_mode) == 0o700
    assert names_of(folder) == ["a", "deep"]


@pytest.mark.parametrize(
    "name", ["back\\slash", "..\\..\\outside", "...", " ", "a b", "-rf", "~", "$HOME", "C:", "\n", "x" * 255, "é" * 127]
)
def test_a_character_with_a_meaning_elsewhere_has_none_here(root: Root, folder: Path, name: str) -> None:
    root.write(name, b"x")
    assert root.read(name, 1) == b"x"
    assert names_of(folder) == [name]


def test_a_hundred_folders_deep_is_as_deep_as_it_goes(root: Root) -> None:
    name = "/".join(["d"] * 100)
    root.write(name, b"x")
    assert root.read(name, 1) == b"x"


def test_names_that_look_alike_stay_two_files(root: Root, folder: Path) -> None:
    composed, decomposed = unicodedata.normalize("NFC", "é"), unicodedata.normalize("NFD", "é")
    root.write(composed, b"1")
    with pytest.raises(FileMissingError):
        root.read(decomposed, 1)
    root.write(decomposed, b"2")
    assert (root.read(composed, 1), root.read(decomposed, 1)) == (b"1", b"2")
    assert len(names_of(folder)) == 2


# links


@pytest.mark.parametrize(
    ("link", "target", "name"),
    [
        ("file", "../outside/secret", "file"),
        ("file", "inside_target", "file"),
        ("way", "../outside", "way/secret"),
        ("way", ".", "way/inside_target"),
        ("root", "/", "root/etc/passwd"),
        ("me", "/proc/self", "me/environ"),
        ("me", "/proc/self/fd", "me/0"),
        ("me", "/proc/self/cwd", "me/pyproject.toml"),
        ("me", "/proc/self/environ", "me"),
        ("zero", "/dev/zero", "zero"),
        ("input", "/dev/stdin", "input"),
        ("loop", "loop", "loop"),
        ("loop", "loop", "loop/a"),
        ("dangling", "../outside/new", "dangling"),
        ("dangling", "../outside/new", "dangling/file"),
        ("dangling", "nowhere", "dangling"),
    ],
)
def test_a_link_is_refused_wherever_it_stands_and_wherever_it_leads(
    root: Root, folder: Path, outside: Path, link: str, target: str, name: str
) -> None:
    (folder / "inside_target").write_bytes(b"even here")
    (folder / link).symlink_to(target)
    attempts = [lambda: root.read(name, 100), lambda: root.list(name)]
    if not target.startswith("/"):  # a failing test must not write over the machine that runs it
        attempts.append(lambda: root.write(name, b"x"))
    for attempt in attempts:
        with pytest.raises(ContainmentError, match=r"symbolic link|not a regular file") as caught:
            attempt()
        assert not isinstance(caught.value, FileMissingError)
    assert (folder / link).is_symlink()
    assert (folder / "inside_target").read_bytes() == b"even here"


def test_a_hard_link_in_a_workspace_is_readable_but_never_written_through(root: Root, folder: Path) -> None:
    (folder / "one").write_bytes(b"shared")
    os.link(folder / "one", folder / "two")
    assert root.read("two", 100) == b"shared"
    with pytest.raises(ContainmentError, match="two: it has 2 links, and only 1 is allowed"):
        root.read("two", 100, one_link=True)
    with pytest.raises(ContainmentError, match="it has 2 links"):
        root.write("two", b"x")
    assert (folder / "one").read_bytes() == b"shared"


def test_the_way_to_the_root_is_the_operators_and_may_be_a_link(folder: Path) -> None:
    (folder / "real").mkdir()
    (folder / "link").symlink_to("real")
    with Root(folder / "link") as root:
        root.write("a", b"x")
    assert (folder / "real" / "a").read_bytes() == b"x"


# what is not a file


def test_a_pipe_does_not_hold_the_run(root: Root, folder: Path) -> None:
    os.mkfifo(folder / "pipe")
    with pytest.raises(ContainmentError, match="pipe: it is not a regular file"):
        root.read("pipe", 100)
    with pytest.raises(ContainmentError, match="pipe: it is not a regular file"):
        root.write("pipe", b"x")
    with pytest.raises(ContainmentError, match="not a folder"):
        root.read("pipe/a", 100)
    assert stat.S_ISFIFO((folder / "pipe").stat().st_mode)


def test_a_socket_is_refused(root: Root, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)  # the name of a socket is short
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind("socket")
        with pytest.raises(ContainmentError, match="socket: it is not a regular file"):
            root.read("socket", 100)
        with pytest.raises(ContainmentError, match="socket: it is not a regular file"):
            root.write("socket", b"x")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make device nodes")
def test_a_device_node_is_refused(root: Root, folder: Path) -> None:
    os.mknod(folder / "zero", stat.S_IFCHR | 0o666, os.makedev(1, 5))
    with pytest.raises(ContainmentError, match="zero: it is not a regular file"):
        root.read("zero", 100)
    with pytest.raises(ContainmentError, match="zero: it is not a regular file"):
        root.write("zero", b"x")


@pytest.mark.parametrize("name", ["proc/version", "proc/self/environ", "dev/null", "dev/zero", "sys/kernel"])
def test_another_device_is_refused_although_the_name_is_plain(name: str) -> None:
    with Root("/") as root:
        with pytest.raises(ContainmentError, match="it is on another device"):
            root.read(name, 100)
        with pytest.raises(ContainmentError, match="it is on another device"):
            root.list(name.partition("/")[0])


READ_THE_MOUNTED = """
import sys
from safeloop.tools import ContainmentError, Root
for attempt in (lambda root: root.read("a", 10_000), lambda root: root.write("a", b"x")):
    try:
        attempt(Root(sys.argv[1]))
    except ContainmentError as error:
        print(error)
"""


def test_a_file_mounted_over_a_file_is_refused(folder: Path) -> None:
    (folder / "a").write_bytes(b"x")
    mounted = ["unshare", "--mount", "sh", "-c", 'mount --bind /proc/version "$1/a" && exec "$2" -c "$3" "$1"', "sh"]
    if subprocess.run([*mounted, str(folder), "true", ""], check=False, capture_output=True).returncode:
        pytest.skip("this machine does not let tests mount")
    run = subprocess.run(
        [*mounted, str(folder), sys.executable, READ_THE_MOUNTED], check=True, capture_output=True, text=True
    )
    assert run.stdout == "a: it is on another device\n" * 2
    assert (folder / "a").read_bytes() == b"x"


def test_a_folder_is_not_a_file_and_a_file_is_not_a_folder(root: Root, folder: Path) -> None:
    (folder / "a").mkdir()
    (folder / "b").write_bytes(b"x")
    with pytest.raises(ContainmentError, match="a: it is a folder"):
        root.read("a", 100)
    with pytest.raises(ContainmentError, match="a: it is a folder"):
        root.write("a", b"x")
    for attempt in (lambda: root.read("b/c", 9), lambda: root.write("b/c", b"x"), lambda: root.list("b")):
        with pytest.raises(ContainmentError, match="a part of it is a symbolic link, or not a folder"):
            attempt()
    assert (folder / "b").read_bytes() == b"x"


# limits and failures


def test_a_file_larger_than_the_limit_is_refused_with_its_size(root: Root, folder: Path) -> None:
    root.write("a", b"12345")
    assert root.read("a", 5) == b"12345"
    with pytest.raises(ContainmentError, match="a: it has 5 bytes, and at most 4 are read"):
        root.read("a", 4)
    with (folder / "sparse").open("wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(ContainmentError, match="it has 1099511627776 bytes"):
        root.read("sparse", 3_000_000)


def test_an_empty_file_and_a_limit_of_nothing_are_no_special_cases(root: Root) -> None:
    root.write("empty", b"")
    assert root.read("empty", 0) == b""


def test_a_file_that_may_not_be_read_says_so(root: Root, folder: Path) -> None:
    (folder / "a").write_bytes(b"x")
    (folder / "a").chmod(0)
    folder.chmod(0o755)
    with without_privileges(), pytest.raises(ContainmentError, match="a: permission denied"):
        root.read("a", 100)


def test_a_folder_that_may_not_be_written_says_so_and_stays_as_it_was(root: Root, folder: Path) -> None:
    folder.chmod(0o555)
    with without_privileges(), pytest.raises(ContainmentError, match="a: permission denied"):
        root.write("a", b"x")
    with without_privileges(), pytest.raises(ContainmentError, match="b/c: permission denied"):
        root.write("b/c", b"x")
    assert names_of(folder) == []


def test_a_write_that_fails_halfway_leaves_the_old_file_and_nothing_else(root: Root, folder: Path) -> None:
    root.write("a", b"old")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1_000, hard))
    try:
        with pytest.raises(ContainmentError, match="a: file too large"):
            root.write("a", b"x" * 100_000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert names_of(folder) == ["a"]
    assert root.read("a", 100) == b"old"


KILLED_WHILE_WRITING = """
import os, sys
from safeloop.tools import Root
os.fsync = lambda descriptor: os.kill(os.getpid(), 9)
Root(sys.argv[1]).write("a", b"new" * 1000)
"""


def test_a_process_killed_while_writing_leaves_the_old_file_and_a_rest_that_nobody_sees(
    root: Root, folder: Path
) -> None:
    root.write("a", b"old")
    run = subprocess.run([sys.executable, "-c", KILLED_WHILE_WRITING, str(folder)], check=False)
    assert run.returncode == -signal.SIGKILL
    rests = [name for name in names_of(folder) if name != "a"]
    assert len(rests) == 1
    assert root.read("a", 100) == b"old"
    assert [entry.name for entry in root.list().entries] == ["a"]
    with pytest.raises(ContainmentError, match="reserved"):
        root.read(rests[0], 10_000)


def test_an_interrupt_while_writing_leaves_nothing(
    root: Root, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(descriptor: int) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", interrupt)
    with pytest.raises(KeyboardInterrupt):
        root.write("a", b"x")
    assert names_of(folder) == []


def test_a_file_replaced_while_it_is_read_is_the_old_one_or_the_new_one(root: Root, folder: Path) -> None:
    old, new = b"o" * 3_000_000, b"n" * 3_000_000
    root.write("a", old)
    done = threading.Event()

    def replace() -> None:
        while not done.is_set():
            root.write("a", new)
            root.write("a", old)

    writer = threading.Thread(target=replace)
    writer.start()
    try:
        seen = {root.read("a", 3_000_000) for _ in range(200)}
    finally:
        done.set()
        writer.join()
    assert seen <= {old, new}


def test_a_file_that_grows_while_it_is_read_is_cut_off_by_the_limit(
    root: Root, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root.write("log", b"x" * 10)
    read = os.read

    def read_and_grow(descriptor: int, size: int) -> bytes:
        with (folder / "log").open("ab") as file:
            file.write(b"y" * 10)
        return read(descriptor, size)

    monkeypatch.setattr(os, "read", read_and_grow)
    monkeypatch.setattr(contained, "_CHUNK", 8)
    with pytest.raises(ContainmentError, match="at most 50 are read"):
        root.read("log", 50)


# listing


def test_a_listing_says_what_stands_there_and_follows_nothing(root: Root, folder: Path) -> None:
    root.write("b/inner", b"12")
    root.write("a", b"123")
    (folder / "link").symlink_to("/etc")
    os.mkfifo(folder / "pipe")
    assert root.list().entries == (
        Entry("a", EntryKind.FILE, 3),
        Entry("b", EntryKind.FOLDER, 0),
        Entry("link", EntryKind.LINK, 0),
        Entry("pipe", EntryKind.OTHER, 0),
    )
    assert root.list("b").entries == (Entry("b/inner", EntryKind.FILE, 2),)
    with pytest.raises(FileMissingError, match="nothing: there is no such"):
        root.list("nothing")


def test_a_long_listing_is_cut_in_order_and_says_how_many_there_are(root: Root, folder: Path) -> None:
    for number in range(30):
        (folder / f"{number:02}").touch()
    listing = root.list(limit=3)
    assert ([entry.name for entry in listing.entries], listing.total) == (["00", "01", "02"], 30)


def test_a_folder_without_end_is_refused(root: Root, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (contained, entries):
        monkeypatch.setattr(module, "MAX_FOLDER_ENTRIES", 5)
    for number in range(5):
        (folder / str(number)).touch()
    assert root.list().total == 5
    (folder / "6").touch()
    with pytest.raises(ContainmentError, match="it holds more than 5 entries"):
        root.list()


def test_an_entry_that_vanishes_while_it_is_listed_is_left_out(
    root: Root, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root.write("a", b"x")
    root.write("b", b"x")
    names_in = entries.names_in

    def names_and_loss(descriptor: int) -> Any:
        names = names_in(descriptor)
        (folder / "a").unlink()
        return names

    monkeypatch.setattr(contained, "names_in", names_and_loss)
    assert [entry.name for entry in root.list().entries] == ["b"]


# the root itself


@pytest.mark.parametrize(("name", "says"), [("missing", "no such file"), ("file", "not a folder")])
def test_a_root_that_is_no_folder_is_refused(folder: Path, name: str, says: str) -> None:
    (folder / "file").touch()
    with pytest.raises(ContainmentError, match=says):
        Root(folder / name)


def test_a_closed_root_is_a_wrong_call_order_and_no_descriptor_is_left(folder: Path) -> None:
    before = len(names_of(Path("/proc/self/fd")))
    root = Root(folder)
    root.write("d/a", b"x")
    root.read("d/a", 10)
    root.list("d")
    for name in ("d", "d/b", "x/y", "d/a/b", ".."):
        with pytest.raises(ContainmentError):
            root.read(name, 10)
    assert len(names_of(Path("/proc/self/fd"))) == before + 1
    root.close()
    root.close()
    assert len(names_of(Path("/proc/self/fd"))) == before
    for attempt in (lambda: root.read("d/a", 10), lambda: root.write("a", b""), root.list):
        with pytest.raises(RuntimeError, match="closed"):
            attempt()


def test_a_root_that_was_moved_is_still_the_same_folder(root: Root, folder: Path, outside: Path) -> None:
    folder.rename(folder.parent / "moved")
    folder.symlink_to("outside")
    root.write("a", b"x")
    assert (folder.parent / "moved" / "a").read_bytes() == b"x"


# races

# Swaps two names at one stroke (renameat2, RENAME_EXCHANGE), so that one is always there: a folder or file, or a link.
SWAP = """
import ctypes, os, sys
os.chdir(sys.argv[1])
parent = os.getppid()
swap = ctypes.CDLL(None, use_errno=True).renameat2
print("ready", flush=True)
while swap(-100, sys.argv[2].encode(), -100, b"link", 2) == 0:
    if os.getppid() != parent:  # the test was killed: do not go on for ever
        sys.exit()
sys.exit(f"cannot swap: {os.strerror(ctypes.get_errno())}")
"""


@contextmanager
def swapping(folder: Path, name: str, target: str) -> Iterator[Callable[[bool], bool]]:
    """Let another process swap `name` with a link; gives what says whether to go on, for a second at least.

    It goes on longer where the machine is busy and the race was not yet on.
    """
    (folder / "link").symlink_to(target)
    other = subprocess.Popen([sys.executable, "-c", SWAP, str(folder), name], stdout=subprocess.PIPE)
    assert other.stdout is not None
    try:
        assert other.stdout.readline() == b"ready\n"
        started = time.monotonic()

        def go_on(both_seen: bool) -> bool:
            assert other.poll() is None, "the other process gave up"
            return time.monotonic() < started + (1.0 if both_seen else 30.0)

        yield go_on
    finally:
        other.kill()
        other.wait()
        other.stdout.close()


@pytest.mark.parametrize(
    ("swapped", "name", "target"), [("real", "real/secret", "../outside"), ("file", "file", "../outside/secret")]
)
def test_a_link_swapped_in_by_another_process_never_leads_a_reader_outside(
    root: Root, folder: Path, outside: Path, swapped: str, name: str, target: str
) -> None:
    root.write(name, b"harmless")
    read = refused = 0
    with swapping(folder, swapped, target) as go_on:
        while go_on(bool(read and refused)):
            try:
                assert root.read(name, 100) == b"harmless"
                read += 1
            except ContainmentError as error:
                assert "symbolic link" in str(error)
                refused += 1
    assert read
    assert refused


@pytest.mark.parametrize("name", ["secret", "new_{}", "new_{}/deeper"])
def test_a_link_swapped_in_by_another_process_never_leads_a_writer_outside(
    root: Root, folder: Path, outside: Path, name: str
) -> None:
    (folder / "real").mkdir()
    written = refused = 0
    with swapping(folder, "real", "../outside") as go_on:
        while go_on(bool(written and refused)):
            try:
                root.write("real/" + name.format(written), b"overwritten")
                written += 1
                assert names_of(outside) == ["secret"]
                assert (outside / "secret").read_bytes() == SECRET
            except ContainmentError as error:
                assert "symbolic link" in str(error)
                refused += 1
    assert written
    assert refused


def test_a_link_swapped_in_for_the_file_itself_is_replaced_and_not_followed(
    root: Root, folder: Path, outside: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root.write("a", b"old")
    fsync = os.fsync

    def swap_then_sync(descriptor: int) -> None:
        (folder / "a").unlink()
        (folder / "a").symlink_to(outside / "secret")
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", swap_then_sync)
    root.write("a", b"new")
    assert not (folder / "a").is_symlink()
    assert root.read("a", 10) == b"new"
