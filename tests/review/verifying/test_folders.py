"""Files at the edge: links, pipes, devices and sizes that no proof has."""

from __future__ import annotations

import hashlib
import os
import socket
import subprocess
import sys
import time
import tracemalloc
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from safeloop.errors import EncodingError, VerificationError
from safeloop.review.attesting.sums import parse_sums, sums
from safeloop.review.verifying import folders
from safeloop.review.verifying.folders import read_document, read_folder
from tests.review.verifying.office import Office


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    folder = tmp_path / "bundle"
    (folder / "release").mkdir(parents=True)
    (folder / "release/checkpoint.txt").write_text("x")
    return folder


def listed(bundle: Path, *names: str) -> None:
    """Have the sums list these files."""
    (bundle / "release/SHA256SUMS").write_text("".join(f"{'0' * 64}  {name}\n" for name in sorted(names)))


def test_every_file_is_found_by_its_path_and_only_the_proof_s_bytes_are_kept(bundle: Path) -> None:
    (bundle / "a/b").mkdir(parents=True)
    (bundle / "a/b/c d.txt").write_bytes(b"x" * 3_000_000)
    (bundle / "release/frame.txt").write_bytes(b"frame")
    found = read_folder(bundle)
    assert found.keys() == {"a/b/c d.txt", "release/frame.txt", "release/checkpoint.txt"}
    assert (found["a/b/c d.txt"].size, found["a/b/c d.txt"].data) == (3_000_000, None)
    assert (found["release/frame.txt"].data, found["release/checkpoint.txt"].data) == (None, b"x")


@pytest.mark.parametrize("target", ["/etc/passwd", "release/checkpoint.txt", "release", "/", "nowhere", "."])
@pytest.mark.parametrize("place", ["link", "release/link", "release/frame.txt"])
def test_a_link_is_never_followed_wherever_it_leads(bundle: Path, target: str, place: str) -> None:
    (bundle / place).symlink_to(target)
    with pytest.raises(VerificationError, match="is a link"):
        read_folder(bundle)


def test_a_release_whose_file_became_a_link_to_the_same_bytes_is_refused(office: Office, tmp_path: Path) -> None:
    folder = office.accepted()
    (folder / "report.md").rename(tmp_path / "moved")
    (folder / "report.md").symlink_to(tmp_path / "moved")
    with pytest.raises(VerificationError, match="is a link"):
        office.verify(folder, now=datetime.now(UTC))


def test_a_pipe_is_refused_and_never_waited_for(bundle: Path) -> None:
    os.mkfifo(bundle / "pipe")
    with pytest.raises(VerificationError, match="not a regular file") as caught:
        read_folder(bundle)
    assert "safeloop release SESSION --to DIR" in caught.value.hint
    with pytest.raises(VerificationError, match="not a regular file") as caught:
        read_document(bundle / "pipe")
    assert "save it to a file first" in caught.value.hint


@pytest.mark.parametrize("path", ["/dev/zero", "/dev/null", "/"])
def test_a_device_or_a_folder_is_no_document(path: str) -> None:
    with pytest.raises(VerificationError, match="not a regular file"):
        read_document(Path(path))


def test_a_document_may_be_named_by_a_link_and_has_an_end(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"x" * folders.MAX_DOCUMENT_BYTES)
    (tmp_path / "link").symlink_to("file")
    assert len(read_document(tmp_path / "link")) == folders.MAX_DOCUMENT_BYTES
    (tmp_path / "file").write_bytes(b"x" * (folders.MAX_DOCUMENT_BYTES + 1))
    with pytest.raises(VerificationError, match="larger than 1,000,000 bytes"):
        read_document(tmp_path / "file")
    with pytest.raises(VerificationError, match="cannot be read: No such file"):
        read_document(tmp_path / "nowhere")


def test_a_proof_of_any_size_is_not_read_into_memory(bundle: Path) -> None:
    with (bundle / "release/statement-1.json").open("wb") as file:
        file.truncate(folders.MAX_PROOF_BYTES + 1)  # sparse
    with pytest.raises(VerificationError, match="the proof is larger than 64,000,000 bytes"):
        read_folder(bundle)


def test_many_small_files_of_proof_together_have_the_same_limit(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folders, "MAX_PROOF_BYTES", 100)
    for number in range(3):
        (bundle / f"release/{number}").write_bytes(b"x" * 33)
    assert len(read_folder(bundle)) == 4
    (bundle / "release/last").write_bytes(b"x")
    with pytest.raises(VerificationError, match="the proof is larger than"):
        read_folder(bundle)


def test_what_cannot_be_opened_is_not_said_to_be_a_link_and_what_is_refused_is_closed(
    bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    os.mkfifo(bundle / "pipe")
    (bundle / "loop").symlink_to("loop")
    open_before = len(os.listdir("/proc/self/fd"))
    with pytest.raises(VerificationError, match="pipe is not a regular file"):
        read_document(bundle / "pipe")
    with pytest.raises(VerificationError, match="loop cannot be read: Too many levels"):
        read_document(bundle / "loop")
    assert len(os.listdir("/proc/self/fd")) == open_before
    for name in ("pipe", "loop"):
        (bundle / name).unlink()
    monkeypatch.chdir(bundle)
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("socket")
        with pytest.raises(VerificationError, match="socket cannot be read: No such device"):
            read_folder(bundle)


@pytest.mark.parametrize("read", [read_document, lambda path: folders._read(path, 10, None)])
def test_a_file_that_breaks_off_while_it_is_read_is_refused(read: Callable[[Path], object]) -> None:
    with pytest.raises(VerificationError, match="cannot be read: "):
        read(Path("/proc/self/mem"))  # a regular file whose first byte is an I/O error


def test_a_released_file_is_not_held_in_memory(bundle: Path) -> None:
    (bundle / "film").write_bytes(b"x" * 40_000_000)
    listed(bundle, "film")
    tracemalloc.start()
    try:
        assert read_folder(bundle)["film"].size == 40_000_000
        assert tracemalloc.get_traced_memory()[1] < 10_000_000
    finally:
        tracemalloc.stop()


def test_a_file_with_holes_of_any_size_is_refused_before_it_is_read(bundle: Path) -> None:
    began = time.monotonic()
    with (bundle / "report.md").open("wb") as file:
        file.truncate(folders.MAX_BYTES + 1)
    listed(bundle, "report.md")
    with pytest.raises(VerificationError, match=r"the folder has more than 64,000,000,000 bytes"):
        read_folder(bundle)
    assert time.monotonic() - began < 5


def test_what_the_sums_do_not_list_is_refused_and_never_read(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = office.accepted()
    with (folder / "hole").open("wb") as file:
        file.truncate(folders.MAX_BYTES - 1_000_000)
    (folder / "closed").write_bytes(b"x")
    read = folders._read
    monkeypatch.setattr(folders, "_read", lambda path, *rooms: pytest.fail() if path.name == "hole" else read(path, *rooms))
    began = time.monotonic()
    assert {"hole is no part of the release", "closed is no part of the release"} <= set(office.reasons(folder))
    assert time.monotonic() - began < 5


def test_where_the_sums_are_none_no_released_file_is_read(bundle: Path) -> None:
    (bundle / "film").write_bytes(b"x")
    (bundle / "release/SHA256SUMS").write_text("no sums")
    assert (read_folder(bundle)["film"].sha256, read_folder(bundle)["film"].size) == ("", 1)
    listed(bundle, "film")
    assert read_folder(bundle)["film"].sha256 == hashlib.sha256(b"x").hexdigest()


def test_all_files_together_have_a_limit(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    listed(bundle, "a", "b")
    monkeypatch.setattr(folders, "MAX_BYTES", 101 + 2 * 68)  # one of them is the checkpoint's, and the sums have two lines
    for name in ("a", "b"):
        (bundle / name).write_bytes(b"x" * 50)
    assert len(read_folder(bundle)) == 4
    (bundle / "b").write_bytes(b"x" * 51)
    with pytest.raises(VerificationError, match="the folder has more than 237 bytes"):
        read_folder(bundle)


def test_folders_count_like_files_and_one_of_a_million_entries_is_not_listed_to_its_end(
    bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(folders, "MAX_ENTRIES", 4)  # `release`, what is in it, and two more
    (bundle / "a/b").mkdir(parents=True)
    assert len(read_folder(bundle)) == 2  # an empty folder is there too, and belongs to nothing
    (bundle / "a/b/c").mkdir()
    with pytest.raises(VerificationError, match="more than 4 files and folders"):
        read_folder(bundle)


def test_a_file_that_grows_while_it_is_read_has_an_end(bundle: Path) -> None:
    path = bundle / "log"
    path.write_bytes(b"x" * 40_000_000)
    listed(bundle, "log")
    script = "import sys\nwith open(sys.argv[1], 'ab', 0) as file:\n while file.tell() < 4e9: file.write(b'x' * 65536)\n"
    with subprocess.Popen([sys.executable, "-c", script, path], stderr=subprocess.DEVNULL) as writer:
        try:
            before = path.stat().st_size
            while path.stat().st_size == before:
                time.sleep(0.01)
            with pytest.raises(VerificationError, match="log grows while it is read"):
                read_folder(bundle)
        finally:
            writer.kill()
    path.unlink()


def test_a_folder_of_too_many_files_is_refused(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folders, "MAX_ENTRIES", 3)
    for number in range(3):
        (bundle / str(number)).touch()
    with pytest.raises(VerificationError, match="more than 3 files and folders"):
        read_folder(bundle)


def test_a_folder_deeper_than_any_stack_is_walked(bundle: Path) -> None:
    deep = bundle
    for _ in range(1_200):
        deep = deep / "d"
        deep.mkdir()
    (deep / "file").write_bytes(b"x")
    found = read_folder(bundle)
    subprocess.run(["rm", "-r", bundle], check=True)  # Python's own rmtree is recursive, and pytest's cleaning uses it
    assert f"{'d/' * 1_200}file" in found


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(VerificationError, match="nowhere/? cannot be read"):
        read_folder(tmp_path / "nowhere")


def test_a_name_that_is_not_text_is_a_file_all_the_same(office: Office) -> None:
    folder = office.accepted()
    (Path(os.fsdecode(os.fsencode(folder) + b"/\xff\x1b[2J"))).write_bytes(b"x")
    (reason,) = office.reasons(folder)
    assert "is no part of the release" in reason
    assert "\x1b" not in reason


@pytest.mark.parametrize("names", [[], ["a"], ["b", "a"], ["new\nline", "back\\slash", "cr\r", "\\n", "ü", "  "]])
def test_sums_are_read_as_they_are_written(names: list[str]) -> None:
    data = sums((name, name.encode()) for name in names)
    assert sorted(parse_sums(data)) == sorted(names)


ZEROS = b"0" * 64


@pytest.mark.parametrize("data", [
    b"%s  a" % ZEROS, b"%s a\n" % ZEROS, b"%s *a\n" % ZEROS, b"%s  \n" % ZEROS, b"\n", b"%s  a\n\n" % ZEROS,
    b"%s  b\n%s  a\n" % (ZEROS, ZEROS), b"%s  a\n%s  a\n" % (ZEROS, ZEROS), b"\\%s  a\n" % ZEROS, b"%s  a\\b\n" % ZEROS,
    b"%s  a\r\n" % ZEROS, b"A" * 64 + b"  a\n", b"\\%s  a\\x\n" % ZEROS, b"\xef\xbb\xbf%s  a\n" % ZEROS, b"\xff",
])
def test_sums_in_any_other_form_are_refused(data: bytes) -> None:
    with pytest.raises(EncodingError):
        parse_sums(data)
