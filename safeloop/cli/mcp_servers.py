"""The operator's MCP servers: read from the file of the setting, and held for a run."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from safeloop.cli.inputs import read_text
from safeloop.cli.settings import Settings
from safeloop.errors import SettingError
from safeloop.ledger import Ledger
from safeloop.loop.place import check_workspace
from safeloop.tools import ToolRegistry
from safeloop.tools.mcp import UNSANDBOXED, Server, Wanted, parse_servers, supply_of
from safeloop.tools.sandbox import Bubblewrap, SandboxMissing, find_sandbox

_INSTALL = "apt-get install bubblewrap util-linux"


def operator_servers(settings: Settings, ledger: Ledger) -> tuple[Server, ...]:
    """Return the operator's MCP servers; none where no file is set.

    Raises:
        SettingError: The file cannot be read, says what it must not, or shows a server a folder that holds the ledger.
    """
    path = settings.path("mcp_servers")
    servers = () if path is None else parse_servers(read_text(path, "file of MCP servers"), str(path))
    for server in servers:
        for folder in server.folders:
            check_workspace(folder, ledger, f"MCP server {server.name}: folder")
    return servers


@contextlib.contextmanager
def held_tools(servers: Sequence[Server], wanted: Wanted, workspace: Path | None) -> Iterator[ToolRegistry]:
    """Hold the servers that a session needs, and give their tools.

    Raises:
        SettingError: The package is missing, there is no sandbox, or a server cannot be used.
    """
    if not any(wanted.needs(server.name) for server in servers):
        yield ToolRegistry()
        return
    try:
        from safeloop.tools.mcp.offering import mcp_tools  # noqa: PLC0415 (the package is an extra, and takes long)
    except ImportError as error:
        raise SettingError(
            f"tools of MCP servers need the package mcp, version 2 or newer ({error})",
            hint="pip install 'safeloop[mcp]'",
        ) from None
    with mcp_tools(
        servers, wanted, workspace, sandbox=_bubblewrap, supply=lambda server: supply_of(server, os.environ)
    ) as registry:
        yield registry


def _bubblewrap() -> Bubblewrap:
    """Return the sandbox of MCP servers: one that a program can live in for as long as a session."""
    otherwise = f'or let a server out of it, in its table: unsandboxed = "{UNSANDBOXED}"'
    try:
        found = find_sandbox()
    except SandboxMissing as error:
        raise SettingError(
            f"an MCP server runs in a sandbox: {error.message}", hint=f"{_INSTALL}; {otherwise}"
        ) from None
    if not isinstance(found, Bubblewrap):
        raise SettingError(
            f"an MCP server runs in the sandbox bwrap, and here only {found.name} holds",
            hint=f"{_INSTALL}; {otherwise}",
        )
    return found
