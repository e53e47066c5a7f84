"""Blocks of rows judged by themselves, in whatever process: what takes an audit's time, and needs no company.

Nothing comes back of a row that is as it should be but its leaf.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from safeloop.ledger import ed25519
from safeloop.ledger.quick import Claims, plain_claims
from safeloop.ledger.seal import pae, sealed_leaf
from safeloop.ledger.trust import Trust
from safeloop.review.auditing.blocks import Block, subtree
from safeloop.review.auditing.testimony import Testimony, as_bytes, doubts, replayed, signer


@dataclass(frozen=True, slots=True)
class Judged:
    """A block, judged.

    Attributes:
        levels: The leaves of its rows, and of a full block the hashes above them up to the one root.
        doubts: What there is to say of single rows, by their place in the block.
        asked: Places of the rows that were asked for; None if all were.
    """

    levels: tuple[list[bytes], ...]
    doubts: Mapping[int, Testimony]
    asked: tuple[int, ...] | None


@dataclass(frozen=True, slots=True)
class Judge:
    """How to judge a block; it goes to the process that does it.

    Attributes:
        trust: The auditor's pins.
        origin: The ledger's, if a verified head says so.
        session: Only this session's rows are asked for, and rows that may say that content is gone or a key does not
            count; None: all.
        since: Rows before this position were audited before: their signatures are not checked again.
        size: Rows of a full block.
    """

    trust: Trust
    origin: str | None
    session: str | None
    since: int
    size: int

    def __call__(self, block: Block) -> Judged:
        """Judge every row that is asked for."""
        bodies, signatures = as_bytes(block.bodies), as_bytes(block.signatures)
        messages = list(map(pae, bodies))  # a step for all rows: then each step's code stays at hand
        leaves = list(map(sealed_leaf, messages, signatures))
        places = range(len(bodies))
        asked = None if self.session is None else tuple(at for at in places if self._is_asked_for(block.bodies[at]))
        claims = list(map(plain_claims, bodies, signatures))
        found = {}
        for at in self._unclear(block.first, places if asked is None else asked, claims, signatures, messages):
            doubt = self._judge(block.first + at, block.bodies[at], block.signatures[at])
            if doubt is not None:
                found[at] = doubt
        levels = subtree(leaves) if len(leaves) == self.size else (leaves,)
        return Judged(levels, found, asked)

    def _unclear(
        self, first: int, places: Iterable[int], claims: Sequence[Claims | None], signatures: Sequence[bytes],
        messages: Sequence[bytes],
    ) -> Iterator[int]:
        """Yield the places of rows that are not plainly right and, unless audited before, signed by who they claim."""
        latest, key, end = None, b"", 0.0
        for at in places:
            claim = claims[at]
            if claim is None:
                yield at
                continue
            if claim != latest:
                latest = claim
                key, end = signer(claim, self.trust, self.origin)
            idx = first + at
            if not (idx < self.since or (idx < end and ed25519.verify(key, signatures[at], messages[at]))):
                yield at

    def _judge(self, idx: int, body: object, signature: object) -> Testimony | None:
        if idx < self.since:
            return replayed(idx, body, signature)
        return doubts(idx, body, signature, self.trust, self.origin)

    def _is_asked_for(self, body: object) -> bool:
        """Whether a row may be the session's, or may say that content is gone or a key revoked.

        Canonical bytes cannot hide any of them.
        """
        if self.session is None or not isinstance(body, bytes):
            return True
        own = b'"session":"%s"' % self.session.encode("ascii")
        return own in body or b'"kind":"erase"' in body or b'"kind":"key"' in body
