"""A model that misbehaves: it is told in words and by the exit code, and every request that may have been paid for is a row."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.cli.program import Done, Program
from tests.servers.anthropic_server import AnthropicServer, Fault, message, text, tool_use, usage


@pytest.fixture
def program(tmp_path: Path) -> Program:
    made = Program.at(tmp_path / "p")
    assert made("init").code == 0
    return made


@pytest.fixture
def dead_port() -> Iterator[int]:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound and not listening: nobody else gets it, and it refuses
        yield taken.getsockname()[1]


def run(program: Program, url: str, *more: str) -> Done:
    claude = {"ANTHROPIC_API_KEY": "sk-ant-secret-of-mine", "ANTHROPIC_BASE_URL": url}
    done = program("run", "--spec-file", "job.toml", "--task", "x", *more, env=claude)
    assert "sk-ant-secret-of-mine" not in done.err + done.out
    assert "Traceback" not in done.err
    assert b"sk-ant-secret-of-mine" not in b"".join(path.read_bytes() for path in program.folder.glob("ledger*"
                                                    ) if path.is_file())  # fmt: skip
    return done


FAULTS: list[tuple[str, Fault, str, bool, int]] = [
    ("401", Fault.status(401), "does not know this API key", False, 17),
    ("429", Fault.status(429, headers={"retry-after": "3600"}), "asks to slow down", False, 15),
    ("500", Fault.status(500), "500", True, 10),
    ("a login page", Fault.html(), "", True, 17),
    ("half a stream", Fault.break_off(), "the last attempt: ", True, 10),
]


@pytest.mark.parametrize(("what", "fault", "said", "in_doubt", "code"), FAULTS, ids=[fault[0] for fault in FAULTS])
def test_a_request_that_failed_is_a_row_and_charged_if_it_may_have_been_paid(
    program: Program, what: str, fault: Fault, said: str, in_doubt: bool, code: int
) -> None:
    with AnthropicServer([fault]) as server:
        done = run(program, server.url, "--errors", "0")
        assert (done.code, done.out) == (code, ""), done
        assert said in done.err, done.err
        assert len(server.posts) == 1, "nobody retries behind the operator's back"
    rows = program.rows()
    kinds = ["spec", "open", "intent", "attempt", *(["breach", "check"] if code == 10 else []), "close"]
    assert [row["kind"] for row in rows] == kinds
    intent, attempt, close = rows[2]["data"], rows[3]["data"], rows[-1]["data"]
    assert attempt["in_doubt"] is in_doubt
    assert attempt["charged_tokens"] == (intent["reserved_tokens"] if in_doubt else 0)
    assert close["total_tokens"] == attempt["charged_tokens"] >= sum(server.billed)
    assert close["outcome"] == {10: "breached", 15: "suspended", 17: "failed"}[code]


def test_nobody_listening_costs_nothing(program: Program, dead_port: int) -> None:
    done = run(program, f"http://127.0.0.1:{dead_port}", "--errors", "1")
    assert (done.code, done.out) == (10, "")
    assert "the last attempt: the server could not be reached" in done.err
    attempt = next(row["data"] for row in program.rows() if row["kind"] == "attempt")
    assert (attempt["in_doubt"], attempt["charged_tokens"]) == (False, 0)


USAGES: list[tuple[str, Any]] = [
    ("none", None), ("negative", usage(-5, 5)),
]  # fmt: skip


@pytest.mark.parametrize(("what", "counts"), USAGES, ids=[what for what, _ in USAGES])
def test_a_usage_that_says_nothing_is_charged_in_full(program: Program, what: str, counts: Any) -> None:
    with AnthropicServer([message(text("done"), usage=counts)]) as server:
        done = run(program, server.url)
    assert done.code in (16, 17)
    rows = program.rows()
    intent = next(row["data"] for row in rows if row["kind"] == "intent")
    settled = next(row["data"] for row in rows if row["kind"] in ("turn", "attempt"))
    charged = settled.get("token_delta", settled.get("charged_tokens"))
    assert charged == intent["reserved_tokens"]
    assert rows[-1]["data"]["total_tokens"] == charged
    assert program("audit").code in (0, 18)


def test_names_from_hell_are_kept_and_steer_nothing(program: Program) -> None:
    names = ["\udcff\ud800", "\x1b]0;owned\x07", "../../write_file", "", "write_file\u202e", "x" * 5000]
    calls = [tool_use(name, {"path": "\udcff", "content": "\x1b[2J"}, f"t{n}") for n, name in enumerate(names)]
    with AnthropicServer([message(*calls), "\x1b[31mdone\u202e"]) as server:
        done = run(program, server.url)
    assert done.code in (16, 17), done
    assert "\x1b" not in done.err and "\u202e" not in done.err
    shown = program("log")
    assert shown.code == 0 and "\x1b" not in shown.out
    session = program.rows()[-1]["session"]
    frame = program("review", session)
    assert frame.code == 0 and "\x1b" not in frame.out and "\u202e" not in frame.out
    assert program("audit").code == 0
    assert not list(program.folder.rglob("*owned*"))


def test_a_reply_that_overran_its_bound_is_charged_as_billed(program: Program) -> None:
    with AnthropicServer([message(text("done"), usage=usage(50_000, 5))]) as server:
        run(program, server.url)
    rows = program.rows()
    turn = next(row["data"] for row in rows if row["kind"] == "turn")
    assert (turn["token_delta"], turn["overrun"]) == (50_005, True)
    assert rows[-1]["data"]["total_tokens"] == 50_005


def test_an_address_that_is_none_is_refused(program: Program) -> None:
    for url in ("not a url", "http://127.0.0.1:99999"):
        done = run(program, url, "--errors", "0")
        assert done.code in (2, 10), (url, done)
