"""`search_files`: what it finds in both layers, what it says it left out, and that it ends."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from safeloop.ledger.guarded import guard
from safeloop.spec import search as bounded
from safeloop.tools import ContainmentError, Root, ToolOutcome, ToolRegistry, run_call, searching
from safeloop.tools.clean import RESULT_LIMIT
from safeloop.tools.entries import Entry, EntryKind
from safeloop.tools.layers import Layers
from safeloop.tools.limiting import TimedOut, within

from .conftest import SECRET
from .test_call import error_of
from .test_files import call, text_of


def search(tools: ToolRegistry, query: str, **more: Any) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(text_of(call(tools, "search_files", query=query, **more)))
    return found


def places(answer: dict[str, Any]) -> list[tuple[str, int]]:
    return [(each["name"], each["line"]) for each in answer["found"]]


def refusal(outcome: ToolOutcome) -> str:
    said: str = error_of(outcome)["message"]
    return said


def test_a_text_is_found_line_by_line_in_every_folder(tools: ToolRegistry, folder: Path) -> None:
    (folder / "b").mkdir()
    (folder / "b" / "deep.txt").write_text("no\r\nan a.c here\r\n")
    (folder / "a.txt").write_text("abc\na.c\n")
    answer = search(tools, "a.c")
    assert answer == {
        "found": [{"name": "a.txt", "line": 2, "text": "a.c"}, {"name": "b/deep.txt", "line": 2, "text": "an a.c here"}],
        "files_searched": 2,
    }
    assert places(search(tools, "a.c", folder="b")) == [("b/deep.txt", 2)]


def test_a_regular_expression_is_searched_in_each_line_by_itself(tools: ToolRegistry, folder: Path) -> None:
    (folder / "a.txt").write_text("abc\na.c\nend\r\n\u2028abc\n")
    assert places(search(tools, "^a.c$", regular_expression=True)) == [("a.txt", 1), ("a.txt", 2)]
    assert places(search(tools, "d$", regular_expression=True)) == [("a.txt", 3)]
    assert places(search(tools, "c\na", regular_expression=True)) == []


def test_what_was_written_hides_what_the_workspace_has_under_its_name(tools: ToolRegistry, folder: Path, staged: Path) -> None:
    (folder / "a").mkdir()
    for name in ("a/x", "b", "c"):
        (folder / name).write_text("needle")
    call(tools, "write_file", path="b", content="nothing\nneedle")
    (staged / "a").write_text("a file over a folder")
    (staged / "c").mkdir()
    (staged / "c" / "in").write_text("needle")
    assert places(search(tools, "needle")) == [("b", 2), ("c/in", 1)]
    assert places(search(tools, "needle", folder="c")) == [("c/in", 1)]
    listed = json.loads(text_of(call(tools, "list_files", folder="c")))
    assert [entry["name"] for entry in listed["entries"]] == ["c/in"]


def test_what_cannot_be_searched_is_counted_and_nothing_outside_is_read(
    tools: ToolRegistry, folder: Path, outside: Path
) -> None:
    (folder / "text").write_text("outside")
    (folder / "nul").write_bytes(b"outside\0")
    (folder / "latin").write_bytes(b"outside \xe9")
    (folder / "large").write_bytes(b"outside\n" * 125_001)
    (folder / "link").symlink_to("../outside/secret")
    (folder / "way").symlink_to("../outside")
    (folder / os.fsdecode(b"not utf-8 \xff")).write_text("outside")
    os.mkfifo(folder / "pipe")
    answer = search(tools, "outside")
    assert places(answer) == [("text", 1)]
    assert answer["not_searched"] == {
        "binary files": 2, "files of more than 1000000 bytes": 1, "links and others that are no files": 3,
        "files that cannot be read": 1,
    }
    assert SECRET.decode() not in json.dumps(answer)


def test_a_folder_that_no_tool_may_look_into_is_counted_and_passed_over(tools: ToolRegistry, folder: Path) -> None:
    for name in ("a", "keys", "z"):
        (folder / name).mkdir()
        (folder / name / "file").write_text("needle")
    kept = guard((folder / "keys",))
    answer = search(tools, "needle")
    assert places(answer) == [("a/file", 1), ("z/file", 1)]
    assert answer["not_searched"] == {"folders that cannot be listed": 1}
    del kept


def test_empty_folders_far_down_are_not_searched_without_end(
    tools: ToolRegistry, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(searching, "MOST_PARTS", 1_000)
    (folder / "a.txt").write_text("needle")
    (folder / "z.txt").write_text("needle")
    deep = folder / "/".join("d" * 20)
    deep.mkdir(parents=True)
    for number in range(100):
        (deep / str(number)).mkdir()
    answer = search(tools, "needle")
    assert places(answer) == [("a.txt", 1)]
    assert answer["not_searched"] == {"files and folders beyond those that can be looked at in one search": 1}


def test_a_search_that_was_given_up_stops(folder: Path, staged: Path) -> None:
    looked: list[str] = []

    class Slow(Layers):
        def walk(self, folder: str) -> Iterator[Entry | ContainmentError]:
            for number in range(200):
                looked.append(str(number))
                time.sleep(0.02)
                yield Entry(str(number), EntryKind.LINK, 0)

    with Root(staged) as staging, pytest.raises(TimedOut):
        within(0.2, lambda: searching.search(Slow(None, staging), "x", "", is_pattern=False))
    time.sleep(0.3)
    so_far = len(looked)
    time.sleep(0.3)
    assert len(looked) == so_far < 100


@pytest.mark.parametrize("folder_", ["..", "/etc", "way", "way/..", "no/such", "a\0b", "file"])
def test_a_search_does_not_leave_by_its_folder(tools: ToolRegistry, folder: Path, folder_: str) -> None:
    (folder / "way").symlink_to("../outside")
    (folder / "file").write_text("x")
    outcome = call(tools, "search_files", query="outside", folder=folder_)
    assert not outcome.passed
    assert error_of(outcome)["class"] in ("FileMissingError", "NotAFileError", "ContainmentError")


def test_an_expression_that_explodes_is_stopped_and_said_to_be(
    tools: ToolRegistry, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(searching, "SECONDS", 0.5)
    (folder / "a").write_text("a" * 40 + "!")
    began = time.monotonic()
    said = refusal(call(tools, "search_files", query="(a+)+$", regular_expression=True))
    assert time.monotonic() - began < 10
    assert said.startswith("the search did not end within 0.5 s")


@pytest.mark.parametrize("query", ["(", "a{2,1}", "(?P<a>x)(?P<a>y)", "*", "(?<=a+)b", "\\"])
def test_what_is_no_expression_is_said_to_be_none(tools: ToolRegistry, query: str) -> None:
    assert refusal(call(tools, "search_files", query=query, regular_expression=True)).startswith("this is no regular expression: ")


def test_an_expression_that_wants_all_memory_gets_an_answer(tools: ToolRegistry, folder: Path) -> None:
    (folder / "a").write_text("x")
    outcome = call(tools, "search_files", query="(((x{1,9999}){1,9999}){1,9999}){1,9999}", regular_expression=True)
    assert outcome.passed or error_of(outcome)["class"] == "ToolError"


@pytest.mark.parametrize("query", ["", "a\nb", "x" * 1_001])
def test_a_query_that_could_find_nothing_or_everything_is_refused(tools: ToolRegistry, query: str) -> None:
    assert refusal(call(tools, "search_files", query=query)) == "what is searched for must be one line of 1 to 1000 characters"


@pytest.mark.parametrize("is_pattern", [False, True])
def test_many_and_long_lines_are_cut_with_a_marker_and_the_result_stays_whole(
    tools: ToolRegistry, folder: Path, is_pattern: bool
) -> None:
    (folder / "short").write_text("x\n" * 1_000)
    answer = search(tools, "x", regular_expression=is_pattern)
    assert len(answer["found"]) == 200
    assert answer["cut"] == "there are more than these 200 lines: search for less, or in one folder"
    (folder / "short").write_text(("\x1b" * 400 + "x\n") * 1_000)
    outcome = call(tools, "search_files", query="\x1b", regular_expression=is_pattern)
    assert len(outcome.result) < RESULT_LIMIT
    answer = json.loads(text_of(outcome).replace("\\u{1b}", ""))
    assert 10 < len(answer["found"]) < 200 and "cut" in answer
    assert answer["found"][0]["text"].endswith(" [cut: 101 of 401 characters are not shown]")


def test_exactly_as_many_lines_as_are_shown_are_not_called_cut(tools: ToolRegistry, folder: Path) -> None:
    (folder / "a").write_text("x\n" * 200)
    for is_pattern in (False, True):
        answer = search(tools, "x", regular_expression=is_pattern)
        assert len(answer["found"]) == 200 and "cut" not in answer


def test_a_search_stops_at_its_limits_and_says_so(
    tools: ToolRegistry, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in "abcd":
        (folder / name).write_text("x")
    monkeypatch.setattr(searching, "MOST_FILES", 3)
    answer = search(tools, "x")
    assert places(answer) == [("a", 1), ("b", 1), ("c", 1)]
    assert answer["not_searched"] == {f"files beyond 3 files or {searching.MOST_BYTES} bytes": 1}
    monkeypatch.setattr(searching, "MOST_FILES", 100)
    monkeypatch.setattr(searching, "MOST_BYTES", 2)
    answer = search(tools, "x")
    assert places(answer) == [("a", 1), ("b", 1)]
    assert answer["not_searched"] == {"files beyond 100 files or 2 bytes": 1}


def test_the_process_that_searches_has_no_environment_and_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET_TOKEN", "canary")
    tell = "import json, os, sys; json.dump(sorted(os.environ), sys.stdout)"
    assert "SECRET_TOKEN" not in bounded.answer_within(tell, None, seconds=10)
    assert bounded.answer_within("import time; time.sleep(60)", None, seconds=0.3) is None
    assert bounded.answer_within("raise SystemExit(3)", None, seconds=10) is None


# edit_file


def test_an_edit_of_a_workspace_file_stages_the_edited_copy(tools: ToolRegistry, folder: Path, staged: Path) -> None:
    (folder / "src").mkdir()
    (folder / "src" / "a.py").write_bytes("é = 1\r\nb = 2\r\nlast".encode())
    said = text_of(call(tools, "edit_file", path="src/a.py", old="b = 2", new="b = 3\t"))
    assert said == "replaced one piece in line 2 of src/a.py, now 20 bytes"
    assert (staged / "src" / "a.py").read_bytes() == "é = 1\r\nb = 3\t\r\nlast".encode()
    assert (folder / "src" / "a.py").read_bytes() == "é = 1\r\nb = 2\r\nlast".encode()
    text_of(call(tools, "edit_file", path="src/a.py", old="\r\nlast", new=""))
    assert (staged / "src" / "a.py").read_bytes() == "é = 1\r\nb = 3\t".encode()


@pytest.mark.parametrize(("old", "says"), [
    ("z", "`old` is not in it"), ("A", "`old` is not in it"), ("a\r\n", "`old` is not in it"), ("x", "more than once"),
    ("aa", "more than once"), ("", "must not be empty"), ("NEW", "nor the same as `new`"),
])
def test_an_edit_that_does_not_say_exactly_one_place_is_refused(
    tools: ToolRegistry, folder: Path, staged: Path, old: str, says: str
) -> None:
    (folder / "a").write_text("aaa\nx x\nNEW\n")
    assert says in refusal(call(tools, "edit_file", path="a", old=old, new="NEW"))
    assert list(staged.iterdir()) == []


@pytest.mark.parametrize("path", ["../outside/secret", "/etc/passwd", "link", "way/secret", "pipe", "binary", "no", "dir"])
def test_an_edit_reaches_no_other_file_than_a_read_does(
    tools: ToolRegistry, folder: Path, staged: Path, outside: Path, path: str
) -> None:
    (folder / "link").symlink_to("../outside/secret")
    (folder / "way").symlink_to("../outside")
    (folder / "binary").write_bytes(b"nobody\0")
    (folder / "dir").mkdir()
    os.mkfifo(folder / "pipe")
    outcome = call(tools, "edit_file", path=path, old="nobody", new="everybody")
    assert error_of(outcome)["class"] in ("FileMissingError", "NotAFileError", "ContainmentError", "ToolError")
    assert SECRET.decode() not in outcome.result
    assert list(staged.iterdir()) == []


def test_an_edit_does_not_make_a_file_larger_than_may_be_written(tools: ToolRegistry, folder: Path, staged: Path) -> None:
    (folder / "a").write_text("x" + "y" * 999_999)
    assert "1000001 bytes, and at most 1000000 are written" in refusal(call(tools, "edit_file", path="a", old="x", new="zz"))
    assert list(staged.iterdir()) == []


def test_an_edit_is_not_run_again_by_itself_because_it_may_not_come_out_the_same(tools: ToolRegistry) -> None:
    found = {tool.name: tool.is_idempotent for tool in tools}
    assert found["edit_file"] is False and found["write_file"] is True


def test_a_call_of_the_search_counts_as_a_read(tools: ToolRegistry) -> None:
    from safeloop.spec import ToolGrant

    outcome = run_call(tools, ToolGrant(("write",)), "search_files", {"query": "x"})
    assert error_of(outcome)["class"] == "NotGranted"
