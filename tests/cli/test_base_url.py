"""`run --base-url`: an OpenAI-compatible server in Claude's place, and what is refused before anything is sent."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.program import WRITES, Done, Program
from tests.servers.anthropic_server import AnthropicServer, message, text, tool_use
from tests.servers.openai_server import Fault, OpenAIServer, call, completion

SECRET = "sk-very-secret-of-mine"
WRITTEN = WRITES[0]["content"][0]["input"]  # type: ignore[index]
SCRIPT = [completion(calls=[call("write_file", WRITTEN)]), "The report is written."]


def run(program: Program, *more: str, **environment: str) -> Done:
    done = program("run", "--spec-file", "job.toml", "--task", "x", *more, env=environment)
    assert "Traceback" not in done.err
    assert SECRET not in done.out + done.err
    kept = [path.read_bytes() for path in program.folder.rglob("*") if path.is_file() and path.parent.name != "bin"]
    assert not any(SECRET.encode() in data for data in kept)
    return done


def test_a_run_on_a_local_server_without_a_key(program: Program) -> None:
    with OpenAIServer(SCRIPT) as server:
        done = run(program, "--base-url", server.base_url, "--model", "qwen3")
        assert done.code == 0, done
        assert "authorization" not in server.posts[0].headers
        assert server.posts[0].body["model"] == "qwen3"
    opened = next(row["data"] for row in program.rows() if row["kind"] == "open")
    assert (opened["model"], opened["endpoint"]) == ("qwen3", server.base_url)
    assert program("audit").code == 0
    assert server.base_url in program("review", "latest").out


def test_the_environment_names_server_and_key(program: Program) -> None:
    with OpenAIServer([Fault.status(401, body=f"no such key: {SECRET}")]) as server:
        done = run(program, SAFELOOP_BASE_URL=server.base_url, SAFELOOP_MODEL="m", OPENAI_API_KEY=SECRET,
                   SAFELOOP_LIMIT_NAME="max_completion_tokens")  # fmt: skip
        assert server.posts[0].headers["authorization"] == f"Bearer {SECRET}"
        assert server.posts[0].body["max_completion_tokens"] == 1024
    assert done.code == 17
    assert "hint: check OPENAI_API_KEY" in done.err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--base-url", f"http://me:{SECRET}@127.0.0.1/v1", "--model", "m"), "holds credentials"),
        (("--base-url", "ftp://127.0.0.1/v1", "--model", "m"), "does not begin with https://"),
        (("--base-url", "http://127.0.0.1:9/v1"), "which model"),
        (("--base-url", "https://api.openai.com/v1", "--model", "m"), "OPENAI_API_KEY is not set"),
    ],
)
def test_what_cannot_be_asked_is_refused_before_a_session_is_recorded(
    program: Program, arguments: tuple[str, ...], said: str
) -> None:
    done = run(program, *arguments)
    assert done.code == 2
    assert said in done.err
    assert "hint: " in done.err
    assert program.rows() == []


def test_a_project_file_cannot_say_who_is_told(program: Program) -> None:
    (program.folder / "safeloop.toml").write_text('base_url = "http://127.0.0.1:9/v1"\n')
    done = run(program, "--model", "m")
    assert done.code == 2
    assert "a project file never sets base_url" in done.err


def test_a_server_elsewhere_without_encryption_draws_a_warning_without_the_address_of_this_machine(program: Program) -> None:
    done = run(program, "--base-url", "http://no-such-host.invalid/v1", "--model", "m", "--errors", "0", OPENAI_API_KEY=SECRET)
    assert "warning: http://no-such-host.invalid/v1 is not encrypted" in done.err
    done = run(program, "--base-url", "http://127.0.0.1:9/v1", "--model", "m", "--errors", "1")
    assert (done.code, "warning" in done.err) == (10, False)  # refused at every attempt, until the error ceiling


def test_any_server_that_speaks_the_messages_api_works_through_the_real_sdk(program: Program) -> None:
    """llama.cpp, Ollama and vLLM do: their replies have a model's name and a usage of their own, and need no real key."""
    replies = [message(tool_use("write_file", WRITTEN), model="qwen3"), message(text("Done."), model="qwen3")]
    with AnthropicServer(replies) as server:
        done = run(program, "--model", "qwen3", ANTHROPIC_BASE_URL=server.url, ANTHROPIC_API_KEY="none")
    assert done.code == 0, done
    opened, *turns = [row["data"] for row in program.rows() if row["kind"] in ("open", "turn")]
    assert (opened["endpoint"], opened["model"]) == (server.url, "qwen3")
    assert [turn["model"] for turn in turns] == ["qwen3", "qwen3"]
    assert [turn["token_delta"] for turn in turns] == server.billed


def test_a_page_says_how(kept: Program, tmp_path: Path) -> None:
    page = kept("help", "models").out
    for words in ("--base-url", "OPENAI_API_KEY", "ANTHROPIC_BASE_URL", "max_completion_tokens", "never exceeds"):
        assert words in page, words
