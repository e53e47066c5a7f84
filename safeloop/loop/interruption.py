"""Signals: the first lets the call in flight finish, the second does not; neither loses a row.

Handlers are installed only where nobody else has any, and only in the main thread. They raise only while a call
is in flight, or while the loop waits for the next attempt; everywhere else the loop asks between its steps, so that
no signal falls between a paid reply and its row. A signal that came too late to stop anything is handed on to whoever
would have had it.
"""

from __future__ import annotations

import contextlib
import math
import os
import select
import signal
import threading
import time
from collections.abc import Iterator
from types import FrameType
from typing import Any

from safeloop.errors import SettingError

GRACE_S = 10.0
_LONGEST_GRACE_S = 86_400
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
# A handler of the application's own, or an ignored signal (nohup), is left as it is.
_UNCLAIMED = (signal.SIG_DFL, signal.default_int_handler)
_ENOUGH = b"\0"  # not a signal's number


class Interrupted(KeyboardInterrupt):
    """A signal ended the run; its session was closed as `suspended`.

    Attributes:
        signal: The signal's number; the first one's, if several came.
    """

    def __init__(self, number: int) -> None:
        super().__init__(f"interrupted by {signal.Signals(number).name}")
        self.signal = int(number)


class Interruption:
    """What signals have asked of a run.

    Args:
        grace_s: How long a call in flight may go on after the first signal, in seconds, from 0 to a day.

    Raises:
        SettingError: That is no such number.
    """

    def __init__(self, grace_s: float = GRACE_S) -> None:
        if not (isinstance(grace_s, int | float) and math.isfinite(grace_s) and 0 <= grace_s <= _LONGEST_GRACE_S):
            raise SettingError(f"a grace is from 0 to {_LONGEST_GRACE_S} seconds, not {grace_s!r}")
        self._grace = _Grace(grace_s)
        self._process = os.getpid()
        self._before: dict[int, Any] = {}
        self._signal: int | None = None
        self._in_flight = False
        self._pausing = False
        self._heeded = False

    @contextlib.contextmanager
    def handled(self) -> Iterator[None]:
        """Handle signals until the end, then put back what was there.

        Raises:
            BaseException: What the handler that was there before makes of a signal that ended nothing here.
        """
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        self._grace.start()
        try:
            for number in _SIGNALS:
                if signal.getsignal(number) in _UNCLAIMED:
                    self._before[number] = signal.signal(number, self._handle)
            yield
        finally:
            self._grace.stop()  # before the handlers go: a late wake-up would end the process
            for handled, handler in self._before.items():
                signal.signal(handled, handler)
            if self._signal is not None and not self._heeded:
                signal.raise_signal(self._signal)

    @contextlib.contextmanager
    def in_flight(self) -> Iterator[None]:
        """Mark a stretch that a second signal, or the end of the grace, may cut off.

        Raises:
            Interrupted: Anywhere within the stretch, or before it if a signal has come.
        """
        self.check()
        self._in_flight = True
        try:
            yield
        finally:
            self._in_flight = False

    def pause(self, seconds: float) -> None:
        """Sleep, unless a signal comes: nothing is in flight that could be lost, so the first one ends it at once.

        Raises:
            Interrupted: A signal came before the end.
        """
        self._pausing = True  # before the check: a signal between the two must not be slept over
        try:
            self.check()
            time.sleep(seconds)
        finally:
            self._pausing = False

    @contextlib.contextmanager
    def waking(self) -> Iterator[None]:
        """Mark a stretch in which a person is asked: the first signal ends it at once, as it does a pause.

        Raises:
            Interrupted: A signal came before the end.
        """
        self._pausing = True  # before the check, as in a pause
        try:
            self.check()
            yield
        finally:
            self._pausing = False

    def check(self) -> None:
        """Stop here if a signal has come.

        Raises:
            Interrupted: One has.
        """
        if self._signal is not None:
            self._heeded = True
            raise Interrupted(self._signal)

    def _handle(self, number: int, _frame: FrameType | None) -> None:
        if os.getpid() != self._process:
            # A child that a tool made by fork: the run is its parent's, and it can be ended as any process.
            signal.signal(number, self._before[number])
            signal.raise_signal(number)
        elif self._signal is None:
            self._signal = number
            self._grace.begin(number)
            if self._pausing:
                self._pausing = False
                self.check()
        elif self._in_flight:
            self._in_flight = False
            self.check()


class _Grace:
    """Sends a signal again once the grace is over: it wakes the main thread out of whatever it waits for.

    A pipe and a thread that waits from the start, because a handler can start no thread and set no event: the
    main thread may be holding the very lock that either would take.

    Args:
        seconds: From the first signal.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds

    def start(self) -> None:
        """Wait for `begin`, in the background. Called in the main thread, where Python runs handlers."""
        self._read, self._write = os.pipe()
        self._thread = threading.Thread(target=self._watch, args=(threading.get_ident(),), daemon=True)
        self._thread.start()

    def begin(self, number: int) -> None:
        """Let the grace of this signal begin; may be called in a handler."""
        os.write(self._write, bytes([number]))

    def stop(self) -> None:
        """End it; no signal is sent after this returns."""
        os.write(self._write, _ENOUGH)  # not closed: a child made by fork may have the pipe open too
        self._thread.join()
        os.close(self._read)
        os.close(self._write)

    def _watch(self, main_thread: int) -> None:
        signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)  # they are the main thread's to notice
        number = os.read(self._read, 1)
        if number != _ENOUGH and not select.select([self._read], [], [], self._seconds)[0]:
            signal.pthread_kill(main_thread, number[0])
