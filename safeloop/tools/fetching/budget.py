"""What one fetch may still use: seconds of the clock on the wall, and bytes from the network."""

from __future__ import annotations

import time
from collections.abc import Callable

from safeloop.tools.fetching.failure import FetchTimeout, TooLarge


class Budget:
    """The time and the bytes of one fetch, over all its connections.

    Args:
        seconds: From now.
        wire_bytes: Inclusive, as received; inside TLS where there is TLS.
        clock: Seconds, monotonic.
    """

    def __init__(self, seconds: float, wire_bytes: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._seconds = seconds
        self._clock = clock
        self._ends_at = clock() + seconds
        self._wire_bytes = wire_bytes
        self._received = 0

    def left_s(self) -> float:
        """Give the seconds that are left, above 0: the time-out of whatever is done next.

        Raises:
            FetchTimeout: None are left.
        """
        left = self._ends_at - self._clock()
        if left <= 0:
            raise self.too_late()
        return left

    def received(self, count: int) -> None:
        """Count bytes that came from the network.

        Raises:
            TooLarge: They are more than may come.
        """
        self._received += count
        if self._received > self._wire_bytes:
            raise TooLarge(f"the server sends more than {self._wire_bytes} bytes")

    def too_late(self) -> FetchTimeout:
        """Say that time is up."""
        return FetchTimeout(f"the answer was not complete after {self._seconds:g} seconds")
