"""Servers over HTTP on loopback: an honest one of the official package, and some that are not."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from safeloop.tools.mcp import Server, web
from safeloop.tools.mcp.failure import ServerUnusable
from tests.tools.mcp.conftest import HERE, called, held

Answer = Callable[[BaseHTTPRequestHandler, dict[str, Any]], None]
TOOL = {"name": "echo", "inputSchema": {"type": "object"}}


@pytest.fixture
def served() -> Iterator[tuple[int, subprocess.Popen[bytes]]]:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    process = subprocess.Popen([sys.executable, str(HERE / "honest.py"), str(port)], stderr=subprocess.DEVNULL)
    try:
        until = time.monotonic() + 20
        while time.monotonic() < until:
            try:
                socket.create_connection(("127.0.0.1", port)).close()
                break
            except OSError:
                time.sleep(0.05)
        yield port, process
    finally:
        process.kill()
        process.wait()


def reply(handler: BaseHTTPRequestHandler, body: bytes, status: int = 200, **headers: str) -> None:
    handler.send_response(status)
    handler.send_header("content-length", str(len(body)))
    for name, value in {"content_type": "application/json", **headers}.items():
        handler.send_header(name.replace("_", "-"), value)
    handler.end_headers()
    handler.wfile.write(body)


@contextmanager
def by_hand(call: Answer) -> Iterator[tuple[str, list[dict[str, str]]]]:
    """A server by hand that does as it should but for calls; the headers of each request that it gets."""
    seen: list[dict[str, str]] = []

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            seen.append({name.lower(): value for name, value in self.headers.items()})
            request = json.loads(self.rfile.read(int(self.headers["content-length"])))
            results: dict[str, Any] = {
                "initialize": {"protocolVersion": "2025-11-25", "capabilities": {"tools": {}},
                               "serverInfo": {"name": "x", "version": "1"}},
                "tools/list": {"tools": [TOOL]},
            }
            if request["method"] == "tools/call":
                call(self, request)
            elif "id" not in request:
                reply(self, b"", 202)
            else:
                result = results.get(request["method"])
                said = {"result": result} if result else {"error": {"code": -32601, "message": "no"}}
                reply(self, json.dumps({"jsonrpc": "2.0", "id": request["id"], **said}).encode())

        def do_GET(self) -> None:
            reply(self, b"", 405)

        def log_message(self, *_: object) -> None:
            pass

    class Quiet(ThreadingHTTPServer):
        def handle_error(self, *_: object) -> None:
            """Of clients that hang up."""

    server = Quiet(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/mcp", seen
    finally:
        server.shutdown()
        server.server_close()


def good(handler: BaseHTTPRequestHandler, request: dict[str, Any], **headers: str) -> None:
    result = {"content": [{"type": "text", "text": "echo"}]}
    reply(handler, json.dumps({"jsonrpc": "2.0", "id": request["id"], "result": result}).encode(), **headers)


def test_a_server_is_asked_over_streamable_http_and_its_end_is_told(
    served: tuple[int, subprocess.Popen[bytes]], capfd: pytest.CaptureFixture[str]
) -> None:
    port, process = served
    with held(Server("web", url=f"http://127.0.0.1:{port}/mcp", time_limit_s=2)) as registry:
        assert called(registry, "web__look_up", ticket=7).result.endswith("\nticket 7: printer on fire (en)")
        failed = called(registry, "web__fail")
        assert failed.error is not None and failed.error["class"] == "ToolFailed"
        late = called(registry, "web__sleep", seconds=30)
        assert late.error is not None and late.error["class"] == "ServerTimeout"
        assert called(registry, "web__count").passed
        process.kill()
        process.wait()
        for _ in range(2):
            outcome = called(registry, "web__count")
            assert outcome.error is not None and outcome.error["class"] == "ServerGone"
    assert capfd.readouterr() == ("", "")


def test_nobody_there_is_said_before_the_run() -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with pytest.raises(ServerUnusable, match="the MCP server web cannot be used: ConnectError"), held(
        Server("web", url=f"http://127.0.0.1:{port}/mcp")
    ):
        pass


def test_headers_are_sent_and_nothing_of_the_environment_is(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    (tmp_path / ".netrc").write_text("default login canary password canary\n")
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("http_proxy", "HTTP_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1/")
    with by_hand(good) as (url, seen):
        server = Server("web", url=url, headers=(("Authorization", "TOKEN"),))
        with held(server, variables={"TOKEN": "Bearer given", "OTHER": "canary"}) as registry:
            assert called(registry, "web__echo").passed
    assert {headers["authorization"] for headers in seen} == {"Bearer given"}
    assert {headers["accept-encoding"] for headers in seen} == {"identity"}
    assert "canary" not in str(seen)


def elsewhere(handler: BaseHTTPRequestHandler, _request: dict[str, Any]) -> None:
    reply(handler, b"", 307, location="http://127.0.0.2:1/stolen")


def compressed(handler: BaseHTTPRequestHandler, request: dict[str, Any]) -> None:
    good(handler, request, content_encoding="gzip")


def too_long(handler: BaseHTTPRequestHandler, _request: dict[str, Any]) -> None:
    reply(handler, b"[" + b" " * 300_000)


def dripping(handler: BaseHTTPRequestHandler, _request: dict[str, Any]) -> None:
    handler.send_response(200)
    handler.send_header("content-type", "text/event-stream")
    handler.end_headers()
    try:
        for _ in range(300):
            handler.wfile.write(b": still here\n\n")
            time.sleep(0.05)
    except OSError:
        pass


@pytest.mark.parametrize(("how", "class_", "says"), [
    (elsewhere, "ServerRefused", "not followed"),
    (compressed, "ServerGone", "a compressed answer"),
    (too_long, "ServerGone", "an answer of more than"),
    (dripping, "ServerTimeout", "did not answer within 2 s"),
    (lambda handler, _: reply(handler, b"\x1b[2J<html>no</html>", content_type="text/html"), "ServerRefused", "content type"),
    (lambda handler, _: reply(handler, b"no", 500), "ServerRefused", "refused the call"),
    (lambda handler, _: reply(handler, b"{"), "ServerRefused", "in its own words"),
    (lambda handler, _: reply(handler, b"", 202), "ServerRefused", "202"),
])
def test_an_answer_over_http_that_is_none_is_a_structured_error(
    how: Answer, class_: str, says: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(web, "LONGEST_ANSWER", 200_000)
    with by_hand(how) as (url, _), held(Server("web", url=url, time_limit_s=2)) as registry:
        outcome = called(registry, "web__echo")
    assert outcome.error is not None
    assert outcome.error["class"] == class_ and says in outcome.error["message"], outcome.error
    assert capfd.readouterr() == ("", "")
