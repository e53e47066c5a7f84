"""Sessions that a program of one's own leads, as cron and people meet them at the command line."""

from __future__ import annotations

import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from safeloop.errors import ExitCode
from tests.cli.program import Program
from tests.cli.test_exit_codes import claude, wait_for
from tests.servers.anthropic_server import AnthropicServer, Fault, message, tool_use

BUSY = Fault.status(429, headers={"retry-after": "3600"})
WRITE = message(tool_use("write_file", {"path": "report.md", "content": "Title: too long\n"}))
PROGRAM = """\
import anthropic, sys, safeloop
spec = safeloop.SpecResult("greet", "anything else", "a greeting is printed", sys.argv[1])
breaker = safeloop.CircuitBreaker(5, 20_000, output_fn=lambda banner: None)
block = safeloop.govern(anthropic.Anthropic(), spec=spec, breaker=breaker, ledger=safeloop.Ledger("ledger.db"), max_wait_s=1)
with block as client:
    client.messages.create(model="claude-sonnet-5-5", max_tokens=100, messages=[{"role": "user", "content": "hi"}])
"""
SENTENCE = (
    r"no command can resume what a program of your own leads \({}\): start that program again, or end the session: "
    "safeloop close SESSION\n"
)


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> tuple[Program, Path]:
    """Two sessions of programs, suspended; and the folder that its own is a copy of, whenever one is needed."""
    program = Program.at(tmp_path_factory.mktemp("scene") / "p")
    assert program("init").code == 0
    (program.folder / "mine.py").write_text(PROGRAM)
    unmeasured = replace(program, is_measured=False)
    for session in ("mine", "other"):
        with AnthropicServer([BUSY]) as server:
            done = unmeasured.shell(f"python mine.py {session}", env=claude(server))
            assert "Suspended" in done.err, done.err
    return program, program.folder.rename(program.folder.with_name("kept"))


@pytest.fixture
def paused(scene: tuple[Program, Path]) -> Iterator[Program]:
    """The scene, for one test to change; at the same place, for a state names its ledger's."""
    program, kept = scene
    shutil.copytree(kept, program.folder)
    yield program
    shutil.rmtree(program.folder)


def test_resume_all_skips_them_in_one_sentence_and_nothing_has_failed(paused: Program) -> None:
    done = paused("resume", "--all", env={"ANTHROPIC_API_KEY": "k"})
    assert (done.code, done.err) == (0, "")
    assert re.fullmatch(SENTENCE.format("mine, other"), done.out)
    quiet = paused("resume", "--all", "--quiet")
    assert (quiet.code, quiet.out, quiet.err) == (0, "", "")
    found = paused("resume", "--all", "--json").json
    assert [(one["session"], one["action"], one["exit_code"]) for one in found["sessions"]] == [
        ("mine", "program", 0), ("other", "program", 0)
    ]
    assert found["exit_code"] == 0
    assert "resume" not in paused.kinds("mine")


def test_they_keep_no_loop_from_going_on(paused: Program) -> None:
    with AnthropicServer([Fault.status(429, headers={"retry-after": "1"}), Fault.status(401)]) as server:
        paused("run", "--spec-file", "job.toml", "--task", "x", "--max-wait", "0", env=claude(server))
        time.sleep(2.1)
        done = paused("resume", "--all", env=claude(server))
    assert done.code == ExitCode.FAILED
    assert len(re.findall("safeloop close", done.out)) == 1


def test_the_inbox_says_the_same_once_and_names_close(paused: Program) -> None:
    shown = paused("inbox").out
    assert re.search(SENTENCE.format("mine, other") + r"\Z", shown)
    assert "safeloop resume" not in shown
    assert [item["next"] for item in paused("inbox", "--json").json["waiting"]] == [
        "safeloop close mine", "safeloop close other"
    ]

def test_the_facts_name_the_same_commands_with_a_line_and_without(paused: Program) -> None:
    told = [(each["session"], each["next"]) for each in paused("inbox", "--json").json["waiting"]]
    assert [(each["session"], each["next"]) for each in paused("inbox", "--line", "--json").json["waiting"]] == told
    assert paused("inbox", "--line").out.startswith("2 wait: 2 quota; oldest ")


def test_one_by_its_id_is_refused_with_the_way_it_ends_and_that_way_works(paused: Program) -> None:
    refused = paused("resume", "mine", env={"ANTHROPIC_API_KEY": "k"})
    assert refused.code == ExitCode.UNUSABLE
    assert "was led by a program of its own" in refused.err
    assert "safeloop close mine" in refused.err
    assert paused("close", "mine").code == 0
    assert re.search(SENTENCE.format("other"), paused("inbox").out)
    assert "mine, other" not in paused("resume", "--all").out


def test_one_that_runs_is_running_and_one_whose_process_is_gone_is_skipped(program: Program) -> None:
    unmeasured = replace(program, is_measured=False)
    (program.folder / "mine.py").write_text(PROGRAM)
    with AnthropicServer([Fault.stall()]) as server:
        process = subprocess.Popen(
            [sys.executable, "mine.py", "mine"], cwd=program.folder, env={**unmeasured.environment, **claude(server)},
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )
        wait_for(lambda: server.posts)
        assert "running" in program("inbox").out
        assert "no command can resume" not in program("inbox").out
        assert program("resume", "--all").out == "mine  runs in another process\n"
        process.send_signal(signal.SIGKILL)
        process.communicate()
    assert re.fullmatch(SENTENCE.format("mine"), program("resume", "--all").out)
    assert re.search(SENTENCE.format("mine"), program("inbox").out)
