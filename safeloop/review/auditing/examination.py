"""Every row examined in its order: by itself, in its session, by its kind, and by what it commits to.

It is handed rows that were judged by themselves, which may have happened elsewhere, and keeps what only their order
and their company can tell. Whether the loop kept its word is asked here too: from the same rows, in the same pass.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice

from safeloop.ledger import Row
from safeloop.ledger.kinds import KINDS
from safeloop.ledger.reader import LedgerReader
from safeloop.ledger.trust import Trust
from safeloop.review.attesting.claims import is_by_pinned_reviewer, misstatement
from safeloop.review.auditing.anchors import Head
from safeloop.review.auditing.chains import TELLING, Chains
from safeloop.review.auditing.charges import ChargeCheck
from safeloop.review.auditing.contents import ContentCheck
from safeloop.review.auditing.findings import Finding, Rule, about, counted, finding
from safeloop.review.auditing.keyring import Keyring
from safeloop.review.auditing.testimony import Testimony, judge
from safeloop.review.auditing.trees import Place
from safeloop.review.auditing.word import Word

_NAMED_SESSIONS = 10
_SPECIAL = frozenset({*TELLING, "attestation"})


class Examination:
    """What the rows so far have shown.

    Attributes:
        origin: The ledger's, if a verified head says so; else as the first row says whose signature holds.
        findings: What is wrong with rows.
        displaced_links: What is wrong with the links of rows that are not the stored tree's: it is a consequence if
            the head signs the stored tree, and a finding if it does not.
        faulty: Positions of rows whose own word does not count.

    Args:
        reader: Gives the content.
        trust: The auditor's pins.
        head: The ledger's; it gives the origin if it verifies.
        since: Rows before this position only tell their sessions: what they commit to was compared before.
    """

    def __init__(self, reader: LedgerReader, trust: Trust, head: Head, since: int = 0) -> None:
        self.origin = None if head.signed is None else head.signed.origin
        self._head = head
        self.findings: list[Finding] = []
        self.displaced_links: list[Finding] = []
        self.faulty: set[int] = set()
        self._reader = reader
        self._trust = trust
        self._since = since
        self._chains = Chains()
        self._keyring = Keyring(trust)
        self._contents = ContentCheck(reader)
        self._word = Word(trust)
        self._charges = ChargeCheck(reader)
        self._erased: tuple[Finding, ...] = ()
        self._unknown: dict[str, tuple[int, int]] = {}
        self._unpinned = 0
        self._left_behind = ""

    def lose(self, leaves: Iterable[bytes]) -> None:
        """Take note of leaves that are stored and whose rows are not where they should be, examined or not."""
        self._chains.lose(leaves)

    def look_ahead(self, rows: Sequence[Row]) -> None:
        """Prepare for the next rows, those of which their own bytes gave nothing to say."""
        self._contents.look_ahead(rows)

    def examine(self, testimony: Testimony, leaf: bytes, place: Place) -> None:
        """Take in the next row."""
        row = testimony.row
        if testimony.fault is not None:
            explained = testimony.fault if row is None else self._keyring.explain(testimony.fault, row.writer)
            self._discount(explained, testimony.idx, leaf)
            if row is not None:
                self._chains.damage(row)
        elif row is None:
            self._chains.lose([leaf])
            if testimony.version:
                self._note_unknown(testimony.version, testimony.idx)
        else:
            self.accept(row, place, testimony.form)

    def accept(self, row: Row, place: Place, form: str = "") -> None:
        """Take in the next row, one whose word counts if it is of this ledger.

        Args:
            row: It, in its canonical form.
            place: Where it stands.
            form: Why its data has not the form of its kind, if that is known and it has not.
        """
        if row.ledger != (self.origin or row.ledger):
            self._discount(_of_another_ledger(row, self.origin), row.idx, bytes.fromhex(row.leaf))
        else:
            self.origin = row.ledger
            self._examine_in_session(row, is_own=place.is_own, form=form)

    def accept_all(self, rows: Sequence[Row]) -> bool:
        """Take in the next rows, all in place and none with a form to accuse; False if each must be accepted by itself.

        What is said of them is what `accept` says; a step for all rows keeps each step's code at hand.
        """
        if {row.ledger for row in rows} != {self.origin} or not self._chains.follow_all(rows):
            return False
        self._contents.look_ahead(rows)
        self.findings += self._keyring.follow_all(rows)
        special = [row for row in rows if row.kind in _SPECIAL]
        for row in special:
            if words := self._chains.tell(row):
                self.findings.append(about(row, Rule.OPEN, words))
        for row in self._contents.unsettled(rows):
            self.findings += self._contents.add(row)
        for row in special:
            if row.kind == "attestation":
                self._examine_attestation(row)
        self.findings += self._word.follow_all(rows)
        self._charges.follow_all(rows)
        return True

    def overhear(self, testimony: Testimony) -> None:
        """Take in a row of another session that may take something away: content that is gone, a key's trust.

        Who signed it is judged in every audit. An `erase` row whose word does not count is passed over, and what it
        lists is missing; a `key` row whose word does not count is a finding: it may be what revoked this session's key.
        """
        row, fault = testimony.row, testimony.fault
        if row is None or row.kind not in ("erase", "key") or (row.kind == "erase" and (fault or testimony.form)):
            return
        if fault is None and row.ledger != (self.origin or row.ledger):
            fault = _of_another_ledger(row, self.origin)
        if fault is not None:
            self._discount(self._keyring.explain(fault, row.writer), row.idx, bytes.fromhex(row.leaf))
            return
        self.findings += self._keyring.follow(row)
        if row.kind == "erase":
            self.findings += self._contents.erased_by(row)
        elif testimony.form:
            self.findings.append(about(row, Rule.KIND, testimony.form))

    def finish(self, end: int) -> None:
        """Draw the conclusions that had to wait for the last row.

        Args:
            end: The position after it. Content is not read in the rows' snapshot: what rows from there on have erased
                meanwhile is erased.
        """
        if self._contents.lacks_something():
            for stored in self._reader.appended("erase", end):
                testimony = judge(*stored, self._trust, self.origin)
                row = testimony.row
                if row is not None and testimony.fault is None and row.ledger == self.origin:
                    self._contents.erased_meanwhile(row)
        missing, self._erased = self._contents.finish()
        self._left_behind, unread = self._contents.left_behind()
        self.findings += (*missing, *unread)
        self.findings += self._word.finish()
        signed = self._head.signed
        if signed is not None:
            self.findings += self._keyring.judge_head(signed.origin, self._head.signer, signed.size)
        if signed is None or signed.size == end:  # where rows are missing, so are their charges
            self.findings += self._charges.finish(end)

    def gaps(self) -> Iterator[Finding]:
        """Yield what could not be checked."""
        for words, (first, count) in self._unknown.items():
            more = f", nor of {counted(count - 1, 'later row')}" if count > 1 else ""
            yield finding(Rule.UNKNOWN, f"row {first + 1}: {words}{more}", row=first + 1)
        sessions = self._chains.ungoverned()
        named = tuple(islice(sessions, _NAMED_SESSIONS))
        if named:
            others = sum(1 for _ in sessions)
            names = ", ".join(named) + (", …" if others else "")
            words = f"{counted(len(named) + others, 'session')} ungoverned: {names}"
            yield finding(Rule.UNGOVERNED, words, session=named[0])
        yield from self._erased

    def notes(self) -> Iterator[str]:
        """Yield what the reader should know besides."""
        if self._unpinned:
            yield f"{counted(self._unpinned, 'attestation')} not signed by a reviewer pinned in {self._trust.path}"
        if self._chains.promises():
            yield f"{counted(self._chains.promises(), 'session')} specified and not run yet"
        if self._left_behind:
            yield self._left_behind
        yield from self._word.notes()

    def _discount(self, fault: Finding, idx: int, leaf: bytes) -> None:
        self.faulty.add(idx)
        self._chains.lose([leaf])
        self.findings.append(fault)

    def _examine_in_session(self, row: Row, *, is_own: bool, form: str) -> None:
        links = self.findings if is_own else self.displaced_links
        words = self._chains.follow(row, in_place=is_own)
        if words:
            links.append(about(row, Rule.CHAIN, words))
        self.findings += self._keyring.follow(row)
        if row.kind not in KINDS:
            self._note_unknown(f"kind {row.kind} is not known to this reader", row.idx)
            return
        if form:
            self.findings.append(about(row, Rule.KIND, form))
            return
        words = self._chains.tell(row)
        if words:
            links.append(about(row, Rule.OPEN, words))
        if row.idx >= self._since:
            self.findings += self._contents.add(row)
            if row.kind == "attestation":
                self._examine_attestation(row)
        elif row.kind == "erase":
            self.findings += self._contents.erased_by(row)
        if is_own:  # a row that is passed over here is missed there, and its session is not judged by what is left
            self.findings += self._word.follow(row)
            self._charges.follow(row)

    def _examine_attestation(self, row: Row) -> None:
        """Compare a row with what somebody signed in it."""
        words = misstatement(row)
        if words:
            self.findings.append(about(row, Rule.ATTESTATION, words))
        elif not is_by_pinned_reviewer(row, self._trust):
            self._unpinned += 1

    def _note_unknown(self, words: str, idx: int) -> None:
        first, count = self._unknown.get(words, (idx, 0))
        self._unknown[words] = (first, count + 1)


def _of_another_ledger(row: Row, origin: str | None) -> Finding:
    return about(row, Rule.LEDGER, f"is of ledger {row.ledger}, not of {origin}")
