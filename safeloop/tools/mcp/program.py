"""A server's program: started in the sandbox, spoken to line by line, and ended with everything that it started.

The official package's own transport is not used here: it hands on a part of our environment and our standard error, and
keeps a line of any length.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import anyio
import mcp_types as types
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream
from mcp.shared.message import SessionMessage

from safeloop.ledger.visible import visible
from safeloop.tools.mcp.guard import Fault, Streams
from safeloop.tools.mcp.servers import Server, Supply
from safeloop.tools.removing import remove_tree
from safeloop.tools.sandbox import Bubblewrap, Fenced, Limits, More, Places
from safeloop.tools.sandbox.bwrap import SEARCHED

LONGEST_MESSAGE = 16_000_000
"""Bytes of one message, its line feed included."""

LIMITS = Limits(time_s=3_600.0, memory_bytes=2 << 30)
"""Of a server in the sandbox; the time is each process's of a processor."""

_CHUNK = 1 << 16
_TOLD = 4_000  # bytes of standard error, the last ones
_LOOK_S = 0.5
_GRACE_S = 1.0
_ID = re.compile(rb'"id"\s*:\s*([0-9]{1,15})\b')  # our own ids are numbers


@dataclass(slots=True)
class Running:
    """A program that runs, and the last that it wrote to standard error."""

    process: subprocess.Popen[bytes]
    fenced: Fenced | None
    words: bytes = b""

    @property
    def told(self) -> str:
        """Those words on one line, for the operator."""
        return visible(" ".join(self.words.decode("utf-8", "replace").split()), 500)

    def kill(self) -> None:
        """Kill it and what it started: all of it in the sandbox; else what stayed in its process group."""
        if self.process.returncode is None:  # not waited for yet: its number is nobody else's, even if it has ended
            with suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)
        if self.fenced is not None:
            self.fenced.kill()


@contextmanager
def running(
    server: Server, supply: Supply, sandbox: Bubblewrap | None, workspace: Path | None
) -> Iterator[Running]:
    """Hold a server's program, in a scratch folder of its own; nothing of it is left afterwards.

    Args:
        server: One with a command.
        supply: What it gets.
        sandbox: Where it runs; None where the operator wants none.
        workspace: What it can read in the sandbox.

    Raises:
        OSError: It cannot be started.
        ToolError: Its sandbox cannot be made.
    """
    with _scratch() as scratch:
        if sandbox is None:
            with _started(Running(_popen(_unfenced(server), (), dict(supply.environment), scratch), None)) as started:
                yield started
            return
        more = More(server.folders, supply.environment)
        with sandbox.fenced(server.command, Places(scratch, workspace), LIMITS, more) as fenced:
            try:
                # An empty environment for bwrap too: a program inside could read what it was started with.
                process = _popen(fenced.argv, fenced.pass_fds, {}, Path("/"))
            except OSError:
                os.close(fenced.status)
                raise
            with _started(Running(process, fenced)) as started:
                yield started


@contextmanager
def _scratch() -> Iterator[Path]:
    made = Path(tempfile.mkdtemp(prefix="safeloop-mcp-"))
    try:
        (made / "scratch").mkdir()
        yield made / "scratch"
    finally:
        with suppress(OSError):  # what a server without a sandbox has left behind may still write there
            remove_tree(made)


def _unfenced(server: Server) -> tuple[str, ...]:
    # So that it does not outlive us, whatever ends us; the kernel's promise is for this one process alone.
    setpriv = shutil.which("setpriv", path=SEARCHED)
    return server.command if setpriv is None else (setpriv, "--pdeathsig", "KILL", "--", *server.command)


def _popen(
    argv: tuple[str, ...], pass_fds: tuple[int, ...], environment: dict[str, str], folder: Path
) -> subprocess.Popen[bytes]:
    try:
        return subprocess.Popen(  # noqa: S603 - the operator's own command, and no shell reads it
            argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment, cwd=folder,
            pass_fds=pass_fds, start_new_session=True, bufsize=0,
        )
    finally:
        for descriptor in pass_fds:
            os.close(descriptor)


@contextmanager
def _started(program: Running) -> Iterator[Running]:
    process = program.process
    assert process.stdin is not None and process.stdout is not None and process.stderr is not None  # noqa: S101 - pipes were asked for
    pipes = (process.stdin, process.stdout, process.stderr)
    for pipe in pipes:
        os.set_blocking(pipe.fileno(), False)
    try:
        yield program
    finally:
        for pipe in pipes:
            pipe.close()  # a server ends where its input does; what does not is killed
        _wait(process.pid, _GRACE_S)
        program.kill()
        process.wait()
        if program.fenced is not None:
            program.fenced.wait_until_gone()


def _wait(process: int, seconds: float) -> None:
    """Wait for a process to end, and leave it for whoever takes its status."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if os.waitid(os.P_PID, process, os.WEXITED | os.WNOWAIT | os.WNOHANG) is not None:
            return
        time.sleep(0.01)


@asynccontextmanager
async def over_pipes(program: Running, fault: Fault) -> AsyncIterator[Streams]:
    """Hold the streams of messages from and to a program.

    Args:
        program: It runs.
        fault: Told why, if it is ended here.
    """
    inner, inward = anyio.create_memory_object_stream[SessionMessage | Exception](0)
    outward, outer = anyio.create_memory_object_stream[SessionMessage](0)
    async with inner, inward, outward, outer, anyio.create_task_group() as group:
        group.start_soon(_hear, program, inner, fault)
        group.start_soon(_speak, program, outer)
        group.start_soon(_overhear, program)
        group.start_soon(_look, program, fault)
        try:
            yield inward, outward
        finally:
            group.cancel_scope.cancel()


async def _hear(program: Running, inner: MemoryObjectSendStream[SessionMessage | Exception], fault: Fault) -> None:
    """Hand on each line as a message; a line that is none is handed on as what is wrong with it."""
    assert program.process.stdout is not None  # noqa: S101 - a pipe
    line = bytearray()
    async with inner:
        with suppress(anyio.BrokenResourceError, anyio.ClosedResourceError):
            while chunk := await _chunk(program.process.stdout.fileno()):
                *ended, rest = chunk.split(b"\n")
                for piece in ended:
                    await inner.send(_message(bytes(line + piece)))
                    line.clear()
                line += rest
                if len(line) >= LONGEST_MESSAGE:
                    fault.say(f"it sent a message of more than {LONGEST_MESSAGE:,} bytes")
                    return
            fault.say("it has ended")


def _message(line: bytes) -> SessionMessage | Exception:
    """Read a line; one that answers a request and cannot be read is an error of that request, and not waited for."""
    try:
        return SessionMessage(types.jsonrpc_message_adapter.validate_json(line, by_name=False))
    except (ValueError, RecursionError) as error:
        answered = _ID.search(line)
        if answered is None:
            return error
        unreadable = types.ErrorData(code=types.PARSE_ERROR, message="its answer cannot be read")
        return SessionMessage(types.JSONRPCError(jsonrpc="2.0", id=int(answered[1]), error=unreadable))


async def _speak(program: Running, outer: MemoryObjectReceiveStream[SessionMessage]) -> None:
    """Write each message as a line; where the program does not read any more, nothing is written."""
    assert program.process.stdin is not None  # noqa: S101 - a pipe
    descriptor = program.process.stdin.fileno()
    async with outer:
        with suppress(BrokenPipeError, anyio.EndOfStream, anyio.ClosedResourceError):
            async for item in outer:
                text = item.message.model_dump_json(by_alias=True, exclude_unset=True)
                left = memoryview(text.encode() + b"\n")
                while left:
                    await anyio.wait_writable(descriptor)
                    with suppress(BlockingIOError):
                        left = left[os.write(descriptor, left[:_CHUNK]) :]


async def _overhear(program: Running) -> None:
    """Keep the end of standard error; none of it is shown but to say why a server did not start."""
    assert program.process.stderr is not None  # noqa: S101 - a pipe
    while chunk := await _chunk(program.process.stderr.fileno()):
        program.words = (program.words + chunk)[-_TOLD:]


async def _look(program: Running, fault: Fault) -> None:
    """Kill a program that takes more than it may."""
    while program.fenced is not None:
        ended = program.fenced.watch(program.process.pid)
        if ended is not None:
            fault.say(f"it was {ended.value}")
            program.kill()
            return
        await anyio.sleep(_LOOK_S)


async def _chunk(descriptor: int) -> bytes:
    while True:
        await anyio.wait_readable(descriptor)
        with suppress(BlockingIOError):
            return os.read(descriptor, _CHUNK)
