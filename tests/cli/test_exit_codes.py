"""Every exit code of the table, produced by a real command; and signals, which end a run but lose nothing."""

from __future__ import annotations

import shutil
import signal
import threading
import time
from collections.abc import Iterator

import pytest

from safeloop.errors import ExitCode
from tests.cli.program import Done, Program
from tests.servers.anthropic_server import AnthropicServer, Fault

CLAUDE = {"ANTHROPIC_API_KEY": "sk-ant-not-a-key"}


@pytest.fixture
def stalling() -> Iterator[AnthropicServer]:
    with AnthropicServer(lambda _: Fault.stall()) as server:
        yield server


def claude(server: AnthropicServer) -> dict[str, str]:
    return {**CLAUDE, "ANTHROPIC_BASE_URL": server.url}


def test_0_done(program: Program) -> None:
    assert program.job().code == ExitCode.DONE


def test_1_what_nobody_foresaw(kept: Program) -> None:
    assert kept.shell("safeloop log >/dev/full").code == ExitCode.UNEXPECTED


def test_2_usage_and_missing_settings(program: Program) -> None:
    for arguments in ((), ("bogus",), ("ledger",), ("release", "latest"), ("run", "a", "--spec-file", "b"),
                      ("run", "--spec-file", "job.toml", "--task", "x"), ("attest", "--signature", "x")):  # fmt: skip
        assert program(*arguments).code == ExitCode.USAGE, arguments
    assert program.rows() == []


def test_10_breach(program: Program) -> None:
    assert program.job("--turns", "1").code == ExitCode.BREACH


def test_11_verification_failed(program: Program) -> None:
    assert program("audit").code == ExitCode.VERIFICATION_FAILED  # an empty ledger vouches for nothing


def test_12_not_attested(program: Program) -> None:
    program.job()
    assert program("release", "latest", "--to", "out").code == ExitCode.NOT_ATTESTED
    assert not (program.folder / "out").exists()
    key = program.reviewer()
    with program.at_terminal("attest", "latest", "--as", "alice@example.org", "--key", str(key)) as terminal:
        terminal.expect("leave? ")
        terminal.type("leave")
        assert terminal.wait() == ExitCode.NOT_ATTESTED


def test_13_needs_a_terminal(program: Program) -> None:
    assert program("spec").code == ExitCode.NEEDS_TERMINAL
    program.job()
    done = program("attest", "latest", "--as", "a@example.org", "--key", "k", stdin=b"accept\n")
    assert done.code == ExitCode.NEEDS_TERMINAL
    assert "--export DIR --decision accept" in done.err


def test_14_unusable(program: Program) -> None:
    assert program("review", "nosuch").code == ExitCode.UNUSABLE
    assert program("log", "--ledger", "nowhere.db").code == ExitCode.UNUSABLE
    shutil.rmtree(program.folder / "home")
    assert program.job().code == ExitCode.UNUSABLE


def test_15_suspended(program: Program) -> None:
    with AnthropicServer([Fault.status(429, headers={"retry-after": "3600"})]) as server:
        done = program("run", "--spec-file", "job.toml", "--task", "x", env=claude(server))
    assert (done.code, done.out) == (ExitCode.SUSPENDED, "")
    close = program.rows()[-1]
    assert close["data"]["outcome"] == "suspended"
    assert f"hint: safeloop resume {close['session']}" in done.err
    assert "waiting: until 20" in done.err


def test_16_unmet(program: Program) -> None:
    done = program("run", "--spec-file", "job.toml", "--task", "x", "--script", program.script(*["all done"] * 4))
    assert done.code == ExitCode.UNMET


def test_17_failed_and_refused(program: Program) -> None:
    with AnthropicServer([Fault.status(400)]) as server:
        done = program("run", "--spec-file", "job.toml", "--task", "x", env=claude(server))
    assert done.code == ExitCode.FAILED
    declined = program.script({"content": [{"type": "text", "text": "no"}], "stop_reason": "refusal"})
    done = program("run", "--spec-file", "job.toml", "--task", "x", "--script", declined)
    assert (done.code, program.rows()[-1]["data"]["outcome"]) == (ExitCode.FAILED, "refused")


def test_18_incomplete(program: Program) -> None:
    by_hand = "from safeloop import Ledger; Ledger('ledger.db').write('s', 1, 'llm', 'task', 5, 1, True)"
    made = program.shell(f'python -c "{by_hand}"')
    assert made.code == 0, made.err
    done = program("audit")
    assert done.code == ExitCode.INCOMPLETE, done.out
    assert "INCOMPLETE (1 gap)" in done.out


def wait_for(ready: object, seconds: float = 15.0) -> None:
    deadline = time.monotonic() + seconds
    while not ready():  # type: ignore[operator]
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.mark.parametrize(
    ("number", "code"),
    [(signal.SIGINT, ExitCode.CANCELLED), (signal.SIGTERM, ExitCode.TERMINATED), (signal.SIGHUP, ExitCode.TERMINATED)],
)
def test_a_signal_in_the_middle_of_a_call_suspends_the_session(
    program: Program, stalling: AnthropicServer, number: signal.Signals, code: ExitCode
) -> None:
    process = program.started("run", "--spec-file", "job.toml", "--task", "x", env=claude(stalling))
    wait_for(lambda: stalling.posts)
    process.send_signal(number)
    time.sleep(0.3)
    assert process.poll() is None, "the first signal lets the call finish"
    process.send_signal(number)
    out, err = process.communicate(timeout=20)
    assert process.returncode == code
    rows = program.rows()
    session = rows[-1]["session"]
    assert [row["kind"] for row in rows] == ["spec", "open", "intent", "attempt", "close"]
    assert rows[3]["data"]["in_doubt"] is True
    assert rows[3]["data"]["charged_tokens"] == rows[2]["data"]["reserved_tokens"]
    assert rows[-1]["data"]["outcome"] == "suspended"
    assert (out, f"error: interrupted by {number.name}" in err.decode()) == (b"", True)
    assert session in err.decode() and "Traceback" not in err.decode()
    inbox = program("inbox", "--json").json["waiting"]
    assert [item["state"] for item in inbox] == ["suspended"]
    done = program("close", session[:8])
    assert done.code == 0
    assert program.rows()[-1]["data"]["outcome"] == "failed"
    assert program("close", session[:8]).code == ExitCode.UNUSABLE
    assert program("review", session).code == 0
    assert program("audit").code == ExitCode.DONE


def test_a_signal_waits_for_a_reply_that_comes(program: Program) -> None:
    """A reply that was paid for is a row, even when its run has been told to stop."""
    told = threading.Event()

    def reply(_: object) -> str:
        told.wait(15)
        return "late but paid"

    with AnthropicServer(reply) as server:
        process = program.started("run", "--spec-file", "job.toml", "--task", "x", env=claude(server))
        wait_for(lambda: server.posts)
        process.send_signal(signal.SIGTERM)
        time.sleep(0.2)
        told.set()
        process.communicate(timeout=20)
    assert process.returncode == ExitCode.TERMINATED
    rows = program.rows()
    assert [row["kind"] for row in rows] == ["spec", "open", "intent", "turn", "close"]
    assert rows[3]["data"]["token_delta"] == server.billed[0]
    assert rows[-1]["data"]["outcome"] == "suspended"


def test_a_killed_run_is_closed_by_the_operator_and_charged_in_full(
    program: Program, stalling: AnthropicServer
) -> None:
    process = program.started("run", "--spec-file", "job.toml", "--task", "x", env=claude(stalling))
    wait_for(lambda: stalling.posts)
    running = program("close", "latest")
    assert (running.code, "is running in another process" in running.err) == (ExitCode.UNUSABLE, True)
    assert program("inbox", "--json").json["waiting"][0]["state"] == "running"
    process.kill()
    process.communicate()
    assert program("inbox", "--json").json["waiting"][0]["state"] == "open"
    assert program("run", "latest", "--task", "x", "--script", "writes.json").code == ExitCode.UNUSABLE
    done = program("close", "latest")
    assert done.code == 0
    rows = program.rows()
    assert [row["kind"] for row in rows] == ["spec", "open", "intent", "attempt", "close"]
    assert rows[3]["data"]["charged_tokens"] == rows[2]["data"]["reserved_tokens"] == rows[4]["data"]["total_tokens"]
    assert program("audit").code == 0


@pytest.mark.parametrize("key", ["C", "D"])
def test_leaving_a_prompt_records_nothing(program: Program, key: str) -> None:
    with program.at_terminal("spec") as terminal:
        terminal.expect("What does this do?")
        terminal.type("Audit")
        terminal.expect("NOT do?")
        assert terminal.leave(key) == ExitCode.CANCELLED
    assert "\nerror: cancelled at a prompt" in terminal.seen
    assert "Traceback" not in terminal.seen
    assert program.rows() == []


@pytest.mark.parametrize("key", ["C", "D"])
def test_leaving_the_decision_signs_nothing(program: Program, key: str) -> None:
    program.job()
    mine = program.reviewer()
    with program.at_terminal("attest", "latest", "--as", "alice@example.org", "--key", str(mine)) as terminal:
        terminal.expect("leave? ")
        terminal.type("accept")
        terminal.expect("of its hash: ")
        assert terminal.leave(key) == ExitCode.CANCELLED
    assert "attestation" not in program.kinds()


def test_waiting_for_another_run_can_be_given_up(program: Program, stalling: AnthropicServer) -> None:
    command = ("run", "--spec-file", "job.toml", "--task", "x")
    first = program.started(*command, env=claude(stalling))
    wait_for(lambda: stalling.posts)
    second = program.started(*command, "--on-overlap", "wait", env=claude(stalling))
    time.sleep(0.7)
    assert second.poll() is None
    second.send_signal(signal.SIGINT)
    out, err = second.communicate(timeout=10)
    assert (second.returncode, out) == (ExitCode.CANCELLED, b"")
    assert "Traceback" not in err.decode()
    first.kill()
    first.communicate()
    assert program.kinds() == ["spec", "open", "intent"], "who waited has recorded nothing"


def overlapping(program: Program, server: AnthropicServer, how: str) -> Done:
    first = program.started("run", "--spec-file", "job.toml", "--task", "x", env=claude(server))
    wait_for(lambda: server.posts)
    done = program.job("--on-overlap", how)
    first.kill()
    first.communicate()
    return done


def test_an_overlap_is_skipped_or_fails_as_asked(program: Program, stalling: AnthropicServer) -> None:
    skipped = overlapping(program, stalling, "skip")
    assert skipped.code == 0
    assert skipped.out.startswith("skipped: job job.toml is running in another process")
    again = program.job("--on-overlap", "fail")
    assert again.code == 0, "a dead holder holds nothing"


def test_an_overlap_fails_unless_something_else_was_asked(program: Program, stalling: AnthropicServer) -> None:
    failed = overlapping(program, stalling, "fail")
    assert failed.code == ExitCode.UNUSABLE
    assert "hint: wait for it, or use --on-overlap wait or skip" in failed.err
