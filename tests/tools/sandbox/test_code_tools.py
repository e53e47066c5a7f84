"""`run_python` and `run_command` as a model calls them, and criteria that run commands."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from safeloop.spec import Criterion, ToolGrant, check
from safeloop.tools import ContainmentError, Permission, Refusal, Root, collect, plan_call
from safeloop.tools.call import run_planned
from safeloop.tools.outcome import Planned
from safeloop.tools.sandbox import Ended, Execution, Limits, Places, code_tools, runner_in
from safeloop.tools.sandbox.code import MOST_CODE_BYTES
from safeloop.tools.sandbox.folders import leftovers

from .conftest import SMALL, Inside

ALL = ToolGrant(permissions=("read", "write", "destructive"))


def called(inside: Inside, tool: str, limits: Limits = SMALL, **arguments: Any) -> dict[str, Any]:
    """Call a tool as the loop does once a person has approved it; return what the model reads."""
    registry = code_tools(inside.sandbox, inside.workspace, inside.places.staging, limits=limits)
    found = registry.get(tool)
    assert found is not None
    fitted = found.fit(arguments)
    assert isinstance(fitted, dict), fitted
    outcome = run_planned(Planned(found, fitted))
    text = outcome.result
    return dict(json.loads(text[text.index("{") : text.rindex("}") + 1]))


def test_both_are_destructive_and_outlive_their_programs_time_limit(inside: Inside) -> None:
    registry = code_tools(inside.sandbox, None, inside.places.staging, limits=SMALL)
    assert [(tool.name, tool.permission) for tool in registry] == [
        ("run_python", Permission.DESTRUCTIVE), ("run_command", Permission.DESTRUCTIVE),
    ]  # fmt: skip
    assert all(tool.time_limit_s is not None and tool.time_limit_s > SMALL.time_s for tool in registry)


def test_python_code_is_run_where_it_can_write(inside: Inside) -> None:
    (inside.workspace / "numbers.txt").write_text("3 4")
    said = called(
        inside, "run_python",
        code="total = sum(map(int, open('/workspace/numbers.txt').read().split()))\nopen('sum.txt', 'w').write(str(total))\nprint('é', total)",
    )  # fmt: skip
    assert said == {"exit_status": 0, "stdout": "é 7\n", "stderr": ""}
    with Root(inside.places.staging) as staging:
        assert [(file.name, file.data) for file in collect(staging)] == [("sum.txt", b"7")]


def test_a_command_is_no_line_for_a_shell(inside: Inside) -> None:
    said = called(inside, "run_command", command=["echo", "$HOME; touch x", "*"])
    assert said["stdout"] == "$HOME; touch x *\n"
    assert list(inside.places.staging.iterdir()) == []


def test_a_traceback_a_signal_and_a_time_limit_are_told(inside: Inside) -> None:
    said = called(inside, "run_python", code="1/0")
    assert said["exit_status"] == 1
    assert "ZeroDivisionError" in said["stderr"]
    assert called(inside, "run_command", command=["sh", "-c", "kill -9 $$"])["signal"] == "SIGKILL"
    said = called(inside, "run_command", replace(SMALL, time_s=0.5), command=["sleep", "60"])
    assert (said["exit_status"], said["ended"]) == (None, Ended.TIME.value)


def test_output_that_was_thrown_away_is_counted(inside: Inside) -> None:
    said = called(inside, "run_python", code="print('x' * 10_000)")
    assert len(said["stdout"]) == SMALL.output_bytes
    assert said["stdout_left_out"] == f"{10_001 - SMALL.output_bytes} bytes"


@pytest.mark.parametrize(
    "command", [[], [""], ["a\0b"], ["\ud800"], ["x" * 100_001], ["x" * 1000] * 101, "ls", [1], [["ls"]], None]
)
def test_a_command_that_is_none_is_told_and_nothing_raises(inside: Inside, command: Any) -> None:
    registry = code_tools(inside.sandbox, None, inside.places.staging, limits=SMALL)
    plan = plan_call(registry, ALL, "run_command", {"command": command})
    if isinstance(plan, Refusal):
        return
    found = registry.get("run_command")
    assert found is not None
    assert not run_planned(Planned(found, {"command": command})).passed


@pytest.mark.parametrize("code", ["x" * (MOST_CODE_BYTES + 1), "\ud800"])
def test_code_that_cannot_be_sent_is_told(inside: Inside, code: str) -> None:
    registry = code_tools(inside.sandbox, None, inside.places.staging, limits=SMALL)
    found = registry.get("run_python")
    assert found is not None
    assert not run_planned(Planned(found, {"code": code})).passed


LEFT = """
import os, socket
open("good.txt", "w").write("good")
os.symlink("/etc/passwd", "link"); os.symlink("good.txt", "inner")
os.mkfifo("pipe"); os.mkdir("deep"); os.symlink("..", "deep/up")
open("own", "w").write("x"); os.chmod("own", 0o4755); open("group", "w").write("x"); os.chmod("group", 0o2755)
open("one", "w").write("x"); os.link("one", "two")
socket.socket(socket.AF_UNIX).bind("sock")
"""


def test_what_can_never_be_handed_out_is_named_at_once(inside: Inside) -> None:
    said = called(inside, "run_python", code=LEFT)
    assert said["exit_status"] == 0, said
    told = {line.partition(":")[0]: line.partition(": ")[2] for line in said["staging"]["cannot_be_handed_out"]}
    assert told == {
        "link": "it is a symbolic link", "inner": "it is a symbolic link", "deep/up": "it is a symbolic link",
        "pipe": "it is not a regular file", "sock": "it is not a regular file",
        "own": "it would run as its owner or group (setuid, setgid)",
        "group": "it would run as its owner or group (setuid, setgid)",
        "one": "it has 2 links, and only 1 is allowed", "two": "it has 2 links, and only 1 is allowed",
    }  # fmt: skip


@pytest.mark.parametrize("name", ["link", "inner", "deep/up", "pipe", "sock", "own", "group", "one"])
def test_each_of_them_alone_is_refused_by_name_when_staging_is_collected(inside: Inside, name: str) -> None:
    kept = {"one", "two"} if name == "one" else {name}
    called(inside, "run_python", code=LEFT)
    for path in sorted(inside.places.staging.rglob("*"), reverse=True):
        if str(path.relative_to(inside.places.staging)) not in kept and (path.is_symlink() or not path.is_dir()):
            path.unlink()
    with Root(inside.places.staging) as staging, pytest.raises(ContainmentError, match=f"^{name}: "):
        collect(staging)


def test_at_most_twenty_are_named(tmp_path: Path) -> None:
    for number in range(30):
        (tmp_path / f"link{number}").symlink_to("x")
    assert len(leftovers(tmp_path)) == 20


def test_a_command_judges_the_committed_bytes_in_a_folder_of_their_own(inside: Inside) -> None:
    (inside.workspace / "test.sh").write_text("test \"$(cat report.md)\" = done && echo touched > new && echo fine")
    criterion = Criterion("tested", kind="command", command=("sh", "/workspace/test.sh"))
    run = runner_in(inside.sandbox, inside.workspace, SMALL)
    verdict = check(criterion, {"report.md": b"done", "deep/er/file": b"x"}, run=run)
    assert (verdict.passed, verdict.detail) == (True, "sh /workspace/test.sh: exit status 0: fine")
    verdict = check(criterion, {"report.md": b"not done"}, run=run)
    assert (verdict.passed, verdict.detail) == (False, "sh /workspace/test.sh: exit status 1")
    assert list(inside.places.staging.iterdir()) == []


SHADOWS = {"json/__init__.py": b"", "json/tool.py": b"", "json.py": b"def load(file): return 'fine'"}


@pytest.mark.parametrize(
    "command",
    [
        ("python3", "-m", "json.tool", "report.json"),
        ("python3", "-c", "import json; json.load(open('report.json'))"),
        ("sh", "-c", "python3 -m json.tool < report.json"),
    ],
)
def test_a_staged_module_takes_no_part_in_the_judgement_on_it(inside: Inside, command: tuple[str, ...]) -> None:
    run = runner_in(inside.sandbox, None, SMALL)
    assert run(command, {"report.json": b"{}"}).passed
    for names in (("json.py",), ("json/__init__.py", "json/tool.py")):
        shadowed = {name: SHADOWS[name] for name in names}
        assert not run(command, {"report.json": b"nonsense"} | shadowed).passed


@pytest.mark.parametrize(
    ("command", "said"),
    [
        (("sh", "-c", "echo why >&2; exit 2"), "exit status 2: why"),
        (("sh", "-c", "kill -9 $$"), "exit status 137"),
        (("no-such-program",), "exit status 127"),
        (("sleep", "60"), Ended.TIME.value),
    ],
)
def test_only_exit_status_0_passes(inside: Inside, command: tuple[str, ...], said: str) -> None:
    run = runner_in(inside.sandbox, None, replace(SMALL, time_s=1.0))
    ran = run(command, {"f": b"x"})
    assert not ran.passed
    assert ran.said.startswith(said)


def test_a_command_that_cannot_be_run_fails_and_raises_nothing(inside: Inside) -> None:
    os.rmdir(inside.workspace)
    ran = runner_in(inside.sandbox, inside.workspace, SMALL)(("true",), {"f": b"x"})
    assert not ran.passed
    assert ran.said.startswith("it could not be run: the sandbox could not be made")


def test_what_a_runner_says_fits_into_a_detail() -> None:
    class Loud:
        name = "loud"

        def run(self, command: Any, stdin: bytes, places: Places, limits: Limits, environment: Any) -> Execution:
            return Execution(Ended.EXITED, 1, None, b"", b"\x1b[31m" + "é\u202e".encode() * 10_000, 0, 0, 1)

    ran = runner_in(Loud(), None)(("x",), {"f": b"x"})
    assert len(ran.said.encode()) < 1_200
    assert "\x1b" not in ran.said
    assert "\u202e" not in ran.said
