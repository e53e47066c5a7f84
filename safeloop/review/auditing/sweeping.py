"""The pass of a full audit over all rows, a block at a time: each by itself first, then in its company."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from safeloop.ledger import Row
from safeloop.ledger.rows import sealed_row, sealed_rows
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

    def take(self, block: Block, judged: Judged, trees: Trees) -> Sequence[Row]:
        """Take in the next block, and what there is to say of its rows one by one.

        Returns:
            Those that are canonical and of their kind's form; they are signed, unless they were audited before.
        """
        leaves = judged.levels[0]
        is_placed = len(leaves) == self.work.size and trees.add_block(block.first, judged.levels)
        if is_placed and judged.asked is None and not judged.doubts and block.first >= self.work.since:
            plain = sealed_rows(block.first, block.bodies, block.signatures, leaves)
            if self._examination.accept_all(plain):
                self.rows += len(plain)
                return plain
        asked = range(len(leaves)) if judged.asked is None else frozenset(judged.asked)
        # A row without doubts is one that its judge has read, and found to be as rows are.
        rows = {
            at: sealed_row(block.first + at, block.bodies[at], block.signatures[at], leaves[at])
            for at in asked if at not in judged.doubts
        }
        self._examination.look_ahead([row for row in rows.values() if self._is_judged(row)])
        for at, leaf in enumerate(leaves):
            place = IN_PLACE if is_placed else trees.add(block.first + at, leaf)
            if place.lost:
                self._examination.lose(place.lost)
            if at in rows:
                self._take(rows[at], place)
            elif at in asked:
                self._take_doubted(judged.doubts[at], leaf, place)
        return tuple(rows.values())

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

    def _is_judged(self, row: Row) -> bool:
        """Whether a row is asked for itself, and not for what it may say of others, or for what follows it."""
        return row.idx >= self.work.since and self.work.session in (None, row.session)

    def _take(self, row: Row, place: Place) -> None:
        """Take in one row of which its own bytes gave nothing to say."""
        if self.work.session is not None and row.session != self.work.session:
            self._examination.overhear(Testimony(row.idx, row))
        else:
            self._count(row.idx)
            self._examination.accept(row, place)

    def _take_doubted(self, doubt: Testimony, leaf: bytes, place: Place) -> None:
        if self.work.session is not None and doubt.row is not None and doubt.row.session != self.work.session:
            self._examination.overhear(doubt)
        else:
            self._count(doubt.idx)
            self._examination.examine(doubt, leaf, place)

    def _count(self, idx: int) -> None:
        if idx >= self.work.since:
            self.rows += 1
            if self.work.session is not None:
                self._positions.add(idx)


def _within(idx: int, runs: Sequence[Run]) -> bool:
    return any(first <= idx <= last for first, last in runs)
