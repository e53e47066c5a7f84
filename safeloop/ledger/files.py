"""A ledger's open files, how threads and forks share them, and the edge of its tree as this process last saw it."""

from __future__ import annotations

import contextlib
import os
import threading
import weakref
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from safeloop.errors import LedgerError, LedgerNotFound
from safeloop.ledger.merkle import EMPTY_ROOT, Frontier
from safeloop.ledger.rows import NO_ROW, Row, parse_row, sealed_row
from safeloop.ledger.site import Site, check_state, read_head
from safeloop.ledger.state import State, StateFile
from safeloop.ledger.store.contents import ContentStore, content_path
from safeloop.ledger.store.rows import RowStore

_SESSIONS_KEPT, _LONGEST_KEPT = 8, 20_000
NEVER = -1  # a `data_version` that no database has


@dataclass(slots=True)
class Edge:
    """What an append needs to know of the ledger, valid while nobody else has committed.

    Attributes:
        version: The database's `data_version` when this was read.
        frontier: The right edge of the tree.
        tails: The newest row's `n` and leaf of sessions that were asked for.
        sessions: The rows of the sessions that rules last asked for, parsed; a rule asks for its own at every append.
    """

    version: int
    frontier: Frontier
    tails: dict[str, tuple[int, str]] = field(default_factory=dict)
    sessions: dict[str, list[Row]] = field(default_factory=dict)

    def keep(self, session: str, rows: list[Row]) -> None:
        """Remember a session's rows; the session that was remembered first makes room, and a very long one is not."""
        if len(rows) <= _LONGEST_KEPT:
            while len(self.sessions) >= _SESSIONS_KEPT:
                del self.sessions[next(iter(self.sessions))]
            self.sessions[session] = rows

    def extend(self, row: Row) -> None:
        """Let a row follow; it is parsed again, because whoever appended it may do what they like with theirs."""
        self.tails[row.session] = (row.n + 1, row.leaf)
        if row.session in self.sessions:
            self.sessions[row.session].append(sealed_row(row.idx, row.body, row.sig, bytes.fromhex(row.leaf)))


class OpenFiles:
    """The three files of one ledger in one process, and their writers' lock.

    Args:
        site: Where they are, and whose; its keys are the ones to sign with as soon as `writing` has yielded.
        timeout_s: How long to wait for another writer.
    """

    def __init__(self, site: Site, timeout_s: float) -> None:
        self.site = site
        self.process = os.getpid()
        self._timeout_s = timeout_s
        self.edge: Edge | None = None
        self._newest_key_row: int | None = None
        with contextlib.ExitStack() as stack:
            self.state = None if site.state is None else StateFile(site.state)
            if self.state is not None:
                stack.callback(self.state.close)
            self.rows = RowStore(site.path, timeout_s=timeout_s)
            stack.callback(self.rows.close)
            contents = None if site.path is None else content_path(site.path)
            self.contents = ContentStore(contents, timeout_s=timeout_s)
            stack.callback(self.contents.close)
            if site.path is None:
                self.rows.set_head(site.sign_head(0, EMPTY_ROOT))
            self._places = tuple((path, _identity(path)) for path in (site.path, contents) if path is not None)
            self._stack = stack.pop_all()

    def close(self) -> None:
        """Fold the write-ahead logs into their files and close them, if this process opened them."""
        if os.getpid() != self.process:
            return  # a fork's copy: closing it would pull the files from under the parent
        with self._stack, contextlib.suppress(LedgerError), self._lock(0):
            # What could not be folded now, because somebody writes or the disk is full, is folded by the next writer.
            self.rows.fold_log()
            self.contents.fold_log()

    @contextlib.contextmanager
    def writing(self) -> Iterator[Edge]:
        """Hold the locks in their order, state then database; yield the edge, checked against what was signed."""
        with self._lock(self._timeout_s):
            self._check_places()
            try:
                with self.rows.transaction():
                    yield self._current()
                    self.check_process()
            except BaseException:
                self.edge = None  # whatever happened, the next writer reads the file again
                raise
            self._remember()

    def check_process(self) -> None:
        """Refuse to go on in a fork; a ledger in memory has a copy there of its own.

        Raises:
            RuntimeError: Another process opened these files.
        """
        if os.getpid() != self.process and self.site.path is not None:
            raise RuntimeError("this process was forked in the middle of an append: open the ledger again")

    def tail(self, edge: Edge, session: str) -> tuple[int, str]:
        """Return the next `n` of a session and the leaf that it follows."""
        if session not in edge.tails:
            stored = self.rows.last_row_of(session)
            last: Row | None = None if stored is None else parse_row(*stored)
            edge.tails[session] = (0, NO_ROW) if last is None else (last.n + 1, last.leaf)
        return edge.tails[session]

    def session(self, edge: Edge, session: str) -> tuple[Row, ...]:
        """Return a session's rows, which later calls return again unless somebody else commits in between."""
        rows = edge.sessions.get(session)
        if rows is None:
            rows = [parse_row(*stored) for stored in self.rows.rows_of(session)]
            edge.keep(session, rows)
        return tuple(rows)

    def _check_places(self) -> None:
        """Refuse to write into files that are no longer where they were: nobody would find the rows.

        Raises:
            LedgerNotFound: A file was removed, moved or replaced while it was open.
        """
        for path, identity in self._places:
            if _identity(path) != identity:
                raise LedgerNotFound(
                    f"{path} was removed, moved or replaced while it was open",
                    hint="put it back where it was, or restore it from a backup",
                )

    def _lock(self, timeout_s: float) -> contextlib.AbstractContextManager[None]:
        return contextlib.nullcontext() if self.state is None else self.state.locked(timeout_s)

    def _current(self) -> Edge:
        """Return the edge, read again and compared with the state if anybody else has committed."""
        version = self.rows.data_version()
        if self.edge is not None and self.edge.version == version:
            return self.edge
        head = read_head(self.rows.head(), self.site)
        frontier = Frontier.read(head.size, self.rows.node)
        if frontier.root() != head.root or self.rows.size() != head.size:
            raise LedgerError(
                f"{self.site.path}: rows, tree and head do not agree", hint="safeloop audit, and restore a backup"
            )
        if self.state is not None:
            check_state(self.state.read(), self.site, head, self.rows.node)
        self._follow_keys()
        self.edge = Edge(version, frontier)
        return self.edge

    def _follow_keys(self) -> None:
        """Sign on with the keys that the ledger's `key` rows lead to, if there is one that was not seen yet."""
        newest = self.rows.last_of_kind("key")
        if newest != self._newest_key_row:
            rows = [parse_row(*stored) for stored in self.rows.rows_of_kinds(("key",))]
            self.site = self.site.succeeded(rows)
            self._newest_key_row = newest

    def _remember(self) -> None:
        if self.state is not None and self.site.path is not None and self.edge is not None:
            self.state.write(State(self.site.path, self.edge.frontier.size, self.edge.frontier.root()))


def _identity(path: Path) -> tuple[int, int] | None:
    """Return what tells a file from every other that exists, or None if there is none."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


class SharedFiles:
    """The files of one ledger, for one thread at a time.

    No SQLite handle crosses a fork: the child would share the parent's idea of which locks are held, and lose
    rows when the parent closes (sqlite.org/howtocorrupt.html, 2.6). The files are closed before a fork, and
    both sides open them again when they next need them.

    Args:
        site: Where they are, and whose.
        timeout_s: How long to wait for another writer.
    """

    def __init__(self, site: Site, timeout_s: float) -> None:
        self._site = site
        self._timeout_s = timeout_s
        self._lock = threading.RLock()
        self._busy = False
        self._closed = False
        self._files: OpenFiles | None = OpenFiles(site, timeout_s)
        with _LISTING:
            _SHARED.add(self)

    @contextlib.contextmanager
    def use(self) -> Iterator[OpenFiles]:
        """Have the files for this thread alone.

        Raises:
            RuntimeError: They are closed, in use by this thread, or were in use when this process was forked.
        """
        with self._lock:
            if self._busy:
                raise RuntimeError("a rule must not use the ledger that it decides for: it has its view")
            if self._closed:
                raise RuntimeError("the ledger is closed")
            try:
                self._busy = True
                if self._files is None:
                    self._files = OpenFiles(self._site, self._timeout_s)
                self._files.check_process()
                yield self._files
            finally:
                self._busy = False

    def close(self) -> None:
        """Close the files for good.

        Raises:
            RuntimeError: A rule is deciding.
        """
        with self._lock:
            if self._busy:
                raise RuntimeError("a rule must not close the ledger that it decides for")
            self._closed = True
            self._let_go()

    def before_fork(self) -> bool:
        """Close the files and keep other threads away until `after_fork`; False if a thread has them for longer."""
        if not self._lock.acquire(timeout=_TRY_S):
            return False
        _HELD.append(self)
        if not self._busy and self._site.path is not None:
            self._let_go()
        return True

    def after_fork(self) -> None:
        """Let other threads go on; the files are opened when they are next needed."""
        self._lock.release()

    def _let_go(self) -> None:
        files, self._files = self._files, None
        if files is not None:
            files.close()


_TRY_S = 0.05
_FORKING = threading.RLock()  # one fork at a time
_LISTING = threading.RLock()  # for moments only: who opens a ledger must not wait for a fork that waits for them
_SHARED: weakref.WeakSet[SharedFiles] = weakref.WeakSet()
_HELD: list[SharedFiles] = []


def _before_fork() -> None:
    _FORKING.acquire()
    # All or none: a thread that has one ledger may need another, if only because a ledger is collected there. Whoever
    # held one while waiting for the next could wait for a thread that waits for the first.
    while not _hold_all():
        _release_held()


def _hold_all() -> bool:
    with _LISTING:
        present = tuple(_SHARED)  # strong references: none is collected while it is held
    return all(shared.before_fork() for shared in present) and _LISTING.acquire(timeout=_TRY_S)


def _release_held() -> None:
    while _HELD:
        _HELD.pop().after_fork()


def _after_fork() -> None:
    _LISTING.release()
    _release_held()
    _FORKING.release()


os.register_at_fork(before=_before_fork, after_in_parent=_after_fork, after_in_child=_after_fork)
