"""What an operator allows a fetch: where it may go, how much it takes, how long it lasts."""

from __future__ import annotations

import math
import socket
import ssl
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import httpx2

from safeloop.errors import SettingError
from safeloop.ledger.visible import visible
from safeloop.tools.fetching.addresses import AddressKind, IPAddress, is_host, kind_of, literal

Resolver = Callable[..., Sequence[tuple[Any, ...]]]
"""`socket.getaddrinfo`, or what takes and gives the same: host, port, family 0, type `SOCK_STREAM`."""

# What a name that was allowed may lead to: any other kind has to be allowed as the address itself.
_BY_NAME = (AddressKind.PUBLIC, AddressKind.LOOPBACK, AddressKind.PRIVATE, AddressKind.SHARED)


@dataclass(frozen=True, slots=True)
class FetchOptions:
    """The limits of `fetch_url`.

    Args:
        allowed_hosts: Hosts whose addresses need not be public, each `host` or `host:port` (IPv6 in brackets); with a
            port it holds for that port only, and that port need not be in `ports`. A name opens loopback, private and
            shared (RFC 6598) addresses; any other kind is opened only by the address itself, so a name's owner cannot
            turn it into a metadata service.
        only_hosts: The only hosts that are fetched from at all, exact names; None for every public one. What a model
            can put into a URL it can send away: a run that reads secrets should name its hosts.
        ports: The ports for every host.
        redirects: How many are followed, inclusive.
        is_downgrade_allowed: Whether a redirect may lead from https to http.
        seconds: For the whole fetch, all redirects included; reading a page comes on top (see `reading`).
        header_bytes: Of one answer's headers, inclusive.
        wire_bytes: Received in one fetch, headers and redirects included, before decompression, inclusive.
        body_bytes: Of a body after decompression, inclusive.
        text_characters: Of the text that is given back, inclusive; the rest is cut, and the result says so.
        resolve: Looks names up.
        tls: A context that verifies certificates and names; None for the system's authorities.

    Raises:
        SettingError: A value has no meaning, or `tls` does not verify.
    """

    allowed_hosts: tuple[str, ...] = ()
    only_hosts: tuple[str, ...] | None = None
    ports: tuple[int, ...] = (80, 443)
    redirects: int = 5
    is_downgrade_allowed: bool = False
    seconds: float = 20.0
    header_bytes: int = 65_536
    wire_bytes: int = 5_000_000
    body_bytes: int = 10_000_000
    text_characters: int = 40_000
    resolve: Resolver = socket.getaddrinfo
    tls: ssl.SSLContext | None = None

    def __post_init__(self) -> None:
        for entry in _listed("allowed_hosts", self.allowed_hosts):
            _host_and_port(entry)
        for entry in _listed("only_hosts", self.only_hosts or ()):
            if _host_and_port(entry)[1] is not None:
                raise SettingError(f"`only_hosts` takes hosts without a port, not {visible(entry)}")
        for name in ("header_bytes", "wire_bytes", "body_bytes", "text_characters"):
            _check_count(name, getattr(self, name), least=1)
        _check_count("redirects", self.redirects, least=0)
        if not (math.isfinite(self.seconds) and 0 < self.seconds <= 600):
            raise SettingError(f"`seconds` of a fetch is above 0 and at most 600, not {self.seconds!r}")
        if self.tls is not None and not (self.tls.check_hostname and self.tls.verify_mode is ssl.CERT_REQUIRED):
            raise SettingError("`tls` of a fetch must verify certificates and their names")

    def may_ask(self, host: str) -> bool:
        """Say whether this host is fetched from at all."""
        return self.only_hosts is None or host in (_host_and_port(entry)[0] for entry in self.only_hosts)

    def may_use_port(self, host: str, port: int) -> bool:
        """Say whether this port of this host is connected to."""
        return port in self.ports or (host, port) in self._allowed()

    def may_connect(self, host: str, port: int, address: IPAddress) -> bool:
        """Say whether this address is connected to, for a URL with this host and port."""
        kind = kind_of(address)
        if kind is AddressKind.PUBLIC:
            return True
        is_named = not {(host, port), (host, None)}.isdisjoint(self._allowed())
        return is_named and (kind in _BY_NAME or literal(host) == address)

    def _allowed(self) -> tuple[tuple[str, int | None], ...]:
        return tuple(_host_and_port(entry) for entry in self.allowed_hosts)


def _listed(name: str, entries: object) -> tuple[str, ...]:
    """Refuse a text where a tuple of them is wanted: its letters would be hosts."""
    if isinstance(entries, tuple) and all(isinstance(entry, str) for entry in entries):
        return entries
    raise SettingError(f"`{name}` of a fetch is a tuple of texts, not {visible(repr(entries))}")


def _host_and_port(entry: str) -> tuple[str, int | None]:
    """Read `host` or `host:port` as a URL's would be read, so that both compare."""
    try:
        url = httpx2.URL(f"any://{entry}")  # a scheme without a default port, which would be left out
    except httpx2.InvalidURL as error:
        raise SettingError(f"{visible(entry)} is not a host, nor a host and port") from error
    host = url.raw_host.decode("ascii")
    if not is_host(host) or url.userinfo or url.raw_path != b"/" or url.fragment:
        raise SettingError(f"{visible(entry)} is not a host, nor a host and port", hint="write `host` or `host:port`")
    return host, url.port


def _check_count(name: str, count: object, *, least: int) -> None:
    if not isinstance(count, int) or isinstance(count, bool) or count < least:
        raise SettingError(f"`{name}` of a fetch is a whole number from {least}, not {visible(repr(count))}")
