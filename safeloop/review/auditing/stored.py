"""The stored hashes of the tree, read level by level beside the rows that they should be made of."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from operator import itemgetter

from safeloop.errors import LedgerError

Entry = tuple[int, object]


class StoredHashes:
    """The stored hashes, each level read once and in order; what cannot be read counts as absent.

    Args:
        level: Returns the stored hashes of one level as (index, hash), ascending.
        count: Returns how many are stored in all.

    Attributes:
        fault: Why some could not be read; empty if all could.
    """

    def __init__(self, level: Callable[[int], Iterator[Entry]], count: Callable[[], int]) -> None:
        self.fault = ""
        self._level = level
        self._count = count
        self._open: dict[int, Iterator[Entry]] = {}
        self._ahead: dict[int, deque[Entry]] = {}

    def at(self, level: int, position: int) -> object:
        """Return what is stored at a position, or None; never ask for one before the last that was asked for."""
        ahead = self._read(level, 1)
        # In a hostile file an index may be anything; only numbers are places.
        while ahead and (type(ahead[0][0]) is not int or ahead[0][0] < position):
            ahead.popleft()
            if not ahead:
                self._read(level, 1)
        return ahead[0][1] if ahead and ahead[0][0] == position else None

    def pass_over(self, first: int, levels: Sequence[Sequence[bytes]]) -> bool:
        """Say whether exactly the hashes of a subtree are stored; if not, they can still be asked for one by one.

        Args:
            first: The position of its first leaf, a multiple of their number.
            levels: Its hashes, from the leaves up to its root.
        """
        for level, hashes in enumerate(levels):
            begin, end = first >> level, (first >> level) + len(hashes)
            entries = list(islice(self._read(level, len(hashes)), len(hashes)))
            if entries != list(zip(range(begin, end), hashes, strict=True)):
                return False
            if set(map(type, map(itemgetter(0), entries))) != {int}:  # a real that equals an integer is no place
                return False
        for level, hashes in enumerate(levels):
            ahead = self._ahead[level]
            for _ in hashes:
                ahead.popleft()
        return True

    def total(self) -> int | None:
        """Return how many are stored in all; None if that cannot be said."""
        try:
            return self._count()
        except LedgerError as error:
            self.fault = str(error)
            return None

    def _read(self, level: int, number: int) -> deque[Entry]:
        """Read ahead until there are so many entries, if there are."""
        ahead = self._ahead.get(level)
        if ahead is None:
            self._open[level], ahead = self._level(level), deque()
            self._ahead[level] = ahead
        try:
            ahead.extend(islice(self._open[level], max(0, number - len(ahead))))
        except LedgerError as error:
            self.fault = str(error)
        return ahead
