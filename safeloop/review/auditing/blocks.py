"""Rows in blocks: runs of positions without a gap, cut at multiples of a power of two.

A block that is full holds the leaves of exactly one subtree, so that whoever hashes it hands over one root.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from safeloop.errors import LedgerError
from safeloop.ledger import merkle

MOST_BYTES = 4_000_000
"""Of bodies in one block: it bounds the memory of everything that is under way."""


@dataclass(slots=True)
class Block:
    """Stored rows at positions that follow each other; a hostile file may hold anything as body or signature.

    Attributes:
        first: The position of the first of them.
        strays: Of rows, before these or among them, that lie where none can follow: what stands as the position, and
            the position that should have followed.
    """

    first: int = 0
    bodies: list[Any] = field(default_factory=list)
    signatures: list[Any] = field(default_factory=list)
    strays: list[tuple[object, int]] = field(default_factory=list)


def blocks(rows: Iterable[tuple[object, object, object]], size: int) -> Iterator[Block]:
    """Cut rows into blocks, each of at most `size` rows, a power of two; every row is in one, or a stray.

    Raises:
        LedgerError: The rows cannot be read further; what was read before has come as a block.
    """
    block, end, room = Block(), 0, 0
    try:
        for idx, body, signature in rows:
            if type(idx) is not int or idx < end:
                block.strays.append((idx, end))
                continue
            if idx != end or idx & size - 1 == 0 or room <= 0:
                if block.bodies:
                    yield block
                    block = Block()
                block.first, room = idx, MOST_BYTES
                add_body, add_signature = block.bodies.append, block.signatures.append
            add_body(body)
            add_signature(signature)
            if type(body) is bytes:
                room -= len(body)
            end = idx + 1
    except LedgerError:
        yield block
        raise
    yield block


def subtree(leaves: list[bytes]) -> tuple[list[bytes], ...]:
    """Return the hashes over these leaves, level by level up to the one root; their number is a power of two."""
    levels = [leaves]
    while len(levels[-1]) > 1:
        below = iter(levels[-1])
        levels.append([merkle.parent(left, right) for left, right in zip(below, below, strict=True)])
    return tuple(levels)
