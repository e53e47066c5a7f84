"""`--tools module:registry`: tools of one's own in a run, and in the session that goes on; and every way to get it wrong."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from safeloop.cli.tooling import BUILT_IN
from safeloop.errors import ExitCode
from safeloop.tools import Root, file_tools
from safeloop.tools.fetching import fetch_tools
from safeloop.tools.sandbox import Bubblewrap, SandboxMissing, code_tools, find_sandbox
from tests.cli.program import JOB, Done, Program

OWN = """
from safeloop.tools import Permission, ToolRegistry
print("imported")
registry = ToolRegistry()
empty = ToolRegistry()
number = 7

@registry.tool(permission=Permission.READ)
def look_up(ticket: int) -> str:
    '''Look up a ticket.'''
    return f"ticket {ticket} is about the printer"
"""
CALLS = [
    {"content": [{"type": "tool_use", "id": "t1", "name": "look_up", "input": {"ticket": 7}}]},
    {"content": [{"type": "tool_use", "id": "t2", "name": "write_file",
                  "input": {"path": "report.md", "content": "It is about the printer.\n"}}]},
    "done",
]
RUN = ("run", "--spec-file", "job.toml", "--task", "x", "--script", "calls.json")


@pytest.fixture
def own(program: Program) -> Program:
    """A program in whose folder lies a module with tools, and a package with another."""
    (program.folder / "mine.py").write_text(OWN)
    (program.folder / "calls.json").write_text(json.dumps(CALLS))
    (program.folder / "pack").mkdir()
    (program.folder / "pack" / "__init__.py").write_text("")
    (program.folder / "pack" / "near.py").write_text("from mine import registry as lent\n")
    return program


def opened_tools(program: Program, session: str | None = None) -> list[str]:
    opened = [row for row in program.rows() if row["kind"] == "open" and session in (None, row["session"])][-1]
    return [tool["name"] for tool in opened["data"]["tools"]]


@pytest.mark.parametrize("where", [".mine:registry", ".pack.near:lent"])
def test_tools_of_the_current_folder_run_and_are_pinned(own: Program, where: str) -> None:
    done = own(*RUN, "--tools", where, "--json")
    assert done.code == 0, done.err
    assert done.json["outcome"] == "completed"  # what the module prints is not in the result
    assert "imported" in done.err
    assert opened_tools(own) == ["list_files", "read_file", "search_files", "write_file", "edit_file", "look_up"]
    (looked, wrote) = [row["data"] for row in own.rows() if row["kind"] == "tool"]
    assert (looked["tool"], looked["pass_fail"], wrote["pass_fail"]) == ("look_up", True, True)


def test_a_module_that_python_finds_needs_no_dot(own: Program, tmp_path: Path) -> None:
    installed = tmp_path / "installed"
    installed.mkdir()
    (installed / "elsewhere.py").write_text(OWN)
    done = own(*RUN, "--tools", "elsewhere:registry", env={"PYTHONPATH": str(installed)}, under=("env",))
    assert done.code == 0, done.err


@pytest.mark.parametrize("how", ["module", "script"])
def test_what_lies_in_the_current_folder_is_not_imported_unless_it_is_named_so(own: Program, how: str) -> None:
    (own.folder / "mine.py").write_text("open('ran', 'w')\n" + OWN)
    arguments = (*RUN, "--tools", "mine:registry")
    done = own(*arguments, under=("env",)) if how == "module" else own.shell(f"safeloop {' '.join(arguments)}")
    assert done.code == ExitCode.USAGE
    assert "there is no module mine where Python looks" in done.err
    assert "--tools .mine:" in done.err
    assert not (own.folder / "ran").exists()


def test_a_module_of_the_current_folder_takes_the_place_of_no_installed_one(own: Program) -> None:
    (own.folder / "click.py").write_text("open('ran', 'w')\n" + OWN)
    assert "has the name of an installed one" in own(*RUN, "--tools", ".click:registry").err
    (own.folder / "mine.py").write_text("import json, sys\nassert 'json/__init__' in json.__file__\n" + OWN)
    (own.folder / "json.py").write_text("open('ran', 'w')\n")
    assert own.shell(f"safeloop {' '.join(RUN)} --tools .mine:registry").code == 0
    assert not (own.folder / "ran").exists()


WRONG = [
    ("mine", "names no registry", "package.module:registry"),
    (":registry", "names no registry", "package.module:registry"),
    ("mine:", "names no registry", "package.module:registry"),
    ("../mine:registry", "names no registry", "package.module:registry"),
    (".mine:a.b", "names no registry", "package.module:registry"),
    ("..mine:registry", "names no registry", "package.module:registry"),
    ("no_such_module:registry", "there is no module no_such_module where Python looks", "pip install"),
    ("safeloop.no_such:registry", "there is no module safeloop.no_such where Python looks", "pip install"),
    (".no_such:registry", "there is no module no_such in the current folder", "ls"),
    (".pack.no_such:registry", "there is no module pack.no_such in the current folder", "pip install"),
    (".mine:regis", "the module mine has no regis", "registries there: registry"),
    (".mine:number", ".mine:number is no ToolRegistry but a int", "registries there: registry"),
    (".mine:empty", ".mine:empty holds no tool", "@empty.tool"),
    (".broken:registry", "importing broken raised ZeroDivisionError: division by zero", "--debug"),
    (".needs:registry", "importing needs raised ModuleNotFoundError: No module named 'not_installed'", "--debug"),
    (".syntax:registry", "importing syntax raised SyntaxError", "--debug"),
    (".leaves:registry", "importing leaves raised SystemExit: 0", "--debug"),
    (".clash:registry", "read_file is the name of a built-in tool", "another name"),
]


@pytest.mark.parametrize(("where", "says", "hint"), WRONG, ids=lambda value: value[:24])
def test_what_is_wrong_with_a_registry_is_said_before_anything_is_recorded(
    own: Program, where: str, says: str, hint: str
) -> None:
    for name, text in {
        "broken": "1 / 0\n", "needs": "import not_installed\n", "syntax": "def\n", "leaves": "import sys; sys.exit(0)\n",
        "clash": OWN.replace("look_up", "read_file"),
    }.items():
        (own.folder / f"{name}.py").write_text(text)
    before = len(own.rows())
    done = own(*RUN, "--tools", where)
    assert (done.code, done.out) == (ExitCode.USAGE, "")
    assert says in done.err and hint in done.err, done.err
    assert "Traceback" not in done.err
    assert len(own.rows()) == before


def with_tools(program: Program, table: str, *more: str) -> Done:
    (program.folder / "job.toml").write_text(JOB.replace("[[criteria]]", f"[tools]\n{table}\n\n[[criteria]]"))
    return program(*RUN, *more)


@pytest.mark.parametrize(("table", "says", "hint"), [
    ('names = ["look_up"]', "the spec names the tool look_up, and there is none", "--tools package.module:registry"),
    ('names = ["read_fil"]', "the spec names the tool read_fil, and there is none", "read_file"),
    ('permissions = ["read"]\nnames = ["read_file", "write_file"]',
     "names the tool write_file and does not grant its permission, write", 'add "write"'),
    ('names = ["run_python"]', "names the tool run_python and does not grant its permission, destructive", "leave run_python out"),
])
def test_a_spec_that_names_a_tool_in_vain_is_refused_before_anything_is_recorded(
    own: Program, table: str, says: str, hint: str
) -> None:
    done = with_tools(own, table)
    assert done.code == ExitCode.USAGE
    assert says in done.err and hint in done.err
    assert own.rows() == []


def test_a_spec_picks_tools_by_name_and_by_permission(own: Program) -> None:
    with_tools(own, 'names = ["look_up", "write_file"]', "--tools", ".mine:registry")
    assert opened_tools(own) == ["write_file", "look_up"]
    with_tools(own, 'permissions = ["read"]', "--tools", ".mine:registry")
    assert opened_tools(own) == ["list_files", "read_file", "search_files", "look_up"]


def has_sandbox() -> bool:
    try:
        find_sandbox()
    except SandboxMissing:
        return False
    return True


def test_tools_that_run_code_are_there_where_the_spec_grants_them_and_a_sandbox_holds(own: Program) -> None:
    with_tools(own, 'permissions = ["read", "write", "destructive"]')
    assert {"run_python", "run_command"} <= set(opened_tools(own)) or not has_sandbox()
    with_tools(own, 'permissions = ["read", "write"]')
    assert not {"run_python", "run_command"} & set(opened_tools(own))


def test_a_spec_that_names_a_tool_that_runs_code_is_told_what_to_install_where_no_sandbox_holds(own: Program) -> None:
    done = with_tools(own, 'permissions = ["write", "destructive"]\nnames = ["run_python", "write_file"]')
    if has_sandbox():
        assert opened_tools(own) == ["write_file", "run_python"]
    else:
        assert done.code == ExitCode.USAGE
        assert "no sandbox holds on this machine" in done.err and "apt-get install bubblewrap" in done.err
        assert own.rows() == []


@pytest.mark.parametrize(("workspace", "says"), [
    ("nowhere", "no such file or folder"), ("job.toml", "not a folder"), (".", "which no tool may reach"),
])
def test_a_workspace_that_is_none_is_refused_before_anything_is_recorded(own: Program, workspace: str, says: str) -> None:
    done = own(*RUN, "--workspace", workspace)
    assert done.code == ExitCode.USAGE
    assert says in done.err
    assert own.rows() == []


def test_the_tool_that_reaches_the_network_is_there_only_where_the_spec_names_it(own: Program) -> None:
    with_tools(own, 'permissions = ["read", "write"]')
    assert "fetch_url" not in opened_tools(own)
    with_tools(own, 'names = ["fetch_url", "write_file"]')
    assert opened_tools(own) == ["write_file", "fetch_url"]


def suspended(program: Program) -> str:
    """Leave a session behind as a killed process leaves it, after its first turn."""
    kill = "import os, signal\nos.kill(os.getpid(), signal.SIGKILL)\n"
    (program.folder / "mine.py").write_text(OWN.replace("    return f", "    " + kill.replace("\n", "\n    ") + "return f"))
    done = program(*RUN, "--tools", ".mine:registry", under=("env",))
    assert done.code == -9
    (program.folder / "mine.py").write_text(OWN)
    session: str = program.rows()[-1]["session"]
    return session


def test_a_session_whose_process_was_killed_goes_on_with_its_own_tools_and_not_without(own: Program) -> None:
    session = suspended(own)
    without = own("resume", session, "--script", "calls.json")
    assert without.code == ExitCode.USAGE
    assert "its tool look_up is no longer there" in without.err
    done = own("resume", session, "--script", "calls.json", "--tools", ".mine:registry")
    assert done.code == 0, done.err
    assert own("audit").code == 0


def test_a_session_does_not_go_on_with_a_tool_of_another_schema(own: Program) -> None:
    session = suspended(own)
    (own.folder / "mine.py").write_text(OWN.replace("ticket: int", "ticket: int, force: bool = False"))
    done = own("resume", session, "--script", "calls.json", "--tools", ".mine:registry")
    assert done.code == ExitCode.USAGE
    assert "its tool look_up has another permission or schema" in done.err


def test_a_session_gets_no_tool_that_it_was_not_opened_with(own: Program) -> None:
    session = suspended(own)
    more = "\n@registry.tool(permission=Permission.READ)\ndef another() -> str:\n    '''Another.'''\n    return 'x'\n"
    (own.folder / "mine.py").write_text(OWN + more)
    done = own("resume", "--all", "--script", "calls.json", "--tools", ".mine:registry")
    assert done.code == 0, done.err
    assert "completed" in done.out
    assert own.rows()[-1]["session"] == session


def test_the_built_in_tools_are_those_that_a_spec_can_name(tmp_path: Path) -> None:
    with Root(tmp_path) as root:
        registries = (file_tools(root, root), fetch_tools(), code_tools(Bubblewrap(None), None, tmp_path))
    found = {tool.name: tool.permission for registry in registries for tool in registry}
    assert found == BUILT_IN


class Page(BaseHTTPRequestHandler):
    """A page that links to nothing."""

    def do_GET(self) -> None:
        body = b"<html><head><title>A live page</title></head><body><h1>Hello from loopback</h1></body></html>"
        self.send_response(200)
        self.send_header("content-type", "text/html")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def live() -> Iterator[int]:
    """The port of a page on loopback."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Page) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server.server_port
        server.shutdown()
        thread.join()


@pytest.mark.parametrize(("environment", "passes"), [
    ({"SAFELOOP_FETCH_ALLOW": "127.0.0.1:{port}"}, True),
    ({"SAFELOOP_FETCH_ALLOW": "localhost, 127.0.0.1:{port}", "SAFELOOP_FETCH_HOSTS": "example.org,127.0.0.1"}, True),
    ({"SAFELOOP_FETCH_ALLOW": "127.0.0.1:{port}", "SAFELOOP_FETCH_HOSTS": "example.org"}, False),
    ({"SAFELOOP_FETCH_ALLOW": "127.0.0.1:{port}", "SAFELOOP_FETCH_HOSTS": ","}, False),
    ({"SAFELOOP_FETCH_ALLOW": "127.0.0.1:1"}, False),
    ({}, False),
])
def test_a_host_that_is_not_public_is_fetched_from_only_where_the_operator_says_so(
    own: Program, live: int, environment: dict[str, str], passes: bool
) -> None:
    fetch = {"content": [{"type": "tool_use", "id": "f", "name": "fetch_url", "input": {"url": f"http://127.0.0.1:{live}/"}}]}
    (own.folder / "calls.json").write_text(json.dumps([fetch, CALLS[1], "done"]))
    (own.folder / "job.toml").write_text(JOB.replace("[[criteria]]", '[tools]\nnames = ["fetch_url", "write_file"]\n\n[[criteria]]'))
    done = own(*RUN, env={name: value.format(port=live) for name, value in environment.items()})
    assert done.code == 0, done.err
    fetched = next(row["data"] for row in own.rows() if row["kind"] == "tool")
    assert (fetched["tool"], fetched["pass_fail"]) == ("fetch_url", passes)


def test_hosts_that_are_none_are_refused_before_anything_is_recorded(own: Program) -> None:
    (own.folder / "job.toml").write_text(JOB.replace("[[criteria]]", '[tools]\nnames = ["fetch_url", "write_file"]\n\n[[criteria]]'))
    done = own(*RUN, env={"SAFELOOP_FETCH_ALLOW": "http://127.0.0.1/"})
    assert done.code == ExitCode.USAGE
    assert "is not a host" in done.err
    assert own.rows() == []


def test_a_project_file_opens_no_host(own: Program) -> None:
    (own.folder / "safeloop.toml").write_text('fetch_allow = "127.0.0.1"\n')
    assert "a project file never sets fetch_allow" in own(*RUN).err


def test_two_sessions_in_one_go_get_each_its_own_tools(own: Program) -> None:
    own_tools_and_fetching = 'names = ["look_up", "fetch_url", "write_file"]'
    (own.folder / "job.toml").write_text(JOB.replace("[[criteria]]", f"[tools]\n{own_tools_and_fetching}\n\n[[criteria]]"))
    for _ in range(2):
        suspended(own)
    done = own("resume", "--all", "--script", "calls.json", "--tools", ".mine:registry")
    assert done.code == 0, done.err
    assert done.out.count("completed") == 2
