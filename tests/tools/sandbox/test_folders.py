"""What programs leave in a sandbox's folders, and what lies there before: nothing of it stops the next call."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import pytest

from safeloop.spec import Criterion, check
from safeloop.tools import ContainmentError, Root, collect
from safeloop.tools.removing import remove_tree
from safeloop.tools.sandbox import runner_in
from safeloop.tools.sandbox.folders import doors_of, give_to, leftovers

from ..conftest import without_privileges
from ..test_removing import DEEP, make_deep
from .conftest import SMALL, Inside
from .test_code_tools import called

DIG = f"import os\nfor _ in range({DEEP}):\n    os.mkdir('d'); os.chdir('d')\n"


def test_a_program_that_makes_folders_in_each_other_without_end_leaves_the_next_call_as_it_was(inside: Inside) -> None:
    said = called(inside, "run_python", code=DIG)
    assert said["exit_status"] == 0, said
    assert "at most 100 parts" in str(said["staging"])
    assert called(inside, "run_python", code="print('again')")["stdout"] == "again\n"
    with Root(inside.places.staging) as staging, pytest.raises(ContainmentError, match="at most 100 parts"):
        collect(staging)
    remove_tree(inside.places.staging)
    assert not inside.places.staging.exists()


def test_a_criterion_whose_program_does_so_is_judged_like_any_other(inside: Inside) -> None:
    criterion = Criterion("dug", kind="command", command=("python3", "dig.py"))
    verdict = check(criterion, {"dig.py": DIG.encode()}, run=runner_in(inside.sandbox, None, SMALL))
    assert (verdict.passed, verdict.detail) == (True, "python3 dig.py: exit status 0")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_everything_is_given_at_any_depth_and_what_links_lead_to_is_not(tmp_path: Path) -> None:
    outside, staging = tmp_path / "outside", tmp_path / "staging"
    outside.mkdir()
    (outside / "file").touch()
    for name in ("a/b", "c"):
        (staging / name).mkdir(parents=True)
        (staging / name / "file").touch()
    (staging / "link").symlink_to(outside / "file")
    (staging / "a" / "folder").symlink_to(outside)
    make_deep(staging / "c")
    give_to(staging, 12_345)
    here, depth = os.open(staging / "c", os.O_RDONLY), 0
    while "d" in os.listdir(here):
        assert os.fstat(here).st_uid == 12_345
        here, before, depth = os.open("d", os.O_RDONLY, dir_fd=here), here, depth + 1
        os.close(before)
    assert (depth, os.stat("last", dir_fd=here).st_gid) == (DEEP, 12_345)
    os.close(here)
    names = ("", "a", "a/b", "a/b/file", "c/file", "link", "a/folder")
    assert {(staging / name).lstat().st_uid for name in names} == {12_345}
    assert (outside.stat().st_uid, (outside / "file").stat().st_uid) == (0, 0)
    remove_tree(staging)


LONG = """
import os
n = "n" * 250
for _ in range(16):
    os.mkdir(n); os.chdir(n)
open("f" * 60, "w").write("x")
print("ran")
"""


def test_a_name_that_is_too_long_costs_no_result(inside: Inside) -> None:
    said = called(inside, "run_python", code=LONG)
    assert said["stdout"] == "ran\n"
    assert "too long" in str(said["staging"]["cannot_be_handed_out"])
    assert called(inside, "run_python", code="print('second')")["stdout"] == "second\n"


def test_a_name_that_the_system_cannot_take_is_told_of(tmp_path: Path) -> None:
    above = tmp_path
    while len(str(above)) < 3_850:
        above = above / ("n" * min(200, 3_850 - len(str(above))))
        above.mkdir()
    here = os.open(above, os.O_RDONLY)
    os.close(os.open("f" * 255, os.O_CREAT | os.O_WRONLY, dir_fd=here))
    os.close(here)
    (told,) = leftovers(above)
    assert told.endswith(": file name too long")


RESERVED = """
import os
unfinished = ".safeloop-" + "0" * 32 + ".part"
for name in ("file", "folder", "link"):
    os.mkdir(name)
open("file/" + unfinished, "w").write("x")
os.mkdir("folder/" + unfinished); open("folder/" + unfinished + "/hidden", "w").write("x")
os.symlink("x", "link/" + unfinished)
"""


@pytest.mark.parametrize("name", ["file", "folder", "link"])
def test_what_has_the_name_of_an_unfinished_file_is_told_of_exactly_where_it_cannot_be_collected(
    inside: Inside, name: str
) -> None:
    called(inside, "run_python", code=RESERVED)
    for other in {"file", "folder", "link"} - {name}:
        remove_tree(inside.places.staging / other)
    told = leftovers(inside.places.staging)
    with Root(inside.places.staging) as staging:
        if name == "file":
            assert (told, collect(staging)) == ((), ())
            return
        assert told[0].startswith(f"{name}/.safeloop-")
        with pytest.raises(ContainmentError, match="this name is reserved for unfinished files"):
            collect(staging)


@pytest.mark.parametrize("name", ["release", "Release/notes.md", "/".join(["n" * 200] * 15 + ["n" * 200])])
def test_a_name_that_no_release_can_hold_is_told_of_and_not_collected(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("x")
    assert leftovers(tmp_path)
    with Root(tmp_path) as staging, pytest.raises(ContainmentError, match="belongs to the proof|too long for a file's name"):
        collect(staging)


def test_a_pipe_where_no_program_can_go_does_not_keep_the_sandbox_from_being_made(inside: Inside) -> None:
    for folder in ("closed", "open"):
        (inside.workspace / folder / "in").mkdir(parents=True)
        os.mkfifo(inside.workspace / folder / "in" / "pipe")
    (inside.workspace / "closed").chmod(0o600)
    done = inside.python(
        "import os, stat\n"
        "print(stat.S_ISFIFO(os.stat('/workspace/open/in/pipe').st_mode))\n"
        "try: os.stat('/workspace/closed/in/pipe'); print('there')\n"
        "except PermissionError: print('no way')\n"
    )
    assert done.stdout == b"False\nno way\n", done.stderr


@pytest.mark.parametrize(
    ("mode", "owner", "reached"),
    [
        (0o700, 0, False), (0o755, 0, True), (0o701, 0, True), (0o744, 0, False), (0o070, 0, False),
        (0o100, 65_533, True), (0o077, 65_533, False),
    ],
)  # fmt: skip
@pytest.mark.skipif(os.geteuid() != 0, reason="for others it is as the system says")
def test_a_folder_is_searchable_as_its_mode_says_for_the_programs_user(
    tmp_path: Path, mode: int, owner: int, reached: bool
) -> None:
    (tmp_path / "in").mkdir()
    os.mkfifo(tmp_path / "in" / "pipe")
    os.chown(tmp_path / "in", owner, 0)
    (tmp_path / "in").chmod(mode)
    tmp_path.chmod(0o755)
    assert doors_of(tmp_path) == (("in/pipe",) if reached else ())


def test_where_root_is_not_asked_the_system_says_which_folder_is_searchable() -> None:
    with without_privileges():
        made = Path(tempfile.mkdtemp(prefix="safeloop-test-"))
        (made / "in").mkdir()
        os.mkfifo(made / "in" / "pipe")
        try:
            assert doors_of(made) == ("in/pipe",)
            (made / "in").chmod(0o400)
            assert doors_of(made) == ()
        finally:
            (made / "in").chmod(0o700)
            remove_tree(made)
