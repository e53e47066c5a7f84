"""What rows commit to, found by their stored bytes and not by an index: a row cannot hide from it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from safeloop.errors import VerificationError
from safeloop.ledger.content import MANIFESTS, commitments, manifest_entries
from safeloop.ledger.kinds import commitment
from safeloop.ledger.rows import Row, parse_row

Commitment = Mapping[str, Any]
ReadContent = Callable[[Commitment], bytes | None]
Stored = tuple[int, bytes, bytes]

# A body is canonical: no space stands in it, and a quote within a text is escaped, so that these find keys only.
_COMMITTED = re.compile(rb'"salted_sha256":"([0-9a-f]{64})"')
_LISTING = tuple(b'"kind":"%s"' % kind.encode() for kind in MANIFESTS)


def parsed(stored: Stored) -> Row:
    """Parse a row.

    Raises:
        VerificationError: It is not of the format, and which it is.
    """
    try:
        return parse_row(*stored)
    except VerificationError as error:
        raise VerificationError(f"row {stored[0] + 1}: {error}", hint="safeloop audit says which rows stand") from None


def is_of(body: bytes, session: str) -> bool:
    """Say whether a row's body is of this session."""
    return b'"session":"%s","v":' % session.encode() in body


def rows_of(rows: Iterable[Stored], session: str) -> tuple[Row, ...]:
    """Return a session's rows among these."""
    return tuple(parsed(stored) for stored in rows if is_of(stored[1], session))


def has_list(body: bytes) -> bool:
    """Say whether a row's body is of a kind that lists contents in a manifest."""
    return any(mark in body for mark in _LISTING)


def committed(row: Row, read: ReadContent) -> Iterator[Commitment]:
    """Yield what a row commits to, itself and in its manifest; of an `erase` row nothing, for its list must stay.

    Raises:
        VerificationError: The manifest is not what was committed, or not a manifest.
    """
    if row.kind == "erase":
        return
    yield from commitments(row.data)
    key, _ = MANIFESTS.get(row.kind, (None, None))
    if key is not None:
        for entry in _entries(row, row.data.get(key), read) or ():
            yield from commitments(entry)


def used(rows: Iterable[Stored], wanted: Mapping[str, Commitment], read: ReadContent) -> frozenset[str]:
    """Return which of the wanted digests these rows commit to, in themselves or in their manifests.

    Raises:
        VerificationError: A manifest, or a row that has one, is not of the format.
    """
    found: set[str] = set()
    for stored in rows:
        if has_list(stored[1]):
            digests = {each["salted_sha256"] for each in committed(parsed(stored), read)}
        else:
            digests = {digest.decode() for digest in _COMMITTED.findall(stored[1])}
        found |= digests & wanted.keys()
    return frozenset(found)


def erasures(rows: Iterable[Stored]) -> Iterator[Row]:
    """Yield the `erase` rows among these."""
    for stored in rows:
        if b'"kind":"erase"' in stored[1]:
            row = parsed(stored)
            if row.kind == "erase":
                yield row


def listed(row: Row, read: ReadContent) -> Iterator[str]:
    """Yield the digests that an `erase` row lists, hex.

    Raises:
        VerificationError: The list is missing, or is none.
    """
    entries = _entries(row, row.data.get("contents"), read)
    if entries is None:
        raise VerificationError(
            f"row {row.id}: the list of what it erased is missing", hint="restore NAME.content.db from a backup"
        )
    for entry in entries:
        yield from (each["salted_sha256"] for each in commitments(entry))


def _entries(row: Row, named: object, read: ReadContent) -> list[dict[str, Any]] | None:
    data = read(named) if isinstance(named, dict) and commitment(named) else None
    try:
        return None if data is None else manifest_entries(data)
    except VerificationError as error:
        raise VerificationError(f"row {row.id}: its list of contents: {error}", hint="safeloop audit") from None
