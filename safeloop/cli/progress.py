"""What a run shows while it runs: one line that is rewritten in place, at a terminal only."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable

from safeloop.cli.screen import Screen
from safeloop.ledger.visible import escaped
from safeloop.loop.events import Breached, Closed, Event, Replied, Reserved, Started, ToolRan, ToolRuns, Waiting
from safeloop.spec import Ceilings

_GAP = "   "
_NARROWEST = 20
_MICRO, _MILLI = 1_000_000, 1_000


class Progress:
    """Turns events into the progress line: the turn, the ceilings used, and what is being done.

    Args:
        clock: Seconds, monotonic.
        columns: The terminal's width.
    """

    def __init__(
        self,
        screen: Screen,
        *,
        clock: Callable[[], float] = time.monotonic,
        columns: Callable[[], int] = lambda: shutil.get_terminal_size().columns,
    ) -> None:
        self._screen, self._clock, self._columns = screen, clock, columns
        self._reserved: Reserved | None = None
        self._started = clock()
        self._calls = 0
        self._trouble = ""

    def alarm(self, text: str) -> None:
        """Say what even a quiet run says, on a line of its own."""
        self._screen.progress("")
        self._screen.alarm(text)

    def tell(self, event: Event) -> None:
        """Show an event."""
        match event:
            case Started():
                self._started = self._clock()
            case Reserved():
                self._reserved = event
                again = f", attempt {event.attempt}" if event.attempt > 1 else ""
                self._show(f"waiting for the model{again}")
            case Waiting():
                self._trouble = event.reason
                self._show(f"waits {event.seconds:,.0f} s: {event.reason}")
            case ToolRuns():
                self._show(f"{event.tool} {event.about}".rstrip())
            case ToolRan():
                self._calls += 1
                self._show(f"{event.tool}{'' if event.passed else ' failed'}")
            case Replied():
                self._trouble = ""
                self._show("")
            case Breached() if self._trouble:
                self.alarm(f"the last attempt: {escaped(self._trouble)}")
            case Breached() | Closed():
                self._screen.progress("")

    def _show(self, doing: str) -> None:
        """Rewrite the line in the longest form that fits: one that the terminal wraps could not be rewritten."""
        width = max(self._columns(), _NARROWEST) - 1
        doing = escaped(doing)
        if self._reserved is None:
            self._screen.progress(_cut(doing, width))
            return
        turn, *used = self._used(self._reserved, brief=False)
        brief_turn, *brief = self._used(self._reserved, brief=True)
        forms = (
            _GAP.join([turn, *used, doing]), "  ".join([brief_turn, *brief, doing]),
            "  ".join([brief_turn, brief[0], doing]),
        )
        self._screen.progress(_cut(next((form for form in forms if len(form) <= width), forms[-1]), width))

    def _used(self, event: Reserved, *, brief: bool) -> list[str]:
        """Return the turn, the tokens, and each further ceiling that is set: used, and its limit."""
        ceilings: Ceilings = event.ceilings
        used: list[tuple[str, str, int | None, Callable[[int], str]]] = [
            ("turn", _count(event.turn), ceilings.turns, _count),
            ("tokens", _count(event.tokens), ceilings.tokens, _count),
        ]
        if ceilings.microusd is not None:
            used.append(("usd", _usd(event.spend.microusd if event.spend else 0), ceilings.microusd, _usd))
        if ceilings.elapsed_ms is not None:
            elapsed_ms = round((self._clock() - self._started) * _MILLI)
            used.append(("time", _seconds(elapsed_ms), ceilings.elapsed_ms, _seconds))
        if ceilings.tool_calls is not None:
            used.append(("calls", _count(self._calls), ceilings.tool_calls, _count))
        between = "/" if brief else " of "
        return [
            f"{name} {spent}" if limit is None else f"{name} {spent}{between}{shown(limit)}"
            for name, spent, limit, shown in used
        ]


def _cut(text: str, width: int) -> str:
    return text if len(text) <= width else f"{text[: width - 1]}…"


def _count(value: int) -> str:
    return f"{value:,}"


def _usd(microusd: int) -> str:
    return f"{microusd / _MICRO:.4f}".rstrip("0").rstrip(".")


def _seconds(milliseconds: int) -> str:
    return f"{milliseconds // _MILLI:,}s"
