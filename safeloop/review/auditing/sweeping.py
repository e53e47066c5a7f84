"""The pass of a full audit over all rows, a block at a time: each by itself first, then in its company."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from safeloop.ledger import Row
from safeloop.ledger.rows import sealed_row
from safeloop.review.auditing.blocks import Block
from safeloop.review.auditing.examination import Examination
from safeloop.review.auditing.findings import Finding
from safeloop.review.auditing.judging import Judge, Judged
from safeloop.review.auditing.testimony import Testimony
from safeloop.review.auditing.trees import IN_PLACE, Place, Run, Trees

ROWS_PER_BLOCK = 256


class RecordSweep:
    """A full audit's pass in progress.

    Attributes:
        work: What is done with each block first, in whatever process.
        rows: How many rows have been judged.
        findings: What is wrong with them.
        displaced_links: What is wrong with the links of rows that are not the stored tree's.
        faulty: Positions of rows whose own word does not count.
    """

    def __init__(self, examination: Examination, work: Judge) -> None:
        self.work = work
        self.rows = 0
        self.findings = examination.findings
        self.displaced_links = examination.displaced_links
        self.faulty = examination.faulty
        self._examination = examination
        self._positions: set[int] = set()  # of the one session, where only one is audited

    @property
    def origin(self) -> str | None:
        """The ledger's, as far as it is known by now."""
        return self._examination.origin

    def take(self, block: Block, judged: Judged, trees: Trees) -> None:
        """Take in the next block, and what there is to say of its rows one by one."""
        leaves = judged.levels[0]
        is_placed = len(leaves) == self.work.size and trees.add_block(block.first, judged.levels)
        asked = None if judged.asked is None else set(judged.asked)
        if block.first + len(leaves) > self.work.since:
            bodies = block.bodies
            if asked is not None:
                bodies = [body if at in asked else None for at, body in enumerate(bodies)]
            self._examination.look_ahead(block.first, bodies)
        for at, leaf in enumerate(leaves):
            place = IN_PLACE if is_placed else trees.add(block.first + at, leaf)
            if place.lost:
                self._examination.lose(place.lost)
            if asked is None or at in asked:
                self._take(block, at, leaf, place, judged.doubts.get(at))

    def finish(self, end: int) -> None:
        """Draw the conclusions that had to wait for the last row; `end` is the position after it."""
        self._examination.finish(end)

    def gaps(self) -> Iterator[Finding]:
        """Yield what could not be checked."""
        return self._examination.gaps()

    def notes(self) -> Iterator[str]:
        """Yield what the reader should know besides."""
        return self._examination.notes()

    def standing(self, named: set[int], fallen: Sequence[Run]) -> int:
        """Count the judged rows that are neither at these positions nor within these runs, which do not meet."""
        since = self.work.since
        if self.work.session is not None:
            return sum(idx not in named and not _within(idx, fallen) for idx in self._positions)
        alone = sum(idx >= since and not _within(idx, fallen) for idx in named)
        return self.rows - alone - sum(max(0, last + 1 - max(first, since)) for first, last in fallen)

    def _take(self, block: Block, at: int, leaf: bytes, place: Place, doubt: Testimony | None) -> None:
        """Take in one row that was asked for."""
        idx, body, signature = block.first + at, block.bodies[at], block.signatures[at]
        row: Row | None = None
        if doubt is not None:
            row = doubt.row
        elif isinstance(body, bytes) and isinstance(signature, bytes):  # or there were doubts
            row = sealed_row(idx, body, signature, leaf)
        if self.work.session is not None and row is not None and row.session != self.work.session:
            self._examination.overhear(doubt or Testimony(idx, row))
            return
        if idx >= self.work.since:
            self.rows += 1
            if self.work.session is not None:
                self._positions.add(idx)
        if doubt is not None:
            self._examination.examine(doubt, leaf, place)
        elif row is not None:
            self._examination.accept(row, place)


def _within(idx: int, runs: Sequence[Run]) -> bool:
    return any(first <= idx <= last for first, last in runs)
