"""Every row examined in its order: by itself, in its session, by its kind, and by what it commits to.

It is handed rows that were judged by themselves, which may have happened elsewhere, and keeps what only their order
and their company can tell. Whether the loop kept its word will be asked here too: from the same rows, in the same pass.
"""

from __future__ import annotations

from collections.abc import Iterator

from safeloop.errors import EncodingError
from safeloop.ledger import Row
from safeloop.ledger.kinds import KINDS, check_data
from safeloop.ledger.reader import LedgerReader
from safeloop.ledger.trust import Trust
from safeloop.review.attesting.claims import is_by_pinned_reviewer, misstatement
from safeloop.review.auditing.chains import Chains
from safeloop.review.auditing.contents import ContentCheck
from safeloop.review.auditing.findings import Finding, Rule, counted, finding
from safeloop.review.auditing.testimony import Testimony
from safeloop.review.auditing.trees import Place

_NAMED_SESSIONS = 10


class Examination:
    """What the rows so far have shown.

    Attributes:
        origin: The ledger's, if a verified head says so; else as the first row says whose signature holds.
        findings: What is wrong with rows.
        displaced_links: What is wrong with the links of rows that are not the stored tree's: it is a consequence if
            the head signs the stored tree, and a finding if it does not.
        faulty: Positions of rows whose own word does not count.
    """

    def __init__(self, reader: LedgerReader, trust: Trust, origin: str | None) -> None:
        self.origin = origin
        self.findings: list[Finding] = []
        self.displaced_links: list[Finding] = []
        self.faulty: set[int] = set()
        self._trust = trust
        self._chains = Chains()
        self._contents = ContentCheck(reader)
        self._erased: tuple[Finding, ...] = ()
        self._unknown: dict[str, tuple[int, int]] = {}
        self._unpinned = 0

    def pass_over(self, place: Place) -> None:
        """Take note of where a row stands, whether it is examined or not."""
        self._chains.lose(place.lost)

    def examine(self, testimony: Testimony, leaf: bytes, place: Place) -> None:
        """Take in the next row."""
        row = testimony.row
        if testimony.fault is not None:
            self._discount(testimony.fault, testimony.idx, leaf)
            if row is not None:
                self._chains.damage(row)
        elif row is None:
            self._chains.lose([leaf])
            self._note_unknown(testimony.version, testimony.idx)
        elif row.ledger != (self.origin or row.ledger):
            self._discount(_about(row, Rule.LEDGER, f"is of ledger {row.ledger}, not of {self.origin}"), row.idx, leaf)
        else:
            self.origin = row.ledger
            self._examine_in_session(row, is_own=place.is_own)

    def note_erased(self, testimony: Testimony) -> None:
        """Take in only what an `erase` row of another session says is gone."""
        row = testimony.row
        if row is not None and row.kind == "erase" and testimony.fault is None and _bad_data(row) is None:
            self.findings += self._contents.erased_by(row)

    def finish(self) -> None:
        """Draw the conclusions that had to wait for the last row."""
        missing, self._erased = self._contents.finish()
        self.findings += missing

    def gaps(self) -> Iterator[Finding]:
        """Yield what could not be checked."""
        for words, (first, count) in self._unknown.items():
            more = f", nor of {counted(count - 1, 'later row')}" if count > 1 else ""
            yield finding(Rule.UNKNOWN, f"row {first + 1}: {words}{more}", row=first + 1)
        sessions = self._chains.ungoverned()
        if sessions:
            names = ", ".join(sessions[:_NAMED_SESSIONS]) + (", …" if len(sessions) > _NAMED_SESSIONS else "")
            words = f"{counted(len(sessions), 'session')} ungoverned: {names}"
            yield finding(Rule.UNGOVERNED, words, session=sessions[0])
        yield from self._erased

    def notes(self) -> Iterator[str]:
        """Yield what the reader should know besides."""
        if self._unpinned:
            yield f"{counted(self._unpinned, 'attestation')} not signed by a reviewer pinned in {self._trust.path}"
        if self._chains.promises():
            yield f"{counted(self._chains.promises(), 'session')} specified and not run yet"

    def _discount(self, fault: Finding, idx: int, leaf: bytes) -> None:
        self.faulty.add(idx)
        self._chains.lose([leaf])
        self.findings.append(fault)

    def _examine_in_session(self, row: Row, *, is_own: bool) -> None:
        links = self.findings if is_own else self.displaced_links
        words = self._chains.follow(row, in_place=is_own)
        if words:
            links.append(_about(row, Rule.CHAIN, words))
        if row.kind not in KINDS:
            self._note_unknown(f"kind {row.kind} is not known to this reader", row.idx)
            return
        bad = _bad_data(row)
        if bad is not None:
            self.findings.append(bad)
            return
        words = self._chains.tell(row)
        if words:
            links.append(_about(row, Rule.OPEN, words))
        self.findings += self._contents.add(row)
        if row.kind == "attestation":
            self._examine_attestation(row)

    def _examine_attestation(self, row: Row) -> None:
        words = misstatement(row)
        if words:
            self.findings.append(_about(row, Rule.ATTESTATION, words))
        elif not is_by_pinned_reviewer(row, self._trust):
            self._unpinned += 1

    def _note_unknown(self, words: str, idx: int) -> None:
        first, count = self._unknown.get(words, (idx, 0))
        self._unknown[words] = (first, count + 1)


def _bad_data(row: Row) -> Finding | None:
    try:
        check_data(row.kind, row.data)
    except EncodingError as error:
        return _about(row, Rule.KIND, str(error))
    return None


def _about(row: Row, rule: Rule, words: str) -> Finding:
    return finding(rule, f"row {row.id}: {words}", row=row.id, session=row.session)
