"""Every row of a page, in their order, in parts that a browser lays out only when they come into sight."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice

from safeloop.review.reporting.markup import paragraph
from safeloop.review.reporting.rows import StoredRow, row_html

_ROWS_PER_PART = 100


def rows_section(rows: Iterable[StoredRow]) -> Iterator[str]:
    """Yield the section of the rows in pieces."""
    yield '<section aria-labelledby="rows"><h2 id="rows">Rows</h2>\n'
    yield paragraph("Each line opens to the exact body that was signed, which is what the verifier reads. Unseen "
                    "characters are shown as escapes.")
    remaining = iter(rows)
    while part := list(islice(remaining, _ROWS_PER_PART)):
        kind = "rows full" if len(part) == _ROWS_PER_PART else "rows"  # the height of a full part can be foreseen
        yield f'<div class="{kind}">\n{"".join(map(row_html, part))}</div>\n'
    yield "</section>\n"
