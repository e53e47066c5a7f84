"""The progress line: the turn, the ceilings used and the tool at work, in one line that no terminal wraps."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest

from safeloop.cli.progress import Progress
from safeloop.loop.events import Breached, Closed, Replied, Reserved, Started, ToolRan, ToolRuns, Waiting
from safeloop.spec import Ceilings, Spend
from tests.cli.program import Program

RUN = ("run", "--spec-file", "job.toml", "--task", "x", "--script", "writes.json")
CEILINGS = Ceilings(turns=8, tokens=40_000)
EVERY = Ceilings(turns=8, tokens=40_000, microusd=250_000, elapsed_ms=600_000, tool_calls=20)


class Shown:
    """Where lines go, in place of a terminal: its width is told."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def progress(self, text: str) -> None:
        self.lines.append(text)

    def alarm(self, text: str) -> None:
        self.lines.append(f"! {text}")


def shown(*told: Any, columns: int = 100, seconds: Iterator[float] | None = None) -> list[str]:
    screen = Shown()
    times = seconds or iter(lambda: 0.0, None)
    progress = Progress(screen, clock=lambda: next(times), columns=lambda: columns)  # type: ignore[arg-type]
    for event in told:
        progress.tell(event)
    return screen.lines


def reserved(ceilings: Ceilings = CEILINGS, **more: Any) -> Reserved:
    return Reserved("s", 3, 6210, 1000, ceilings, **more)


def test_the_line_is_as_it_is_promised() -> None:
    assert shown(reserved(), ToolRuns("s", 3, "write_file", "report.md"))[-1] == (
        "turn 3 of 8   tokens 6,210 of 40,000   write_file report.md"
    )


def test_each_ceiling_that_is_set_is_shown() -> None:
    spend = Spend(turns=3, tokens=6210, microusd=12_345)
    lines = shown(Started("s", "m", EVERY), ToolRan("s", 1, "look", True), reserved(EVERY, spend=spend), columns=200)
    assert lines[-1] == (
        "turn 3 of 8   tokens 6,210 of 40,000   usd 0.0123 of 0.25   time 0s of 600s   calls 1 of 20   "
        "waiting for the model"
    )


def test_time_goes_on() -> None:
    times = iter([0.0, 100.0, 142.0, 142.0])
    assert "time 42s of 600s" in shown(Started("s", "m", EVERY), reserved(EVERY), seconds=times, columns=200)[-1]


@pytest.mark.parametrize("columns", [1, 20, 40, 41, 60, 79, 80, 132])
@pytest.mark.parametrize("ceilings", [CEILINGS, EVERY, Ceilings()])
def test_no_line_is_wider_than_the_terminal(columns: int, ceilings: Ceilings) -> None:
    told = (
        ToolRuns("s", 1, "early"), reserved(ceilings, attempt=2), Waiting("s", 3, 59.6, "the server asks to slow down"),
        ToolRuns("s", 3, "write_file", "a/very/long/path/" * 9), ToolRan("s", 3, "write_file", False),
    )  # fmt: skip
    for line in shown(*told, columns=columns):
        assert len(line) < max(columns, 20)


def test_forty_columns_are_enough_for_what_counts() -> None:
    lines = shown(reserved(EVERY), ToolRuns("s", 3, "write_file", "report.md"), columns=40)
    assert lines[-1].startswith("turn 3/8  tokens 6,210/40,000  write")


def test_a_failed_tool_a_second_attempt_and_a_wait_are_said() -> None:
    lines = shown(reserved(attempt=2), Waiting("s", 3, 59.6, "status 529"), ToolRan("s", 3, "look", False))
    assert lines[0].endswith("waiting for the model, attempt 2")
    assert lines[1].endswith("waits 60 s: status 529")
    assert lines[2].endswith("look failed")


def test_the_line_is_cleared_at_the_end_and_before_the_banner() -> None:
    assert shown(reserved(), Breached("s", 4, 1, "turn_ceiling", None))[-1] == ""
    assert shown(reserved(), Closed("s", "completed", None))[-1] == ""
    screen = Shown()
    Progress(screen).alarm("=== banner")  # type: ignore[arg-type]
    assert screen.lines == ["", "! === banner"]


def test_what_a_model_says_cannot_move_the_cursor() -> None:
    lines = shown(reserved(), ToolRuns("s", 3, "evil\x1b[2J\r\n", "\u202egnp.md"), Replied("s", 3, 5, None))
    assert all(not re.search(r"[\x00-\x1f\u202e]", line) for line in lines)


def test_at_a_terminal_it_is_rewritten_in_place(program: Program) -> None:
    with program.at_terminal(*RUN, env={"TERM": "xterm", "COLUMNS": "80"}) as terminal:
        assert terminal.wait() == 0
    lines = [part.split("\n")[0] for part in terminal.seen.split("\r\x1b[2K")[1:]]
    assert any(re.fullmatch(r"turn 2 of 5   tokens [\d,]+ of [\d,]+   waiting for the model", line) for line in lines)
    assert any("write_file report.md" in line for line in lines)
    assert all(len(line.rstrip("\r")) < 80 for line in lines if line.startswith("turn"))


@pytest.mark.parametrize("columns", ["40", "57"])
def test_a_narrow_terminal_is_not_wrapped(program: Program, columns: str) -> None:
    with program.at_terminal(*RUN, env={"TERM": "xterm", "COLUMNS": columns}) as terminal:
        assert terminal.wait() == 0
    lines = [part.split("\n")[0].rstrip("\r") for part in terminal.seen.split("\r\x1b[2K")[1:]]
    progress = [line for line in lines if line.startswith("turn")]
    assert progress
    assert all(len(line) < int(columns) for line in progress)


def test_without_colour_it_is_the_same_line(program: Program) -> None:
    with program.at_terminal(*RUN, env={"TERM": "xterm", "NO_COLOR": "1"}) as terminal:
        assert terminal.wait() == 0
    assert "\r\x1b[2Kturn 1 of 5" in terminal.seen
    assert not re.search(r"\x1b\[[\d;]*m", terminal.seen)


def test_a_dumb_terminal_and_a_pipe_show_nothing_of_the_kind(program: Program) -> None:
    with program.at_terminal(*RUN, env={"TERM": "dumb"}) as terminal:
        assert terminal.wait() == 0
    done = program(*RUN)
    for seen in (terminal.seen, done.err):
        assert "waiting for the model" not in seen
        assert "\x1b" not in seen
    assert "\r" not in done.err
