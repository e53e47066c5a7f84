"""Which tree counts, and which rows stand where it has them."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from tests.verifier import tree
from tests.verifier.findings import WHOLE, Report
from tests.verifier.notes import Checkpoint
from tests.verifier.rows import Row
from tests.verifier.stored import Stored

Nodes = dict[tuple[int, int], bytes]


@dataclass(frozen=True)
class Tree:
    """The tree that counts.

    Attributes:
        leaves: Its leaves; None where rows are missing and the head does not sign the stored leaves.
        size: How many rows the ledger has: what the head signs, or else what is here.
        kept: The stored leaves by position, as far as the head signs so many.
        explains: The head signs the stored leaves: a row that differs from its stored one is the fault.
    """

    leaves: list[bytes] | None
    size: int
    kept: dict[int, bytes]
    explains: bool

    def root(self, size: int) -> bytes | None:
        """Return the root of the first leaves, or nothing where there are not so many."""
        return tree.root(self.leaves[:size]) if self.leaves is not None and size <= len(self.leaves) else None


def judge(stored: Stored, rows: list[Row], head: Checkpoint | None, report: Report) -> Tree:
    """Ask for rows without gaps, the head's root over them, and nodes that are what they hash to."""
    limit = head.size if head else 0
    end = rows[-1].idx + 1 if rows else 0
    kept = {at: digest for (level, at), digest in stored.nodes.items()
            if level == 0 and isinstance(at, int) and at < limit and _is_digest(digest)}
    for row in rows:
        row.is_own = kept.get(row.idx, row.leaf) == row.leaf
    own = {row.idx: row.leaf for row in rows}
    whole = list(own.values()) if len(rows) == end else None
    old = _stored_leaves(kept, own, limit)
    explains = not _is_signed(whole, head) and _is_signed(old, head)
    found = Tree(old if explains else whole, limit if explains or _is_signed(whole, head) else end, kept, explains)
    if stored.is_whole:
        _report(rows, head, found, end, report)
        if found.leaves is not None:
            _compare_nodes(stored.nodes, tree.full_nodes(found.leaves), report)
    return found


def _is_digest(stored: object) -> bool:
    return isinstance(stored, bytes) and len(stored) == 32


def _stored_leaves(kept: dict[int, bytes], own: dict[int, bytes], limit: int) -> list[bytes] | None:
    """Return as many leaves as the head signs, the stored ones before the rows'; None where one is in neither."""
    found = []
    for at in range(limit):
        leaf = kept.get(at) or own.get(at)
        if leaf is None:
            return None
        found.append(leaf)
    return found


def _is_signed(leaves: list[bytes] | None, head: Checkpoint | None) -> bool:
    return (leaves is not None and head is not None and len(leaves) >= head.size
            and tree.root(leaves[: head.size]) == head.root)


def _report(rows: list[Row], head: Checkpoint | None, found: Tree, end: int, report: Report) -> None:
    places = {row.idx for row in rows}
    missing = [row.idx for row in rows if row.idx and row.idx - 1 not in places]
    for at in missing:
        first = max((row.idx for row in rows if row.idx < at), default=-1) + 1
        report.fail(first, "missing", f"there is no row up to row {at}")
    if found.explains:
        if end < found.size:
            report.fail(end, "missing", f"the head signs {found.size} rows")
        faulty = {row.idx for row in rows if not (row.is_sound or row.is_other)}
        for run in _runs(row.idx for row in rows if not row.is_own):
            if not faulty.issuperset(run):
                report.fail(run[0], "tree", "changed: its leaf is not the one that the head signs")
    if head is not None and not (found.explains or _is_signed(found.leaves, head)):
        report.fail(WHOLE, "tree", f"the head is of {head.size} rows and of another root than these {len(rows)}")
    elif head is not None:
        for run in _runs(row.idx for row in rows if row.idx >= head.size):
            report.fail(run[0], "tree", "beyond the rows that the head signs")


def _compare_nodes(stored: Nodes, made: Nodes, report: Report) -> None:
    """Tell the first wrong hash of each level at the first leaf under it, and hashes that have no place in the tree."""
    first: dict[int, int] = {}
    for level, at in sorted(made):
        if stored.get((level, at)) != made[level, at]:
            first.setdefault(level, at)
    for level, at in first.items():
        report.fail(at << level, "derived", f"node at level {level} is not what the leaves hash to")
    if stored.keys() - made.keys():
        report.fail(WHOLE, "derived", "node has hashes that have no place in the tree")


def _runs(places: Iterable[int]) -> Iterator[list[int]]:
    """Yield neighbours together."""
    run: list[int] = []
    for at in places:
        if run and at != run[-1] + 1:
            yield run
            run = []
        run.append(at)
    if run:
        yield run
