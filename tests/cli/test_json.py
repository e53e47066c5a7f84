"""`--json` is one versioned object on stdout, whatever happens: results, breaches, and errors of every kind."""

from __future__ import annotations

import json

import pytest

from tests.cli.program import Program
from tests.servers.anthropic_server import AnthropicServer, Fault

RESULTS = (("checkpoint",), ("audit",), ("key", "list"), ("trust", "show"), ("config",), ("inbox",), ("stats",),
           ("review", "latest"), ("help",))  # fmt: skip
ERRORS = [
    (("bogus",), 2), (("run",), 2), (("release", "latest"), 2), (("log", "a", "b"), 2), (("log", "--bogus"), 2),
    (("review", "nosuch"), 14), (("help", "nothing"), 2),
    (("run", "latest", "--turns", "many", "--task", "x"), 2), (("run", "--turns"), 2), (("ledger", "adopt"), 2),
    (("run", "latest", "--on-overlap", "maybe", "--task", "x"), 2), (("run", "--spec-file", "job.toml"), 2),
    (("spec",), 13), (("log", "--ledger", "nowhere.db"), 14), (("verify", "job.toml", "--trust", "nowhere"), 14),
    (("attest", "latest", "--as", "a", "--key", "k"), 13), (("release", "latest", "--to", "out"), 12),
    (("ledger", "adopt", "--checkpoint", "job.toml"), 11), (("trust", "add-reviewer", "a", "job.toml"), 2),
    (("close", "latest"), 14),
]  # fmt: skip


@pytest.mark.parametrize("command", RESULTS, ids=" ".join)
def test_a_result_is_one_versioned_object(kept: Program, command: tuple[str, ...]) -> None:
    done = kept(*command, "--json")
    assert (done.code, done.err) == (0, "")
    assert done.json["safeloop"] == 1
    assert "error" not in done.json
    assert done.out.count("\n") == 1


def test_the_log_is_an_object_a_line(kept: Program) -> None:
    rows = kept.rows()
    assert [row["id"] for row in rows] == list(range(1, len(rows) + 1))


@pytest.mark.parametrize(("command", "code"), ERRORS, ids=lambda value: " ".join(value) if isinstance(value, tuple) else "")
def test_an_error_is_one_versioned_object(kept: Program, command: tuple[str, ...], code: int) -> None:
    done = kept(*command, "--json")
    assert done.err == ""
    assert set(done.json) == {"safeloop", "error"}
    error = done.json["error"]
    assert set(error) == {"class", "message", "hint", "exit_code"}
    assert error["exit_code"] == done.code == code
    assert error["message"] and not error["message"].endswith(".")


def test_what_people_and_programs_are_told_is_the_same(kept: Program) -> None:
    for command, _ in (ERRORS[0], ERRORS[2], ERRORS[5]):
        people, programs = kept(*command), kept(*command, "--json")
        error = programs.json["error"]
        hint = f"hint: {error['hint']}\n" if error["hint"] else ""
        assert people.err == f"error: {error['message']}\n{hint}"
        assert people.code == programs.code


def test_a_breach_and_an_unmet_run_are_results(program: Program) -> None:
    breach = program.job("--turns", "1", "--json")
    assert (breach.code, breach.json["exit_code"], breach.json["outcome"]) == (10, 10, "breached")
    assert breach.json["breach_reason"] == "turn_ceiling"
    assert "error" not in breach.json
    unmet = program("run", "--spec-file", "job.toml", "--task", "x", "--script", program.script(*["done"] * 4), "--json")
    assert (unmet.code, unmet.json["exit_code"], unmet.json["outcome"]) == (16, 16, "unmet")


def test_a_failed_run_says_which_session_it_was(program: Program) -> None:
    with AnthropicServer([Fault.status(400)]) as server:
        claude = {"ANTHROPIC_API_KEY": "k", "ANTHROPIC_BASE_URL": server.url}
        done = program("run", "--spec-file", "job.toml", "--task", "x", "--json", env=claude)
    assert done.code == done.json["error"]["exit_code"] == 17
    assert program.rows()[-1]["session"] in done.json["error"]["notes"][0]


def test_an_audit_that_fails_is_one_object_too(program: Program) -> None:
    done = program("audit", "--json")
    assert (done.code, done.json["exit_code"], done.json["record"]) == (11, 11, "FAIL")


def test_a_flag_after_two_dashes_is_no_flag(kept: Program) -> None:
    done = kept("review", "--", "--json")
    assert (done.code, done.out) == (14, "")
    assert done.err.startswith("error: no session '--json'")


def test_lone_surrogates_and_controls_are_still_json(kept: Program) -> None:
    done = kept("review", "x\x1b\udcff\u2028", "--json")
    assert done.code == 14
    assert done.out.isascii()
    assert json.loads(done.out)["error"]["class"] == "SessionNotFoundError"


def test_each_writing_command_gives_one_object(program: Program) -> None:
    assert program("init", "--json").json["created"] is False
    spec = program("spec", "--file", "job.toml", "--json").json
    assert spec["ceilings"] == {"turns": 5, "tokens": 15000, "errors": 3, "repeats": 3}
    run = program("run", spec["session"], "--task", "x", "--script", "writes.json", "--json").json
    assert (run["session"], run["outcome"]) == (spec["session"], "completed")
    key = program.reviewer()
    to_sign = program("attest", "latest", "--as", "alice@example.org", "--export", "out", "--decision", "accept", "--json")
    statement = next(path for path in to_sign.json["files"] if path.endswith(".json"))
    assert program.shell(f"ssh-keygen -q -Y sign -f {key} -n safeloop-review {statement}").code == 0
    attested = program("attest", "--statement", statement, "--signature", f"{statement}.sig", "--json")
    assert attested.json["reviewer"] == "alice@example.org"
    released = program("release", "latest", "--to", "released", "--json")
    assert (released.code, released.json["file_count"]) == (0, 1)
    assert (program.folder / "released" / "report.md").read_text() == "Title: too long, cut it\n"
