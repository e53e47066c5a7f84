"""One server: a session with it, held by one task, and asked by others.

The client declares no sampling, no elicitation and no roots, and answers a server that asks for one of them with an
error. What a server returns is not held against its own output schema: that would run its regular expressions here.
"""

from __future__ import annotations

import math
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any

import anyio
import mcp_types as types
from anyio.abc import TaskStatus
from mcp.client import Client, ClientSession
from mcp.shared.exceptions import MCPError
from pydantic import TypeAdapter

from safeloop.ledger.visible import visible
from safeloop.tools.clean import ToolError
from safeloop.tools.mcp.failure import (
    ServerAsked,
    ServerGone,
    ServerRefused,
    ServerTimeout,
    ServerUnusable,
    ToolChanged,
    quoted,
)
from safeloop.tools.mcp.guard import Fault, guarded
from safeloop.tools.mcp.listing import MOST_TOOLS, Offered, Told, offered, the_one
from safeloop.tools.mcp.program import Running, over_pipes, running
from safeloop.tools.mcp.results import returned
from safeloop.tools.mcp.servers import Server, Supply
from safeloop.tools.mcp.web import over_http
from safeloop.tools.sandbox import Bubblewrap

START_S = 30.0
END_S = 5.0
_MOST_PAGES = 20
_CLOSED = "Connection closed"  # what the package itself says
_ANSWER: TypeAdapter[types.CallToolResult | types.InputRequiredResult] = TypeAdapter(
    types.CallToolResult | types.InputRequiredResult
)


@dataclass(slots=True)
class Connection:
    """A server, and the session with it while it is held.

    Args:
        server: Whom.
        supply: What it gets of our environment.
        sandbox: Where its program runs, if it has one that is to be sandboxed.
        workspace: What that program reads.
    """

    server: Server
    supply: Supply
    sandbox: Bubblewrap | None
    workspace: Path | None
    _fault: Fault = field(default_factory=Fault)
    _session: ClientSession | None = None
    _program: Running | None = None
    _scope: anyio.CancelScope | None = None
    _over: anyio.Event | None = None

    async def hold(self, *, task_status: TaskStatus[tuple[Told, ...]]) -> None:
        """Start the server, say what tools it has, and hold the session until `end`.

        Raises:
            ServerUnusable: It cannot be started, does not answer in time, or not as a server does.
        """
        self._over = anyio.Event()
        try:
            with anyio.CancelScope(deadline=anyio.current_time() + START_S) as self._scope:
                async with self._client() as client:
                    self._session = client.session
                    told = await self._listed()
                    self._scope.deadline = math.inf
                    task_status.started(told)
                    await self._over.wait()
        except (Exception, BaseExceptionGroup) as error:  # noqa: BLE001 - a server can make the package raise anything
            if not self._over.is_set():
                raise self._unusable(error) from None
        finally:
            self._session = None
        if not self._over.is_set():
            raise self._unusable(None)

    def end(self) -> None:
        """Have the session ended, within `END_S` whatever the server does."""
        if self._over is not None and self._scope is not None:
            self._over.set()
            self._scope.deadline = anyio.current_time() + END_S

    async def call(self, pinned: Offered, arguments: dict[str, Any]) -> Any:
        """Call a tool, if it is still the one that was pinned, and return what it returned.

        The server is asked for its tools each time: nothing makes it tell that they have changed.

        Raises:
            ToolError: Whatever went wrong, as one of the classes of `failure`.
        """
        try:
            with anyio.fail_after(self.server.time_limit_s):
                self._check(pinned, await self._listed())
                answer = await self._asked(pinned.tool, arguments)
        except TimeoutError:
            seconds = self.server.time_limit_s
            raise ServerTimeout(f"{self._name} did not answer within {seconds} s; it may have done it") from None
        except MCPError as error:
            raise self._refusal(error) from None
        except (ToolError, ServerUnusable) as error:
            raise (error if isinstance(error, ToolError) else ServerRefused(error.message)) from None
        except Exception as error:  # noqa: BLE001 - the same
            raise ServerRefused(f"{self._name} answered what cannot be read ({_kind(error)})") from None
        return returned(answer)

    @property
    def _name(self) -> str:
        return f"the MCP server {self.server.name}"

    @asynccontextmanager
    async def _client(self) -> AsyncIterator[Client]:
        async with AsyncExitStack() as stack:
            client = Client(
                guarded(self._transport(stack), self._fault), cache=None,
                client_info=types.Implementation(name="safeloop", version=metadata.version("safeloop")),
            )
            yield await stack.enter_async_context(client)

    def _transport(self, stack: AsyncExitStack) -> Any:
        if self.server.url:
            return over_http(self.server, self.supply, self._fault)
        self._program = stack.enter_context(running(self.server, self.supply, self.sandbox, self.workspace))
        return over_pipes(self._program, self._fault)

    async def _listed(self) -> tuple[Told, ...]:
        found: list[Told] = []
        cursor: str | None = None
        for _ in range(_MOST_PAGES):
            params = None if cursor is None else types.PaginatedRequestParams(cursor=cursor)
            page = await self._open().list_tools(params=params)
            found += [Told(tool.name, tool.description, tool.input_schema) for tool in page.tools]
            cursor = page.next_cursor
            if len(found) > MOST_TOOLS:
                break
            if cursor is None:
                return tuple(found)
        raise ServerUnusable(f"{self._name} lists more than {MOST_TOOLS} tools", hint="ask whoever made it")

    async def _asked(self, tool: str, arguments: dict[str, Any]) -> types.CallToolResult:
        request = types.CallToolRequest(params=types.CallToolRequestParams(name=tool, arguments=arguments))
        answer = await self._open().send_request(request, _ANSWER)
        if isinstance(answer, types.InputRequiredResult):
            raise ServerAsked(
                f"{self._name} asked for something itself (sampling, elicitation or roots), and it gets nothing"
            )
        return answer

    def _check(self, pinned: Offered, listed: tuple[Told, ...]) -> None:
        told = the_one(self.server.name, listed, pinned.name)
        if told is None:
            raise ToolChanged(f"{self._name} has no tool {pinned.tool} any more")
        if offered(self.server.name, told).digest != pinned.digest:
            raise ToolChanged(
                f"{self._name} has changed the schema or the description of {pinned.tool} since this session was "
                "opened, so it is not called"
            )

    def _open(self) -> ClientSession:
        if self._session is None:
            raise self._gone()
        return self._session

    def _gone(self) -> ServerGone:
        reason = self._fault.reason or "the connection has ended"
        return ServerGone(f"{self._name} is not there any more: {reason}")

    def _refusal(self, error: MCPError) -> ToolError:
        # The code alone says nothing: a server may use the same one.
        if self._session is None or (error.code, error.message) == (types.CONNECTION_CLOSED, _CLOSED):
            return self._gone()
        return ServerRefused(f"{self._name} refused the call, {quoted(error.message)}")

    def _unusable(self, error: BaseException | None) -> ServerUnusable:
        """Say why a server cannot be used, to the operator: with the last that it wrote to standard error."""
        first = error
        while isinstance(first, BaseExceptionGroup):
            first = first.exceptions[0]
        if isinstance(first, ServerUnusable):
            return first
        if first is None:
            reason = f"it did not answer within {START_S:g} s"
        elif isinstance(first, OSError) and first.strerror:
            named = "" if first.filename is None else f": {visible(str(first.filename))}"
            reason = f"{first.strerror.lower()}{named}"
        elif isinstance(first, ToolError):
            reason = first.message
        else:
            reason = self._fault.reason or f"{_kind(first)}: {visible(str(first))}"
        words = "" if self._program is None or not self._program.told else f"; it wrote: {self._program.told}"
        return ServerUnusable(f"{self._name} cannot be used: {reason}{words}", hint="safeloop help tools")


def _kind(error: BaseException) -> str:
    return visible(type(error).__name__, 80)
