"""A call has an end, whatever its handler does."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from contextvars import ContextVar
from pathlib import Path
from typing import Any

import pytest

from safeloop.errors import ExitCode, SettingError
from safeloop.spec import ToolGrant
from safeloop.tools import Permission, Root, ToolError, ToolOutcome, ToolRegistry, file_tools, run_call
from safeloop.tools.limiting import unless_given_up

GRANT = ToolGrant(("read", "write"))
SOON = 0.15


def called(handler: Callable[..., Any], *, seconds: float | None = SOON) -> ToolOutcome:
    registry = ToolRegistry()
    registry.register(
        name="work", description="d", parameters={"type": "object"}, handler=handler, permission="read", time_limit_s=seconds
    )
    return run_call(registry, GRANT, "work", {})


def swallowing(ends: threading.Event) -> Callable[[], str]:
    def handler() -> str:
        while not ends.is_set():
            with suppress(BaseException):
                time.sleep(0.01)
        return "in the end"

    return handler


def test_a_handler_that_does_not_return_is_given_up_and_the_model_is_told() -> None:
    ends = threading.Event()
    began = time.monotonic()
    try:
        outcome = called(swallowing(ends))
    finally:
        ends.set()
    assert time.monotonic() - began < 5
    assert not outcome.passed
    assert outcome.error == {
        "class": "TimedOut", "message": "it did not return within 0.15 s and was given up; it may have had its effect",
    }
    assert 150 <= outcome.execution_time_ms < 5_000


def test_what_a_handler_returns_too_late_belongs_to_no_later_call() -> None:
    ends, again = threading.Event(), iter((True, False))
    late = swallowing(ends)
    registry = ToolRegistry()
    registry.register(name="work", description="d", parameters={"type": "object"}, permission="read", time_limit_s=SOON,
                      handler=lambda: late() if next(again) else "of the second")
    first = run_call(registry, GRANT, "work", {})
    ends.set()
    second = run_call(registry, GRANT, "work", {})
    assert (first.passed, second.passed) == (False, True)
    assert second.result.endswith("\nof the second")


def test_a_handler_within_its_time_returns_at_once_and_leaves_no_thread() -> None:
    before = set(threading.enumerate())
    began = time.monotonic()
    assert called(lambda: "x", seconds=3_600).passed
    assert time.monotonic() - began < 2
    deadline = time.monotonic() + 5
    while set(threading.enumerate()) - before and time.monotonic() < deadline:
        time.sleep(0.01)
    assert set(threading.enumerate()) <= before


def test_a_handler_sees_the_context_of_the_run_and_changes_none_of_it() -> None:
    who: ContextVar[str] = ContextVar("who", default="nobody")
    who.set("the run")

    def handler() -> str:
        said = who.get()
        who.set("the tool")
        return said

    assert called(handler).result.endswith("\nthe run")
    assert who.get() == "the run"


@pytest.mark.parametrize("raised", [KeyboardInterrupt, SystemExit, GeneratorExit])
def test_what_is_not_the_tools_to_report_passes_through_as_it_is(raised: type[BaseException]) -> None:
    def handler() -> None:
        raise raised

    with pytest.raises(raised):
        called(handler)


@pytest.mark.parametrize("limit", [0, -1, float("nan"), float("inf"), 3_600.1, "60", True, [60]])
def test_a_time_limit_that_is_none_is_refused_when_the_tool_is_registered(limit: Any) -> None:
    with pytest.raises(SettingError, match="time limit of the tool work must be above 0 and at most 3600 seconds"):
        called(lambda: "x", seconds=limit)


def test_a_time_limit_is_kept_with_the_tool_however_it_was_registered() -> None:
    registry = ToolRegistry()

    @registry.tool(permission=Permission.READ, time_limit_s=7)
    def look() -> str:
        """Look."""
        return ""

    found = registry.get("look")
    assert found is not None and found.time_limit_s == 7
    assert [tool.time_limit_s for tool in registry.granted(("read",))] == [7]


def test_a_signal_while_a_handler_runs_is_raised_where_the_call_is_waited_for() -> None:
    class Stopped(BaseException):
        pass

    def stop(_number: int, _frame: object) -> None:
        raise Stopped

    ends, before = threading.Event(), signal.signal(signal.SIGUSR1, stop)
    sender = threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGUSR1))
    sender.start()
    began = time.monotonic()
    try:
        with pytest.raises(Stopped):
            called(swallowing(ends), seconds=60)
        assert time.monotonic() - began < 5
        assert signal.getsignal(signal.SIGUSR1) is stop
    finally:
        ends.set()
        sender.join()
        signal.signal(signal.SIGUSR1, before)


def test_a_handler_that_was_given_up_can_no_longer_write_through_the_root(tmp_path: Path) -> None:
    may_write, wrote = threading.Event(), threading.Event()
    errors: list[ToolError] = []
    (tmp_path / "a").write_text("before")

    def handler() -> None:
        may_write.wait(10)
        try:
            root.write("a", b"too late")
        except ToolError as error:
            errors.append(error)
        wrote.set()

    with Root(tmp_path) as root:
        assert called(handler).error is not None
        may_write.set()
        assert wrote.wait(10)
    assert [type(error).__name__ for error in errors] == ["TimedOut"]
    assert [path.name for path in tmp_path.iterdir()] == ["a"]
    assert (tmp_path / "a").read_text() == "before"


def test_a_call_cannot_be_given_up_while_it_takes_a_step_that_must_be_whole() -> None:
    steps: list[str] = []
    within_it = threading.Event()

    def handler() -> None:
        with unless_given_up():
            within_it.set()
            time.sleep(3 * SOON)
            steps.append("whole")
        ends.wait(10)

    ends = threading.Event()
    outcome = called(handler)
    assert within_it.is_set() and steps == ["whole"]
    assert outcome.error is not None and outcome.error["class"] == "TimedOut"
    ends.set()


def test_the_built_in_tools_still_write_within_their_time(tmp_path: Path) -> None:
    with Root(tmp_path) as staging:
        outcome = run_call(file_tools(None, staging), GRANT, "write_file", {"path": "a", "content": "b"})
    assert outcome.passed
    assert (tmp_path / "a").read_text() == "b"


LEAVES_ONE_BEHIND = """
import time
from safeloop.spec import ToolGrant
from safeloop.tools import ToolRegistry, run_call
registry = ToolRegistry()
registry.register(name="work", description="d", parameters={"type": "object"}, permission="read",
                  handler=lambda: time.sleep(600), time_limit_s=0.1)
print(run_call(registry, ToolGrant(("read",)), "work", {}).error["class"])
"""


def test_a_handler_that_was_given_up_does_not_keep_the_process_from_ending() -> None:
    done = subprocess.run([sys.executable, "-c", LEAVES_ONE_BEHIND], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "TimedOut\n", "")


FORKS = LEAVES_ONE_BEHIND.replace("time.sleep(600)", "os.fork() or 'child'").replace("import time", "import os").replace(
    '.error["class"])', ".result)\nprint(os.waitstatus_to_exitcode(os.wait()[1]))")


def test_a_child_that_a_handler_forks_ends_with_the_handler() -> None:
    done = subprocess.run([sys.executable, "-c", FORKS], capture_output=True, text=True, timeout=60, check=False)
    assert done.stdout.splitlines()[-1] == str(int(ExitCode.UNEXPECTED))
    assert "child" not in done.stdout
