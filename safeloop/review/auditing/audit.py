"""The audit of the record: was it altered?

It reads and never writes, needs no private key and no model SDK, and trusts nothing inside the file: rows are judged
by their stored bytes under pinned keys, in one snapshot and one pass. All findings are reported, and a bad row does
not condemn the others. Memory grows with sessions, and with what is wrong, never with rows.

What no audit can see: a machine that was set back together with its state file and every checkpoint; two machines
with the same keys that never exchanged checkpoints; a tail cut off together with its head, where neither a state nor
a checkpoint was kept elsewhere; and what was never written.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from safeloop.errors import LedgerError, LedgerLocked, SessionNotFoundError
from safeloop.ledger.reader import LedgerReader
from safeloop.ledger.rows import is_session_id
from safeloop.ledger.state import State
from safeloop.ledger.trust import Trust
from safeloop.review.auditing.anchors import NO_HEAD, compare_kept, compare_state, read_head, verify_kept
from safeloop.review.auditing.derived import compare_indexes, compare_schema
from safeloop.review.auditing.examination import Examination
from safeloop.review.auditing.findings import Finding, Rule, finding
from safeloop.review.auditing.testimony import judge, leaf_of
from safeloop.review.auditing.trees import Run, StoredHashes, Trees, TreeVerdict
from safeloop.review.auditing.verdict import AuditReport


def audit(
    reader: LedgerReader,
    trust: Trust,
    *,
    state: State | None,
    checkpoints: Sequence[str] = (),
    session: str | None = None,
) -> AuditReport:
    """Audit a ledger, or one session of it; the tree, the head and what anchors them are always judged whole.

    Args:
        reader: The ledger, without a snapshot in progress.
        trust: The auditor's pins.
        state: What this machine's key folder last signed, read before this is called, or appends beside the audit
            would look like a ledger that is behind; None where there is none.
        checkpoints: Signed notes that somebody kept.
        session: Judge only this session's rows by their signatures; the tree vouches for the others' bytes.

    Raises:
        LedgerError: Not a file that can be audited at all, or locked.
        SessionNotFoundError: Nothing is wrong, and there is no row of this session.
    """
    if session is not None and not is_session_id(session):
        raise SessionNotFoundError(f"{session[:60]!a} cannot be a session's id", hint="safeloop inbox")
    with reader.snapshot():
        return _Audit(reader, trust, state, checkpoints, session).report()


class _Audit:
    """One audit in progress: the pass over the file, and the verdict at the end."""

    def __init__(
        self, reader: LedgerReader, trust: Trust, state: State | None, checkpoints: Sequence[str], session: str | None
    ) -> None:
        self._reader, self._trust, self._state, self._session = reader, trust, state, session
        self._has_tables = reader.has_tables()
        self._head = read_head(reader, trust) if self._has_tables else NO_HEAD
        self._kept, unusable = verify_kept(checkpoints, trust)
        signed = self._head.signed
        self._examination = Examination(reader, trust, None if signed is None else signed.origin)
        self._findings = [*compare_schema(reader), *self._head.findings, *_policy(trust), *unusable]
        self._rows = 0
        self._positions: set[int] = set()  # of the one session, where only one is audited
        self._is_whole = False
        self._verdict = TreeVerdict(0, {}, is_explained=False, findings=(), fallen=())

    def report(self) -> AuditReport:
        """Read everything once, and say what was found."""
        seen = self._examination
        if self._has_tables:
            self._read()
        seen.finish()
        found = (*self._findings, *seen.findings, *([] if self._verdict.is_explained else seen.displaced_links))
        if self._rows == 0 and self._session is not None and not found:
            raise SessionNotFoundError(f"no session {self._session} in {self._reader.path}", hint="safeloop inbox")
        found = tuple(sorted(found, key=lambda each: each.row or 0))
        return AuditReport(
            ledger=seen.origin or self._head.claimed, size=self._verdict.size, session=self._session, rows=self._rows,
            rows_standing=self._standing(found), findings=found, gaps=tuple(seen.gaps()),
            notes=(*self._notes(), *seen.notes()), is_self=self._trust.is_self,
        )

    def _read(self) -> None:
        """Judge every row in one pass, beside the stored hashes; say how far it came if the file is damaged."""
        wanted = [each.checkpoint.size for each in self._kept] + ([self._state.size] if self._state else [])
        hashes = StoredHashes(self._reader.nodes_of, self._reader.node_count)
        trees = Trees(hashes, self._head.signed, wanted)
        try:
            for idx, body, signature in self._reader.rows():
                self._add(trees, idx, body, signature)
        except LedgerLocked:  # of the content's file
            raise
        except LedgerError as error:
            row = trees.next + 1
            self._findings.append(finding(Rule.FILE, f"nothing can be read from row {row} on: {error}", row=row))
            return
        self._is_whole = True
        self._verdict = trees.finish(self._examination.faulty)
        self._findings += [*self._verdict.findings, *compare_indexes(self._reader)]
        if trees.next == 0:
            self._findings.append(finding(Rule.EMPTY, f"{self._reader.path} has no rows"))
        self._compare()

    def _add(self, trees: Trees, idx: int, body: object, signature: object) -> None:
        """Take in one stored row."""
        if type(idx) is not int or idx < trees.next:
            words = f"a row lies at position {idx}, where position {trees.next} should follow"
            self._findings.append(finding(Rule.TREE, words))
            return
        leaf = leaf_of(body, signature)
        place = trees.add(idx, leaf)
        self._examination.pass_over(place)
        if not self._is_asked_for(body):
            return
        testimony = judge(idx, body, signature, self._trust, self._examination.origin)
        if self._session is not None and testimony.row is not None and testimony.row.session != self._session:
            self._examination.note_erased(testimony)
            return
        self._rows += 1
        if self._session is not None:
            self._positions.add(idx)
        self._examination.examine(testimony, leaf, place)

    def _is_asked_for(self, body: object) -> bool:
        """Whether a row may be the session's, or may say that content is gone; canonical bytes cannot hide either."""
        if self._session is None or not isinstance(body, bytes):
            return True
        return b'"session":"%s"' % self._session.encode("ascii") in body or b'"kind":"erase"' in body

    def _compare(self) -> None:
        """Hold the tree against what lies outside the file."""
        size, roots = self._verdict.size, self._verdict.roots
        if self._state is not None:
            self._findings += compare_state(self._state, self._reader.path, size, roots)
        self._findings += compare_kept(self._kept, self._examination.origin, size, roots)

    def _standing(self, findings: Sequence[Finding]) -> int:
        """Count the rows that no finding names."""
        runs = self._verdict.fallen
        named = {each.row - 1 for each in findings if each.unseats and each.row is not None}
        if self._session is not None:
            return sum(idx not in named and not _within(idx, runs) for idx in self._positions)
        alone = sum(not _within(idx, runs) for idx in named)
        return self._rows - alone - sum(last - first + 1 for first, last in runs)

    def _notes(self) -> Iterator[str]:
        if not self._is_whole:
            yield "tree, state and checkpoints were not compared: the file cannot be read to its end"
        if self._state is None and self._trust.is_self:
            yield "no state of this ledger in this key folder: an older file put back would not be seen by it"
        if not self._kept:
            yield "no kept checkpoint was compared: one from elsewhere shows a cut tail, and a second history"


def _policy(trust: Trust) -> Iterator[Finding]:
    if trust.policy.quorum is not None:
        words = f"the policy demands the quorum {trust.policy.quorum}, and this version cannot check cosignatures"
        yield finding(Rule.WITNESS, words)


def _within(idx: int, runs: Sequence[Run]) -> bool:
    return any(first <= idx <= last for first, last in runs)
