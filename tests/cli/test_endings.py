"""What is said at the end of a run, and what becomes of a session that others end or go on with elsewhere."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from typing import Any

import pytest

from safeloop.cli.resuming import _Candidate, _take
from safeloop.errors import ExitCode
from safeloop.ledger import Ledger
from safeloop.loop import DEFAULT_MODEL, left_behind
from safeloop.review.inbox import Item, State
from tests.cli.program import Program
from tests.cli.test_exit_codes import claude
from tests.servers.anthropic_server import AnthropicServer, Fault, message, text, tool_use, usage
from tests.servers.openai_server import OpenAIServer

RUN = ("run", "--spec-file", "job.toml", "--task", "x")
WRITE = tool_use("write_file", {"path": "report.md", "content": "Title: too long\n"})
PRICES = f'[[price]]\nmodel = "{DEFAULT_MODEL}"\ninput_usd = "2"\noutput_usd = "2"\n'
BUSY = Fault.status(429, headers={"retry-after": "3600"})


@contextlib.contextmanager
def serving(*script: Any) -> Iterator[dict[str, str]]:
    with AnthropicServer(list(script)) as server:
        yield claude(server)


def test_a_turn_that_is_billed_beyond_its_reservation_is_told_even_to_cron(program: Program) -> None:
    lie = message(text("done"), usage=usage(500_000, 5))
    with serving(message(WRITE), lie) as env:
        done = program(*RUN, "--quiet", env=env)
    assert (done.code, done.out) == (0, "")
    assert "warning: 1 turn billed more than was reserved: a ceiling may be passed, see safeloop review " in done.err
    (program.folder / "prices.toml").write_text(PRICES)
    with serving(message(WRITE), lie) as env:
        told = program(*RUN, "--json", "--prices", "prices.toml", env=env)
    assert (told.json["overruns"], told.json["turns"], told.json["outcome"]) == (1, 2, "completed")
    assert told.json["total_tokens"] > 500_000
    assert told.json["cost_microusd"] > 1_000_000
    assert "warning: 1 turn billed more" in told.err


def test_an_honest_run_warns_of_nothing(program: Program) -> None:
    done = program.job()
    assert (done.code, "warning" in done.err) == (0, False)


@pytest.mark.parametrize(("flags", "turns", "words"), [
    (("--turns", "0"), 0, "stopped before the call; 0 turns recorded"),
    (("--turns", "1"), 1, "stopped before the call; 1 turn recorded"),
    (("--tool-calls", "0"), 1, "stopped by tool_ceiling; 1 turn recorded"),
])
def test_the_turns_that_were_answered_are_counted(
    program: Program, flags: tuple[str, ...], turns: int, words: str
) -> None:
    done = program.job(*flags)
    assert (done.code, words in done.err) == (ExitCode.BREACH, True), done.err
    session = program.rows()[-1]["session"]
    assert f"or go on in another session: safeloop run --continue {session}" in done.err
    assert program.rows()[-1]["data"]["turns"] == turns
    assert program.job(*flags, "--json").json["turns"] == turns


def test_what_the_server_did_is_told_whatever_ceiling_its_failures_filled(program: Program) -> None:
    with serving(*[Fault.status(500)] * 9) as env:
        done = program(*RUN, "--quiet", "--tokens", "4000", "--errors", "50", env=env)
    assert done.code == ExitCode.BREACH
    assert program.rows()[-1]["data"]["reason"] == "token_ceiling"
    assert "the last attempt: the server answered with an error (status 500)" in done.err


def test_a_session_goes_on_from_another_folder(program: Program) -> None:
    (program.folder / "site").mkdir()
    (program.folder / "site" / "page.html").write_text("words of the page")
    (program.folder / "elsewhere").mkdir()
    there = Program(program.folder / "elsewhere", {"HOME": str(program.folder / "home")})
    reads = message(tool_use("read_file", {"path": "page.html"}))
    with serving(message(WRITE), BUSY, reads, message(text("done"))) as env:
        assert program(*RUN, "--workspace", "site", "--max-wait", "0", env=env).code == ExitCode.SUSPENDED
        done = there("resume", program.rows()[-1]["session"], "--ledger", "../ledger.db", env=env)
    assert done.code == 0, done.err
    assert [row["data"]["pass_fail"] for row in program.rows() if row["kind"] == "tool"] == [True, True]


def test_where_a_session_was_asked_is_told_to_who_resumes_it_without_saying(program: Program) -> None:
    with OpenAIServer([BUSY]) as server:
        asked = (*RUN, "--base-url", server.base_url, "--model", "qwen3", "--max-wait", "0")
        assert program(*asked).code == ExitCode.SUSPENDED
        done = program("resume", "latest")
    assert done.code == ExitCode.USAGE
    assert f"it asked qwen3 at {server.base_url}: with the same --base-url" in done.err


def test_a_session_that_another_process_has_ended_meanwhile_is_no_error(program: Program) -> None:
    assert program.job().code == 0
    close, keys = program.rows()[-1], program.folder / "home/.config/safeloop/keys"
    item = Item(close["session"], State.SUSPENDED, "suspended", close["at"], close["id"], 1, 1, None, None, "")
    with contextlib.closing(Ledger(program.folder / "ledger.db", keys=keys)) as ledger:
        taken = _take(_Candidate(item, is_led=False, has_new_limits=False), ledger,
                      lambda name: left_behind(ledger, name))  # type: ignore[arg-type,return-value]
    assert (taken.action, taken.code) == ("ended", ExitCode.DONE)
    assert json.loads(json.dumps(taken.facts))["action"] == "ended"
