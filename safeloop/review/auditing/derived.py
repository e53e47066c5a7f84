"""What the file derives from its rows besides the tree: the schema's text, and the indexes that programs search."""

from __future__ import annotations

from collections.abc import Iterator

from safeloop.errors import LedgerError
from safeloop.ledger.reader import LedgerReader
from safeloop.review.auditing.findings import Finding, Rule, counted, finding


def compare_schema(reader: LedgerReader) -> Iterator[Finding]:
    """Compare the schema word for word: a rewritten view or generated column shows programs what no row says."""
    if not reader.schema_is_intact():
        yield finding(Rule.SCHEMA, f"{reader.path}: the schema {'; '.join(reader.schema_faults())}")


def compare_indexes(reader: LedgerReader) -> Iterator[Finding]:
    """Compare what programs find by the indexes with the rows; where the schema is another, that was the finding."""
    if not reader.schema_is_intact():
        return
    try:
        yield from _faults(reader)
    except LedgerError as error:
        yield finding(Rule.DERIVED, f"the indexes cannot be read: {error}")


def _faults(reader: LedgerReader) -> Iterator[Finding]:
    """Sum up, by index, the rows that it hides, and whether it lists others."""
    hidden: dict[str, tuple[int, int]] = {}
    for index, idx in reader.index_faults():
        if idx is None:
            yield finding(Rule.DERIVED, f"index {index} does not list as many rows as there are")
        else:
            first, count = hidden.get(index, (idx, 0))
            hidden[index] = (first, count + 1)
    for index, (first, count) in hidden.items():
        words = f"index {index} does not lead to {counted(count, 'row')}, the first of them row {first + 1}"
        yield finding(Rule.DERIVED, words, row=first + 1)
