"""The Merkle tree of RFC 6962 over leaves that are hashed already."""

import hashlib


def node(left: bytes, right: bytes) -> bytes:
    return hashlib.sha256(b"\1" + left + right).digest()


def root(leaves: list[bytes]) -> bytes:
    """Hash neighbours in pairs, level by level; one without a neighbour goes up as it is."""
    if not leaves:
        return hashlib.sha256(b"").digest()
    level = leaves
    while len(level) > 1:
        above = [node(*level[at : at + 2]) for at in range(0, len(level) - 1, 2)]
        level = above + level[len(above) * 2 :]
    return level[0]


def full_nodes(leaves: list[bytes]) -> dict[tuple[int, int], bytes]:
    """Return the roots of all full subtrees, by level and index."""
    found = {}
    level, depth = leaves, 0
    while level:
        found.update({(depth, at): digest for at, digest in enumerate(level)})
        level = [node(level[at], level[at + 1]) for at in range(0, len(level) - 1, 2)]
        depth += 1
    return found
