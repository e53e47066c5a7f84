"""A ledger as judges read it: stored bytes only, one snapshot, nothing created and nothing changed."""

from __future__ import annotations

import contextlib
import os
from array import array
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping
from heapq import merge
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import Any

from safeloop.errors import LedgerError, VerificationError
from safeloop.ledger.kinds import Claim
from safeloop.ledger.note import parse_checkpoint
from safeloop.ledger.rows import LEDGER_SESSION, Row
from safeloop.ledger.site import real_path
from safeloop.ledger.store import schema
from safeloop.ledger.store.contents import ContentStore, content_path
from safeloop.ledger.store.rows import RowStore, Searched, StoredRow
from safeloop.ledger.visible import visible


class LedgerReader:
    """An open ledger that is never written.

    Args:
        db_path: Where it lies.

    Raises:
        LedgerError: There is none, or it is not one; see the hint.
    """

    def __init__(self, db_path: str | os.PathLike[str]) -> None:
        self.path: Path = real_path(db_path)
        with contextlib.ExitStack() as stack:
            self._rows = RowStore(self.path, read_only=True)
            stack.callback(self._rows.close)
            self._contents = ContentStore(content_path(self.path), read_only=True)
            stack.callback(self._contents.close)
            self._stack = stack.pop_all()

    def __enter__(self) -> LedgerReader:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the files."""
        self._stack.close()

    @contextlib.contextmanager
    def snapshot(self) -> Iterator[None]:
        """See one state of the ledger until the end, whatever is appended meanwhile; within another, that one's."""
        with self._rows.snapshot():
            yield

    def origin(self) -> str:
        """Return the origin that the head claims; nothing is verified.

        Raises:
            LedgerError: There is no head that could claim one.
        """
        try:
            return parse_checkpoint(self._rows.head() or "").origin
        except VerificationError as error:
            raise LedgerError(f"{self.path} has no usable head: {error}", hint="restore it from a backup") from None

    def head(self) -> str | None:
        """Return the head's signed note, unverified."""
        return self._rows.head()

    def size(self) -> int:
        """Return one more than the last row's position."""
        return self._rows.size()

    def rows(self, start: int = 0) -> Iterator[StoredRow]:
        """Yield every row by position, from one position on, as (idx, body, signature), unverified; memory is flat."""
        return self._rows.rows(start)

    def nodes(self) -> Iterator[tuple[int, int, object]]:
        """Yield the stored hashes of the tree as (level, index, hash), for comparison with recomputed ones."""
        return self._rows.nodes()

    def node(self, level: int, index: int) -> bytes:
        """Return one stored hash of the tree; derived data, good for proofs that are then verified."""
        return self._rows.node(level, index)

    def nodes_of(self, level: int) -> Iterator[tuple[int, object]]:
        """Yield the stored hashes of one level of the tree as (index, hash); levels may be read side by side."""
        return self._rows.nodes_of(level)

    def node_count(self) -> int:
        """Return how many hashes of the tree are stored."""
        return self._rows.node_count()

    def searched(self, start: int, end: int) -> Searched:
        """Search rows from `start` up to but not `end` by every index, as SQLite reads them.

        Returns:
            By index: how many rows it is to list, how many of them it does not lead to, and the first such position.
        """
        return self._rows.searched(start, end)

    def searched_for(self, rows: Iterable[Row]) -> Searched:
        """Search rows by every index, as `searched` does, by what they say of themselves.

        Args:
            rows: At least one; each of its kind's form.
        """
        known = [
            (idx, session, n, kind, data.get("parent"))
            for idx, _, _, _, data, kind, _, n, _, session, _, _ in rows
        ]
        return self._rows.searched_for(known)

    def index_sizes(self) -> dict[str, int]:
        """Return by index how many entries it has."""
        return self._rows.index_sizes()

    def charged_in(self, hour: str) -> tuple[Any, Any, Any] | None:
        """Return the tokens, micro-dollars and sessions that the file says were charged to an hour, if it lists it."""
        return self._rows.book.charged_in(hour)

    def charged_since(self, begins: str) -> tuple[int, int, int]:
        """Return the same of all hours from one that begins so on, together."""
        return self._rows.book.charged_since(begins)

    def newest_hour(self) -> str:
        """Return the newest hour that the file lists; empty if there is none."""
        return self._rows.book.newest_hour()

    def hour_count(self) -> int:
        """Return how many hours the file lists."""
        return self._rows.book.hour_count()

    def everything_held(self) -> Iterator[tuple[Any, ...]]:
        """Yield what the file keeps of intents: session, n, attempt, hour, tokens and micro-dollars."""
        return self._rows.book.everything_held()

    def rows_of(self, session: str) -> Iterator[StoredRow]:
        """Yield a session's rows as an index finds them; quick, unverified, and good for finding one's way only."""
        return self._rows.rows_of(session)

    def rows_of_kinds(self, *kinds: str) -> Iterator[StoredRow]:
        """Yield the rows of some kinds as an index finds them; quick, unverified, and no evidence either."""
        return self._rows.rows_of_kinds(kinds)

    def appended(self, kind: str, start: int) -> tuple[StoredRow, ...]:
        """Return the rows of a kind that lie from a position on by now, beyond any snapshot; as an index finds them."""
        with contextlib.closing(RowStore(self.path, read_only=True)) as rows:
            return tuple(rows.rows_of_kinds((kind,), start))

    def row(self, idx: int) -> StoredRow | None:
        """Return the row at a position as (idx, body, signature), unverified, or None."""
        return self._rows.row(idx)

    def row_of(self, session: str, n: int) -> StoredRow | None:
        """Return a session's row by its place in the session, by an index: unverified, and no evidence of absence."""
        return self._rows.row_of(session, n)

    def last_row_of(self, session: str) -> StoredRow | None:
        """Return a session's newest row, by an index: unverified, and no evidence that nothing follows it."""
        return self._rows.last_row_of(session)

    def sessions_like(self, prefix: str) -> Iterator[str]:
        """Yield the sessions whose id begins so, in the order of their first rows; O(log n), and no evidence."""
        return self._rows.sessions_like(prefix)

    def count_like(self, prefix: str) -> int:
        """Return how many rows there are of sessions whose id begins so, by an index, and no evidence."""
        return self._rows.count_like(prefix)

    def newest_session(self) -> str | None:
        """Return the session that began last, the ledger's own aside; quick, and no evidence."""
        return self._rows.newest_session(LEDGER_SESSION)

    def sessions(self) -> Iterator[str]:
        """Yield the sessions in the order of their first rows; quick, and good for finding one's way only."""
        return self._rows.sessions()

    def by_session(self, *kinds: str, besides: tuple[str, ...] = ()) -> Iterator[tuple[str, tuple[StoredRow, ...]]]:
        """Yield every session by its id, with its rows of some kinds; by indexes alone, and no evidence.

        Memory grows by eight bytes for each row of all these kinds, and a fraction for room to grow; and it holds the
        rows that it yields with one session.

        Args:
            kinds: Of the rows that are read.
            besides: Sessions with a row of one of these kinds are passed over, and none of their rows is read.
        """
        # One query for each kind, merged here: for several kinds at once SQLite would sort all of them.
        wanted, unwanted = (array("q", merge(*map(self._rows.places_of_kind, each))) for each in (kinds, besides))
        for session, places in groupby(self._rows.places(), key=itemgetter(0)):
            mine, is_passed_over = array("q"), False
            for _, idx in places:
                is_passed_over = is_passed_over or _holds(unwanted, idx)
                if _holds(wanted, idx):
                    mine.append(idx)
            if not is_passed_over:
                yield str(session), tuple(row for row in map(self._rows.row, mine) if row is not None)

    def schema_is_intact(self) -> bool:
        """Say whether every table, index, trigger and view is exactly the format's."""
        return self._rows.schema() == schema.STATEMENTS

    def schema_faults(self) -> tuple[str, ...]:
        """Return the beginnings of statements that the format has and the file lacks, and the other way round."""
        found = self._rows.schema()
        lacking = [f"lacks {_beginning(text)}" for text in schema.STATEMENTS if text not in found]
        foreign = [f"has {_beginning(text)}" for text in found if text not in schema.STATEMENTS]
        other = [] if self.schema_is_intact() else ["has the format's statements in another order, or twice"]
        return tuple(lacking + foreign) or tuple(other)

    def has_tables(self) -> bool:
        """Say whether rows, hashes and head are tables, and not views of that name."""
        return self._rows.tables() >= {"row", "node", "head"}

    def has_contents(self) -> bool:
        """Say whether there is a content database beside the ledger."""
        return content_path(self.path).exists()

    def holds_content(self, digest: bytes) -> bool:
        """Say whether content is kept under a digest; it is not looked at."""
        return self._contents.holds(digest)

    def salted_content(self, digest: bytes) -> tuple[bytes, bytes] | None:
        """Return salt and bytes as they are stored, not compared with any commitment; None if they are not kept."""
        return self._contents.salted(digest)

    @contextlib.contextmanager
    def frozen(self) -> Iterator[None]:
        """See one state of rows and of content; the content is read at a time when all that the rows name is there."""
        with self._rows.snapshot():
            self._rows.size()  # SQLite takes a snapshot when it first reads
            with self._contents.snapshot():
                yield

    def copy_to(self, path: Path) -> bool:
        """Copy what a snapshot holds: rows to `path`, content to its content path; False if there is no content."""
        self._rows.copy_to(path)
        return self._contents.copy_to(content_path(path))

    @contextlib.contextmanager
    def reading_content(self) -> Iterator[None]:
        """Read several contents from one state of their file; keep it short, whoever erases is waiting for its end."""
        with self._contents.reading():
            yield

    def read_content(self, commitment: Mapping[str, Any]) -> bytes | None:
        """Return what a row committed to, or None if it is not kept.

        Raises:
            VerificationError: What is kept is not what was committed.
        """
        return self._contents.get(commitment)

    def whole_contents(self, claims: Iterable[Claim], most_bytes: int) -> Iterator[tuple[Claim, bytes]]:
        """Yield what is kept as it was committed, with the claim; silent about the rest."""
        return self._contents.whole(claims, most_bytes)


def _holds(ordered: array[int], number: int) -> bool:
    place = bisect_left(ordered, number)
    return place < len(ordered) and ordered[place] == number


def _beginning(statement: object) -> str:
    """Name a statement of the schema by its first words."""
    return visible(" ".join(str(statement).split()[:4]), 80)
