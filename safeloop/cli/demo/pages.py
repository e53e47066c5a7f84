"""The page that the demo audits: bundled, a file, or on the web; fetched over HTTP in every case."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib import resources
from pathlib import Path
from urllib.parse import urlsplit

from safeloop.errors import SettingError

MOST_PAGE_BYTES = 5_000_000
_TIMEOUT_S = 20.0
_MOST_REDIRECTS = 5


def fetch_page(page: str | None) -> tuple[str, bytes]:
    """Fetch the page that is meant; return the address that answered, and the bytes.

    Args:
        page: An http or https address, a file, or None for the bundled page. The latter two are served from
            loopback, so that the walk is the same.

    Raises:
        SettingError: There is no such page, it does not answer, or it is too large.
    """
    if page is not None and urlsplit(page).scheme in ("http", "https"):
        return _get(page)
    with _served(_local(page)) as address:
        return _get(address)


def _local(page: str | None) -> bytes:
    if page is None:
        return resources.files("safeloop.cli.demo").joinpath("page.html").read_bytes()
    try:
        with Path(page).open("rb") as file:
            return file.read(MOST_PAGE_BYTES + 1)
    except OSError as error:
        raise SettingError(
            f"page {page} cannot be read: {error.strerror}", hint="give a file, or an http or https address"
        ) from None


@contextlib.contextmanager
def _served(data: bytes) -> Iterator[str]:
    """Serve one page from loopback until the end; yield its address."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/html; charset=utf-8")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - http.server's name
            """Say nothing: the demo tells its own story."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}/"
        finally:
            server.shutdown()
            thread.join()


def _get(address: str) -> tuple[str, bytes]:
    import httpx2  # noqa: PLC0415 - comes with the model SDK, and is not needed before a page is fetched

    received = bytearray()
    try:
        client = httpx2.Client(
            timeout=_TIMEOUT_S, follow_redirects=True, max_redirects=_MOST_REDIRECTS, trust_env=False
        )
        with client, client.stream("GET", address) as response:
            response.raise_for_status()
            for chunk in response.iter_bytes():
                received += chunk
                if len(received) > MOST_PAGE_BYTES:
                    raise SettingError(f"{address} is larger than {MOST_PAGE_BYTES:,} bytes")
            return str(response.url), bytes(received)
    except (httpx2.HTTPError, httpx2.InvalidURL) as error:
        hint = "leave out --page for the bundled one"
        raise SettingError(f"{address} cannot be fetched: {error}", hint=hint) from None
