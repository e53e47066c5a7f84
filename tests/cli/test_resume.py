"""`resume` as people and cron use it; `run --continue`; and what the inbox says of sessions that wait."""

from __future__ import annotations

import re
import signal
import time
from collections.abc import Iterator
from typing import Any

import pytest

from safeloop.errors import ExitCode
from safeloop.spec.suspension import suspension_of
from tests.cli.program import Program
from tests.cli.test_exit_codes import claude, wait_for
from tests.servers.anthropic_server import AnthropicServer, Fault, message, tool_use

BUSY = Fault.status(429, headers={"retry-after": "3600"})
SOON = Fault.status(429, headers={"retry-after": "0.1"})
WRITE = message(tool_use("write_file", {"path": "report.md", "content": "Title: too long\n"}))
JOB = ("run", "--spec-file", "job.toml", "--task", "x")


class Script:
    """What the server answers next; the tests put it there."""

    def __init__(self) -> None:
        self.next: list[Any] = []

    def __call__(self, _: Any) -> Any:
        return self.next.pop(0)


def wait_until_due(program: Program) -> None:
    """Wait until the session that was suspended last may go on, by what its row says."""
    until = suspension_of(program.rows()[-1]["data"]["reason"]).until
    assert until is not None
    time.sleep(max(0.0, until.timestamp() - time.time()))


@pytest.fixture
def script() -> Script:
    return Script()


@pytest.fixture
def server(script: Script) -> Iterator[AnthropicServer]:
    with AnthropicServer(script) as made:
        yield made


def test_a_suspended_session_is_resumed_by_its_id_and_completes(
    program: Program, server: AnthropicServer, script: Script
) -> None:
    script.next = [WRITE, BUSY]
    assert program(*JOB, "--max-wait", "5", env=claude(server)).code == ExitCode.SUSPENDED
    session = program.rows()[-1]["session"]
    script.next = ["done"]
    done = program("resume", session[:8], env=claude(server))
    assert (done.code, done.out) == (0, f"session {session}: completed; 2 turns, {sum(server.billed):,} tokens; awaits review\n")
    assert program.kinds(session)[-4:] == ["intent", "turn", "check", "close"]
    assert program("audit").code == 0
    again = program("resume", session[:8], env=claude(server))
    assert (again.code, f"hint: safeloop review {session}" in again.err) == (ExitCode.UNUSABLE, True)


def test_the_inbox_says_why_a_session_waits_since_when_and_how_it_goes_on(
    program: Program, server: AnthropicServer, script: Script
) -> None:
    script.next = [BUSY]
    program(*JOB, env=claude(server))
    close = program.rows()[-1]
    (item,) = program("inbox", "--json").json["waiting"]
    assert item["reason"] == close["data"]["reason"]
    assert (item["state"], item["at"], item["next"]) == ("suspended", close["at"], f"safeloop resume {close['session']}")
    shown = program("inbox").out
    assert re.search(r"quota +now  suspended .*safeloop resume .*\n +waiting: until 20\S+Z, the server asks to slow down", shown)


def test_all_takes_those_whose_time_has_come_and_leaves_the_others(
    program: Program, server: AnthropicServer, script: Script
) -> None:
    script.next = [BUSY, SOON, SOON]
    for _ in range(3):
        program(*JOB, "--max-wait", "0", env=claude(server))
    waits, *ready = [row["session"] for row in program.rows() if row["kind"] == "close"]
    wait_until_due(program)
    script.next = [WRITE, "done", *["unmet"] * 4]
    done = program("resume", "--all", env=claude(server))
    assert done.code == ExitCode.UNMET
    assert [line.partition("  ")[0] for line in done.out.splitlines()] == [waits[:8], ready[0][:8]]
    assert re.search(r"waits \(waiting: until 20\S+Z, ", done.out.splitlines()[0])
    assert "completed; 2 turns" in done.out.splitlines()[1]
    assert done.err.splitlines()[-1].startswith(f"{ready[1][:8]}  ended with criteria unmet")
    quiet = program("resume", "--all", "--quiet", env=claude(server))
    assert (quiet.code, quiet.out, quiet.err) == (0, "", "")
    (only,) = program("resume", "--all", "--json", env=claude(server)).json["sessions"]
    assert (only["session"], only["action"], only["exit_code"]) == (waits, "waiting", 0)


def test_all_takes_a_session_whose_process_was_killed_and_not_one_that_runs(
    program: Program, server: AnthropicServer, script: Script
) -> None:
    script.next = [Fault.stall()]
    process = program.started(*JOB, "--tokens", "9000", env=claude(server))
    wait_for(lambda: server.posts)
    running = program("resume", "--all", "--json", env=claude(server)).json
    assert [(one["action"], one["exit_code"]) for one in running["sessions"]] == [("running", 0)]
    process.kill()
    process.communicate()
    script.next = [WRITE, "done"]
    done = program("resume", "--all", env=claude(server))
    assert (done.code, "completed; 2 turns" in done.out) == (0, True)
    rows = program.rows()
    assert [row["kind"] for row in rows][:5] == ["spec", "open", "intent", "attempt", "resume"]
    assert rows[4]["data"]["in_doubt"] == [rows[2]["n"]]
    assert rows[3]["data"]["charged_tokens"] == rows[2]["data"]["reserved_tokens"]
    assert program("audit").code == 0


def test_one_session_that_cannot_go_on_does_not_keep_the_others_waiting(
    program: Program, server: AnthropicServer, script: Script
) -> None:
    script.next = [SOON, SOON]
    program(*JOB, "--max-wait", "0", env=claude(server))
    first = program.rows()[-1]["session"]
    program(*JOB, "--max-wait", "0", env=claude(server))
    digest = next(row for row in program.rows(first) if row["kind"] == "open")["data"]["task"]["salted_sha256"]
    erase = f"from safeloop import Ledger; print(Ledger('ledger.db').erase_contents([bytes.fromhex('{digest}')]))"
    assert program.shell(f'python -c "{erase}"').out == "1\n"
    wait_until_due(program)
    script.next = [WRITE, "done"]
    done = program("resume", "--all", env=claude(server))
    assert done.code == ExitCode.UNUSABLE
    assert re.match(rf"{first[:8]}  error: session {first} cannot go on: its task, .* is no longer kept", done.err)
    assert "completed; 2 turns" in done.out


@pytest.mark.parametrize(
    "arguments",
    [(), ("--all", "latest"), ("latest", "--rerun", "a", "--skip", "a"), ("--all", "--rerun", "a"), ("--all", "--skip", "a")],
)
def test_what_has_no_meaning_is_refused(kept: Program, arguments: tuple[str, ...]) -> None:
    assert kept("resume", *arguments).code == ExitCode.USAGE


def test_a_scripted_session_goes_on_with_the_rest_of_its_script(program: Program) -> None:
    writes = [{"content": [tool_use("write_file", {"path": "report.md", "content": "Title: long\n"})]}, "done"]
    file = program.script(*writes)
    process = program.shell(
        "python -c \"import os, signal, safeloop.loop.asking as asking\n"
        "from safeloop.loop.events import Reserved\n"
        "import sys; sys.argv = ['safeloop', 'run', '--spec-file', 'job.toml', '--task', 'x', '--script', '" + file + "']\n"
        "send = asking.Asking._send\n"
        "def dying(self, granted):\n"
        "    self.turns.number == 2 and os.kill(os.getpid(), signal.SIGKILL)\n"
        "    return send(self, granted)\n"
        "asking.Asking._send = dying\n"
        "from safeloop.cli.main import main; main()\""
    )
    assert process.code in (137, -signal.SIGKILL)
    missing = program("resume", "latest")
    assert (missing.code, missing.err.splitlines()[-1]) == (ExitCode.USAGE, "hint: the same command with --script FILE")
    # The request that was killed may have been answered: its reply counts as played, as it counts as billed.
    done = program("resume", "latest", "--script", program.script(*writes[:1], "lost", "done"))
    assert done.code == 0, done.err
    assert program("audit").code == 0


def test_a_breached_sessions_work_is_continued_in_a_new_session_under_new_ceilings(program: Program) -> None:
    assert program.job("--turns", "1").code == ExitCode.BREACH
    before = program.rows()[-1]["session"]
    done = program("run", "--continue", before[:8], "--turns", "3", "--script", program.script("The report is written."))
    assert (done.code, "completed; 1 turn" in done.out) == (0, True)
    session = program.rows()[-1]["session"]
    assert session != before
    opened = next(row for row in program.rows(session) if row["kind"] == "open")["data"]
    assert (opened["continues"], opened["ceilings"]["turns"]) == (before, 3)
    shown = program("review", session).out
    assert f"Continues session:   {before}" in shown
    assert "Title: too long, cut it" in shown
    assert program("audit").code == 0


def test_the_model_that_was_asked_is_asked_again_unless_a_flag_names_another(
    program: Program, server: AnthropicServer, script: Script
) -> None:
    script.next = [WRITE, "done", "done"]
    asked = (*JOB, "--model", "claude-haiku-4-5", "--turns", "1")
    assert program(*asked, env=claude(server)).code == ExitCode.BREACH
    before = program.rows()[-1]["session"]
    for more, model in (((), "claude-haiku-4-5"), (("--model", "claude-opus-4-5"), "claude-opus-4-5")):
        done = program("run", "--continue", before, "--turns", "3", *more, env=claude(server))
        assert done.code == 0, done.err
        assert [row for row in program.rows() if row["kind"] == "intent"][-1]["data"]["model"] == model


def test_the_same_model_is_not_asked_somewhere_else(program: Program, server: AnthropicServer, script: Script) -> None:
    script.next = [WRITE]
    assert program(*JOB, "--model", "ours", "--turns", "1", env=claude(server)).code == ExitCode.BREACH
    refused = program("run", "--continue", "latest", "--base-url", "http://127.0.0.1:9/v1")
    assert (refused.code, "asked ours at " in refused.err) == (ExitCode.USAGE, True)
    assert program.kinds().count("open") == 1


def test_continuing_takes_no_task_and_no_session_that_was_not_stopped(program: Program) -> None:
    assert program.job().code == 0
    for more, code in ((("--task", "x"), ExitCode.USAGE), ((), ExitCode.UNUSABLE)):
        assert program("run", "--continue", "latest", "--script", "writes.json", *more).code == code
    assert program("run", "latest", "--continue", "latest").code == ExitCode.USAGE
    assert program.kinds().count("open") == 1


def test_the_longest_wait_is_a_setting(program: Program, server: AnthropicServer, script: Script) -> None:
    script.next = [SOON]
    done = program(*JOB, env={**claude(server), "SAFELOOP_MAX_WAIT": "0"})
    assert done.code == ExitCode.SUSPENDED
    refused = program(*JOB, env={**claude(server), "SAFELOOP_MAX_WAIT": "90000"})
    assert (refused.code, "SAFELOOP_MAX_WAIT: max_wait must be from 0 to 86400" in refused.err) == (ExitCode.USAGE, True)
