"""What a run shows while it runs: one line that is replaced, at a terminal only."""

from __future__ import annotations

from safeloop.cli.screen import Screen
from safeloop.loop.events import Closed, Event, Replied, Reserved, ToolRan


class Progress:
    """Turns events into the progress line."""

    def __init__(self, screen: Screen) -> None:
        self._screen = screen
        self._line = ""

    def alarm(self, text: str) -> None:
        """Say what even a quiet run says, on a line of its own."""
        self._screen.progress("")
        self._screen.alarm(text)

    def tell(self, event: Event) -> None:
        """Show an event."""
        match event:
            case Reserved():
                self._line = (
                    f"turn {event.turn} of {event.ceilings.turns:,}   "
                    f"tokens {event.tokens:,} of {event.ceilings.tokens:,}   "
                )
                self._screen.progress(f"{self._line}waiting for the model")
            case ToolRan():
                self._screen.progress(f"{self._line}{event.tool}{'' if event.passed else ' failed'}")
            case Replied() | Closed():
                self._screen.progress("")
