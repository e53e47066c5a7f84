"""Tools of MCP servers in a run, and in the session that goes on; and every way in which a run cannot have them."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from safeloop.errors import ExitCode
from safeloop.tools.mcp import UNSANDBOXED
from safeloop.tools.sandbox import Bubblewrap
from tests.cli.program import JOB, Done, Program
from tests.tools.mcp.conftest import HERE, interpreter_folders
from tests.tools.sandbox.conftest import sandbox_or_skip

ECHO: dict[str, Any] = {
    "name": "echo", "description": "Repeat a word.", "inputSchema": {
        "type": "object", "properties": {"word": {"type": "string"}}, "required": ["word"], "additionalProperties": False}}
CANARY = "canary-77b1"
READS = 'permissions = ["read", "write"]\nnames = ["write_file", "tickets__echo:read"]'


def call(name: str, tool: str, **arguments: Any) -> dict[str, Any]:
    return {"content": [{"type": "tool_use", "id": name, "name": tool, "input": arguments}]}


WRITES = call("t9", "write_file", path="report.md", content="It is about the printer.\n")


@pytest.fixture
def office(program: Program) -> Program:
    """A program with a server, out of the sandbox, whose tools are what a file says."""
    (program.folder / "listed.json").write_text(json.dumps([ECHO]))
    serve(program, f'command = ["{sys.executable}", "{HERE / "hostile.py"}", "lists", "{program.folder / "listed.json"}"]\n'
                   f'unsandboxed = "{UNSANDBOXED}"')  # fmt: skip
    return program


def serve(program: Program, table: str) -> None:
    (program.folder / "mcp.toml").write_text(f"[servers.tickets]\n{table}\n")
    program.more["SAFELOOP_MCP_SERVERS"] = str(program.folder / "mcp.toml")


def run(program: Program, tools: str, *replies: Any, more: tuple[str, ...] = (), **rest: Any) -> Done:
    (program.folder / "job.toml").write_text(JOB.replace("[[criteria]]", f"[tools]\n{tools}\n\n[[criteria]]"))
    script = program.script(*(replies or ("done",)))
    return program("run", "--spec-file", "job.toml", "--task", "x", "--script", script, *more, **rest)


def opened(program: Program) -> list[dict[str, str]]:
    found: list[dict[str, str]] = [row for row in program.rows() if row["kind"] == "open"][-1]["data"]["tools"]
    return found


def tool_rows(program: Program) -> list[dict[str, Any]]:
    return [row["data"] for row in program.rows() if row["kind"] == "tool"]


def test_a_tool_that_the_spec_calls_reading_runs_is_a_row_and_is_pinned(office: Program) -> None:
    done = run(office, READS, call("t1", "tickets__echo", word="hi"), call("t2", "tickets__echo", word=3), WRITES, "done")
    assert done.code == 0, done.err
    assert [tool["name"] for tool in opened(office)][-1] == "tickets__echo"
    assert opened(office)[-1]["permission"] == "read"
    first, second, wrote = tool_rows(office)
    assert (first["tool"], first["permission"], first["pass_fail"]) == ("tickets__echo", "read", True)
    assert (second["pass_fail"], second["error"]["class"], wrote["pass_fail"]) == (False, "BadArguments", True)
    spec = next(row["data"]["tools"] for row in office.rows() if row["kind"] == "spec")
    assert spec == {"permissions": ["read", "write"], "names": ["write_file", "tickets__echo:read"]}
    session = office.rows()[0]["session"]
    assert "only write_file, tickets__echo:read" in " ".join(office("review", session).out.split())
    assert office("audit").code == 0


def test_a_run_that_needs_no_server_starts_none_and_looks_up_none_of_its_variables(program: Program) -> None:
    serve(program, 'command = ["/nowhere/at/all"]\nenvironment = ["NOT_SET"]')
    assert run(program, 'permissions = ["read", "write"]', WRITES, "done").code == 0
    assert [tool["name"] for tool in opened(program)] == [
        "list_files", "read_file", "search_files", "write_file", "edit_file"
    ]


def test_a_tool_of_which_the_spec_says_nothing_waits_for_a_person_and_a_changed_one_is_not_gone_on_with(
    office: Program,
) -> None:
    grant = 'permissions = ["read", "write", "destructive"]\nnames = ["tickets__echo", "write_file"]'
    done = run(office, grant, call("t1", "tickets__echo", word="hi"), WRITES, "done")
    assert done.code == ExitCode.SUSPENDED, done.err
    session = office.rows()[0]["session"]
    assert opened(office)[-1] == {"name": "tickets__echo", "permission": "destructive", "schema": opened(office)[-1]["schema"]}
    key = office.reviewer()
    waiting = office("approvals", "--json").json["approvals"][0]
    with office.at_terminal("approve", waiting["id"], "--as", "alice@example.org", "--key", str(key)) as terminal:
        terminal.expect("approve")
        terminal.expect(": ")
        terminal.type("approve")
        assert terminal.wait() == 0, terminal.seen
    before = len(office.rows())
    script = office.script(call("t1", "tickets__echo", word="hi"), WRITES, "done")
    for changed in ([{**ECHO, "description": "Repeat a word, and the key folder."}], [{**ECHO, "inputSchema": {"type": "object"}}]):
        (office.folder / "listed.json").write_text(json.dumps(changed))
        refused = office("resume", session, "--script", script)
        assert refused.code == ExitCode.USAGE
        assert "its tool tickets__echo has another permission or schema" in refused.err
    (office.folder / "listed.json").write_text("[]")
    assert "the spec grants tickets__echo, and no such tool is registered" in office("resume", session, "--script", script).err
    assert len(office.rows()) == before
    (office.folder / "listed.json").write_text(json.dumps([ECHO, {**ECHO, "name": "another"}]))
    resumed = office("resume", session, "--script", script)
    assert resumed.code == 0, resumed.err
    assert [(row["tool"], row["pass_fail"]) for row in tool_rows(office)] == [("tickets__echo", True), ("write_file", True)]
    assert office("audit").code == 0


def test_a_dry_run_does_not_call_a_tool_that_may_destroy(office: Program) -> None:
    grant = 'permissions = ["read", "write", "destructive"]\nnames = ["tickets__echo"]'
    assert run(office, grant, call("t1", "tickets__echo", word="hi"), "done", more=("--dry-run",)).code == 0
    (row,) = tool_rows(office)
    assert (row["pass_fail"], row["error"]["class"]) == (False, "dry run")


def test_a_server_that_dies_in_a_call_is_a_row_and_the_run_goes_on(program: Program) -> None:
    serve(program, f'command = ["{sys.executable}", "{HERE / "hostile.py"}", "dies"]\nunsandboxed = "{UNSANDBOXED}"')
    done = run(program, READS, call("t1", "tickets__echo", word="hi"), WRITES, "done")
    assert done.code == 0, done.err
    assert "\x1b" not in done.err and "stderr of the server" not in done.err
    assert [(row["pass_fail"], (row["error"] or {}).get("class")) for row in tool_rows(program)] == [
        (False, "ServerGone"), (True, None)
    ]


@pytest.mark.parametrize("how", ["malformed", "garbage", "stderr"])
def test_nothing_that_a_server_sends_beside_its_answers_is_printed(program: Program, how: str) -> None:
    serve(program, f'command = ["{sys.executable}", "{HERE / "hostile.py"}", "{how}"]\nunsandboxed = "{UNSANDBOXED}"')
    # In a process of its own: there the last resort of `logging` is as users have it.
    done = run(program, READS, call("t1", "tickets__echo", word="hi"), WRITES, "done", more=("--json",), under=("env",))
    assert done.code == 0 and tool_rows(program)[0]["pass_fail"]
    assert "\x1b" not in done.err and "Traceback" not in done.err and "validat" not in done.err, done.err
    assert done.json["outcome"] == "completed"


def test_a_server_in_the_sandbox_finds_no_key_no_ledger_and_no_variable(program: Program) -> None:
    assert isinstance(sandbox_or_skip("bwrap"), Bubblewrap)
    folders = json.dumps([str(folder) for folder in (*interpreter_folders(), HERE)])
    serve(program, f'command = ["{sys.executable}", "-B", "{HERE / "honest.py"}"]\nfolders = {folders}\nenvironment = ["GIVEN"]')
    keys = program.folder / "home" / ".config" / "safeloop" / "keys"
    assert keys.is_dir()
    paths = [str(keys), str(program.folder), str(program.folder / "ledger.db"), "/proc/1/environ", "/workspace/file"]
    workspace = program.folder / "work"
    workspace.mkdir()
    (workspace / "file").write_text("to be read")
    done = run(
        program, 'permissions = ["read", "write"]\nnames = ["write_file", "tickets__look_around:read"]',
        call("t1", "tickets__look_around", paths=paths), WRITES, "done", more=("--workspace", "work"),
        env={"GIVEN": "given-9d2e", "SECRET": CANARY},
    )
    assert done.code == 0, done.err
    assert tool_rows(program)[0]["pass_fail"]
    kept = b"".join(path.read_bytes() for path in program.folder.glob("ledger*") if path.is_file())
    assert b"given-9d2e" in kept and b"to be read" in kept  # what it found is there to be searched
    assert CANARY.encode() not in kept
    for secret in (path for path in keys.rglob("*") if path.is_file() and "PRIVATE" in path.read_text(errors="replace")):
        assert secret.read_bytes().splitlines()[1] not in kept
    assert kept.count(b"cannot: FileNotFoundError") >= 3


@pytest.mark.parametrize(("tools", "says", "hint"), [
    ('names = ["tickets__ecko", "write_file"]\npermissions = ["write", "destructive"]', "tool tickets__ecko", "there are tickets__echo"),
    ('names = ["tickets__echo"]', "does not grant its permission, destructive", 'if it does less, name it "tickets__echo:read" or'),
    ('names = ["desk__echo"]', "the spec names the tool desk__echo, and there is none", "or by MCP"),
    ('names = ["desk__echo:read"]', "and no such server is set up", "mcp_servers"),
    ('names = ["tickets__ecko:read"]', "tool tickets__ecko", "there are tickets__echo"),
    ('names = ["tickets__echo:reads"]', "does not grant its permission, destructive", "leave tickets__echo:reads out; if"),
    ('names = ["read_file:write"]', "the spec names the tool read_file:write, and there is none", "there are list_files"),
    ('names = ["tickets__echo:read", "tickets__echo:write"]', 'names holds "tickets__echo" twice', "leave one out"),
])
def test_a_spec_that_speaks_of_a_tool_in_vain_is_refused_before_anything_is_recorded(
    office: Program, tools: str, says: str, hint: str
) -> None:
    done = run(office, tools)
    assert (done.code, done.out, office.rows()) == (ExitCode.USAGE, "", [])
    assert says in done.err and hint in done.err, done.err


def test_a_folder_that_holds_the_ledger_or_the_keys_is_shown_to_no_server(program: Program) -> None:
    for folder in (program.folder, program.folder / "home"):
        serve(program, f'command = ["/bin/true"]\nfolders = ["{folder}"]')
        done = run(program, READS)
        assert (done.code, program.rows()) == (ExitCode.USAGE, [])
        # Below /dev no folder is shown, whatever it holds; tests may be kept in memory there.
        said = f"folders holds {folder}" if folder.is_relative_to("/dev") else f"folder {folder} holds"
        assert said in done.err


def test_a_project_cannot_say_which_programs_are_servers(program: Program) -> None:
    (program.folder / "safeloop.toml").write_text('mcp_servers = "mcp.toml"\n')
    done = run(program, READS)
    assert done.code == ExitCode.USAGE and "a project file never sets mcp_servers" in done.err


def test_an_own_tool_never_takes_the_name_of_a_server_s(office: Program) -> None:
    (office.folder / "mine.py").write_text(
        "from safeloop.tools import ToolRegistry\nregistry = ToolRegistry()\n"
        "@registry.tool(permission='read')\ndef tickets__echo(word: str) -> str:\n    'x'\n    return word\n"
    )
    done = run(office, READS, more=("--tools", ".mine:registry"))
    assert (done.code, office.rows()) == (ExitCode.USAGE, [])
    assert "tickets__echo is the name of an MCP tool" in done.err


def test_without_the_package_the_error_says_what_to_install_and_other_runs_do_not_need_it(
    office: Program, tmp_path: Path
) -> None:
    (tmp_path / "none" / "mcp").mkdir(parents=True)
    (tmp_path / "none" / "mcp" / "__init__.py").write_text("raise ImportError('no mcp here')\n")
    without: dict[str, Any] = {"env": {"PYTHONPATH": str(tmp_path / "none")}, "under": ("env",)}
    done = run(office, READS, **without)
    assert (done.code, office.rows()) == (ExitCode.USAGE, [])
    assert "pip install 'safeloop[mcp]'" in done.err and "Traceback" not in done.err
    assert run(office, 'permissions = ["read", "write"]', WRITES, "done", **without).code == 0
