"""The time limit of a call: a handler that has not returned by then is given up.

A handler runs in a thread of its own, because it may swallow whatever is raised in it, and because only the main
thread can take signals: that one waits, so that Ctrl-C reaches the loop and never the handler. Python cannot end a
thread from outside. One that is given up is left behind: it may go on until it returns or the process ends, which
does not wait for it; what it returns is thrown away, and it can no longer change a file through a `Root`.

No other limit is possible within a process: code that never lets other threads run (one long `re.search`) holds up
the clock too.
"""

from __future__ import annotations

import contextvars
import os
import threading
from contextlib import contextmanager
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from time import monotonic
from typing import TYPE_CHECKING, Generic, TypeVar

from safeloop.errors import ExitCode, SettingError
from safeloop.tools.clean import ToolError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

Returned = TypeVar("Returned")

TIME_LIMIT_S = 60.0
LONGEST_TIME_LIMIT_S = 3_600.0
_LOOK_S = 0.5  # between two looks at signals, should the system hand one to another thread than the waiting one


class TimedOut(ToolError):
    """A handler did not return in time; it was given up."""


@dataclass(frozen=True, slots=True)
class _Ended(Generic[Returned]):
    """How work ended: with what it returned, alone in a list, or with what it raised."""

    returned: list[Returned]
    raised: BaseException | None


class _Call:
    """One call that is running, and whether anybody still waits for it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._is_given_up = False

    def give_up(self) -> None:
        with self._lock:
            self._is_given_up = True

    @contextmanager
    def wanted(self) -> Iterator[None]:
        with self._lock:
            if self._is_given_up:
                raise TimedOut("this call was given up, and what it does now has no effect")
            yield


_CALL: contextvars.ContextVar[_Call | None] = contextvars.ContextVar("safeloop_tool_call", default=None)


def check_time_limit(tool: str, time_limit_s: object) -> None:
    """Refuse a time limit that is none.

    Args:
        tool: Its name, for the error.
        time_limit_s: Seconds, above 0 and up to an hour; None means `TIME_LIMIT_S`.

    Raises:
        SettingError: It is neither.
    """
    if time_limit_s is None:
        return
    if not isinstance(time_limit_s, int | float) or isinstance(time_limit_s, bool) or not (
        0 < time_limit_s <= LONGEST_TIME_LIMIT_S  # not NaN either
    ):
        raise SettingError(
            f"the time limit of the tool {tool} must be above 0 and at most {LONGEST_TIME_LIMIT_S:g} seconds",
            hint="time_limit_s=60",
        )


def within(seconds: float, work: Callable[[], Returned]) -> Returned:
    """Return what some work returns, or raise what it raises, if it ends in time.

    A child process that it makes by fork ends where the work does: the run is its parent's.

    Args:
        seconds: The limit, inclusive.
        work: Called once, in a thread of its own.

    Raises:
        TimedOut: It has not ended by then.
        BaseException: What it raised; or what a signal raises here while the call is waited for, which gives it up.
    """
    call = _Call()
    ends: SimpleQueue[_Ended[Returned]] = SimpleQueue()
    context = contextvars.copy_context()
    context.run(_CALL.set, call)

    process = os.getpid()

    def run() -> None:
        try:
            ended = _Ended([context.run(work)], None)
        except BaseException as error:  # noqa: BLE001 - raised again where the call is waited for
            ended = _Ended([], error)
        if os.getpid() != process:
            os._exit(ExitCode.UNEXPECTED)  # a child that the handler made by fork: nobody waits there for what it says
        ends.put(ended)

    threading.Thread(target=run, name="safeloop-tool", daemon=True).start()
    try:
        ended = _awaited(ends, seconds)
    except BaseException:
        call.give_up()
        raise
    if ended.raised is not None:
        raise ended.raised
    return ended.returned[0]


@contextmanager
def unless_given_up() -> Iterator[None]:
    """Hold a step that must not be taken for a call that was given up; it cannot be given up within.

    Raises:
        TimedOut: It was.
    """
    call = _CALL.get()
    if call is None:
        yield
        return
    with call.wanted():
        yield


def _awaited(ends: SimpleQueue[_Ended[Returned]], seconds: float) -> _Ended[Returned]:
    until = monotonic() + seconds
    while True:
        left = until - monotonic()
        try:
            return ends.get(timeout=max(0.0, min(left, _LOOK_S)))
        except Empty:
            if left <= _LOOK_S:
                said = f"it did not return within {seconds:g} s and was given up; it may have had its effect"
                raise TimedOut(said) from None
