"""Processes that begin quickly: forked, each with an environment and streams of its own, from one that has imported all.

What depends on how a process begins (another locale, another interpreter's flags, a command around it) is not for it.
"""

from __future__ import annotations

import contextlib
import fcntl
import functools
import gc
import importlib
import json
import os
import select
import signal
import socket
import subprocess
import sys
import termios
import time
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

_MOST = 150_000  # bytes of one order
OF_THE_BEGINNING = ("LANG", "LC_", "PYTHON", "LD_", "TZ", "COVERAGE_")


def beginning(environment: Mapping[str, str]) -> dict[str, str]:
    """Return what of an environment counts when a process begins, and not later."""
    return {name: value for name, value in environment.items() if name.startswith(OF_THE_BEGINNING)}


class Forked:
    """Such a process, as `subprocess.Popen` has one; it stays until it ends or is killed.

    Args:
        module: Its `prepare` is called once, before anything is forked, and its `main` in each process.
        prepared: What `prepare` is called with.
        pipes: Which of stdin, stdout and stderr lead here; of the others the first is empty, and the errors go where
            those of this process go.
        text: They are texts.
        terminal: The descriptor of one that all three lead to instead, and that becomes its own.
    """

    def __init__(
        self, module: str, arguments: tuple[str, ...], folder: Path, environment: Mapping[str, str], *,
        prepared: tuple[str, ...] = (), pipes: tuple[str, ...] = ("stdout", "stderr"), text: bool = False,
        terminal: int | None = None,
    ) -> None:  # fmt: skip
        pipe, _ = _server(module, prepared, tuple(sorted(beginning(environment).items())))
        order = json.dumps([arguments, str(folder), dict(environment), terminal is not None]).encode()
        assert len(order) <= _MOST
        self.args = arguments
        mode = "" if text else "b"
        with contextlib.ExitStack() as stack:
            given = []
            for name, own in (("stdin", os.open(os.devnull, os.O_RDONLY)), ("stdout", os.dup(1)), ("stderr", os.dup(2))):
                stack.callback(os.close, own)
                if terminal is not None:
                    own = terminal
                elif name in pipes:
                    read, write = os.pipe()
                    mine, own = (write, read) if name == "stdin" else (read, write)
                    stack.callback(os.close, own)
                    setattr(self, name, os.fdopen(mine, ("w" if name == "stdin" else "r") + mode))
                given.append(own)
            read, write = os.pipe()
            stack.callback(os.close, write)
            self._status = os.fdopen(read, "rb", buffering=0)
            socket.send_fds(pipe, [order], [*given, write])
        self.pid = int(self._status.readline())

    stdin: IO[Any] | None = None
    stdout: IO[Any] | None = None
    stderr: IO[Any] | None = None
    returncode: int | None = None

    def __enter__(self) -> Forked:
        return self

    def __exit__(self, *failure: object) -> None:
        if failure[0] is not None:
            self.kill()
        self._close()
        self.wait()

    def poll(self) -> int | None:
        """Return how it ended, as `subprocess` says it, or None."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            return self.wait(0)
        return None

    def wait(self, timeout: float | None = None) -> int:
        """Wait for the end; return the exit code, as `subprocess` gives it."""
        if self.returncode is None:
            if not select.select([self._status], [], [], timeout)[0]:
                raise subprocess.TimeoutExpired(self.args, timeout or 0.0)
            self.returncode = int(self._status.readline())
            self._status.close()
        return self.returncode

    def send_signal(self, number: int) -> None:
        """Send a signal, unless it has ended; from any thread."""
        if self.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def wait_until_stopped(self) -> None:
        """Wait until SIGSTOP has stopped it."""
        while Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()[0] != "T":
            time.sleep(0.001)

    def kill(self) -> None:
        """End it without warning."""
        self.send_signal(signal.SIGKILL)

    def communicate(self, told: Any = None, timeout: float | None = None) -> tuple[Any, Any]:
        """Tell it this and wait for the end; return what it wrote, where that fits into a pipe."""
        if self.stdin is not None:
            if told:
                self.stdin.write(told)
            self.stdin.close()
        self.wait(timeout)
        out, err = (None if stream is None or stream.closed else stream.read() for stream in (self.stdout, self.stderr))
        self._close()
        return out, err

    def _close(self) -> None:
        for stream in (self.stdin, self.stdout, self.stderr):
            if stream is not None:
                stream.close()


def door(module: str, environment: Mapping[str, str]) -> str:
    """Return the abstract name of a socket of datagrams, where any process may order one.

    An order is `[arguments, folder, environment, false]` in JSON with four descriptors: the streams, and one where the
    process's number comes, and its exit code as `subprocess` gives it, a line each.
    """
    return _server(module, (), tuple(sorted(beginning(environment).items())))[1]


@functools.cache
def _server(
    module: str, prepared: tuple[str, ...], begun_with: tuple[tuple[str, str], ...]
) -> tuple[socket.socket, str]:
    """Begin the process that forks, which ends with this one; return the pipe to it, and its door."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with theirs, socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as entrance:
        entrance.bind("")  # a name is chosen by the kernel
        inherited = (theirs.fileno(), entrance.fileno())
        subprocess.Popen(
            [sys.executable, "-m", "tests.forked", *map(str, inherited), module, *prepared], stdin=subprocess.DEVNULL,
            cwd=Path(__file__).parents[1], env={**dict(begun_with), "HOME": "/nonexistent"}, pass_fds=inherited,
        ).returncode = 0  # nobody waits for it
        return ours, entrance.getsockname()[1:].decode()


def _serve(pipe: socket.socket, entrance: socket.socket) -> bool:
    """Fork for each order; true in the process that was forked, false when the other end of the pipe is closed."""
    while True:
        ready = select.select([pipe, entrance], [], [])[0][0]
        order, descriptors, _, _ = socket.recv_fds(ready, _MOST, 4)
        if not order:
            return False
        with contextlib.suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass  # those who waited, and are done
        if os.fork() == 0:
            pipe.close()
            entrance.close()
            if _is_forked(descriptors.pop()):
                _become(*json.loads(order), descriptors)
                return True
        for descriptor in descriptors:
            os.close(descriptor)


def _is_forked(status: int) -> bool:
    """Fork once more: one process says who the other is and how it ended, and is gone."""
    child = os.fork()
    if child == 0:
        os.close(status)
        return True
    try:
        os.closerange(0, status)
        os.write(status, f"{child}\n".encode())
        os.write(status, f"{os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])}\n".encode())
    finally:
        os._exit(0)


def _become(arguments: list[str], folder: str, environment: dict[str, str], is_at_terminal: bool, streams: list[int]) -> None:
    for number, descriptor in enumerate(streams):
        os.dup2(descriptor, number)
        os.close(descriptor)
    if is_at_terminal:
        os.setsid()
        fcntl.ioctl(0, termios.TIOCSCTTY, 0)
    sys.stdout.reconfigure(line_buffering=os.isatty(1))  # type: ignore[union-attr]
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    sys.argv[1:] = arguments


if __name__ == "__main__":
    chosen = importlib.import_module(sys.argv[3])
    chosen.prepare(*sys.argv[4:])
    gc.collect()
    gc.freeze()  # a fork that ends does not look through all that it was born with
    with socket.socket(fileno=int(sys.argv[1])) as connection, socket.socket(fileno=int(sys.argv[2])) as ordered_by_all:
        is_forked = _serve(connection, ordered_by_all)
    if is_forked:
        chosen.main()
