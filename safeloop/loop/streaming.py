"""A run as an iterator of its events, which goes on only as far as it is asked for.

The loop runs in a thread of its own and stops at each event until the next one is asked for, so that nothing is in
flight while the reader has the word. Where the reader leaves, the loop is interrupted at the event that it stopped at.
"""

from __future__ import annotations

import contextvars
import queue
import threading
from collections.abc import Callable, Generator
from typing import TYPE_CHECKING

from safeloop.loop.events import Event, Listener
from safeloop.loop.interruption import GRACE_S

if TYPE_CHECKING:
    from safeloop.loop.result import LoopResult

Stream = Generator[Event, None, "LoopResult"]


class ReaderLeft(KeyboardInterrupt):
    """Nobody reads the events any more: the session is closed as `suspended`."""

    def __init__(self) -> None:
        super().__init__("interrupted: its events are no longer read")


def streamed(work: Callable[[Listener], LoopResult], listener: Listener) -> Stream:
    """Yield the events of a run, and return its result.

    Args:
        work: Runs the loop with this listener.
        listener: Told of each event too, before it is yielded.
    """
    told: queue.Queue[Event | None] = queue.Queue()
    turn = _Turn()
    outcome: list[LoopResult | BaseException] = []

    def tell(event: Event) -> None:
        listener(event)
        told.put(event)
        turn.wait()

    def run() -> None:
        try:
            turn.wait()
            outcome.append(work(tell))
        except BaseException as error:  # noqa: BLE001 - handed to the reader, who raises it
            outcome.append(error)
        finally:
            told.put(None)

    context = contextvars.copy_context()
    thread = threading.Thread(target=context.run, args=(run,), name="safeloop-run", daemon=True)
    thread.start()
    try:
        turn.go()
        while (event := told.get()) is not None:
            yield event
            turn.go()
    finally:
        turn.leave()
        thread.join(GRACE_S)  # a call in flight, if Ctrl-C came while the reader waited for it
    result = outcome[0]
    if isinstance(result, BaseException):
        raise result
    return result


class _Turn:
    """Whose turn it is: the loop's once it was told to go."""

    def __init__(self) -> None:
        self._may_go = threading.Semaphore(0)
        self._has_left = False

    def go(self) -> None:
        """Let the loop take its next step."""
        self._may_go.release()

    def leave(self) -> None:
        """Have the loop stop where it is."""
        self._has_left = True
        self._may_go.release()

    def wait(self) -> None:
        """Wait for the word.

        Raises:
            ReaderLeft: There will be none.
        """
        if not self._has_left:
            self._may_go.acquire()
        if self._has_left:
            raise ReaderLeft
