"""Work on blocks in several processes, and its results in order: a bounded number of blocks is under way at once.

This process is one of them: it works on a block itself where it would else wait for one. The others are spawned, never
forked: SQLite's handles and locks are open here. A worker holds nothing but the one end of its pipe, and ends when the
other end does, however this process ends.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import socket
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from queue import SimpleQueue
from threading import Thread
from typing import Generic, TypeVar

from safeloop.errors import LedgerError, SafeloopError
from safeloop.review.auditing.blocks import Block

Result = TypeVar("Result")

_IN_HAND = 2
"""Blocks that are with a worker at once: it has the next ones when it is done with one."""

_UNDER_WAY = 4
"""Blocks for each process that are worked on, or done and waiting for their turn."""

_READY = "ready"

_PIPE_BYTES = 1_000_000

_PATIENCE_S = 5.0


@contextlib.contextmanager
def results(
    work: Callable[[Block], Result], blocks: Iterable[Block], processes: int
) -> Iterator[Iterator[tuple[Block, Result]]]:
    """Hand out every block with its result, in order; at the end no process is left.

    Args:
        work: What is done with a block; it is pickled where processes do it.
        blocks: May end in a LedgerError: it is raised after the last result.
        processes: How many do it, this one among them.

    Raises:
        SafeloopError: A worker ended before its work did.
    """
    if processes < 2:
        yield ((block, work(block)) for block in blocks)
        return
    crew = _Crew(work, processes - 1)
    try:
        yield crew.results(blocks)
    finally:
        crew.dismiss()


@dataclass(slots=True)
class _Errand(Generic[Result]):
    """A block under way, and in the end its result in a list of one."""

    block: Block
    result: list[Result]


@dataclass(slots=True)
class _Worker(Generic[Result]):
    """A process; until it has started and said so, nobody waits for what it would do."""

    process: BaseProcess
    pipe: Connection
    is_ready: bool = False
    errands: deque[_Errand[Result]] = field(default_factory=deque)


class _Source:
    """Blocks one by one; a failure to read them is kept until what came before it is judged."""

    def __init__(self, blocks: Iterable[Block]) -> None:
        self._blocks = iter(blocks)
        self.failure: LedgerError | None = None
        self.is_over = False

    def next(self) -> Block | None:
        """Return the next block; None after the last one."""
        if self.is_over:
            return None
        try:
            block = next(self._blocks, None)
        except LedgerError as error:
            block, self.failure = None, error
        self.is_over = block is None
        return block


class _Crew(Generic[Result]):
    """Worker processes, each with an errand at hand beside the one that it is about."""

    def __init__(self, work: Callable[[Block], Result], number: int) -> None:
        self._work = work
        self._workers: list[_Worker[Result]] = []
        try:
            for _ in range(number):
                self._workers.append(_start(work))
        except BaseException:
            self.dismiss()
            raise

    def results(self, blocks: Iterable[Block]) -> Iterator[tuple[Block, Result]]:
        source, line = _Source(blocks), deque[_Errand[Result]]()
        most = _UNDER_WAY * (len(self._workers) + 1)
        while True:
            is_news = self._collect(0)  # before each step of our own: then no worker is out of work for long
            while len(line) < most and (free := self._free()) is not None and (block := source.next()) is not None:
                line.append(self._send(free, block))
            if not line and source.is_over:
                break
            if line and line[0].result:
                errand = line.popleft()
                yield errand.block, errand.result[0]
            elif not is_news:
                self._help(line, source, most)
        if source.failure is not None:
            raise source.failure

    def _help(self, line: deque[_Errand[Result]], source: _Source, most: int) -> None:
        """Work on the next block, or wait for others if there is none, or enough is under way."""
        block = source.next() if len(line) < most else None
        if block is not None:
            line.append(_Errand(block, [self._work(block)]))
        elif line:
            self._collect(None)

    def dismiss(self) -> None:
        """End every worker; one that is only starting, or does not heed the end of its pipe, is killed."""
        for worker in self._workers:
            worker.pipe.close()
            if not worker.is_ready:
                worker.process.kill()
        for worker in self._workers:
            worker.process.join(_PATIENCE_S)
            if worker.process.is_alive():
                worker.process.kill()
                worker.process.join()
            worker.process.close()

    def _free(self) -> _Worker[Result] | None:
        ready = [each for each in self._workers if each.is_ready]
        worker = min(ready, key=lambda each: len(each.errands), default=None)
        return worker if worker is not None and len(worker.errands) < _IN_HAND else None

    def _send(self, worker: _Worker[Result], block: Block) -> _Errand[Result]:
        try:
            worker.pipe.send((block.first, block.bodies, block.signatures))
        except OSError:
            raise _ended(worker.process) from None
        worker.errands.append(_Errand(block, []))
        return worker.errands[-1]

    def _collect(self, timeout_s: float | None) -> bool:
        """Take in what is done; wait for something that is, unless there is a limit of time; say whether any was."""
        busy = {worker.pipe: worker for worker in self._workers if worker.errands or not worker.is_ready}
        done = wait(list(busy), timeout_s)
        for pipe in done:
            worker = busy[pipe]  # type: ignore[index]  # only these pipes are waited for
            try:
                result = worker.pipe.recv()
            except (EOFError, OSError):
                raise _ended(worker.process) from None
            if worker.is_ready:
                worker.errands.popleft().result.append(result)
            worker.is_ready = True
        return bool(done)


def _start(work: Callable[[Block], Result]) -> _Worker[Result]:
    spawning = multiprocessing.get_context("spawn")
    ours, theirs = spawning.Pipe()
    _widen(ours)
    process = spawning.Process(target=_serve, args=(theirs, work), name="safeloop audit", daemon=True)
    # ^C at a terminal reaches every process of the group: only this one is to answer it, by dismissing the others.
    # What multiprocessing starts beside the first worker lifts the block when it has started: it comes before.
    resource_tracker.ensure_running()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        process.start()
    except BaseException:
        ours.close()
        raise
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        theirs.close()
    return _Worker(process, ours)


def _widen(pipe: Connection) -> None:
    """Let a block lie in the pipe, as far as the system allows: else its sender waits until its end has been taken."""
    with socket.socket(fileno=os.dup(pipe.fileno())) as same:
        same.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _PIPE_BYTES)


def _serve(pipe: Connection, work: Callable[[Block], Result]) -> None:
    """Work on whatever comes through the pipe, until it is closed at the other end."""
    blocks: SimpleQueue[Block | None] = SimpleQueue()
    # The pipe is emptied at once: who fills it must never wait for somebody who waits for them to take a result.
    Thread(target=_receive, args=(pipe, blocks), daemon=True).start()
    with contextlib.suppress(ConnectionError):
        pipe.send(_READY)
        while (block := blocks.get()) is not None:
            pipe.send(work(block))


def _receive(pipe: Connection, blocks: SimpleQueue[Block | None]) -> None:
    try:
        while True:
            blocks.put(Block(*pipe.recv()))
    except (EOFError, ConnectionError):
        blocks.put(None)


def _ended(process: BaseProcess) -> SafeloopError:
    process.join(_PATIENCE_S)
    return SafeloopError(
        f"a worker process of the audit ended before its work did (exit code {process.exitcode}): nothing was judged",
        hint="safeloop audit --processes 1, if memory is short",
    )
