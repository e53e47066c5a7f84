"""Whatever bytes a server sends, what comes of them is a text or one of the errors that the documentation names."""

from __future__ import annotations

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from safeloop.tools.fetching import FetchOptions, fetch_tools
from safeloop.tools.fetching.failure import FetchError
from tests.tools.fetching.server import RawServer

CLASSES = {each.__name__ for each in FetchError.__subclasses__()}
PIECES = st.sampled_from(
    [
        b"HTTP/1.1 200 OK\r\n", b"HTTP/1.0 302 Found\r\n", b"HTTP/1.1 404\r\n", b"Content-Type: ", b"text/plain", b"text/html",
        b"; charset=", b"; charset*=utf-8''%E9%00", b"; charset*0=ut; charset*1=f-8", b'"', b"utf-16", b"Location: ", b"//", b"http:",
        b"Content-Length: ", b"5", b"Transfer-Encoding: chunked\r\n", b"Content-Encoding: ", b"gzip", b"deflate", b"\x1f\x8b\x08\x00",
        b"\r\n", b"\r\n\r\n", b"\n", b"0\r\n\r\n", b"5\r\nhello\r\n", b"<p>x", b"\x00", b"\xff\xfe", b": ", b";", b"=", b"Set-Cookie: a=b\r\n",
        "é".encode(), b"<meta charset=", b"<![", b"<!--", b"&#xD800;", b"\xed\xa0\x80",
    ]
)  # fmt: skip
MIXED = st.lists(PIECES | st.binary(max_size=8), max_size=14).map(b"".join)
HEADERS = st.tuples(st.sampled_from(["Content-Type", "Location", "Content-Encoding", "X"]), MIXED)


def whole(status: int, headers: list[tuple[str, bytes]], body: bytes) -> bytes:
    """An answer that is mostly HTTP."""
    lines = [f"HTTP/1.1 {status} x".encode(), *(f"{name}: ".encode() + value for name, value in headers)]
    return b"\r\n".join([*lines, b"Content-Type: text/plain; charset=utf-8", b"", body])


ANSWERS = MIXED | st.builds(
    whole, st.sampled_from([200, 206, 301, 404, 101, 204]), st.lists(HEADERS, max_size=3), MIXED
)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(sent=st.lists(ANSWERS, min_size=1, max_size=3))
def test_no_answer_whatever_its_bytes_is_more_than_an_error(sent: list[bytes]) -> None:
    waiting = list(sent)
    with RawServer(lambda connection, _path: connection.sendall(waiting.pop(0) if waiting else b"")) as server:
        (tool,) = fetch_tools(FetchOptions(allowed_hosts=(f"127.0.0.1:{server.port}",), resolve=lambda *_: []))
        try:
            text = tool.handler(url=f"http://127.0.0.1:{server.port}/")
        except FetchError as error:
            assert type(error).__name__ in CLASSES
        else:
            text.encode("utf-8")
            assert text.startswith("url: http://127.0.0.1:")
