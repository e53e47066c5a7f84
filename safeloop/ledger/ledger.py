"""The ledger as programs use it: append under a rule, read a session, and the tutorial's own verbs."""

from __future__ import annotations

import hashlib
import os
import secrets
import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from safeloop.errors import SettingError
from safeloop.ledger import seal
from safeloop.ledger.charges import HOUR, Held, post
from safeloop.ledger.content import SALT_BYTES, Content
from safeloop.ledger.files import NEVER, Edge, OpenFiles, SharedFiles
from safeloop.ledger.guarded import guard
from safeloop.ledger.keys import KeyFolder
from safeloop.ledger.kinds import check_data
from safeloop.ledger.merkle import Node
from safeloop.ledger.note import Checkpoint
from safeloop.ledger.rows import (
    LEDGER_SESSION,
    Draft,
    Row,
    encode_body,
    encode_plain_body,
    is_session_id,
    own,
    parse_row,
    timestamp,
)
from safeloop.ledger.site import MEMORY, memory_site, open_site, protected_paths, read_head, real_path
from safeloop.ledger.store.database import BUSY_TIMEOUT_S
from safeloop.ledger.visible import visible

CIRCUIT_BREAKER = "circuit_breaker"
Clock = Callable[[], datetime]

# What a row written by hand cannot say; it is null there.
UNKNOWN_TO_BREACHES_BY_HAND: tuple[str, ...] = ("scope", "limit", "spent", "next_at_most")
UNKNOWN_TO_TURNS_BY_HAND: tuple[str, ...] = (
    "attempt", "intent", "model", "response", "stop_reason", "usage", "cost_microusd", "elapsed_ms", "overrun",
)


@dataclass(frozen=True)
class LedgerRow:
    """A `turn` or `breach` row with the tutorial's field names.

    Attributes:
        id: Position in the ledger, from 1.
        input_hash: SHA-256 of the task, hex.
        pass_fail: The loop reached this row legitimately; not that the answer is good.
        created_at: The writer's clock, RFC 3339 UTC.
    """

    id: int
    session_id: str
    turn_count: int
    state_origin: str
    input_hash: str
    token_delta: int
    execution_time_ms: int
    pass_fail: bool
    breach_reason: str | None
    created_at: str

    @classmethod
    def of(cls, row: Row) -> LedgerRow:
        """Take the fields of a `turn` or `breach` row."""
        data = row.data
        return cls(
            row.id, row.session, data["turn"], data["state_origin"], data["input_hash"], data["token_delta"],
            data["execution_time_ms"], data["pass_fail"], data["breach_reason"], row.at,
        )


class View:
    """What a rule may see while it decides: the ledger under the write lock.

    Attributes:
        size: Number of rows.
        writer: Id of the key that will sign the rows.
        log: Id of the key that will sign the head.
    """

    def __init__(self, files: OpenFiles, edge: Edge, clock: Clock) -> None:
        self._files, self._edge, self._clock = files, edge, clock
        self._now = ""
        self.size = edge.frontier.size
        self.writer, self.log = files.site.writer.key_id, files.site.log.key_id

    def session(self, session: str) -> tuple[Row, ...]:
        """Return a session's rows, in order; the next rule sees the same ones, so nobody may change what is in them."""
        return self._files.session(self._edge, session)

    @property
    def now(self) -> str:
        """The clock, as `at` has it; rows that the rule returns are not earlier. It is read once."""
        self._now = self._now or timestamp(self._clock().astimezone(UTC))
        return self._now

    @property
    def earliest(self) -> str:
        """What the rows that the rule returns are not earlier than; empty if it did not ask for the time."""
        return self._now

    @property
    def hour(self) -> str:
        """The hour that the next intent is charged to: by the later of the clock and the newest `at`."""
        return max(self.now[:HOUR], self._files.rows.book.newest_hour())

    def charged_since(self, begins: str) -> tuple[int, int, int]:
        """Return tokens, micro-dollars and sessions charged to all hours from one that begins so on."""
        return self._files.rows.book.charged_since(begins)

    def held_since(self, begins: str) -> tuple[Held, ...]:
        """Return the open intents of all hours from one that begins so on."""
        return self._files.rows.book.open_since(begins)

    def doubts(self, session: str) -> tuple[Held, ...]:
        """Return a session's attempts in doubt, with what is charged for them now."""
        return self._files.rows.book.doubts(session)

    def children(self, session: str) -> tuple[str, ...]:
        """Return the sessions that name this one as their parent, found by an index."""
        return self._files.rows.children(session)

    def last_of_kind(self, kind: str, session: str) -> Row | None:
        """Return a session's newest row of a kind that is rare, found by its kind."""
        stored = self._files.rows.last_of_kind_in(kind, session)
        return None if stored is None else parse_row(*stored)

    def has(self, session: str, kind: str) -> bool:
        """Say whether a session has a row of this kind."""
        return self._files.rows.has(session, kind)

    def kinds(self, *kinds: str) -> tuple[Row, ...]:
        """Return all rows of these kinds, in order."""
        return tuple(parse_row(*stored) for stored in self._files.rows.rows_of_kinds(kinds))

    def stored_from(self, idx: int) -> Iterator[tuple[int, bytes, bytes]]:
        """Yield the stored rows from a position on: what came after something was read without the lock."""
        return self._files.rows.rows(idx)

    def last_row_of(self, session: str) -> Row | None:
        """Return a session's newest row."""
        stored = self._files.rows.last_row_of(session)
        return None if stored is None else parse_row(*stored)

    def count_like(self, prefix: str) -> int:
        """Return how many rows there are of sessions whose id begins so."""
        return self._files.rows.count_like(prefix)

    def read_content(self, commitment: Mapping[str, Any]) -> bytes | None:
        """Return what a row committed to, or None if it is not kept."""
        return self._files.contents.get(commitment)


Rule = Callable[[View], Iterable[Draft]]


class Ledger:
    """An append-only log of signed rows in one SQLite file.

    The file and its keys are made where they are missing. It may be used from several threads, and survives a
    fork by opening its files again.

    Args:
        db_path: Where it lies; `:memory:` keeps it, and throwaway keys, in memory.
        keys: The key folder, or its path; None is `SAFELOOP_KEYS`, else the XDG config folder.
        clock: Returns the time for `at`, aware; rows that are added together have the same.
        create: False refuses to make what is not there.
        timeout_s: How long to wait for another writer, in seconds.

    Raises:
        LedgerError: There is no ledger to be had at this path; subclasses and hint say why.
    """

    def __init__(
        self,
        db_path: str | os.PathLike[str] = "ledger.db",
        *,
        keys: str | os.PathLike[str] | KeyFolder | None = None,
        clock: Clock = lambda: datetime.now(UTC),
        create: bool = True,
        timeout_s: float = BUSY_TIMEOUT_S,
    ) -> None:
        self.db_path = db_path
        self._clock = clock
        if db_path == MEMORY:
            self._site = memory_site()
        else:
            self._site = open_site(real_path(db_path), KeyFolder.of(keys), create=create)
        # Before they are open: a tool that closed one of these files would drop this process's locks on it.
        self._guard = guard(protected_paths(self._site, keys))
        self._files = SharedFiles(self._site, timeout_s)
        # The tutorial's programs never close a ledger; its files are closed with it, or at the end.
        self._finalizer = weakref.finalize(self, self._files.close)

    @property
    def origin(self) -> str:
        """The ledger's name, which every row states."""
        return self._site.origin

    @property
    def protected_paths(self) -> tuple[Path, ...]:
        """What no tool may reach, as real paths: the ledger's own files, the key folder, and the keys."""
        return self._guard.paths

    def append(self, decide: Rule) -> tuple[Row, ...]:
        """Let a rule see the rows under the write lock, and add the rows that it returns: all or none.

        Content is durable before the row that names it; the rows are durable when this returns.

        Args:
            decide: Called once. Whatever it raises leaves the ledger as it was.

        Raises:
            LedgerError: Locked, unusable, or not the ledger that was last signed.
            EncodingError: A draft breaks the format.
            RuntimeError: Called from within a rule.
        """
        with self._files.use() as files, files.writing() as edge:
            view = View(files, edge, self._clock)
            drafts = tuple(decide(view))
            if not drafts:
                return ()
            rows, nodes = self._seal(drafts, files, edge, view.earliest)
            files.contents.put(content for draft in drafts for content in draft.contents)
            head = files.site.sign_head(edge.frontier.size, edge.frontier.root())
            files.rows.extend(((row.idx, row.body, row.sig) for row in rows), nodes, head)
            for row in rows:
                post(files.rows.book, row)
            if any(row.kind == "key" for row in rows):
                edge.version = NEVER  # the next row may be for another key to sign
            return rows

    def rows(self, session: str) -> tuple[Row, ...]:
        """Return a session's rows, in order; none if it is unknown."""
        with self._files.use() as files:
            return tuple(parse_row(*stored) for stored in files.rows.rows_of(session))

    def rows_of_kinds(self, *kinds: str) -> tuple[Row, ...]:
        """Return all rows of these kinds, in order."""
        with self._files.use() as files:
            return tuple(parse_row(*stored) for stored in files.rows.rows_of_kinds(kinds))

    def content(self, data: bytes, media_type: str) -> Content:
        """Give bytes a fresh salt, so that a draft can commit to them."""
        return Content(data, media_type, secrets.token_bytes(SALT_BYTES))

    def read_content(self, commitment: Mapping[str, Any]) -> bytes | None:
        """Return what a row committed to, or None if it is no longer kept.

        Raises:
            VerificationError: What is kept is not what was committed.
        """
        with self._files.use() as files:
            return files.contents.get(commitment)

    def erase_contents(self, digests: Iterable[bytes]) -> int:
        """Delete salts and bytes for good; the `erase` row that says so must be there already.

        It can be repeated, and must be after a crash. The row is the caller's: see `upkeep.erasing`.

        Returns:
            How many of them were still there.

        Raises:
            LedgerLocked: Somebody writes; or somebody reads, and the log keeps the bytes until it is done again.
        """
        with self._files.use() as files, files.writing():
            return files.contents.erase(digests)

    def head(self) -> tuple[Checkpoint, str]:
        """Return the newest checkpoint and its signed note."""
        with self._files.use() as files:
            note = files.rows.head()
            return read_head(note, self._site), note or ""

    def close(self) -> None:
        """Close the files; using the ledger afterwards is a RuntimeError, closing it again is not."""
        self._files.close()

    def write(
        self,
        session_id: str,
        turn_count: int,
        state_origin: str,
        input_str: str,
        token_delta: int,
        execution_time_ms: int,
        pass_fail: bool,
        breach_reason: str | None = None,
    ) -> int:
        """Write one row by hand, as in the tutorial; its session is ungoverned and never releasable.

        Args:
            input_str: Hashed, never kept.

        Returns:
            The row's number, from 1.

        Raises:
            RuntimeError: The session was opened by a loop, which alone writes its rows.
            SettingError: Not an id that a session can have.
            EncodingError: A value that a row cannot hold.
        """
        if not is_session_id(session_id):
            raise SettingError(f"{visible(str(session_id), 60)!r} cannot be a session's id")
        facts: dict[str, Any] = {
            "turn": turn_count, "state_origin": visible(state_origin), "token_delta": token_delta,
            "input_hash": hashlib.sha256(input_str.encode("utf-8", "surrogatepass")).hexdigest(),
            "execution_time_ms": execution_time_ms, "pass_fail": bool(pass_fail),
            "breach_reason": None if breach_reason is None else visible(breach_reason),
        }
        if state_origin == CIRCUIT_BREAKER:
            kind, unknown = "breach", UNKNOWN_TO_BREACHES_BY_HAND
            facts |= {"pass_fail": False, "token_delta": 0, "execution_time_ms": 0}
            facts["breach_reason"] = facts["breach_reason"] or "unknown"
        else:
            kind, unknown = "turn", UNKNOWN_TO_TURNS_BY_HAND
        draft = Draft(session_id, kind, facts | dict.fromkeys(unknown))
        return self.append(lambda view: _by_hand(view, draft))[0].id

    def get_session(self, session_id: str) -> list[LedgerRow]:
        """Return a session's `turn` and `breach` rows, oldest first; none if it is unknown."""
        return [LedgerRow.of(row) for row in self.rows(session_id) if row.kind in ("turn", "breach")]

    def get_all(self) -> list[LedgerRow]:
        """Return every `turn` and `breach` row, oldest first."""
        return [LedgerRow.of(row) for row in self.rows_of_kinds("turn", "breach")]

    def _seal(
        self, drafts: tuple[Draft, ...], files: OpenFiles, edge: Edge, earliest: str
    ) -> tuple[tuple[Row, ...], list[Node]]:
        """Give drafts their place, chain and signature, and grow the edge by their leaves."""
        rows: list[Row] = []
        nodes: list[Node] = []
        writer, owned = files.site.writer, tuple(map(own, drafts))
        at = max(timestamp(self._clock().astimezone(UTC)), earliest)
        for draft in owned:
            _check_session(draft.session)
            n, prev = files.tail(edge, draft.session)
            body = _encoded(draft, ledger=self.origin, n=n, prev=prev, at=at, writer=writer.key_id)
            message = seal.pae(body)
            sig = writer.sign(message)
            leaf = seal.sealed_leaf(message, sig)
            rows.append(Row(
                edge.frontier.size, body, sig, at, dict(draft.data), draft.kind, self.origin, n, prev, draft.session,
                writer.key_id, leaf.hex(),
            ))
            nodes += edge.frontier.append(leaf)
            edge.extend(rows[-1])
        return tuple(rows), nodes


def _encoded(draft: Draft, *, ledger: str, n: int, prev: str, at: str, writer: str) -> bytes:
    """Return a draft's bytes, checked: by one look where that is enough, else part by part."""
    body = encode_plain_body(draft, ledger=ledger, n=n, prev=prev, at=at, writer=writer)
    if body is not None:
        return body
    check_data(draft.kind, draft.data)
    return encode_body(draft, ledger=ledger, n=n, prev=prev, at=at, writer=writer)


def _check_session(session: str) -> None:
    if session != LEDGER_SESSION and not is_session_id(session):
        raise SettingError(f"'{visible(session, 60)}' cannot be a session's id")


def _by_hand(view: View, draft: Draft) -> tuple[Draft, ...]:
    if view.has(draft.session, "open"):
        raise RuntimeError(f"session {draft.session} was opened by a loop: only the loop writes its rows")
    return (draft,)
