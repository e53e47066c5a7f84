"""`run --dry-run`, as an operator and a wrapper see it."""

from __future__ import annotations

import pytest

from safeloop.errors import ExitCode
from tests.cli.program import Program
from tests.cli.test_exit_codes import claude
from tests.cli.test_resume import BUSY, WRITE
from tests.servers.anthropic_server import AnthropicServer

JOB = ("run", "--spec-file", "job.toml", "--task", "x", "--dry-run")
NOTHING = "nothing was written or destroyed, nothing can be released"


def test_a_dry_run_that_came_to_its_end_is_done_and_every_line_says_what_it_was(program: Program) -> None:
    done = program(*JOB, "--script", "writes.json")
    session = program.rows()[-1]["session"]
    assert done.code == ExitCode.DONE
    assert done.out.startswith(f"session {session}: dry run: completed; 2 turns, ")
    assert done.out.endswith(f"; {NOTHING}\n")
    assert f"session {session}, a dry run\n" in done.err
    assert program.rows()[-1]["data"]["outcome"] == "failed"


def test_a_program_is_told_so_too(program: Program) -> None:
    told = program(*JOB, "--script", "writes.json", "--json").json
    assert (told["dry_run"], told["outcome"], told["reason"], told["exit_code"]) == (
        True, "failed", "dry run: completed", 0,
    )
    assert program("run", "--spec-file", "job.toml", "--task", "x", "--script", "writes.json", "--json").json["dry_run"] is (
        False
    )


def test_a_ceiling_stops_a_dry_run_with_the_code_of_a_breach_and_it_is_not_continued(program: Program) -> None:
    done = program(*JOB, "--script", "writes.json", "--turns", "1")
    assert (done.code, NOTHING in done.err) == (ExitCode.BREACH, True)
    assert "--continue" not in done.err
    refused = program("run", "--continue", program.rows()[-1]["session"], "--script", "writes.json")
    assert (refused.code, "was not stopped by a ceiling" in refused.err) == (ExitCode.UNUSABLE, True)


def test_a_dry_run_that_failed_has_failed(program: Program) -> None:
    declined = program.script({"content": [{"type": "text", "text": "no"}], "stop_reason": "refusal"})
    assert program(*JOB, "--script", declined).code == ExitCode.FAILED


def test_nothing_of_it_is_released_and_the_inbox_and_the_frame_say_why(program: Program) -> None:
    program(*JOB, "--script", "writes.json")
    refused = program("release", "latest", "--to", "out")
    assert (refused.code, (program.folder / "out").exists()) == (ExitCode.NOT_ATTESTED, False)
    assert "was a dry run, which is never released" in refused.err
    shown = program("review", "latest")
    assert "Dry run:             yes" in shown.out
    assert "next: safeloop attest" not in shown.err
    assert program("audit").code == ExitCode.DONE


def test_a_dry_run_that_was_suspended_is_resumed_as_one_without_being_told_so(program: Program) -> None:
    with AnthropicServer([BUSY, WRITE, "done"]) as server:
        assert program(*JOB, "--max-wait", "0", env=claude(server)).code == ExitCode.SUSPENDED
        done = program("resume", "latest", env=claude(server))
    assert (done.code, NOTHING in done.out) == (ExitCode.DONE, True)
    (tool,) = [row["data"] for row in program.rows() if row["kind"] == "tool"]
    assert tool["error"]["class"] == "dry run"
    assert list(program.folder.rglob("report.md")) == []


@pytest.mark.parametrize("value", ["-1", "x", "1.5"])
def test_a_number_of_replies_that_means_nothing_is_refused(program: Program, value: str) -> None:
    done = program("run", "--spec-file", "job.toml", "--task", "x", "--script", "writes.json", "--remind-every", value)
    assert done.code == ExitCode.USAGE


def test_the_promise_is_told_as_often_as_the_setting_says(program: Program) -> None:
    def spent(*more: str) -> int:
        told = program("run", "--spec-file", "job.toml", "--task", "x", "--script", "writes.json", "--json", *more).json
        return int(told["total_tokens"])

    assert spent("--remind-every", "1") > spent("--remind-every", "0") == spent()
