"""Connections to addresses that were checked, and to no others.

The name is looked up once, inside the call that connects: every address that the resolver gives is judged, and the
socket goes to one of exactly these, written as numbers. Nothing asks a resolver again between check and connection,
so an answer that changes (DNS rebinding) changes nothing. The `Host` header and TLS keep the name.
"""

from __future__ import annotations

import queue
import socket
import threading
from collections.abc import Iterable
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any, Final

import httpcore2

from safeloop.tools.fetching.addresses import IPAddress, kind_of, literal
from safeloop.tools.fetching.failure import AddressRefused, FetchFailed

if TYPE_CHECKING:
    import ssl

    from safeloop.tools.fetching.budget import Budget
    from safeloop.tools.fetching.options import FetchOptions

MOST_TRIED: Final = 6
"""Addresses of one name that are tried."""

CONNECT_S: Final = 5.0
"""Seconds for one of them."""


class CheckedBackend(httpcore2.NetworkBackend):
    """The network of one fetch.

    Args:
        options: Where connections may go.
        budget: What they may use.
        called: What errors call the host.
    """

    def __init__(self, options: FetchOptions, budget: Budget, called: str) -> None:
        self._options = options
        self._called = called
        self._budget = budget
        self._sockets = httpcore2.SyncBackend()

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ARG002 (the budget's time, whatever the pool asks for)
        local_address: str | None = None,
        socket_options: Iterable[httpcore2.SOCKET_OPTION] | None = None,
    ) -> httpcore2.NetworkStream:
        """Connect to a checked address of the host.

        Raises:
            AddressRefused: One of its addresses may not be connected to: then none is.
            FetchFailed: It has no address, or none of them answers.
            FetchTimeout: Time is up.
        """
        for address in self._checked(host, port)[:MOST_TRIED]:
            seconds = min(CONNECT_S, self._budget.left_s())
            try:
                stream = self._sockets.connect_tcp(str(address), port, seconds, local_address, socket_options)
            except (httpcore2.ConnectError, httpcore2.ConnectTimeout):
                continue
            return BudgetedStream(stream, self._budget)
        self._budget.left_s()
        raise FetchFailed(f"no address of {self._called} answers on port {port}")

    def connect_unix_socket(self, *_: Any, **__: Any) -> httpcore2.NetworkStream:
        """Refuse: no URL leads to a socket in the file system.

        Raises:
            AddressRefused: Always.
        """
        raise AddressRefused("a fetch goes over the network")

    def _checked(self, host: str, port: int) -> tuple[IPAddress, ...]:
        own = literal(host)
        addresses = self._looked_up(host, port) if own is None else (own,)
        for address in addresses:
            if not self._options.may_connect(host, port, address):
                raise AddressRefused(f"{self._called} leads to {kind_of(address).value}, which is not connected to")
        return addresses

    def _looked_up(self, host: str, port: int) -> tuple[IPAddress, ...]:
        """Ask the resolver once, and wait for it no longer than there is time."""
        answers: queue.SimpleQueue[tuple[IPAddress, ...] | None] = queue.SimpleQueue()

        def ask() -> None:
            try:
                found = self._options.resolve(host, port, 0, socket.SOCK_STREAM)
                answers.put(tuple(dict.fromkeys(ip_address(entry[4][0]) for entry in found)))
            except Exception:  # noqa: BLE001 (a resolver of the operator's may raise anything; the name has no address)
                answers.put(None)

        seconds = self._budget.left_s()
        # No time-out ends a look-up: its thread is left behind, and ends by the resolver's own.
        threading.Thread(target=ask, name="safeloop-lookup", daemon=True).start()
        try:
            addresses = answers.get(timeout=seconds)
        except queue.Empty:
            raise self._budget.too_late() from None
        if not addresses:
            raise FetchFailed(f"the name of {self._called} has no address")
        return addresses


class BudgetedStream(httpcore2.NetworkStream):
    """A connection whose every wait ends when the fetch's time does, and whose bytes are counted.

    A time-out for each read would let a server go on for ever that sends a byte now and then.
    """

    def __init__(self, stream: httpcore2.NetworkStream, budget: Budget) -> None:
        self._stream = stream
        self._budget = budget

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:  # noqa: ARG002 (as above)
        """Receive some bytes.

        Raises:
            FetchTimeout, TooLarge: See `Budget`.
        """
        received = self._stream.read(max_bytes, self._budget.left_s())
        self._budget.received(len(received))
        return received

    def write(self, buffer: bytes, timeout: float | None = None) -> None:  # noqa: ARG002 (as above)
        """Send bytes.

        Raises:
            FetchTimeout: See `Budget`.
        """
        self._stream.write(buffer, self._budget.left_s())

    def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,  # noqa: ARG002 (as above)
    ) -> httpcore2.NetworkStream:
        """Go over to TLS, for the URL's own name.

        Raises:
            FetchTimeout: See `Budget`.
        """
        stream = self._stream.start_tls(ssl_context, server_hostname, self._budget.left_s())
        return BudgetedStream(stream, self._budget)

    def close(self) -> None:
        """Close the socket."""
        self._stream.close()

    def get_extra_info(self, info: str) -> Any:
        """Give what the stream beneath knows."""
        return self._stream.get_extra_info(info)
