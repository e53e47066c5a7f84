"""Chains and tree alone: what holds without a single signature being checked.

A head that a pinned key signed fixes every byte of every row, so that whoever checked the signatures once needs only
this to know that nothing has changed since. It says nothing of rows that nobody has checked.

Blocks are hashed wherever there is a processor; what comes back of a block are the hashes of its subtree, and of each
session in it the first link and the last. The long way, row by row, is taken for blocks in which anything is off.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from safeloop.errors import EncodingError
from safeloop.ledger.rows import UnknownVersion, parse_row
from safeloop.ledger.seal import pae, sealed_leaf
from safeloop.review.auditing.blocks import Block, subtree
from safeloop.review.auditing.chains import Chains
from safeloop.review.auditing.findings import Finding, Rule, counted, finding
from safeloop.review.auditing.testimony import as_bytes
from safeloop.review.auditing.trees import IN_PLACE, Place, Run, Trees

ROWS_PER_BLOCK = 2_048

_KIND = b',"kind":"'
# The end of a canonical body, whose keys are sorted: what follows `data` holds no text that could imitate it.
_TAIL = re.compile(
    rb',"kind":"([a-z_]{1,32})","ledger":"[a-z0-9._/-]{1,200}","n":(0|[1-9][0-9]{0,15}),"prev":"([0-9a-f]{64})",'
    rb'"session":"([A-Za-z0-9][A-Za-z0-9._:-]{0,127})","v":1,"writer":"[0-9a-f]{64}"\}\Z'
)


@dataclass(frozen=True, slots=True)
class TreeRow:
    """What joins a row to its session, as its last bytes say."""

    kind: str
    n: int
    prev: str
    session: str
    leaf: str


@dataclass(frozen=True, slots=True)
class SessionRun:
    """Rows of one session within a block, each following the one before.

    Attributes:
        n: Of the first.
        prev: Of the first.
        last: `n` of the last.
        leaf: Of the last.
    """

    session: str
    n: int
    prev: bytes
    last: int
    leaf: bytes


@dataclass(frozen=True, slots=True)
class Linked:
    """A block, hashed.

    Attributes:
        levels: The leaves of its rows, and of a full block the hashes above them up to the one root.
        runs: Its sessions; None if its rows must be looked at one by one.
    """

    levels: tuple[list[bytes], ...]
    runs: tuple[SessionRun, ...] | None


def link_of(body: object, leaf: bytes) -> TreeRow | None:
    """Return what joins a row to its session; None if its last bytes are not those of a row."""
    found = _TAIL.match(body, max(0, body.rfind(_KIND))) if isinstance(body, bytes) else None
    if found is None:
        return None
    kind, n, prev, session = (part.decode() for part in found.groups())
    return TreeRow(kind, int(n), prev, session, leaf.hex())


@dataclass(frozen=True, slots=True)
class Linking:
    """How to hash a block; it goes to the process that does it.

    Attributes:
        size: Rows of a full block.
    """

    size: int

    def __call__(self, block: Block) -> Linked:
        """Hash rows and the tree over them, and follow each session through the block."""
        leaves = list(map(sealed_leaf, map(pae, as_bytes(block.bodies)), as_bytes(block.signatures)))
        levels = subtree(leaves) if len(leaves) == self.size else (leaves,)
        return Linked(levels, _runs(block.bodies, leaves))


def _runs(bodies: Sequence[object], leaves: Sequence[bytes]) -> tuple[SessionRun, ...] | None:
    runs: dict[bytes, tuple[int, bytes, int, bytes]] = {}
    for body, leaf in zip(bodies, leaves, strict=True):
        found = _TAIL.match(body, max(0, body.rfind(_KIND))) if isinstance(body, bytes) else None
        if found is None:
            return None
        _, digits, prev, session = found.groups()
        n, run = int(digits), runs.get(session)
        if run is None:
            runs[session] = (n, prev, n, leaf)
        elif n == run[2] + 1 and prev == run[3].hex().encode():
            runs[session] = (run[0], run[1], n, leaf)
        else:
            return None
    return tuple(
        SessionRun(session.decode(), n, bytes.fromhex(prev.decode()), last, leaf)
        for session, (n, prev, last, leaf) in runs.items()
    )


class LinkSweep:
    """An audit of chains and tree in progress; its attributes and verbs are those of `RecordSweep`."""

    def __init__(self, origin: str | None, size: int = 0) -> None:
        self.work = Linking(size or ROWS_PER_BLOCK)
        self.origin = origin
        self.findings: list[Finding] = []
        self.displaced_links: list[Finding] = []
        self.faulty: set[int] = set()
        self.rows = 0
        self._chains = Chains()
        self._unknown = 0

    def take(self, block: Block, linked: Linked, trees: Trees) -> None:
        """Take in the next block."""
        self.rows += len(block.bodies)
        is_placed = len(linked.levels[0]) == self.work.size and trees.add_block(block.first, linked.levels)
        runs = linked.runs
        if is_placed and runs is not None and all(self._chains.follows(run.session, run.n, run.prev) for run in runs):
            for run in runs:
                self._chains.advance(run.session, run.last, run.leaf)
            return
        for at, leaf in enumerate(linked.levels[0]):
            place = IN_PLACE if is_placed else trees.add(block.first + at, leaf)
            self._follow(block, at, leaf, place)

    def finish(self, end: int) -> None:
        """Draw the conclusions that had to wait; there are none."""

    def gaps(self) -> Iterator[Finding]:
        """Yield what could not be followed."""
        if self._unknown:
            yield finding(Rule.UNKNOWN, f"{counted(self._unknown, 'row')} of a version not known to this reader")

    def notes(self) -> Iterator[str]:
        """Yield what was not asked."""
        yield from ()

    def standing(self, named: set[int], fallen: Sequence[Run]) -> int:
        """Count the rows that are neither at these positions nor within these runs, which do not meet."""
        alone = sum(not any(first <= idx <= last for first, last in fallen) for idx in named)
        return self.rows - alone - sum(last - first + 1 for first, last in fallen)

    def _follow(self, block: Block, at: int, leaf: bytes, place: Place) -> None:
        """Take in one row."""
        self._chains.lose(place.lost)
        idx = block.first + at
        link = link_of(block.bodies[at], leaf)
        if link is None:
            self._chains.lose([leaf])
            if _is_of_another_version(block.bodies[at], block.signatures[at]):
                self._unknown += 1
            else:
                self.faulty.add(idx)
                words = f"row {idx + 1}: its bytes do not say which session it is of, and where in it"
                self.findings.append(finding(Rule.ENCODING, words, row=idx + 1))
            return
        words = self._chains.follow(link, in_place=place.is_own)
        if words:
            found = finding(Rule.CHAIN, f"row {idx + 1}: {words}", row=idx + 1, session=link.session)
            (self.findings if place.is_own else self.displaced_links).append(found)


def _is_of_another_version(body: object, signature: object) -> bool:
    if not isinstance(body, bytes) or not isinstance(signature, bytes):
        return False
    try:
        parse_row(0, body, signature)
    except UnknownVersion:
        return True
    except EncodingError:
        return False
    return False
