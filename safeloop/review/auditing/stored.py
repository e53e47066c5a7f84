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
        taken: list[list[Entry]] = []
        for level, hashes in enumerate(levels):
            begin, end = first >> level, (first >> level) + len(hashes)
            entries = self._take(level, len(hashes))
            taken.append(entries)
            expected = list(zip(range(begin, end), hashes, strict=True))
            # A real that equals an integer is no place.
            if entries != expected or set(map(type, map(itemgetter(0), entries))) != {int}:
                for below, unused in enumerate(taken):
                    self._ahead[below].extendleft(reversed(unused))
                return False
        return True

    def total(self) -> int | None:
        """Return how many are stored in all; None if that cannot be said."""
        try:
            return self._count()
        except LedgerError as error:
            self.fault = str(error)
            return None

    def _take(self, level: int, number: int) -> list[Entry]:
        """Return the next so many entries, or all that are left."""
        ahead = self._opened(level)
        entries = [ahead.popleft() for _ in range(min(number, len(ahead)))]
        self._read_into(entries, level, number - len(entries))
        return entries

    def _read(self, level: int, number: int) -> deque[Entry]:
        """Read ahead until there are so many entries, if there are."""
        ahead = self._opened(level)
        self._read_into(ahead, level, number - len(ahead))
        return ahead

    def _opened(self, level: int) -> deque[Entry]:
        """Return what was read of a level and not asked for yet."""
        if level not in self._open:
            self._open[level], self._ahead[level] = self._level(level), deque()
        return self._ahead[level]

    def _read_into(self, entries: list[Entry] | deque[Entry], level: int, number: int) -> None:
        try:
            entries.extend(islice(self._open[level], max(0, number)))
        except LedgerError as error:
            self.fault = str(error)
