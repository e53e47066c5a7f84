"""The rows that receipts prove, put together: whether they are what a release needs to be judged by. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from safeloop.ledger import Row
from safeloop.ledger.rows import NO_ROW
from safeloop.review.cut import cut_of
from safeloop.review.verifying.verification import Findings

_HINT = "release it again, where the ledger is: safeloop release SESSION --to DIR"


@dataclass(frozen=True, slots=True)
class Story:
    """The rows of one session that a release rests on.

    Attributes:
        rows: The spec, the `open` row, and everything from the cut to the release, in order.
        cut: The session's `close`.
        release: The `release` row, the last of them.
    """

    rows: tuple[Row, ...]
    cut: Row
    release: Row

    @property
    def attestations(self) -> tuple[Row, ...]:
        """The attestations before the release, in order."""
        return tuple(row for row in self.rows if row.kind == "attestation")


def story_of(rows: Sequence[Row], findings: Findings) -> Story | None:
    """Put proved rows together, or take down why they are not what a release needs.

    Args:
        rows: Proved under one checkpoint, in any order; at least one.
        findings: Where faults go.
    """
    in_order = tuple(sorted(rows, key=lambda row: row.idx))
    faults = [*_faults_of_chain(in_order)]
    cut, release = cut_of(in_order), in_order[-1]
    if release.kind != "release":
        faults.append(f"the last row of the bundle, row {release.id}, is no release")
    if cut is None:
        faults.append("the bundle has no receipt of the session's close")
    else:
        faults += _faults_before(in_order, cut)
        faults += _gaps(in_order, cut)
    for fault in faults:
        findings.refuse(fault, _HINT)
    return None if faults or cut is None else Story(in_order, cut, release)


def _faults_of_chain(rows: Sequence[Row]) -> Iterator[str]:
    first = rows[0]
    for row in rows:
        if row.session != first.session:
            yield f"row {row.id} is of session {row.session}, and row {first.id} of {first.session}"
        if (row.n == 0) != (row.prev == NO_ROW):
            yield f"row {row.id} does not begin its session as its place says"
    for before, row in pairwise(rows):
        if before.session != row.session:
            continue
        if row.n <= before.n or (row.n == before.n + 1 and row.prev != before.leaf):
            yield f"row {row.id} does not follow row {before.id} in its session"


def _faults_before(rows: Sequence[Row], cut: Row) -> Iterator[str]:
    """Say what is wrong with the promise: one spec, and one `open` row that binds it."""
    before = [row for row in rows if row.n < cut.n]
    if [row.kind for row in before] != ["spec", "open"]:
        kinds = ", ".join(f"{row.kind} (row {row.id})" for row in before) or "nothing"
        yield f"before the session's close the bundle has receipts of {kinds}, in place of its spec and open rows"
    elif before[1].data["spec"] != before[0].leaf:
        yield f"row {before[1].id} opened the session on another spec than row {before[0].id}"


def _gaps(rows: Sequence[Row], cut: Row) -> Iterator[str]:
    numbers = {row.n for row in rows}
    for n in range(cut.n, rows[-1].n):
        if n not in numbers:
            yield f"the session's row n {n}, between its close and its release, has no receipt: it could be a reject"
            return
