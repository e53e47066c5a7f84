"""Between a transport and the session: how much a server may say without being asked, and why it is not heard any more.

The session starts a task for each message that it did not ask for. A server that sends many would fill our memory with
them, so they are counted between two requests of ours, and too many end the connection.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass

import anyio
import mcp_types as types
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream
from mcp.client import Transport
from mcp.shared.message import SessionMessage

Streams = tuple[MemoryObjectReceiveStream[SessionMessage | Exception], MemoryObjectSendStream[SessionMessage]]

MOST_UNASKED = 500
"""Messages between two requests of ours: requests, notifications, answers to nothing, and what is no message."""


@dataclass(slots=True)
class Fault:
    """Why a server is not heard any more; the first reason stays."""

    reason: str = ""

    def say(self, reason: str) -> None:
        """Give a reason, if there is none yet."""
        self.reason = self.reason or reason


@asynccontextmanager
async def guarded(transport: Transport, fault: Fault) -> AsyncIterator[Streams]:
    """Hold a transport's streams, ended where the server says too much.

    Args:
        transport: To be opened here.
        fault: Told why, if they are.
    """
    inner, inward = anyio.create_memory_object_stream[SessionMessage | Exception](0)
    outward, outer = anyio.create_memory_object_stream[SessionMessage](0)
    waiting: set[types.RequestId] = set()
    unasked = 0

    async with transport as (read, write), inner, inward, outward, outer, anyio.create_task_group() as group:

        async def hear() -> None:
            nonlocal unasked
            async with inner:
                async for item in read:
                    message = item.message if isinstance(item, SessionMessage) else None
                    if isinstance(message, types.JSONRPCResponse | types.JSONRPCError) and message.id in waiting:
                        waiting.discard(message.id)
                    else:
                        unasked += 1
                    if unasked > MOST_UNASKED:
                        fault.say(f"it sent more than {MOST_UNASKED} messages that nobody asked for")
                        return
                    if message is not None:
                        await inner.send(item)

        async def speak() -> None:
            nonlocal unasked
            async with write:
                async for item in outer:
                    if isinstance(item.message, types.JSONRPCRequest):
                        waiting.add(item.message.id)
                        unasked = 0
                    await write.send(item)

        group.start_soon(_until_closed, hear)
        group.start_soon(_until_closed, speak)
        try:
            yield inward, outward
        finally:
            group.cancel_scope.cancel()


async def _until_closed(work: Callable[[], Awaitable[None]]) -> None:
    """Do some work until a stream of it is closed at the other end."""
    with suppress(anyio.ClosedResourceError, anyio.BrokenResourceError, anyio.EndOfStream):
        await work()
