import re
import subprocess
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from safeloop.review.framing.diff import LONGEST_SHOWN, diff_lines, is_binary, shown_part

LINE = st.sampled_from(["a\n", "b\n", "\n", "-a\n", "+b\n", " \n", "@@ -1 +1 @@\n", "a\u2028b\r\n"])
LINES = st.lists(LINE, max_size=30)
TEXTS = st.builds(lambda lines, tail: "".join(lines) + tail, LINES, st.sampled_from(["", "x", "\\"]))


def applied(before: str, diff: tuple[str, ...], folder: Path) -> str:
    """What patch(1) makes of a text and our diff of it."""
    folder.mkdir(exist_ok=True)
    target, patch = folder / "file", folder / "patch"
    target.write_bytes(before.encode())
    patch.write_bytes(("--- file\n+++ file\n" + "".join(f"{line}\n" for line in diff)).encode())
    command = ["git", "apply", "--whitespace=nowarn", "--unidiff-zero", "-p0", "patch"]
    subprocess.run(command, cwd=folder, check=True, capture_output=True)
    return target.read_bytes().decode() if target.exists() else ""


@pytest.mark.parametrize(("before", "after"), [
    ("a\nb\nc\n", "a\nB\nc\n"),
    ("a\n", "a"),
    ("a", "a\n"),
    ("one\ntwo", "one\ntwo\nthree"),
    ("".join(f"{n}\n" for n in range(100)), "".join(f"{n if n not in (3, 50, 97) else 'x'}\n" for n in range(100))),
    ("".join(f"{n}\n" for n in range(100)), "new\n" + "".join(f"{n}\n" for n in range(100)) + "end\n"),
    ("a\u2028b\x0bc\x1cd\n", "a\u2028b\x0bX\x1cd\n"),
    ("--- a\n+++ b\n@@ -1 +1 @@\n", "--- a\n+++ c\n@@ -1 +1 @@\n"),
])
def test_git_applies_the_diff_to_the_old_text_and_gets_the_new_one(before: str, after: str, tmp_path: Path):
    assert applied(before, diff_lines(before, after), tmp_path / "work") == after


@given(before=TEXTS, after=TEXTS)
def test_the_new_text_can_be_rebuilt_from_the_old_one_and_the_lines_that_are_shown(before: str, after: str):
    lines = diff_lines(before, after)
    assert (lines == ()) == (before == after)
    assert rebuilt(before, lines) == after


def rebuilt(before: str, lines: tuple[str, ...]) -> str:
    """Apply a diff as its format says, and check every kept and removed line against the old text."""
    old = [line for line in re.split("(?<=\n)", before) if line]
    new, at = [], 0
    for n, line in enumerate(lines):
        if line.startswith("\\"):
            continue
        if hunk := re.fullmatch(r"@@ -(\d+)(?:,(\d+))? \+.* @@", line):
            begin = int(hunk[1]) - (hunk[2] != "0")
            new += old[at:begin]
            at = begin
            continue
        ended = "" if lines[n + 1:n + 2] == ("\\ No newline at end of file",) else "\n"
        if line[0] in "- ":
            assert old[at] == line[1:] + ended
            at += 1
        if line[0] in "+ ":
            new.append(line[1:] + ended)
    return "".join(new + old[at:])


def test_a_line_ends_at_a_line_feed_and_nowhere_else():
    assert diff_lines("", "a\u2028+b\x0c-c\x85d\r\n") == ("@@ -0,0 +1 @@", "+a\u2028+b\x0c-c\x85d\r")


def test_a_removed_file_names_an_empty_range_as_diff_u_does():
    assert diff_lines("a\nb\n", "") == ("@@ -1,2 +0,0 @@", "-a", "-b")


def test_files_that_would_keep_difflib_busy_for_hours_are_shown_as_replaced_at_once():
    before = "".join(f"{n * 7919 % 997}\n" for n in range(40_000))
    after = "".join(f"{n * 7907 % 997}\n" for n in range(40_000))
    began = time.monotonic()
    lines = diff_lines("same\n" * 10 + before, "same\n" * 10 + after)
    assert time.monotonic() - began < 5
    assert lines[0] == "@@ -9,40002 +9,40002 @@"
    assert sum(line.startswith("+") for line in lines) > 39_000


def test_a_long_file_with_one_changed_line_is_shown_by_that_line():
    before = "".join(f"    return {n}\n\n" for n in range(10_000))
    lines = diff_lines(before, before.replace("return 5000\n", "return 0\n"))
    assert lines[0] == "@@ -9998,7 +9998,7 @@"
    assert [line for line in lines if line[0] in "+-"] == ["-    return 5000", "+    return 0"]


def test_what_is_shown_of_a_long_file_ends_between_two_characters():
    data = b"x" * (LONGEST_SHOWN - 2) + "€".encode() * 5
    assert shown_part(data) == b"x" * (LONGEST_SHOWN - 2)
    assert shown_part(b"y" * LONGEST_SHOWN) == b"y" * LONGEST_SHOWN
    assert len(shown_part(b"y" * (LONGEST_SHOWN + 1))) == LONGEST_SHOWN


def test_a_nul_or_a_byte_that_is_not_utf_8_makes_a_file_binary():
    assert is_binary(b"a\0b") and is_binary(b"\xff\xfe")
    assert not is_binary("Ä\r\n\x1b[31m".encode())
    assert not is_binary(b"")
