"""What leaves this machine: exactly the bytes that are written here, and nothing of the environment."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from safeloop.errors import SettingError
from safeloop.tools.fetching import FetchOptions, fetch_tools, what_is_missing
from tests.tools.fetching.conftest import PUBLIC, Names, Wire, body_of, fetched
from tests.tools.fetching.server import RawServer, answer, sends

CANARY = "canary-5f1c"


@pytest.fixture
def laden(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, serve: Callable[..., RawServer]) -> RawServer:
    """An environment full of secrets, with a proxy that would like to have them."""
    proxy = serve(sends(answer(b"from the proxy")))
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.setenv(name, f"http://user:{CANARY}@127.0.0.1:{proxy.port}")
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    for name in ("ANTHROPIC_API_KEY", "AWS_SECRET_ACCESS_KEY", "SAFELOOP_KEYS", "SSH_AUTH_SOCK", "USER", "LOGNAME", "LANG"):
        monkeypatch.setenv(name, CANARY)
    netrc = tmp_path / ".netrc"
    netrc.write_text(f"machine shop.test login me password {CANARY}\ndefault login me password {CANARY}\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("NETRC", str(netrc))
    return proxy


def test_a_request_is_these_bytes_and_no_others(laden: RawServer, wire: Wire, serve: Callable[..., RawServer]) -> None:
    server = serve(sends(answer(b"page")))
    wire.routes = {(PUBLIC, 80): server.port}
    outcome = fetched("http://shop.test/a b?q=é#part", FetchOptions(resolve=Names(shop_test=[[PUBLIC]])))
    assert body_of(outcome) == "page"
    assert server.requests == [
        b"GET /a%20b?q=%C3%A9 HTTP/1.1\r\n"
        b"Host: shop.test\r\n"
        b"User-Agent: safeloop\r\n"
        b"Accept: text/html, application/xhtml+xml, text/*;q=0.9, application/json;q=0.9, application/xml;q=0.8\r\n"
        b"Accept-Encoding: gzip, deflate\r\n"
        b"Connection: close\r\n\r\n"
    ]
    assert (laden.connections, wire.tried) == (0, [(PUBLIC, 80)])
    assert CANARY not in outcome.result


def test_a_challenge_for_a_password_gets_none(laden: RawServer, wire: Wire, serve: Callable[..., RawServer]) -> None:
    server = serve(sends(answer(b"", 'WWW-Authenticate: Basic realm="x"', status="401 Who")))
    wire.routes = {(PUBLIC, 80): server.port}
    outcome = fetched("http://shop.test/", FetchOptions(resolve=Names(shop_test=[[PUBLIC]])))
    assert not outcome.passed
    assert len(server.requests) == 1
    assert b"uthorization" not in server.requests[0]


def test_a_cookie_is_not_carried_to_the_next_request_nor_the_address_that_led_there(
    wire: Wire, serve: Callable[..., RawServer]
) -> None:
    def script(connection, path):
        connection.sendall(
            answer(b"end") if path == "/end"
            else answer(b"", "Location: /end", f"Set-Cookie: a={CANARY}; Path=/", status="302 Found")
        )  # fmt: skip

    server = serve(script)
    wire.routes = {(PUBLIC, 80): server.port}
    options = FetchOptions(resolve=Names(shop_test=[[PUBLIC]]))
    assert body_of(fetched(f"http://shop.test/?secret={CANARY}", options)) == "end"
    assert body_of(fetched("http://shop.test/end", options)) == "end"
    for request in server.requests[1:]:
        assert CANARY.encode() not in request
        assert b"Cookie" not in request
        assert b"Referer" not in request


def test_the_process_that_reads_pages_gets_nothing_of_the_environment(
    laden: RawServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A stand-in for the interpreter writes down the environment and the folder that it was started with."""
    from safeloop.tools.fetching.failure import NotReadable
    from safeloop.tools.fetching.reading import read_page

    seen = tmp_path / "seen"
    spy = tmp_path / "python"
    spy.write_text(f"#!{sys.executable}\nimport os\nopen({str(seen)!r}, 'w').write(repr((dict(os.environ), os.getcwd())))\nos._exit(1)\n")
    spy.chmod(0o700)
    monkeypatch.setattr(sys, "executable", str(spy))
    with pytest.raises(NotReadable):
        read_page("<p>x")
    environment, folder = eval(seen.read_text())
    assert set(environment) <= {"LC_CTYPE"}  # CPython's own, for itself
    assert folder == "/"


def reading_process(before: str, after: str, html: str) -> subprocess.CompletedProcess[str]:
    """Run the program that reads pages, with something of this test's before and after it."""
    from safeloop.tools.fetching import page

    code = f"import sys; sys.path.insert(0, {str(Path(page.__file__).parent)!r}); import page; {before}; page.main(); {after}"
    return subprocess.run(
        [sys.executable, "-c", code], input=html, capture_output=True, text=True, timeout=20, check=False, env={}
    )  # no environment, as in a run; and no measurer of tests, which could not write down what it measured


def test_that_process_can_write_no_file(tmp_path: Path) -> None:
    done = reading_process("pass", f"open({str(tmp_path / 'out')!r}, 'wb', buffering=0).write(b'x')", "<p>x")
    assert "File too large" in done.stderr
    assert (tmp_path / "out").stat().st_size == 0


@pytest.mark.parametrize(
    ("limit", "end"), [("page.MEMORY_BYTES = 150 << 20", "MemoryError"), ("page.CPU_S = 1", "")], ids=["memory", "time"]
)
def test_that_process_has_a_limit_of_its_own(limit: str, end: str) -> None:
    done = reading_process(limit, "pass", "<i>x</i>" * 200_000)
    assert (done.returncode != 0, done.stdout) == (True, "")
    assert end in done.stderr


def test_without_the_library_there_is_no_tool_and_the_error_says_what_to_install(tmp_path: Path) -> None:
    """In an interpreter of its own, where `bs4` cannot be found."""
    code = (
        "import sys; sys.modules['bs4'] = None\n"
        "from importlib.machinery import PathFinder\n"
        "find = PathFinder.find_spec\n"
        "PathFinder.find_spec = lambda name, *rest: None if name == 'bs4' else find(name, *rest)\n"
        "del sys.modules['bs4']\n"
        "from safeloop.errors import SettingError\n"
        "from safeloop.tools.fetching import FetchOptions, fetch_tools, what_is_missing\n"
        "print(what_is_missing())\n"
        "try: fetch_tools(FetchOptions())\n"
        "except SettingError as error: print(error, '|', error.hint)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=30, check=True, env=dict(os.environ)
    )
    said = "fetch_url needs the package beautifulsoup4, which reads HTML"
    assert done.stdout.splitlines() == [said, f"{said} | pip install 'safeloop[fetch]'"]


def test_the_tool_is_what_the_spec_sees() -> None:
    (tool,) = fetch_tools()
    assert what_is_missing() is None
    assert (tool.name, tool.permission.value, tool.is_idempotent) == ("fetch_url", "read", True)
    assert tool.time_limit_s == 20 + 12 + 5  # its own limits first, then the runtime's
    assert tool.parameters["required"] == ["url"]


@pytest.mark.parametrize(
    "wrong",
    [
        {"allowed_hosts": ("http://example.com",)}, {"allowed_hosts": ("a b",)}, {"allowed_hosts": ("",)},
        {"allowed_hosts": ("user@example.com",)}, {"allowed_hosts": ("example.com/path",)}, {"allowed_hosts": ("::1",)},
        {"allowed_hosts": ("example.com:port",)}, {"allowed_hosts": (None,)}, {"allowed_hosts": "localhost"}, {"only_hosts": ["a.test"]}, {"only_hosts": ("example.com:80",)},
        {"wire_bytes": 0}, {"body_bytes": -1}, {"text_characters": 1.5}, {"header_bytes": True}, {"redirects": -1},
        {"seconds": 0}, {"seconds": float("nan")}, {"seconds": 601},
    ],
)  # fmt: skip
def test_options_without_a_meaning_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(SettingError):
        FetchOptions(**wrong)  # type: ignore[arg-type]


def test_a_host_is_compared_as_a_url_would_write_it() -> None:
    options = FetchOptions(allowed_hosts=("ExAmple.COM:8080", "[::1]:81"), only_hosts=("bücher.example",))
    assert options.may_use_port("example.com", 8080)
    assert options.may_use_port("::1", 81)
    assert not options.may_use_port("example.com", 81)
    assert options.may_ask("xn--bcher-kva.example")
