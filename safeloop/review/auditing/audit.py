"""The audit of the record: was it altered?

It reads and never writes, needs no private key and no model SDK, and trusts nothing inside the file: rows are judged
by their stored bytes under pinned keys, in one snapshot and one pass. All findings are reported, and a bad row does
not condemn the others. Memory grows with sessions, and with what is wrong, never with rows.

What can be judged of a row by itself is judged in blocks, in other processes if there are any; this one reads the
rows in their order, and puts together what only order and company can tell.

What no audit can see: a machine that was set back together with its state file and every checkpoint; two machines
with the same keys that never exchanged checkpoints; a tail cut off together with its head, where neither a state nor
a checkpoint was kept elsewhere; and what was never written.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from safeloop.errors import LedgerError, LedgerLocked, SessionNotFoundError, SettingError
from safeloop.ledger.reader import LedgerReader
from safeloop.ledger.rows import is_session_id
from safeloop.ledger.state import State
from safeloop.ledger.trust import Trust
from safeloop.review.auditing.anchors import (
    NO_HEAD,
    compare_kept,
    compare_state,
    copy_notes,
    judge_witnesses,
    read_head,
    verify_kept,
    verify_since,
)
from safeloop.review.auditing.blocks import blocks
from safeloop.review.auditing.derived import IndexCheck, compare_schema
from safeloop.review.auditing.examination import Examination
from safeloop.review.auditing.findings import Rule, finding
from safeloop.review.auditing.judging import Judge
from safeloop.review.auditing.links import LinkSweep
from safeloop.review.auditing.stored import StoredHashes
from safeloop.review.auditing.sweeping import ROWS_PER_BLOCK, RecordSweep
from safeloop.review.auditing.trees import Trees, TreeVerdict
from safeloop.review.auditing.verdict import AuditReport
from safeloop.review.auditing.workers import results

FEW_ROWS = 2_000
"""A ledger of fewer rows is judged sooner than a process is started."""


def audit(
    reader: LedgerReader,
    trust: Trust,
    *,
    state: State | None,
    checkpoints: Sequence[str] = (),
    session: str | None = None,
    since: str | None = None,
    tree_only: bool = False,
    processes: int = 1,
    few_rows: int = FEW_ROWS,
    rows_per_block: int = 0,
) -> AuditReport:
    """Audit a ledger, or one session of it; the tree, the head and what anchors them are always judged whole.

    Args:
        reader: The ledger; in a snapshot, the state of that moment is audited.
        trust: The auditor's pins.
        state: What this machine's key folder last signed, read before this is called and before any snapshot, or
            appends beside the audit would look like a ledger that is behind; None where there is none.
        checkpoints: Signed notes that somebody kept.
        session: Judge only this session's rows by their signatures; the tree vouches for the others' bytes.
        since: The signed note of a checkpoint up to which somebody has audited the ledger. The tree is proved to go
            on from it, and its verified root fixes every byte of the rows before it: they are read again for what
            they say of their sessions, but their signatures and contents are not checked again. If it cannot be
            used, that is a finding, and every row is judged.
        tree_only: Check chains, tree, head and what anchors it, and nothing else.
        processes: How many processes judge rows, this one among them. A caller that wants more than this one is
            itself guarded by `if __name__ == "__main__"`, as every program is that spawns processes.
        few_rows: None is started where the head does not sign as many rows, nor for the tree alone: to hash a row
            takes less time than to hand it over.
        rows_per_block: A power of two; 0 stands for what is quickest.

    Raises:
        SettingError: What is asked for cannot be had together.
        KeyUnusable: The auditor's `release.toml` is not understood.
        SafeloopError: A process that judged rows ended before its time.
        LedgerError: Not a file that can be audited at all, or locked.
        SessionNotFoundError: Nothing is wrong, and there is no row of this session.
    """
    if session is not None and not is_session_id(session):
        raise SessionNotFoundError(f"{session[:60]!a} cannot be a session's id", hint="safeloop inbox")
    if (session is not None) + (since is not None) + tree_only > 1:
        raise SettingError("one session, what is new since a checkpoint, and the tree alone are audited one at a time",
                           hint="safeloop audit --help")
    with reader.snapshot():
        plan = _Plan(session, tree_only, processes, few_rows, rows_per_block)
        return _Audit(reader, trust, state, checkpoints, since, plan).report()


@dataclass(frozen=True, slots=True)
class _Plan:
    """What is audited, and how; see `audit`."""

    session: str | None
    tree_only: bool
    processes: int
    few_rows: int
    rows_per_block: int


class _Audit:
    """One audit in progress: the pass over the file, and the verdict at the end."""

    def __init__(
        self, reader: LedgerReader, trust: Trust, state: State | None, checkpoints: Sequence[str], since: str | None,
        plan: _Plan,
    ) -> None:
        self._reader, self._trust, self._state, self._plan = reader, trust, state, plan
        self._has_tables = reader.has_tables()
        self._head = read_head(reader, trust) if self._has_tables else NO_HEAD
        self._kept, unusable = verify_kept(checkpoints, trust)
        self._since, kept, useless = verify_since(since, self._head, trust)
        unwitnessed, self._witnesses = judge_witnesses(self._head, checkpoints, trust)
        self._kept += kept
        self._findings = [*compare_schema(reader), *self._head.findings, *unwitnessed, *unusable, *useless]
        self._sweep = self._begin()
        self._indexes = IndexCheck(reader)
        self._end = 0
        self._is_whole = False
        self._verdict = TreeVerdict(0, {}, is_explained=False, findings=(), fallen=())

    def report(self) -> AuditReport:
        """Read everything once, and say what was found."""
        sweep, session = self._sweep, self._plan.session
        if self._has_tables:
            self._read()
        sweep.finish(self._end)
        found = (*self._findings, *sweep.findings, *([] if self._verdict.is_explained else sweep.displaced_links))
        if sweep.rows == 0 and session is not None and not found:
            raise SessionNotFoundError(f"no session {session} in {self._reader.path}", hint="safeloop inbox")
        found = tuple(sorted(found, key=lambda each: each.row or 0))
        named = {each.row - 1 for each in found if each.unseats and each.row is not None}
        return AuditReport(
            ledger=sweep.origin or self._head.claimed, size=self._verdict.size, session=session, rows=sweep.rows,
            rows_standing=sweep.standing(named, self._verdict.fallen), findings=found, gaps=tuple(sweep.gaps()),
            notes=(*self._notes(), *sweep.notes()), is_self=self._trust.is_self, since=self._since,
            tree_only=self._plan.tree_only,
        )

    def _begin(self) -> RecordSweep | LinkSweep:
        origin, plan = None if self._head.signed is None else self._head.signed.origin, self._plan
        if plan.tree_only:
            return LinkSweep(origin, plan.rows_per_block)
        work = Judge(self._trust, origin, plan.session, self._since, plan.rows_per_block or ROWS_PER_BLOCK)
        return RecordSweep(Examination(self._reader, self._trust, self._head, self._since), work)

    def _read(self) -> None:
        """Judge every row in one pass, beside the stored hashes; say how far it came if the file is damaged."""
        wanted = [each.checkpoint.size for each in self._kept] + ([self._state.size] if self._state else [])
        hashes = StoredHashes(self._reader.nodes_of, self._reader.node_count)
        trees = Trees(hashes, self._head.signed, wanted)
        try:
            self._judge(trees)
        except LedgerLocked:  # of the content's file
            raise
        except LedgerError as error:
            row = trees.next + 1
            self._findings.append(finding(Rule.FILE, f"nothing can be read from row {row} on: {error}", row=row))
            return
        self._is_whole = True
        self._verdict = trees.finish(self._sweep.faulty)
        self._findings += self._verdict.findings
        if not self._plan.tree_only:
            self._findings += self._indexes.finish()
        if trees.next == 0:
            self._findings.append(finding(Rule.EMPTY, f"{self._reader.path} has no rows"))
        self._compare()

    def _judge(self, trees: Trees) -> None:
        """Take in every row, in blocks."""
        sweep: Any = self._sweep  # each has results of its own kind
        size = 0 if self._head.signed is None else self._head.signed.size
        is_worth_it = size >= self._plan.few_rows and not self._plan.tree_only
        processes = self._plan.processes if is_worth_it else 1
        with results(sweep.work, blocks(self._reader.rows(), sweep.work.size), processes) as judged:
            for block, result in judged:
                for idx, end in block.strays:
                    words = f"a row lies at position {idx}, where position {end} should follow"
                    self._findings.append(finding(Rule.TREE, words))
                with self._reader.reading_content():
                    rows = sweep.take(block, result, trees)
                self._end = trees.next
                if not self._plan.tree_only:
                    self._indexes.advance(self._end, rows)

    def _compare(self) -> None:
        """Hold the tree against what lies outside the file."""
        size, roots = self._verdict.size, self._verdict.roots
        if self._state is not None:
            self._findings += compare_state(self._state, self._reader.path, size, roots)
        self._findings += compare_kept(self._kept, self._sweep.origin, size, roots)

    def _notes(self) -> Iterator[str]:
        yield from self._witnesses
        if not self._is_whole:
            yield "tree, state and checkpoints were not compared: the file cannot be read to its end"
        if self._state is not None:
            yield from copy_notes(self._state, self._reader.path, self._verdict.size)
        if self._state is None and self._trust.is_self:
            yield "no state of this ledger in this key folder: an older file put back would not be seen by it"
        if not self._kept:
            yield "no kept checkpoint was compared: one from elsewhere shows a cut tail, and a second history"
