"""The cut: which rows of a session a frame is about, and what may come after them.

In a session that a loop opened, the cut is the first `close` row that is not `suspended`; in an ungoverned one it
is the last row before the first attestation. What follows is shown beside the frame and never changes it;
anything but the kinds in `LATER` voids it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from safeloop.ledger import Row

LATER = ("attestation", "release", "erase", "reconcile")
"""The kinds of rows that may follow the cut without voiding the frame."""


def is_governed(rows: Sequence[Row]) -> bool:
    """Say whether a loop opened the session."""
    return any(row.kind == "open" for row in rows)


def cut_of(rows: Sequence[Row]) -> Row | None:
    """Return the row at the cut; None if a loop has not ended yet, or if there is nothing before an attestation.

    Args:
        rows: All rows of one session, in order.
    """
    if is_governed(rows):
        return next((row for row in rows if row.kind == "close" and row.data.get("outcome") != "suspended"), None)
    last = None
    for row in rows:
        if row.kind == "attestation":
            break
        last = row
    return last


def rows_to_cut(rows: Sequence[Row], cut: Row) -> tuple[Row, ...]:
    """Return the rows that the frame is about, the one at the cut included."""
    return tuple(row for row in rows if row.n <= cut.n)


def later_rows(rows: Sequence[Row], cut: Row) -> tuple[Row, ...]:
    """Return what followed the cut."""
    return tuple(row for row in rows if row.n > cut.n)


def voiding_rows(rows: Sequence[Row], cut: Row) -> tuple[Row, ...]:
    """Return the rows after the cut that must not be there: with one of them nothing may be attested or released."""
    return tuple(row for row in later_rows(rows, cut) if row.kind not in LATER)
