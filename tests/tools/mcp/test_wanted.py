"""Which tools a session has of which servers, and which servers are started at all."""

from __future__ import annotations

from pathlib import Path

import pytest

from safeloop.spec import ToolGrant
from safeloop.tools.mcp import Server, Wanted
from safeloop.tools.mcp.failure import ServerUnusable
from tests.tools.mcp.conftest import held, hostile

ALL = ("read", "write", "destructive")
READS = ("bad__echo:read",)


@pytest.mark.parametrize(("grant", "opened_with", "needed"), [
    (ToolGrant(), None, False),
    (ToolGrant(ALL), None, True),
    (ToolGrant(("read",), READS), None, True),
    (ToolGrant(("write",), READS), None, False),
    (ToolGrant(("read",), ("read_file",)), None, False),
    (ToolGrant(("read",), ("bad__echo",)), None, False),
    (ToolGrant(ALL, ("bad__echo",)), None, True),
    (ToolGrant(ALL, ("badly__echo", "bad_echo", "bad")), None, False),
    (ToolGrant(ALL), ("read_file",), False),
    (ToolGrant(ALL), ("read_file", "bad__echo"), True),
])
def test_a_server_is_needed_only_where_one_of_its_tools_may_be_used(
    grant: ToolGrant, opened_with: tuple[str, ...] | None, needed: bool
) -> None:
    assert Wanted(grant, opened_with).needs("bad") is needed


def test_a_server_that_is_not_needed_is_not_started_and_its_variables_are_not_looked_up(tmp_path: Path) -> None:
    servers = (Server("bad", ("/nowhere",), is_sandboxed=False, environment=("NOT_SET",)), Server("web", url="http://127.0.0.1:1/"))
    with held(*servers, grant=ToolGrant()) as registry:
        assert len(registry) == 0


@pytest.mark.parametrize(("name", "permission"), [
    ("bad__echo", "destructive"), ("bad__echo:read", "read"), ("bad__echo:write", "write"),
])
def test_a_tool_has_the_permission_that_the_spec_gives_it_and_else_it_is_destructive(name: str, permission: str) -> None:
    with held(hostile("plain"), grant=ToolGrant(ALL, (name,))) as registry:
        assert [(tool.name, tool.permission.value) for tool in registry] == [("bad__echo", permission)]


@pytest.mark.parametrize("grant", [ToolGrant(ALL, ("bad__ecko",)), ToolGrant(ALL, ("bad__ecko:read",))])
def test_a_spec_that_speaks_of_a_tool_that_is_not_there_is_told_which_are(grant: ToolGrant) -> None:
    with pytest.raises(ServerUnusable, match="speaks of the tool bad__ecko") as caught, held(hostile("plain"), grant=grant):
        pass
    assert "bad__echo" in caught.value.hint


def test_a_session_that_goes_on_gets_the_tools_that_it_had_and_no_others() -> None:
    with held(hostile("plain"), opened_with=("bad__echo",)) as registry:
        assert [tool.name for tool in registry] == ["bad__echo"]
    with held(hostile("plain"), opened_with=("bad__gone",)) as registry:
        assert len(registry) == 0  # and the session is told that a tool of its own is not there
