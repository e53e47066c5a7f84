"""Removing what a program made: whatever it made, it is gone, and nothing outside was touched."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from safeloop.tools.removing import remove_tree, temporary_folder
from safeloop.tools.sandbox import Ended, Execution, Limits, Places, runner_in

from .conftest import without_privileges

DEEP = 2_500


def make_deep(folder: Path) -> None:
    """Make folders in each other that no path and no stack of Python's reaches."""
    here = os.open(folder, os.O_RDONLY)
    for _ in range(DEEP):
        os.mkdir("d", dir_fd=here)
        inner = os.open("d", os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = inner
    os.close(os.open("last", os.O_CREAT | os.O_WRONLY, dir_fd=here))
    os.close(here)


@pytest.fixture
def theirs() -> Iterator[Path]:
    """A folder of a user without privileges, where that user can go."""
    with without_privileges():
        made = Path(tempfile.mkdtemp(prefix="safeloop-test-"))
    yield made
    subprocess.run(["rm", "-rf", "--", str(made)], check=True)


def lead_out(staging: Path, outside: Path) -> None:
    """Leave a link where it cannot be unlinked before a mode is changed."""
    (staging / "d").mkdir()
    (staging / "d" / "x").symlink_to(outside)
    (staging / "d").chmod(0o500)


@pytest.mark.parametrize("kind", ["file", "folder"])
def test_the_mode_of_what_a_link_leads_to_stays_as_it_was(theirs: Path, kind: str) -> None:
    with without_privileges():
        outside, made = theirs / "outside", theirs / "made"
        outside.mkdir() if kind == "folder" else outside.write_text("secret")
        outside.chmod(0o500)
        made.mkdir()
        lead_out(made, outside)
        remove_tree(made)
        assert not made.exists()
        assert outside.stat().st_mode & 0o7777 == 0o500


def test_a_criterion_whose_program_leaves_such_a_link_changes_nothing_outside(theirs: Path) -> None:
    outside = theirs / "outside"

    class Program:
        name = "it writes what a program could write"

        def run(self, command: object, stdin: bytes, places: Places, limits: Limits, environment: object) -> Execution:
            lead_out(places.staging, outside)
            return Execution(Ended.EXITED, 0, None, b"", b"", 0, 0, 1)

    with without_privileges():
        outside.write_text("secret")
        outside.chmod(0o400)
        assert runner_in(Program(), None)(("x",), {"f": b"x"}).passed
        assert outside.stat().st_mode & 0o7777 == 0o400


LOCKED = """
import sys
from pathlib import Path
from safeloop.tools.removing import remove_tree
top = Path(sys.argv[1], "made")
for mode in (0o000, 0o100, 0o200, 0o300, 0o400, 0o500):
    folder = top / str(mode)
    (folder / "in").mkdir(parents=True)
    (folder / "in" / "file").touch()
    (folder / "in").chmod(mode)
    folder.chmod(mode)
top.chmod(0)
remove_tree(top)
"""


@pytest.mark.skipif(os.geteuid() == 0 and shutil.which("setpriv") is None, reason="root is bound by no mode")
def test_folders_that_their_owner_may_not_enter_read_or_change_are_removed(tmp_path: Path) -> None:
    bound = ["setpriv", "--bounding-set=-all", "--inh-caps=-all"] if os.geteuid() == 0 else []
    done = subprocess.run([*bound, sys.executable, "-c", LOCKED, str(tmp_path)], capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()
    assert list(tmp_path.iterdir()) == []


def test_any_depth_is_removed() -> None:
    with temporary_folder("safeloop-test-") as made:
        make_deep(made)
        for name in ("a", "b"):
            (made / name / "c").mkdir(parents=True)
            make_deep(made / name / "c")
    assert not made.exists()


def test_every_kind_of_file_is_unlinked_and_what_links_lead_to_stays(tmp_path: Path) -> None:
    outside, made = tmp_path / "outside", tmp_path / "made"
    outside.mkdir()
    (outside / "kept").write_text("kept")
    made.mkdir()
    (made / "link").symlink_to(outside)
    (made / "nowhere").symlink_to("nowhere")
    os.mkfifo(made / "pipe")
    os.link(outside / "kept", made / "hard")
    (made / os.fsdecode(b"\xff\n")).mkdir()
    remove_tree(made)
    assert not made.exists()
    assert (outside / "kept").read_text() == "kept"


def test_a_link_in_place_of_the_folder_is_refused_and_not_followed(tmp_path: Path) -> None:
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "kept").touch()
    (tmp_path / "made").symlink_to("outside")
    with pytest.raises(OSError):
        remove_tree(tmp_path / "made")
    assert (tmp_path / "outside" / "kept").exists()


@pytest.mark.skipif(os.geteuid() != 0 or shutil.which("unshare") is None, reason="mounts are root's")
def test_a_mount_in_the_folder_is_not_entered(tmp_path: Path) -> None:
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "kept").touch()
    (tmp_path / "made" / "in").mkdir(parents=True)
    program = "import sys; from pathlib import Path; from safeloop.tools.removing import remove_tree; remove_tree(Path(sys.argv[1]))"
    made = tmp_path / "made"
    script = 'mount --bind "$1" "$2" || exit 77; shift 2; exec "$@"'
    done = subprocess.run(
        ["unshare", "--mount", "sh", "-c", script, "sh", str(tmp_path / "outside"), str(made / "in"), sys.executable, "-c", program, str(made)],
        capture_output=True, check=False,
    )  # fmt: skip
    if done.returncode == 77 or b"unshare" in done.stderr:
        pytest.skip("mounts are forbidden here")
    assert b"OSError" in done.stderr
    assert (tmp_path / "outside" / "kept").exists()
