"""One process of the host, supervised until nothing of it is left: its time, its output, its end.

Output is read while the program runs and only its beginning is kept, so that a flood costs the flooder and not us.
"""

from __future__ import annotations

import os
import selectors
import signal
import subprocess
import time
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from safeloop.tools.limiting import unless_given_up
from safeloop.tools.sandbox.limits import Ended, Execution

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_LOOK_S = 0.05  # between two looks at what it uses
_CHUNK = 1 << 16
_GONE_S = 10.0  # for what was killed to be gone
_STDOUT, _STDERR, _STATUS = 0, 1, 2


@dataclass(frozen=True, slots=True)
class Started:
    """A program to be started, and the ways to look at it and to stop it.

    Args:
        argv: The backend's own command line.
        stdin: What the program reads, then end of file.
        pass_fds: Descriptors for the child, which are closed here.
        status: A descriptor to read the backend's own words from, or None.
        kill: Ends what does not end with the child; it may be called when nothing is left.
        watch: Says which limit was crossed, if any, given the child's process id.
    """

    argv: Sequence[str]
    stdin: bytes
    kill: Callable[[], None]
    watch: Callable[[int], Ended | None]
    pass_fds: tuple[int, ...] = ()
    status: int | None = None


@dataclass(slots=True)
class Stream:
    """The beginning of what was written, and how much more it was."""

    keep: int
    data: bytearray = field(default_factory=bytearray)
    left_out: int = 0

    def take(self, chunk: bytes) -> None:
        """Keep what there is room for."""
        room = self.keep - len(self.data)
        self.data += chunk[:room]
        self.left_out += max(0, len(chunk) - room)


def supervise(started: Started, time_s: float, output_bytes: int) -> tuple[Execution, bytes]:
    """Run a program to its end, or end it; return what came of it, and the backend's own words.

    Nothing is inherited but what is passed: no environment, no terminal, `/` as the working folder.

    Args:
        started: What to run.
        time_s: Seconds, then everything is killed.
        output_bytes: Kept of each stream, inclusive.

    Raises:
        OSError: It cannot be started.
        TimedOut: The call that it runs for was given up; everything was killed.
    """
    before = time.monotonic()
    with _started(started) as process:
        streams = (Stream(output_bytes), Stream(output_bytes), Stream(_CHUNK))
        try:
            ended = _follow(process, started, streams, before + time_s)
        finally:
            _kill(process, started)
            process.wait()
    status = process.returncode if process.returncode >= 0 else 128 - process.returncode
    out, err, said = streams
    execution = Execution(
        ended, status if ended is Ended.EXITED else None, _signal(status) if ended is Ended.EXITED else None,
        bytes(out.data), bytes(err.data), out.left_out, err.left_out, round((time.monotonic() - before) * 1000),
    )
    return execution, bytes(said.data)


def _started(started: Started) -> subprocess.Popen[bytes]:
    """Start the child; what it was passed is closed here, or nobody would ever see its end."""
    try:
        return subprocess.Popen(  # noqa: S603 - the command line is the backend's, and no shell reads what is in it
            started.argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env={}, cwd="/",
            pass_fds=started.pass_fds, start_new_session=True, bufsize=0,
        )
    finally:
        for descriptor in started.pass_fds:
            os.close(descriptor)


def _follow(process: subprocess.Popen[bytes], started: Started, streams: Sequence[Stream], until: float) -> Ended:
    """Read and write until the program has ended, or crossed a limit and been killed, and its output is at its end."""
    ended: Ended | None = None
    gone_by: float | None = None
    with selectors.DefaultSelector() as selector:
        _register(selector, process, started)
        unwritten = memoryview(started.stdin)
        while selector.get_map() or process.poll() is None:
            now = time.monotonic()
            if process.poll() is not None or ended is not None:
                gone_by = now + _GONE_S if gone_by is None else gone_by
                if now >= gone_by:
                    break  # somebody else holds the pipe; what was ours has been killed
                _forget_input(selector, process)
            else:
                ended = Ended.TIME if now >= until else started.watch(process.pid)
            if ended is not None:
                _kill(process, started)
            with unless_given_up():
                pass
            for key, _ in selector.select(_LOOK_S):
                if key.data is None:
                    unwritten = _write(selector, key.fd, unwritten, process)
                else:
                    _read(selector, key, streams[key.data])
    return ended or Ended.EXITED


def _kill(process: subprocess.Popen[bytes], started: Started) -> None:
    process.kill()  # of a process that has been waited for it does nothing: its number may be another's by now
    started.kill()


def _register(selector: selectors.BaseSelector, process: subprocess.Popen[bytes], started: Started) -> None:
    assert process.stdin is not None and process.stdout is not None and process.stderr is not None  # noqa: S101 - pipes were asked for
    if started.stdin:
        os.set_blocking(process.stdin.fileno(), False)
        selector.register(process.stdin.fileno(), selectors.EVENT_WRITE, None)
    else:
        process.stdin.close()
    selector.register(process.stdout.fileno(), selectors.EVENT_READ, _STDOUT)
    selector.register(process.stderr.fileno(), selectors.EVENT_READ, _STDERR)
    if started.status is not None:
        selector.register(started.status, selectors.EVENT_READ, _STATUS)


def _read(selector: selectors.BaseSelector, key: selectors.SelectorKey, stream: Stream) -> None:
    chunk = os.read(key.fd, _CHUNK)
    stream.take(chunk)
    if not chunk:
        selector.unregister(key.fd)


def _write(
    selector: selectors.BaseSelector, descriptor: int, unwritten: memoryview, process: subprocess.Popen[bytes]
) -> memoryview:
    try:
        unwritten = unwritten[os.write(descriptor, unwritten[:_CHUNK]) :]
    except BlockingIOError:
        return unwritten
    except BrokenPipeError:
        unwritten = unwritten[len(unwritten) :]  # it does not want to read more
    if not unwritten:
        _forget_input(selector, process)
    return unwritten


def _forget_input(selector: selectors.BaseSelector, process: subprocess.Popen[bytes]) -> None:
    if process.stdin is not None and not process.stdin.closed:
        with suppress(KeyError):
            selector.unregister(process.stdin.fileno())
        process.stdin.close()


def _signal(status: int) -> str | None:
    try:
        return signal.Signals(status - 128).name if status > 128 else None
    except ValueError:
        return None
