"""stdout is the result and nothing else, stderr is the rest, and no stream that fails takes a row with it."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.program import Program

READERS = (("log",), ("checkpoint",), ("audit",), ("key", "list"), ("trust", "show"), ("config",), ("inbox",), ("stats",),
           ("review", "latest"), ("help",), ("help", "verify"))  # fmt: skip
COLOUR = "\x1b["


@pytest.mark.parametrize("command", READERS, ids=" ".join)
def test_a_result_is_on_stdout_and_nothing_else_is(kept: Program, command: tuple[str, ...]) -> None:
    done = kept(*command)
    assert done.code == 0
    assert done.out.endswith("\n")
    for beside in ("next:", "hint:", "error:", "warning:"):
        assert not re.search(f"^{beside}", done.out, re.M)


def test_an_error_is_on_stderr_alone(kept: Program) -> None:
    done = kept("review", "nosuch")
    assert done.out == ""
    assert done.err == f"error: no session 'nosuch' in {kept.folder}/ledger.db\nhint: safeloop inbox\n"


def test_the_banner_and_the_session_are_not_part_of_the_result(program: Program) -> None:
    done = program("run", "--spec-file", "job.toml", "--task", "x", "--script", "writes.json", "--turns", "1")
    assert (done.code, done.out) == (10, "")
    assert "CIRCUIT BREAKER CHECKPOINT" in done.err


def test_quiet_is_silent_on_success(program: Program) -> None:
    done = program.job("--quiet")
    assert (done.code, done.out, done.err) == (0, "", "")
    done = program("audit", "--quiet")
    assert (done.code, done.out, done.err) == (0, "", "")


def test_quiet_is_loud_on_failure(program: Program) -> None:
    words = program.script(*["done"] * 4)
    for arguments, code, said in (
        (("--turns", "1", "--script", "writes.json"), 10, "stopped before the call"),
        (("--script", words), 16, "ended with criteria unmet"),
        (("--script", program.script()), 2, "error: the script has 0 replies"),
    ):
        done = program("run", "--quiet", "--spec-file", "job.toml", "--task", "x", *arguments)
        assert (done.code, done.out) == (code, "")
        assert said in done.err
        session = program.rows()[-1]["session"]
        assert session in done.err, "a mail from cron must say which session it is about"


def test_quiet_audit_is_loud_when_something_is_false(program: Program) -> None:
    done = program("audit", "--quiet")
    assert done.code == 11
    assert "has no rows" in done.out


@pytest.mark.parametrize("command", [("log",), ("help", "verify"), ("run", "--help")], ids=" ".join)
def test_a_reader_that_has_had_enough_gets_no_traceback(kept: Program, command: tuple[str, ...]) -> None:
    read, write = subprocess.PIPE, subprocess.PIPE
    process = subprocess.Popen(
        [sys.executable, "-m", "safeloop", *command], cwd=kept.folder, env=kept.environment, stdin=subprocess.DEVNULL,
        stdout=write, stderr=read,
    )
    assert process.stdout is not None and process.stderr is not None
    process.stdout.close()  # before anything was written
    said = process.stderr.read()
    process.stderr.close()
    assert (process.wait(30), said) == (1, b"")


def test_the_first_line_of_a_pipe_is_whole(kept: Program) -> None:
    done = kept.shell("safeloop log | head -1")
    assert done.out.startswith("     1 ")
    assert done.err == ""


@pytest.mark.parametrize(
    "command", ["log --json", "checkpoint", "--help", "help verify"]
)
def test_a_full_disk_under_stdout_is_one_error(kept: Program, command: str) -> None:
    done = kept.shell(f"safeloop {command} >/dev/full")
    assert done.code == 1
    assert [line for line in done.err.splitlines() if "error" in line] == ["error: [Errno 28] No space left on device"]
    assert "Traceback" not in done.err and "Exception ignored" not in done.err


def test_json_that_cannot_be_written_is_said_in_words(kept: Program) -> None:
    done = kept.shell("safeloop review nosuch --json >/dev/full")
    assert done.code == 14
    assert "error: no session 'nosuch'" in done.err


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_a_closed_stream_changes_nothing_but_what_is_seen(program: Program, closed: str) -> None:
    done = program.shell(f"safeloop run --spec-file job.toml --task x --script writes.json {closed}")
    assert done.code == 0
    assert "Traceback" not in done.err
    assert program.kinds() == ["spec", "open", "intent", "turn", "call", "tool", "intent", "turn", "check", "close"]
    assert program.shell(f"safeloop review nosuch {closed}").code == 14
    assert program("audit").code == 0, "no file of the ledger got the number of a stream"


def test_nobody_reading_stderr_changes_no_outcome(program: Program) -> None:
    done = program.shell(
        "safeloop run --spec-file job.toml --task x --script writes.json --turns 1 2> >(true); echo $?"
    )
    assert done.out == "10\n"
    assert program.rows()[-1]["data"]["outcome"] == "breached"


def test_a_closed_stdin_answers_no_question(program: Program) -> None:
    for command in ("spec", "attest latest --as a --key k"):
        done = program.shell(f"safeloop {command} <&-")
        assert done.code in (13, 14)
        assert "Traceback" not in done.err


def test_a_task_from_a_closed_stdin_is_an_empty_task(program: Program) -> None:
    done = program.shell("safeloop run --spec-file job.toml --task-file - --script writes.json <&-")
    assert done.code == 2
    assert done.err.startswith("error: the task is empty")


@pytest.mark.parametrize("command", [("checkpoint",), ("review", "latest")], ids=" ".join)
def test_frames_and_checkpoints_have_the_same_bytes_under_every_locale(kept: Program, command: tuple[str, ...]) -> None:
    plain = kept(*command).out
    for environment in ({"PYTHONIOENCODING": "ascii"}, {"PYTHONIOENCODING": "latin-1"}, {"LC_ALL": "C", "LANG": "C"},
                        {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}):  # fmt: skip
        done = kept(*command, env=environment)
        assert (done.code, done.out) == (0, plain), environment


def test_an_ascii_terminal_gets_escapes_and_no_exception(kept: Program) -> None:
    done = kept("help", "verify", env={"PYTHONIOENCODING": "ascii"})
    assert done.code == 0
    assert done.out.isascii()
    done = kept("review", "latesté\x1b[31m\u202e", env={"PYTHONIOENCODING": "ascii"})
    assert done.code == 14
    assert done.err.isascii()
    assert COLOUR not in done.err


def test_nothing_typed_steers_the_terminal(kept: Program) -> None:
    for command in (("review", "x\x1b]0;owned\x07"), ("log", "--ledger", "/x\x1b[2J"), ("help", "\x1b[31m"),
                    ("bo\x1b[31mgus",), ("run", "--o\x1b[31mpt")):  # fmt: skip
        done = kept(*command)
        assert done.code != 0
        assert "\x1b" not in done.err + done.out and "\x07" not in done.err


@pytest.mark.parametrize(
    ("environment", "coloured"),
    [({"TERM": "xterm"}, True), ({"TERM": "dumb"}, False), ({"TERM": "xterm", "NO_COLOR": "1"}, False),
     ({"TERM": "dumb", "FORCE_COLOR": "1"}, True), ({"TERM": "xterm", "NO_COLOR": "1", "FORCE_COLOR": "1"}, False),
     ({"TERM": "xterm", "NO_COLOR": ""}, True)],
    ids=str,
)  # fmt: skip
def test_colour_at_a_terminal_is_as_the_environment_wants_it(
    kept: Program, environment: dict[str, str], coloured: bool
) -> None:
    with kept.at_terminal("review", "nosuch", env=environment) as terminal:
        assert terminal.wait() == 14
    assert (COLOUR in terminal.seen) is coloured
    assert "error:" in terminal.seen, "colour is never the only signal"


def test_a_pipe_has_no_colour_unless_it_is_forced(kept: Program) -> None:
    assert COLOUR not in kept("review", "nosuch", env={"TERM": "xterm"}).err
    assert COLOUR in kept("review", "nosuch", env={"FORCE_COLOR": "1"}).err


def test_progress_is_one_line_of_a_terminal_only(program: Program) -> None:
    assert "\r" not in program.job().err
    command = ("run", "--spec-file", "job.toml", "--task", "x", "--script", "writes.json")
    with program.at_terminal(*command, env={"TERM": "xterm"}) as terminal:
        assert terminal.wait() == 0
    assert "\r\x1b[2Kturn 2 of 5   tokens " in terminal.seen
    assert "write_file" in terminal.seen
    with program.at_terminal(*command) as terminal:
        assert terminal.wait() == 0
    assert "waiting for the model" not in terminal.seen, "TERM=dumb cannot replace a line"


def test_a_traceback_is_shown_with_debug_alone_and_changes_no_exit_code(kept: Program, tmp_path: Path) -> None:
    for arguments, code in ((("review", "nosuch"), 14), (("log", "--ledger", str(tmp_path)), 14), (("help", "x"), 2)):
        plain, debugged = kept(*arguments), kept(*arguments, "--debug")
        assert (plain.code, debugged.code) == (code, code)
        assert "Traceback" not in plain.err
        assert debugged.err.startswith("Traceback (most recent call last)")
        assert debugged.err.endswith(plain.err)
        assert "Traceback" not in kept(*arguments, "--debug", "--json").out
