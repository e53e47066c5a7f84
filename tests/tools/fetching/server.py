"""A server on loopback that sends whatever bytes a test wants, and keeps every byte that it was sent."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
import time
from collections.abc import Callable

Script = Callable[[socket.socket, str], None]


class RawServer:
    """Answers each connection with its script, which gets the connection and the path that was asked for."""

    def __init__(self, script: Script, tls: ssl.SSLContext | None = None) -> None:
        self.requests: list[bytes] = []
        self.server_names: list[str | None] = []
        self.connections = 0
        self._script = script
        self._tls = tls
        if tls is not None:
            tls.sni_callback = lambda _socket, name, _context: self.server_names.append(name)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._open: list[socket.socket] = []
        self._thread = threading.Thread(target=self._accept)
        self._workers: list[threading.Thread] = []

    @property
    def port(self) -> int:
        return int(self._listener.getsockname()[1])

    def __enter__(self) -> RawServer:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(5)
        for each in self._open:
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()
        for worker in self._workers:
            worker.join(5)
            assert not worker.is_alive()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            self._open.append(connection)
            worker = threading.Thread(target=self._serve, args=(connection,))
            self._workers.append(worker)
            worker.start()

    def _serve(self, connection: socket.socket) -> None:
        connection.settimeout(10)
        with contextlib.suppress(OSError):  # the other side gives up: that is what many tests are about
            if self._tls is not None:
                connection = self._tls.wrap_socket(connection, server_side=True)
            with connection:
                request = b""
                while b"\r\n\r\n" not in request and (part := connection.recv(65_536)):
                    request += part
                self.requests.append(request)
                path = request.split(b" ", 2)[1].decode("latin-1") if b" " in request else ""
                self._script(connection, path)


def answer(body: bytes = b"", *headers: str, status: str = "200 OK", kind: str | None = "text/plain") -> bytes:
    """A whole answer, with an honest length."""
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *headers]
    if kind is not None:
        lines.append(f"Content-Type: {kind}")
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + body


def sends(*parts: bytes) -> Script:
    """A script that sends these bytes, whatever is asked for, and hangs up."""

    def script(connection: socket.socket, _path: str) -> None:
        for part in parts:
            connection.sendall(part)

    return script


def redirects(to: str, status: str = "302 Found") -> Script:
    """A script that redirects."""
    return sends(answer(b"", f"Location: {to}", status=status))


def dripping(first: bytes, drop: bytes, pause_s: float = 0.05) -> Script:
    """A script that sends the first bytes, and then the drop again and again, without end."""

    def script(connection: socket.socket, _path: str) -> None:
        connection.sendall(first)
        while True:
            connection.sendall(drop)
            time.sleep(pause_s)

    return script
