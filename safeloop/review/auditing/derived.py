"""What the file derives from its rows besides the tree: the schema's text, and the indexes that programs search."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from safeloop.errors import LedgerError
from safeloop.ledger import Row
from safeloop.ledger.reader import LedgerReader
from safeloop.review.auditing.findings import Finding, Rule, counted, finding

_FIRST, _LAST = -(2**63), 2**63 - 1


def compare_schema(reader: LedgerReader) -> Iterator[Finding]:
    """Compare the schema word for word: a rewritten view or generated column shows programs what no row says."""
    if not reader.schema_is_intact():
        yield finding(Rule.SCHEMA, f"{reader.path}: the schema {'; '.join(reader.schema_faults())}")


class IndexCheck:
    """What programs find by the indexes, compared with the rows, in parts as rows are read.

    Where the schema is another, that was the finding, and nothing is compared. Where an index misleads about many
    rows, it is one finding.
    """

    def __init__(self, reader: LedgerReader) -> None:
        self._reader = reader
        self._next = 0
        self._wanted: Counter[str] = Counter()
        self._hidden: dict[str, tuple[int, int]] = {}
        self._is_asked = reader.schema_is_intact()
        self._fault = ""

    def advance(self, end: int, rows: Sequence[Row] = ()) -> None:
        """Compare the rows before a position that have not been compared.

        Args:
            end: The position.
            rows: Those of them that are known to be canonical and of their kind's form; if all are, the file need not
                parse them.
        """
        self._search(self._next, end, rows)
        self._next = end

    def _search(self, start: int, end: int, rows: Sequence[Row] = ()) -> None:
        if not self._is_asked or self._fault:
            return
        is_told = rows and len(rows) == end - start
        try:
            found = self._reader.searched_for(rows) if is_told else self._reader.searched(start, end)
        except LedgerError as error:
            self._fault = str(error)
            return
        for index, (wanted, lacking, where) in found.items():
            self._wanted[index] += wanted
            if where is not None:
                first, count = self._hidden.get(index, (where, 0))
                self._hidden[index] = first, count + lacking

    def finish(self) -> Iterator[Finding]:
        """Compare what is left, and yield what was found."""
        if not self._is_asked:
            return
        self._search(_FIRST, 0)
        self._search(self._next, _LAST)
        sizes: dict[str, int] = {}
        try:
            sizes = self._reader.index_sizes()
        except LedgerError as error:
            self._fault = self._fault or str(error)
        if self._fault:
            yield finding(Rule.DERIVED, f"the indexes cannot be read: {self._fault}")
            return
        for index, size in sizes.items():
            if size != self._wanted[index]:
                yield finding(Rule.DERIVED, f"index {index} does not list as many rows as there are")
        for index, (first, count) in self._hidden.items():
            words = f"index {index} does not lead to {counted(count, 'row')}, the first of them row {first + 1}"
            yield finding(Rule.DERIVED, words, row=first + 1)
