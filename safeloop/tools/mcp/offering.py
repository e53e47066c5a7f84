"""The tools of MCP servers, as tools of our registry, for as long as their servers are held.

All sessions live in one thread with an event loop, the portal. A call waits for it in the thread of the tool, which the
runtime gives up at its time limit, as any other.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from anyio.from_thread import BlockingPortal, start_blocking_portal

from safeloop.ledger.visible import visible
from safeloop.tools.mcp.connection import END_S, Connection
from safeloop.tools.mcp.failure import ServerUnusable
from safeloop.tools.mcp.listing import Offered, Told, offered, the_one
from safeloop.tools.mcp.servers import Server, Supply
from safeloop.tools.mcp.wanted import Wanted, registry_name
from safeloop.tools.registry import ToolRegistry
from safeloop.tools.sandbox import Bubblewrap

MARGIN_S = 15.0  # so that our own words about a time limit come before the runtime's
_LOGGERS = ("mcp", "client", "httpx2", "asyncio")


@contextmanager
def mcp_tools(
    servers: Sequence[Server], wanted: Wanted, workspace: Path | None, *, sandbox: Callable[[], Bubblewrap],
    supply: Callable[[Server], Supply],
) -> Iterator[ToolRegistry]:
    """Hold servers, and give those of their tools that a session may have; nothing of them is left afterwards.

    Args:
        servers: All of the operator's.
        wanted: Which tools; a server without any is not started.
        workspace: What programs in the sandbox read, at `/workspace`.
        sandbox: Finds the sandbox, if a server needs it.
        supply: Looks up what a server gets of our environment.

    Raises:
        SettingError: A server cannot be used, or a tool that the spec speaks of is not there or cannot be made.
    """
    registry = ToolRegistry()
    needed = [server for server in servers if wanted.needs(server.name)]
    if not needed:
        yield registry
        return
    for name in _LOGGERS:
        # What a server sends would else be printed, as it is, by the last resort of `logging`.
        logging.getLogger(name).addHandler(logging.NullHandler())
    connections = [
        Connection(server, supply(server), sandbox() if server.command and server.is_sandboxed else None, workspace)
        for server in needed
    ]
    with start_blocking_portal(name="safeloop-mcp") as portal, ExitStack() as stack:
        for connection in connections:
            told = stack.enter_context(_held(portal, connection))
            for tool in _chosen(connection.server.name, told, wanted):
                _register(registry, portal, connection, tool, wanted)
        yield registry


@contextmanager
def _held(portal: BlockingPortal, connection: Connection) -> Iterator[tuple[Told, ...]]:
    future, told = portal.start_task(connection.hold, name=connection.server.name)
    try:
        yield told
    finally:
        portal.call(connection.end)
        future.exception(timeout=2 * END_S)  # whatever became of it, its calls have told


def _chosen(server: str, told: tuple[Told, ...], wanted: Wanted) -> Iterator[Offered]:
    grant = wanted.grant
    there = {registry_name(server, tool.name) for tool in told}
    for name in grant.only or ():
        if name.startswith(registry_name(server, "")) and name not in there and wanted.opened_with is None:
            known = ", ".join(visible(each, 80) for each in sorted(there)[:20]) or "none"
            raise ServerUnusable(
                f"the spec speaks of the tool {name}, and the MCP server {server} has none of it",
                hint=f"there are {known}",
            )
    for name in sorted(there):
        one = the_one(server, told, name) if wanted.has(name) else None
        if one is not None:
            yield offered(server, one)


def _register(
    registry: ToolRegistry, portal: BlockingPortal, connection: Connection, tool: Offered, wanted: Wanted
) -> None:
    def handler(**arguments: Any) -> Any:
        return portal.start_task_soon(connection.call, tool, arguments).result()

    registry.register(
        name=tool.name, description=tool.description, parameters=tool.parameters, handler=handler,
        permission=wanted.grant.permission_of(tool.name),
        time_limit_s=connection.server.time_limit_s + MARGIN_S,
    )
