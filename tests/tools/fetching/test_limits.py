"""Servers that send too much, too slowly, or not what they say."""

from __future__ import annotations

import gzip
import itertools
import socket
import ssl
import struct
import time
import tracemalloc
import zlib
from collections.abc import Callable

import pytest

from safeloop.tools import ToolOutcome
from safeloop.tools.fetching import FetchOptions
from safeloop.tools.fetching.budget import Budget
from safeloop.tools.fetching.connecting import CheckedBackend
from safeloop.tools.fetching.exchange import ask
from safeloop.tools.fetching.failure import AddressRefused, FetchTimeout, TooLarge
from tests.tools.fetching.conftest import body_of, error_of
from tests.tools.fetching.server import RawServer, Script, answer, dripping, sends

Local = Callable[..., ToolOutcome]
ZEROS = bytes(1 << 20)


def packed(megabytes: int, window: int) -> bytes:
    packer = zlib.compressobj(9, zlib.DEFLATED, window)
    return b"".join([packer.compress(ZEROS) for _ in range(megabytes)] + [packer.flush()])


def flooding(first: bytes, part: bytes) -> Script:
    return dripping(first, part, 0)


@pytest.mark.parametrize(("coding", "window"), [("gzip", 31), ("deflate", 15), ("deflate", -15)])
def test_a_bomb_is_refused_before_it_fills_memory(coding: str, window: int, local: Local) -> None:
    bomb = packed(300, window)
    assert len(bomb) < 400_000
    tracemalloc.start()
    try:
        outcome = local(sends(answer(bomb, f"Content-Encoding: {coding}")))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert error_of(outcome) == ("TooLarge", "127.0.0.1 sends more than 10000000 bytes after decompression")
    assert peak < 40_000_000


@pytest.mark.parametrize("coding", ["br", "zstd", "compress", "gzip, gzip", "gzip, br", "GZIP,identity"])
def test_codings_that_are_not_taken_and_layers_of_them_are_refused_unread(coding: str, local: Local) -> None:
    body = gzip.compress(gzip.compress(b"inner"))
    assert error_of(local(sends(answer(body, f"Content-Encoding: {coding}")))) == (
        "NotReadable", "127.0.0.1 sends a content coding other than gzip and deflate",
    )  # fmt: skip


def test_two_headers_of_coding_are_two_layers(local: Local) -> None:
    body = gzip.compress(gzip.compress(b"inner"))
    outcome = local(sends(answer(body, "Content-Encoding: gzip", "Content-Encoding: gzip")))
    assert error_of(outcome)[0] == "NotReadable"


@pytest.mark.parametrize("coding", ["gzip", "deflate", "GZIP"])
def test_honest_compression_is_taken_off(coding: str, local: Local) -> None:
    body = zlib.compress(b"honest") if coding == "deflate" else gzip.compress(b"honest")
    assert body_of(local(sends(answer(body, f"Content-Encoding: {coding}")))) == "honest"


def test_what_is_not_in_the_coding_that_it_names_is_a_structured_error(local: Local) -> None:
    assert error_of(local(sends(answer(b"not packed", "Content-Encoding: gzip"))))[0] == "NotReadable"


def test_a_body_one_byte_too_long_is_refused_and_one_of_the_length_is_not(local: Local) -> None:
    assert body_of(local(sends(answer(b"x" * 1_000)), body_bytes=1_000)) == "x" * 1_000
    assert error_of(local(sends(answer(b"x" * 1_001)), body_bytes=1_000))[0] == "TooLarge"


@pytest.mark.parametrize(
    "flood",
    [
        flooding(b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\r\n", b"x" * 65_536),
        flooding(
            b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nTransfer-Encoding: chunked\r\n\r\n",
            b"10000\r\n" + b"x" * 65_536 + b"\r\n",
        ),
        flooding(b"", b"HTTP/1.1 103 Early Hints\r\n\r\n" * 1_000),
        flooding(
            b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nTransfer-Encoding: chunked\r\n\r\n",
            b"1;" + b"extension" * 200 + b"\r\nx\r\n",
        ),
    ],
    ids=["until the end", "chunks", "informational answers", "extensions of chunks"],
)
def test_a_body_without_end_is_cut_by_the_bytes_on_the_wire(flood: Script, local: Local) -> None:
    outcome = local(flood, wire_bytes=500_000)
    assert error_of(outcome) == ("TooLarge", "the server sends more than 500000 bytes")


def test_bytes_are_counted_over_all_redirects(local: Local) -> None:
    def script(connection: socket.socket, path: str) -> None:
        pad = "x" * 30_000
        connection.sendall(answer(b"", f"Location: {path}a", f"X-Pad: {pad}", status="302 Found"))

    assert error_of(local(script, wire_bytes=100_000, redirects=50))[0] == "TooLarge"


@pytest.mark.parametrize(
    "drip",
    [
        dripping(b"", b"H"),
        dripping(b"HTTP/1.1 200 OK\r\n", b"X-A: 1\r\n"),
        dripping(b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\r\n", b"x"),
        dripping(b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nTransfer-Encoding: chunked\r\n\r\n", b"1\r\nx\r\n"),
        dripping(b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
        lambda connection, _path: time.sleep(3),
    ],
    ids=["status", "headers", "body", "chunks", "informational answers", "silence"],
)
def test_a_server_that_drips_is_cut_when_time_is_up(drip: Script, local: Local) -> None:
    started = time.monotonic()
    assert error_of(local(drip, seconds=0.6)) == ("FetchTimeout", "the answer was not complete after 0.6 seconds")
    assert 0.5 < time.monotonic() - started < 2.5


def test_time_runs_over_all_redirects(local: Local) -> None:
    def script(connection: socket.socket, _path: str) -> None:
        time.sleep(0.25)
        connection.sendall(answer(b"", "Location: /on", status="302 Found"))

    started = time.monotonic()
    assert error_of(local(script, seconds=0.6, redirects=50))[0] == "FetchTimeout"
    assert time.monotonic() - started < 2


def test_headers_beyond_the_limit_are_refused(local: Local) -> None:
    large = answer(b"x", *(f"X-{number}: {'v' * 100}" for number in range(20)))
    assert body_of(local(sends(large))) == "x"
    assert error_of(local(sends(large), header_bytes=1_000)) == (
        "TooLarge", "the headers of 127.0.0.1 are larger than 1000 bytes",
    )  # fmt: skip


def test_one_header_without_end_is_cut(local: Local) -> None:
    class_, message = error_of(local(flooding(b"HTTP/1.1 200 OK\r\nX: ", b"v" * 65_536)))
    assert (class_, message) == ("FetchFailed", "what 127.0.0.1 sends is not HTTP, or was cut short")


LIES = {
    "longer than sent": b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 100\r\n\r\nshort",
    "two lengths": b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 1\r\nContent-Length: 5\r\n\r\nshort",
    "negative": b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: -1\r\n\r\nshort",
    "no number": b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: many\r\n\r\nshort",
    "chunk too short": b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nTransfer-Encoding: chunked\r\n\r\nff\r\nx",
    "chunk of no size": b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nx\r\n",
    "nothing": b"",
    "not HTTP": b"SSH-2.0-OpenSSH_9.9\r\n",
    "NUL in a header": b"HTTP/1.1 200 OK\r\nContent-Type: text/pl\x00ain\r\nContent-Length: 1\r\n\r\nx",
    "a folded header": b"HTTP/1.1 200 OK\r\n X: 1\r\n\r\n",
    "a status of words": b"HTTP/1.1 two hundred\r\n\r\n",
    "HTTP/2": b"\x00\x00\x12\x04\x00\x00\x00\x00\x00" + bytes(18),
}


@pytest.mark.parametrize("lie", LIES.values(), ids=LIES)
def test_an_answer_that_is_not_what_it_says_is_a_structured_error(lie: bytes, local: Local) -> None:
    assert error_of(local(sends(lie))) == ("FetchFailed", "what 127.0.0.1 sends is not HTTP, or was cut short")


def test_what_comes_after_the_declared_length_is_not_read(local: Local) -> None:
    assert body_of(local(sends(answer(b"honest") + b"and more"))) == "honest"


def test_a_declared_length_beyond_all_limits_costs_nothing(local: Local) -> None:
    claim = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 99999999999999999\r\n\r\n"
    outcome = local(flooding(claim, b"x" * 65_536), wire_bytes=300_000)
    assert error_of(outcome)[0] == "TooLarge"


def test_a_connection_that_is_torn_down_is_a_structured_error(local: Local) -> None:
    def script(connection: socket.socket, _path: str) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 9\r\n\r\nhalf")
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # close resets

    assert error_of(local(script)) == ("FetchFailed", "the connection to 127.0.0.1 was lost")


def test_a_budget_is_inclusive_in_bytes_and_has_no_time_left_at_its_end() -> None:
    now = [100.0]
    budget = Budget(5, 10, clock=lambda: now[0])
    budget.received(10)
    with pytest.raises(TooLarge):
        budget.received(1)
    now[0] = 104.5
    assert budget.left_s() == 0.5
    now[0] = 105.0
    with pytest.raises(FetchTimeout):
        budget.left_s()


def test_no_url_leads_to_a_socket_in_the_file_system() -> None:
    with pytest.raises(AddressRefused):
        CheckedBackend(FetchOptions(), Budget(5, 10), "x").connect_unix_socket("/var/run/docker.sock")


def test_time_runs_while_what_was_received_is_taken_apart(serve: Callable[..., RawServer]) -> None:
    """A clock that goes on by a second each time that somebody looks: a thousand chunks come in one piece."""
    chunks = b"1\r\nx\r\n" * 1_000 + b"0\r\n\r\n"
    head = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nTransfer-Encoding: chunked\r\n\r\n"
    server, ticks = serve(sends(head + chunks)), itertools.count()
    options = FetchOptions(allowed_hosts=(f"127.0.0.1:{server.port}",))
    budget = Budget(200, 1_000_000, clock=lambda: float(next(ticks)))
    with pytest.raises(FetchTimeout):
        ask(f"http://127.0.0.1:{server.port}/", options, budget, ssl.create_default_context())
