"""Where a fetch may go: every kind of address, every way to write one, and names that change their minds."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from safeloop.tools.fetching import FetchOptions
from safeloop.tools.fetching.addresses import AddressKind, kind_of
from tests.tools.fetching.conftest import PUBLIC, Names, Wire, body_of, error_of, fetched, head_of
from tests.tools.fetching.server import RawServer, answer, redirects, sends

KINDS = {
    AddressKind.LOOPBACK: "127.0.0.1 127.255.255.254 ::1",
    AddressKind.PRIVATE: "10.0.0.1 10.255.255.255 172.16.0.1 172.31.255.255 192.168.1.1 fc00::1 fdff::1 fec0::1",
    AddressKind.SHARED: "100.64.0.1 100.127.255.254",
    AddressKind.LINK_LOCAL: "169.254.0.1 169.254.255.254 fe80::1 fe80::1%eth0 2606:4700::1%lo",
    AddressKind.METADATA: "169.254.169.254 169.254.170.2 100.100.100.200 168.63.129.16 192.0.0.192 fd00:ec2::254 fd20:ce::254",
    AddressKind.MULTICAST: "224.0.0.1 239.255.255.255 ff02::1",
    AddressKind.TRANSLATED: "::ffff:93.184.215.14 ::ffff:127.0.0.1 ::ffff:0:127.0.0.1 ::127.0.0.1 64:ff9b::7f00:1"
    " 64:ff9b::5db8:d70e 64:ff9b:1::1 2002:7f00:1:: 2002:5db8:d70e::1 2001:0:4136:e378:8000:63bf:3fff:fdd2 192.88.99.1",
    AddressKind.UNSPECIFIED: "0.0.0.0 ::",
    AddressKind.RESERVED: "0.1.2.3 192.0.0.8 192.0.2.1 198.51.100.1 203.0.113.1 198.18.0.1 198.19.255.255 240.0.0.1"
    " 255.255.255.255 100::1 2001:2::1 2001:db8::1 3fff::1 5f00::1 4000::1 1::1",
    AddressKind.PUBLIC: "93.184.215.14 1.1.1.1 8.8.8.8 11.0.0.1 172.32.0.1 172.15.255.255 100.128.0.1 100.63.255.255"
    " 169.253.255.255 192.167.255.255 223.255.255.255 2606:4700::1111 2a00:1450:4001:81b::200e 2400:cb00::1",
}  # fmt: skip
EACH = [(address, kind) for kind, addresses in KINDS.items() for address in addresses.split()]


@pytest.mark.parametrize(("address", "kind"), EACH)
def test_every_kind_of_address_is_told_from_every_other(address: str, kind: AddressKind) -> None:
    assert kind_of(ipaddress.ip_address(address)) is kind


@given(st.ip_addresses())
def test_nothing_is_public_that_python_itself_calls_local(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> None:
    if kind_of(address) is AddressKind.PUBLIC:
        assert address.is_global
        assert not (address.is_multicast or address.is_loopback or address.is_link_local or address.is_reserved)


@pytest.mark.parametrize(("address", "kind"), [each for each in EACH if each[1] is not AddressKind.PUBLIC])
def test_a_name_that_leads_to_what_is_not_public_is_never_connected_to(
    address: str, kind: AddressKind, wire: Wire
) -> None:
    class_, message = error_of(fetched("http://trap.test/", FetchOptions(resolve=Names(trap_test=[[address]]))))
    assert (class_, message) == ("AddressRefused", f"trap.test leads to {kind.value}, which is not connected to")
    assert wire.tried == []


WRITTEN = [
    "127.0.0.1", "127.1", "2130706433", "0x7f000001", "0x7f.1", "0177.0.0.1", "127.0.0.1.", "localhost", "0", "0.0.0.0", "[::1]",
    "[::]", "[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "[0:0:0:0:0:ffff:127.0.0.1]", "[64:ff9b::127.0.0.1]", "[2002:7f00:1::]",
    "[fe80::1%25lo]", "[::1%25lo]", "169.254.169.254", "[fd00:ec2::254]", "10.0.0.1", "100.64.0.1", "2852039166",
]  # fmt: skip


@pytest.mark.parametrize("host", WRITTEN)
def test_no_way_to_write_a_local_address_gets_past_the_system_s_own_resolver(
    host: str, wire: Wire, serve: Callable[..., RawServer]
) -> None:
    """The default resolver: `getaddrinfo` takes 127.1 and 0x7f000001 for addresses."""
    victim = serve(sends(answer(b"inner secret")))
    class_, _ = error_of(fetched(f"http://{host}:{victim.port}/", FetchOptions(ports=(victim.port,))))
    assert class_ in ("AddressRefused", "FetchFailed")
    assert wire.tried == []
    assert victim.connections == 0


def test_one_bad_address_among_good_ones_refuses_the_name(wire: Wire) -> None:
    names = Names(mixed_test=[[PUBLIC, "10.0.0.7"]])
    assert error_of(fetched("http://mixed.test/", FetchOptions(resolve=names)))[0] == "AddressRefused"
    assert wire.tried == []


def test_the_address_that_was_checked_is_the_one_that_is_connected_to(
    wire: Wire, serve: Callable[..., RawServer]
) -> None:
    """The name says a public address first and 127.0.0.1 from then on: the connection goes to the first."""
    inner, outer = serve(sends(answer(b"inner secret"))), serve(sends(answer(b"public page")))
    wire.routes = {(PUBLIC, 80): outer.port, ("127.0.0.1", 80): inner.port}
    names = Names(rebind_test=[[PUBLIC], ["127.0.0.1"]])
    outcome = fetched("http://rebind.test/", FetchOptions(resolve=names))
    assert body_of(outcome) == "public page"
    assert (names.asked, wire.tried) == (["rebind.test"], [(PUBLIC, 80)])
    assert b"\r\nHost: rebind.test\r\n" in outer.requests[0]
    assert inner.connections == 0


def test_a_redirect_to_the_same_name_is_judged_by_what_the_name_says_then(
    wire: Wire, serve: Callable[..., RawServer]
) -> None:
    inner, outer = serve(sends(answer(b"inner secret"))), serve(redirects("/again"))
    wire.routes = {(PUBLIC, 80): outer.port, ("127.0.0.1", 80): inner.port}
    names = Names(rebind_test=[[PUBLIC], ["127.0.0.1"]])
    class_, message = error_of(fetched("http://rebind.test/", FetchOptions(resolve=names)))
    assert (class_, message) == ("AddressRefused", "rebind.test leads to a loopback address, which is not connected to")
    assert (names.asked, wire.tried, inner.connections) == (["rebind.test"] * 2, [(PUBLIC, 80)], 0)


def test_the_next_checked_address_is_tried_where_one_does_not_answer(
    wire: Wire, serve: Callable[..., RawServer]
) -> None:
    wire.routes = {(PUBLIC, 80): serve(sends(answer(b"here"))).port}
    names = Names(two_test=[["2606:4700::1111", PUBLIC]])
    assert body_of(fetched("http://two.test/", FetchOptions(resolve=names))) == "here"
    assert wire.tried == [("2606:4700::1111", 80), (PUBLIC, 80)]


def test_a_name_without_an_answer_is_a_structured_error(wire: Wire) -> None:
    options = FetchOptions(resolve=Names(empty_test=[[]], odd_test=[["not an address"]]))
    for name in ("nowhere.test", "empty.test", "odd.test"):
        assert error_of(fetched(f"http://{name}/", options)) == ("FetchFailed", f"the name of {name} has no address")
    silent = FetchOptions(resolve=Names(gone_test=[[PUBLIC]]))
    assert error_of(fetched("http://gone.test/", silent)) == ("FetchFailed", "no address of gone.test answers on port 80")


def test_an_allowed_name_opens_local_addresses_and_never_a_metadata_service(
    wire: Wire, serve: Callable[..., RawServer]
) -> None:
    wire.routes = {("10.0.0.7", 80): serve(sends(answer(b"intranet"))).port}
    names = Names(intra_test=[["10.0.0.7"], ["169.254.169.254"], ["fe80::1"], ["::ffff:10.0.0.7"]])
    options = FetchOptions(allowed_hosts=("intra.test",), resolve=names)
    assert body_of(fetched("http://intra.test/", options)) == "intranet"
    for _ in range(3):
        assert error_of(fetched("http://intra.test/", options))[0] == "AddressRefused"
    assert wire.tried == [("10.0.0.7", 80)]


def test_an_address_that_is_allowed_itself_is_connected_to(wire: Wire, serve: Callable[..., RawServer]) -> None:
    wire.routes = {("169.254.169.254", 80): serve(sends(answer(b"asked for by the operator"))).port}
    options = FetchOptions(allowed_hosts=("169.254.169.254",))
    assert body_of(fetched("http://169.254.169.254/", options)) == "asked for by the operator"
    assert error_of(fetched("http://169.254.170.2/", options))[0] == "AddressRefused"


def test_a_host_that_is_allowed_on_one_port_is_allowed_on_no_other(serve: Callable[..., RawServer]) -> None:
    open_, shut = serve(sends(answer(b"open"))), serve(sends(answer(b"shut")))
    options = FetchOptions(allowed_hosts=(f"127.0.0.1:{open_.port}",), ports=(80, shut.port))
    assert head_of(fetched(f"http://127.0.0.1:{open_.port}/", options))["status"] == "200"
    assert error_of(fetched(f"http://127.0.0.1:{shut.port}/", options))[0] == "AddressRefused"
    assert error_of(fetched(f"http://localhost:{open_.port}/", options))[0] == "AddressRefused"
    assert shut.connections == 0


def test_a_lookup_that_never_ends_ends_with_the_time_of_the_fetch(wire: Wire) -> None:
    import threading

    forever = threading.Event()

    def resolve(*_: object) -> list[tuple[object, ...]]:
        forever.wait(20)
        raise socket.gaierror

    outcome = fetched("http://slow.test/", FetchOptions(resolve=resolve, seconds=0.3))
    forever.set()
    assert error_of(outcome) == ("FetchTimeout", "the answer was not complete after 0.3 seconds")
    assert outcome.execution_time_ms < 3_000
