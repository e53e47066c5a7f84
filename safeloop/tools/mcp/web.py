"""Streamable HTTP, by the official package: what comes back is limited, and nothing is taken from the environment."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx2
from mcp.client import Transport
from mcp.client.streamable_http import streamable_http_client

from safeloop.tools.mcp.guard import Fault
from safeloop.tools.mcp.program import LONGEST_MESSAGE
from safeloop.tools.mcp.servers import Server, Supply

LONGEST_ANSWER = 2 * LONGEST_MESSAGE
"""Bytes of one response's body, streams of events included."""

_CONNECT_S = 10.0


@asynccontextmanager
async def over_http(server: Server, supply: Supply, fault: Fault) -> AsyncIterator[Any]:
    """Hold the streams of messages from and to a server's address.

    Redirects are followed within the address's own origin only. No proxy, no `.netrc` and no certificates are taken
    from the environment.

    Args:
        server: One with an address.
        supply: What it gets.
        fault: Told why, if an answer is cut off here.
    """
    timeout = httpx2.Timeout(_CONNECT_S, read=float(server.time_limit_s) + _CONNECT_S)
    # Nothing compressed: what is counted is what is kept.
    headers = {"accept-encoding": "identity", **dict(supply.headers)}
    transport = _Limited(fault)
    async with httpx2.AsyncClient(headers=headers, timeout=timeout, trust_env=False, transport=transport) as client:
        opened: Transport = streamable_http_client(
            server.url, http_client=client, max_sse_event_size=LONGEST_MESSAGE
        )
        async with opened as streams:
            yield streams


class _Limited(httpx2.AsyncHTTPTransport):
    """Counts the bytes of each answer."""

    def __init__(self, fault: Fault) -> None:
        super().__init__(trust_env=False)
        self._fault = fault

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        response = await super().handle_async_request(request)
        if response.headers.get("content-encoding", "identity") != "identity":
            self._fault.say("it sent a compressed answer, which it was asked not to")
            await response.aclose()
            raise httpx2.ReadError("a compressed answer", request=request)
        assert isinstance(response.stream, httpx2.AsyncByteStream)  # noqa: S101 - of an asynchronous transport
        response.stream = _Counted(response.stream, self._fault)
        return response


class _Counted(httpx2.AsyncByteStream):
    """A body, up to its limit."""

    def __init__(self, stream: httpx2.AsyncByteStream, fault: Fault) -> None:
        self._stream, self._fault = stream, fault

    async def __aiter__(self) -> AsyncIterator[bytes]:
        count = 0
        async for chunk in self._stream:
            count += len(chunk)
            if count > LONGEST_ANSWER:
                self._fault.say(f"it sent an answer of more than {LONGEST_ANSWER:,} bytes")
                raise httpx2.ReadError("an answer that is too long")
            yield chunk

    async def aclose(self) -> None:
        await self._stream.aclose()
