from __future__ import annotations

import errno
import json
import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from safeloop.spec import ToolGrant
from safeloop.tools import ToolOutcome, run_call
from safeloop.tools.fetching import FetchOptions, fetch_tools
from tests.tools.fetching.server import RawServer, Script

PUBLIC = "93.184.215.14"


def fetched(url: object, options: FetchOptions) -> ToolOutcome:
    return run_call(fetch_tools(options), ToolGrant(permissions=("read",)), "fetch_url", {"url": url})


def text_of(outcome: ToolOutcome) -> str:
    assert outcome.passed, outcome.result
    return outcome.result


def head_of(outcome: ToolOutcome) -> dict[str, str]:
    lines = text_of(outcome).split("\n\n", 1)[0].split("\n")[1:]
    return dict(line.split(": ", 1) for line in lines)


def body_of(outcome: ToolOutcome) -> str:
    return text_of(outcome).split("\n\n", 1)[1]


def error_of(outcome: ToolOutcome) -> tuple[str, str]:
    """Class and message of a structured error, as the model reads them."""
    assert not outcome.passed, outcome.result
    error = json.loads(outcome.result)["error"]
    return error["class"], error["message"]


@dataclass
class Wire:
    """The world outside, as far as this machine has one: addresses that lead to a server on loopback, and no others.

    Every attempt to connect is kept. What is neither routed nor loopback is unreachable, so no test leaves the machine.
    """

    connect: Callable[..., socket.socket]
    routes: dict[tuple[str, int], int] = field(default_factory=dict)
    tried: list[tuple[str, int]] = field(default_factory=list)

    def __call__(self, address: tuple[str, int], *rest: Any, **keywords: Any) -> socket.socket:
        self.tried.append(address)
        if address in self.routes:
            return self.connect(("127.0.0.1", self.routes[address]), *rest, **keywords)
        if address[0] == "127.0.0.1":
            return self.connect(address, *rest, **keywords)
        raise OSError(errno.ENETUNREACH, "unreachable")


@pytest.fixture
def wire(monkeypatch: pytest.MonkeyPatch) -> Wire:
    own = Wire(socket.create_connection)
    monkeypatch.setattr(socket, "create_connection", own)
    return own


class Names:
    """A resolver: each name with the answers that it gives, one after the other; the last one for ever."""

    def __init__(self, **answers: list[list[str]]) -> None:
        self.answers = {name.replace("_", "."): list(each) for name, each in answers.items()}
        self.asked: list[str] = []

    def __call__(self, host: str, port: int, family: int, kind: int) -> list[tuple[Any, ...]]:
        self.asked.append(host)
        if host not in self.answers:
            raise socket.gaierror(socket.EAI_NONAME, "not known")
        known = self.answers[host]
        now = known.pop(0) if len(known) > 1 else known[0]
        return [(socket.AF_INET6 if ":" in each else socket.AF_INET, kind, 6, "", (each, port)) for each in now]


@pytest.fixture
def serve() -> Iterator[Callable[..., RawServer]]:
    """Start servers; they are stopped after the test."""
    running: list[RawServer] = []

    def start(script: Script, **keywords: Any) -> RawServer:
        server = RawServer(script, **keywords).__enter__()
        running.append(server)
        return server

    yield start
    for server in running:
        server.__exit__()


@pytest.fixture
def local(serve: Callable[..., RawServer]) -> Callable[..., ToolOutcome]:
    """Fetch from a server with this script, which is allowed by its address and port."""

    def run(script: Script, path: str = "/", **options: Any) -> ToolOutcome:
        port = serve(script).port
        allowed = replace(FetchOptions(allowed_hosts=(f"127.0.0.1:{port}",), seconds=10), **options)
        return fetched(f"http://127.0.0.1:{port}{path}", allowed)

    return run
