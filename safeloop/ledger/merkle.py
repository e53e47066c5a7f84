"""The Merkle tree of RFC 6962, section 2.1: roots, inclusion and consistency proofs, and their verification.

A tree is read through `node(level, index)`, the root of the full subtree over leaves `index·2^level` up to
`(index+1)·2^level`; level 0 holds the leaves. Every proof touches O(log n) nodes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from safeloop.errors import ProofError

EMPTY_ROOT = hashlib.sha256(b"").digest()

NodeSource = Callable[[int, int], bytes]


class Node(NamedTuple):
    """One stored hash: the root of the full subtree at this position of its level."""

    level: int
    position: int
    hash: bytes


def parent(left: bytes, right: bytes) -> bytes:
    """Return the hash of an interior node."""
    return hashlib.sha256(b"\x01" + left + right).digest()


class Frontier:
    """The right edge of a growing tree: one full subtree per set bit of its size, the largest first.

    Appending costs O(1) hashes on average and needs nothing but this edge.
    """

    __slots__ = ("_edge", "_root", "size")

    def __init__(self, size: int = 0, edge: Iterable[bytes] = ()) -> None:
        self.size = size
        self._edge = list(edge)
        self._root: bytes | None = None
        if len(self._edge) != size.bit_count():
            raise ProofError(f"a tree of {size} leaves has {size.bit_count()} full subtrees on its edge")

    @classmethod
    def read(cls, size: int, node: NodeSource) -> Frontier:
        """Take the edge of a stored tree."""
        return cls(size, (node(level, index) for level, index in _subtrees(0, size)))

    def append(self, leaf: bytes, level: int = 0) -> list[Node]:
        """Add a leaf; return the subtrees that it completed, lowest first.

        Args:
            leaf: Its hash; or the root of a full subtree of leaves that somebody else has hashed.
            level: Of that subtree, over 2^level leaves.

        Raises:
            ProofError: The tree does not end where such a subtree can begin.
        """
        if self.size & ((1 << level) - 1):
            raise ProofError(f"a subtree of level {level} cannot begin at leaf {self.size}")
        index, digest = self.size >> level, leaf
        self.size += 1 << level
        completed = [Node(level, index, digest)]
        while index & 1:
            digest = parent(self._edge.pop(), digest)
            level, index = level + 1, index >> 1
            completed.append(Node(level, index, digest))
        self._edge.append(digest)
        self._root = None
        return completed

    def copy(self) -> Frontier:
        """Return one that grows apart from this one."""
        return Frontier(self.size, self._edge)

    def root(self) -> bytes:
        """Return the root of the whole tree; asked for again before the next leaf, it costs nothing."""
        if self._root is None:
            self._root = _fold(self._edge)
        return self._root


def root(leaves: Iterable[bytes]) -> bytes:
    """Return the root over these leaf hashes; of none, SHA-256 of nothing."""
    frontier = Frontier()
    for leaf in leaves:
        frontier.append(leaf)
    return frontier.root()


def root_at(size: int, node: NodeSource) -> bytes:
    """Return the root that the tree had at `size`."""
    return Frontier.read(size, node).root()


def inclusion_proof(index: int, size: int, node: NodeSource) -> tuple[bytes, ...]:
    """Prove that leaf `index` is in the tree of `size` (RFC 6962, 2.1.1).

    Raises:
        ProofError: The tree has no such leaf.
    """
    if not 0 <= index < size:
        raise ProofError(f"a tree of {size} leaves has no leaf {index}")
    path: list[bytes] = []
    begin, end = 0, size
    while end - begin > 1:
        middle = begin + _split(end - begin)
        if index < middle:
            path.append(_range_hash(middle, end, node))
            end = middle
        else:
            path.append(_range_hash(begin, middle, node))
            begin = middle
    return tuple(reversed(path))


def consistency_proof(old: int, new: int, node: NodeSource) -> tuple[bytes, ...]:
    """Prove that the tree of size `new` extends the one of size `old` (RFC 6962, 2.1.2).

    Raises:
        ProofError: `old` is larger than `new`.
    """
    if not 0 <= old <= new:
        raise ProofError(f"a tree of {new} leaves does not extend one of {old}")
    if old in (0, new):
        return ()
    path: list[bytes] = []
    begin, end, whole = 0, new, True
    while end != old:
        middle = begin + _split(end - begin)
        if old <= middle:
            path.append(_range_hash(middle, end, node))
            end = middle
        else:
            path.append(_range_hash(begin, middle, node))
            begin, whole = middle, False
    if not whole:
        path.append(_range_hash(begin, end, node))
    return tuple(reversed(path))


def verify_inclusion(leaf: bytes, index: int, size: int, proof: Sequence[bytes], expected_root: bytes) -> None:
    """Check an inclusion proof (RFC 9162, 2.1.3.2).

    Raises:
        ProofError: The proof does not place this leaf there under this root.
    """
    if not 0 <= index < size:
        raise ProofError(f"a tree of {size} leaves has no leaf {index}")
    position, last, digest = index, size - 1, leaf
    for step in proof:
        if last == 0:
            raise ProofError("the inclusion proof is too long")
        if position & 1 or position == last:
            digest = parent(step, digest)
            while not position & 1 and position:
                position, last = position >> 1, last >> 1
        else:
            digest = parent(digest, step)
        position, last = position >> 1, last >> 1
    if last or digest != expected_root:
        raise ProofError(f"leaf {index} is not in the tree of size {size} with this root")


def verify_consistency(  # noqa: C901 - the steps of RFC 9162, 2.1.4.2, in its order
    old: int, new: int, proof: Sequence[bytes], old_root: bytes, new_root: bytes
) -> None:
    """Check a consistency proof (RFC 9162, 2.1.4.2).

    Raises:
        ProofError: The newer tree does not extend the older one.
    """
    if not 0 <= old <= new:
        raise ProofError(f"a tree of {new} leaves does not extend one of {old}")
    if old in (0, new):
        expected = EMPTY_ROOT if old == 0 else new_root
        if proof or old_root != expected:
            raise ProofError(f"the trees of size {old} and {new} are not one history")
        return
    path = list(proof) if old & (old - 1) else [old_root, *proof]
    if not path:
        raise ProofError("the consistency proof is empty")
    position, last = old - 1, new - 1
    while position & 1:
        position, last = position >> 1, last >> 1
    first = second = path[0]
    for step in path[1:]:
        if last == 0:
            raise ProofError("the consistency proof is too long")
        if position & 1 or position == last:
            first, second = parent(step, first), parent(step, second)
            while not position & 1 and position:
                position, last = position >> 1, last >> 1
        else:
            second = parent(second, step)
        position, last = position >> 1, last >> 1
    if last or first != old_root or second != new_root:
        raise ProofError(f"the trees of size {old} and {new} are not one history")


def _split(size: int) -> int:
    """Return the largest power of two smaller than `size`, which is at least 2."""
    return 1 << (size - 1).bit_length() - 1


def _subtrees(begin: int, end: int) -> Iterable[tuple[int, int]]:
    """Cut the leaves of a proof's range into full subtrees, largest first; `begin` is aligned to the range."""
    while begin < end:
        level = (end - begin).bit_length() - 1
        yield level, begin >> level
        begin += 1 << level


def _range_hash(begin: int, end: int, node: NodeSource) -> bytes:
    return _fold([node(level, index) for level, index in _subtrees(begin, end)])


def _fold(edge: Sequence[bytes]) -> bytes:
    if not edge:
        return EMPTY_ROOT
    digest = edge[-1]
    for left in reversed(edge[:-1]):
        digest = parent(left, digest)
    return digest
