"""A process that has the program imported, and forks for each command: each is a process of its own, quickly begun.

What depends on how a process begins (another locale, another interpreter's flags, a command around it) is not for it.
"""

from __future__ import annotations

import contextlib
import functools
import gc
import importlib
import json
import os
import pkgutil
import select
import signal
import socket
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from subprocess import Popen, TimeoutExpired
from typing import Any

from safeloop.cli.main import main
from safeloop.tools import ToolRegistry

_MOST = 150_000  # bytes of one order; more is not sent
_OF_THE_BEGINNING = ("LANG", "LC_", "PYTHON", "LD_", "TZ")
# What commands import only when they call a model.
_OF_CALLS = ("safeloop.models", "anthropic", "httpcore2", "h11", "encodings.idna", "genai_prices.data", "opentelemetry.propagate")


class Forking:
    """The one such process of this one, for one command at a time."""

    def __init__(self, environment: Mapping[str, str], has_sdk: bool) -> None:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._begun_with = _beginning(environment)
        self._pipe, self._lock = ours, threading.Lock()
        self._process = Popen(
            [sys.executable, "-m", "tests.cli.forking", str(theirs.fileno()), *["sdk"] * has_sdk],
            cwd=Path(__file__).parents[2], env={**environment, "HOME": "/nonexistent"}, pass_fds=(theirs.fileno(),),
        )
        theirs.close()

    def run(
        self, arguments: tuple[str, ...], folder: Path, stdin: bytes, environment: Mapping[str, str], patience_s: float
    ) -> tuple[int, bytes, bytes] | None:
        """Run a command to its end; return its code, as `subprocess` gives it, and what it wrote.

        None says that it has not run: a process of its own must be begun for it.
        """
        order = json.dumps([arguments, str(folder), dict(environment)]).encode()
        if len(order) > _MOST or _beginning(environment) != self._begun_with or not self._lock.acquire(blocking=False):
            return None
        with contextlib.ExitStack() as stack:
            stack.callback(self._lock.release)
            streams = [stack.enter_context(open(os.memfd_create(name), "w+b")) for name in ("in", "out", "err")]
            streams[0].write(stdin)
            streams[0].seek(0)
            socket.send_fds(self._pipe, [order], [stream.fileno() for stream in streams])
            code = self._wait(arguments, patience_s)
            for stream in streams[1:]:
                stream.seek(0)
            return code, streams[1].read(), streams[2].read()

    def _wait(self, arguments: tuple[str, ...], patience_s: float) -> int:
        pid = json.loads(self._pipe.recv(100))
        is_late = not select.select([self._pipe], [], [], patience_s)[0]
        if is_late:
            os.kill(pid, signal.SIGKILL)
        code = int(json.loads(self._pipe.recv(100)))
        if is_late:
            raise TimeoutExpired(arguments, patience_s)
        return code


def _beginning(environment: Mapping[str, str]) -> dict[str, str]:
    """Return what of an environment counts when a process begins, and not later."""
    return {name: value for name, value in environment.items() if name.startswith(_OF_THE_BEGINNING)}


@functools.cache
def forking(beginning: tuple[tuple[str, str], ...], has_sdk: bool) -> Forking:
    """Return the process that forks in this environment, with the SDK imported or not; it ends with this one."""
    return Forking(dict(beginning), has_sdk)


def _serve(pipe: socket.socket) -> None:
    """Fork for each order, until the other end is closed; only in the fork does it return before."""
    while True:
        order, descriptors, _, _ = socket.recv_fds(pipe, _MOST, 3)
        if not order:
            return
        child = os.fork()
        if child == 0:
            pipe.close()
            arguments, folder, environment = json.loads(order)
            _become(arguments, folder, environment, descriptors)
            main()
        for descriptor in descriptors:
            os.close(descriptor)
        pipe.send(json.dumps(child).encode())
        pipe.send(json.dumps(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])).encode())


def _become(arguments: list[str], folder: str, environment: dict[str, str], streams: list[int]) -> None:
    for number, descriptor in enumerate(streams):
        os.dup2(descriptor, number)
        os.close(descriptor)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    sys.argv[1:] = arguments


def _look(what: str) -> str:
    """Look."""
    return what


def import_all(*names: str) -> None:
    """Import modules, and what a package has one level below it."""
    for name in names:
        package: Any = importlib.import_module(name)
        for module in pkgutil.iter_modules(getattr(package, "__path__", ()), f"{name}."):
            importlib.import_module(module.name)


def prepare(*more: str) -> None:
    """Import what commands need, and with `sdk` what they need to call a model."""
    import_all("safeloop.cli", "safeloop.ledger", "safeloop.review", "pydantic.type_adapter", *_OF_CALLS if "sdk" in more else ())
    ToolRegistry().tool(permission="read")(_look)  # what describes tools is imported when there are some


if __name__ == "__main__":
    prepare(*sys.argv[2:])
    gc.freeze()  # a fork that ends does not look through all that it was born with
    with socket.socket(fileno=int(sys.argv[1])) as connection:
        _serve(connection)
