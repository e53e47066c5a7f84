import os
from pathlib import Path

import pytest

from safeloop.tools import ContainmentError, Root, StagedFile, collect
from safeloop.tools import staging as staging_module


def test_every_staged_file_is_collected_in_the_byte_order_of_its_name(root: Root) -> None:
    names = ["z", "a/b/c", "a.txt", "a-", "B", "é", "\uffff", "\U0001f600", "back\\slash"]
    for name in names:
        root.write(name, name.encode())
    collected = collect(root)
    assert collected == tuple(StagedFile(name, name.encode()) for name in sorted(names, key=str.encode))
    assert [file.name for file in collected][:4] == ["B", "a-", "a.txt", "a/b/c"]


def test_nothing_staged_is_nothing_collected(root: Root, folder: Path) -> None:
    assert collect(root) == ()
    (folder / "empty" / "er").mkdir(parents=True)
    assert collect(root) == ()


def test_a_hard_link_is_refused_by_name_because_its_other_name_may_be_outside(
    root: Root, folder: Path, outside: Path
) -> None:
    root.write("a", b"fine")
    (folder / "sub").mkdir()
    os.link(outside / "secret", folder / "sub" / "theirs")
    with pytest.raises(ContainmentError, match="sub/theirs: it has 2 links, and only 1 is allowed"):
        collect(root)


@pytest.mark.parametrize("target", ["a", "/etc/passwd", "nowhere", "."])
def test_a_link_is_refused_by_name_wherever_it_leads(root: Root, folder: Path, target: str) -> None:
    root.write("a", b"fine")
    (folder / "link").symlink_to(target)
    with pytest.raises(ContainmentError, match="link: it is not a regular file"):
        collect(root)


def test_a_pipe_is_refused_by_name_and_does_not_hold_the_run(root: Root, folder: Path) -> None:
    (folder / "sub").mkdir()
    os.mkfifo(folder / "sub" / "pipe")
    with pytest.raises(ContainmentError, match="sub/pipe: it is not a regular file"):
        collect(root)


def test_a_name_that_is_not_utf_8_is_refused_and_shown(root: Root, folder: Path) -> None:
    (folder / os.fsdecode(b"\xff")).touch()
    with pytest.raises(ContainmentError) as caught:
        collect(root)
    assert str(caught.value) == "\\u{dcff}: a name must be UTF-8"


def test_a_tree_that_is_too_deep_is_refused(root: Root, folder: Path) -> None:
    (folder / "/".join("d" * 101)).mkdir(parents=True)
    with pytest.raises(ContainmentError, match="at most 100 parts"):
        collect(root)


def test_what_a_crash_left_unfinished_is_no_staged_file(root: Root, folder: Path) -> None:
    root.write("a", b"x")
    (folder / (".safeloop-" + "0" * 32 + ".part")).write_bytes(b"half")
    assert collect(root) == (StagedFile("a", b"x"),)


def test_one_file_more_than_allowed_is_refused(root: Root) -> None:
    for number in range(3):
        root.write(f"d{number}/a", b"")
    assert len(collect(root, max_files=3)) == 3
    with pytest.raises(ContainmentError, match="holds more than 2 files"):
        collect(root, max_files=2)


def test_one_byte_more_than_allowed_is_refused_and_names_a_file(root: Root) -> None:
    root.write("a", b"12")
    root.write("b", b"34")
    assert len(collect(root, max_bytes=4)) == 2
    with pytest.raises(ContainmentError, match="holds more than 3 bytes, with b"):
        collect(root, max_bytes=3)


def test_a_file_that_grows_after_it_was_listed_cannot_pass_the_limit(
    root: Root, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root.write("a", b"12")
    root.write("b", b"34")
    files = staging_module._files

    def listed_then_grown(*given: object) -> object:
        yield from files(*given)  # type: ignore[arg-type]
        (folder / "b").write_bytes(b"x" * 100)

    monkeypatch.setattr(staging_module, "_files", listed_then_grown)
    with pytest.raises(ContainmentError, match="b: it has 100 bytes, and at most 3 are read"):
        collect(root, max_bytes=5)


def test_a_file_swapped_for_a_link_after_it_was_listed_is_refused(
    root: Root, folder: Path, outside: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root.write("a", b"12")
    files = staging_module._files

    def listed_then_swapped(*given: object) -> object:
        yield from files(*given)  # type: ignore[arg-type]
        (folder / "a").unlink()
        (folder / "a").symlink_to(outside / "secret")

    monkeypatch.setattr(staging_module, "_files", listed_then_swapped)
    with pytest.raises(ContainmentError, match="a: it is a symbolic link"):
        collect(root)


def test_a_file_as_large_as_the_whole_limit_is_collected(root: Root) -> None:
    root.write("a", b"x" * 3_000_000)
    assert len(collect(root, max_bytes=3_000_000)[0].data) == 3_000_000
