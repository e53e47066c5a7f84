"""The tree that the rows make, the tree that is stored, and the one that the head signs.

Pure apart from the stored hashes that it is handed, and flat in memory but for what is wrong. Two trees grow side by
side once a row's leaf is not the stored one: that of the rows as they are, and that of the stored leaves. If it is
the second that the head signs, then the head itself names the rows that were changed, and vouches for all others.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from safeloop.ledger.merkle import EMPTY_ROOT, Frontier, Node
from safeloop.ledger.note import Checkpoint
from safeloop.review.auditing.findings import Finding, Rule, counted, finding, rows_text
from safeloop.review.auditing.stored import StoredHashes

Run = tuple[int, int]
"""Positions from the first to the last, both inclusive."""

_DIGEST_BYTES = 32


class _Growing:
    """One tree as it grows, with its roots at the sizes asked for, and where the stored hashes differ from it."""

    def __init__(self, wanted: frozenset[int]) -> None:
        self.frontier = Frontier()
        self.roots = {0: EMPTY_ROOT}
        self.differing: dict[int, Run] = {}  # by level: the first index, and how many
        self.absent = 0
        self._wanted = wanted

    def copy(self) -> _Growing:
        """Return one that grows apart from this one."""
        other = _Growing(self._wanted)
        other.frontier, other.roots, other.differing = self.frontier.copy(), dict(self.roots), dict(self.differing)
        other.absent = self.absent
        return other

    def add(self, leaf: bytes, stored: StoredHashes) -> None:
        """Add a leaf, and compare every hash that it completes with the stored one."""
        self._compare(self.frontier.append(leaf), stored)

    def add_subtree(self, root: bytes, level: int, stored: StoredHashes) -> None:
        """Add all leaves of a subtree that is stored as it should be, and compare what it completes above it."""
        self._compare(self.frontier.append(root, level)[1:], stored)

    def reaches_within(self, end: int) -> bool:
        """Say whether a root is wanted at a size beyond the tree's and before this one."""
        return any(self.frontier.size < size < end for size in self._wanted)

    def _compare(self, nodes: Iterable[Node], stored: StoredHashes) -> None:
        for node in nodes:
            found = stored.at(node.level, node.position)
            if found != node.hash:
                first, count = self.differing.get(node.level, (node.position, 0))
                self.differing[node.level] = (first, count + 1)
                self.absent += found is None
        if self.frontier.size in self._wanted:
            self.roots[self.frontier.size] = self.frontier.root()

    def present(self) -> int:
        """Return how many of its hashes are stored, right or wrong: of n leaves come 2n - popcount(n)."""
        size = self.frontier.size
        return 2 * size - size.bit_count() - self.absent


@dataclass(frozen=True, slots=True)
class Place:
    """How a row stands to the stored leaves.

    Attributes:
        is_own: False if another leaf is stored at the row's position.
        lost: Leaves that are stored and whose rows are not where they should be.
    """

    is_own: bool
    lost: tuple[bytes, ...]


IN_PLACE = Place(is_own=True, lost=())


@dataclass(frozen=True, slots=True)
class TreeVerdict:
    """What the trees say in the end.

    Attributes:
        size: Leaves of the tree that counts: what the head signs, or else what is here.
        roots: Its roots by size, where they were asked for and reached.
        is_explained: The stored leaves make the tree that the head signs: rows that differ from them are the fault.
        findings: About missing rows, rows out of place, the tree as a whole, and stored hashes.
        fallen: Rows that are not the head's.
    """

    size: int
    roots: Mapping[int, bytes]
    is_explained: bool
    findings: tuple[Finding, ...]
    fallen: tuple[Run, ...]


class Trees:
    """The comparison, row by row.

    Args:
        stored: The stored hashes.
        signed: The verified head; None if there is none.
        wanted: Sizes at which somebody wants to know the root.
    """

    def __init__(self, stored: StoredHashes, signed: Checkpoint | None, wanted: Iterable[int]) -> None:
        self._hashes = stored
        self._signed = signed
        self._limit = 0 if signed is None else signed.size
        sizes = frozenset(wanted) | {self._limit}
        self._rows: _Growing | None = _Growing(sizes)
        self._stored: _Growing | None = self._rows if signed else None  # the same tree until they part
        self._displaced: list[Run] = []
        self._beyond: list[Run] = []
        self._missing: list[Run] = []
        self.next = 0

    def add(self, idx: int, leaf: bytes) -> Place:
        """Add the row at a position that is not below `next`."""
        lost: list[bytes] = []
        if idx > self.next:
            self._missing.append((self.next, idx - 1))
            lost += self._skip(idx)
            self._rows = None
        signed_leaf = leaf
        if idx < self._limit:
            signed_leaf = _digest(self._hashes.at(0, idx)) or leaf
        else:
            _extend(self._beyond, idx)
        if signed_leaf != leaf:
            lost.append(signed_leaf)
            _extend(self._displaced, idx)
            self._part()
        if self._rows is not None:
            self._rows.add(leaf, self._hashes)
        if self._stored is not None and self._stored is not self._rows and idx < self._limit:
            self._stored.add(signed_leaf, self._hashes)
        self.next = idx + 1
        return Place(signed_leaf == leaf, tuple(lost))

    def add_block(self, first: int, levels: Sequence[Sequence[bytes]]) -> bool:
        """Add the rows of a full block at once, all in their place; False if they must be added one by one.

        Args:
            first: The position of the first of them, not below `next`.
            levels: The hashes of their subtree, from the leaves up to the root.
        """
        tree, count = self._rows, len(levels[0])
        end = first + count
        if tree is None or tree is not self._stored or first != self.next or end > self._limit:
            return False
        if first % count or tree.reaches_within(end) or not self._hashes.pass_over(first, levels):
            return False
        tree.add_subtree(levels[-1][0], len(levels) - 1, self._hashes)
        self.next = end
        return True

    def finish(self, faulty: Container[int]) -> TreeVerdict:
        """Return what the trees say, after the last row.

        Args:
            faulty: Positions of rows whose own fault is known: that they are not the head's is its consequence.
        """
        rows_end = self.next
        self._skip(self._limit)
        chosen, is_proven = self._choose()
        is_explained = is_proven and chosen is not self._rows
        findings = [_missing(run) for run in self._missing]
        fallen = list(self._displaced) if is_explained else []
        for run in fallen:
            if any(idx not in faulty for idx in range(run[0], run[1] + 1)):
                findings.append(_displaced(run))
        if is_explained and rows_end < self._limit:
            findings.append(_missing((rows_end, self._limit - 1)))
        if is_proven:
            fallen += self._beyond
            findings += [_outside(run, self._limit) for run in self._beyond]
        if self._signed is not None and not is_proven:
            findings.append(_another_tree(rows_end, self._limit))
        if chosen is not None:
            findings += _differing(chosen, self._hashes)
        size, roots = self._limit if is_proven else rows_end, {} if chosen is None else chosen.roots
        return TreeVerdict(size, roots, is_explained, tuple(findings), tuple(fallen))

    def _skip(self, end: int) -> list[bytes]:
        """Let the tree of stored leaves go on to `end` alone; it is given up where a leaf is not stored either."""
        self._part()
        lost: list[bytes] = []
        for idx in range(self.next, min(end, self._limit)):
            leaf = _digest(self._hashes.at(0, idx))
            if self._stored is None or leaf is None:
                self._stored = None
                break
            self._stored.add(leaf, self._hashes)
            lost.append(leaf)
        return lost

    def _part(self) -> None:
        if self._stored is not None and self._stored is self._rows:
            self._stored = self._rows.copy()

    def _choose(self) -> tuple[_Growing | None, bool]:
        """Return the tree that the head signs, and True; or else that of the rows, if they are without gaps."""
        if self._signed is not None:
            for tree in (self._rows, self._stored):
                if tree is not None and tree.roots.get(self._signed.size) == self._signed.root:
                    return tree, True
        return self._rows, False


def _digest(stored: object) -> bytes | None:
    return stored if isinstance(stored, bytes) and len(stored) == _DIGEST_BYTES else None


def _extend(runs: list[Run], idx: int) -> None:
    if runs and runs[-1][1] == idx - 1:
        runs[-1] = (runs[-1][0], idx)
    else:
        runs.append((idx, idx))


def _missing(run: Run) -> Finding:
    words = f"{rows_text(*run)} {'is' if run[0] == run[1] else 'are'} missing"
    return finding(Rule.MISSING, words, row=run[0] + 1)


def _displaced(run: Run) -> Finding:
    words = "is not the one" if run[0] == run[1] else "are not the ones"
    return finding(Rule.TREE, f"{rows_text(*run)} {words} that the head signs at this place", row=run[0] + 1)


def _outside(run: Run, size: int) -> Finding:
    words = "is" if run[0] == run[1] else "are"
    text = f"{rows_text(*run)} {words} not in the tree of {counted(size, 'row')} that the head signs"
    return finding(Rule.TREE, text, row=run[0] + 1)


def _another_tree(found: int, signed: int) -> Finding:
    if found != signed:
        return finding(Rule.TREE, f"the head signs {counted(signed, 'row')}, and the file has {found:,}")
    return finding(Rule.TREE, f"the {counted(found, 'row')} of the file have another root than the head signs")


def _differing(tree: _Growing, stored: StoredHashes) -> Iterator[Finding]:
    for level, (first, count) in sorted(tree.differing.items()):
        words = f"level {level} of the stored tree: {counted(count, 'hash', 'hashes')} missing or wrong"
        yield finding(Rule.DERIVED, f"{words}, the first at index {first}", row=(first << level) + 1)
    total, placed = stored.total(), tree.present()
    if total not in (None, placed):
        yield finding(Rule.DERIVED, f"{total:,} hashes of the tree are stored, and {placed:,} have a place in it")
    if stored.fault:
        yield finding(Rule.DERIVED, f"the stored tree cannot be read: {stored.fault}")
