"""Content against the commitments in the rows: present and the same, or erased by a signed row.

What a block of rows commits to is read at once, and what is whole is remembered for a while, so that a prompt that
many requests repeat is read once or twice; the rest is read one by one, to say what is wrong with it. What is missing
is remembered until the end, because the row that erased it comes later: memory grows with what is missing.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

from safeloop.errors import EncodingError, LedgerError, LedgerLocked, VerificationError
from safeloop.ledger import Row
from safeloop.ledger.content import MANIFESTS, commitments, manifest_entries
from safeloop.ledger.kinds import Claim, check_data, claims_in, digest
from safeloop.ledger.quick import commitments_in, is_plain_request
from safeloop.ledger.reader import LedgerReader
from safeloop.review.auditing.findings import Finding, Rule, counted, finding
from safeloop.review.auditing.promised import DIGESTS, digest_fault, digested, list_fault

_REMEMBERED = 2_048
_MOST_BYTES = 65_536  # of content that is read with others

_MORE = frozenset({*MANIFESTS, *DIGESTS})
"""Kinds whose content must be more than whole; a signature in a row is checked with it."""

_Key = Claim | tuple[Claim, int | None]
"""Content that is whole, or a manifest, with the number of its entries, of which everything was looked at."""


@dataclass(frozen=True, slots=True)
class _Absence:
    row: int
    session: str


class ContentCheck:
    """The comparison, row by row.

    Args:
        reader: Gives the content. It lies in a file of its own, so that it is read as it is now, not as it was
            when the snapshot began; it is always there before the row that names it.
    """

    def __init__(self, reader: LedgerReader) -> None:
        self._reader = reader
        self._whole: set[_Key] = set()
        self._whole_before: set[_Key] = set()
        self._lists: dict[Claim, bytes] = {}  # what may be manifests, of the rows that were looked at together
        self._settled: set[int] = set()  # of those, the rows of which there is nothing to say
        self._absent: dict[str, _Absence] = {}
        self._erased: dict[str, int] = {}
        self._erased_by: dict[int, int] = {}  # how many contents each `erase` row lists
        self._faulty: set[str] = set()
        self._unreadable = False

    def look_ahead(self, rows: Sequence[Row]) -> None:
        """Read what the next rows commit to, and what is listed in what they commit to, as far as it is whole.

        Args:
            rows: Of known kinds and of their forms.
        """
        self._lists, self._settled, digests = {}, set(), dict[Claim, str]()
        claims = [claims_in(row.kind, row.data) for row in rows]
        summed = {_claim(row.data[keys[0]]) for row in rows if row.kind in DIGESTS and (keys := digested(row))}
        wanted = self._not_remembered(chain.from_iterable(claims))
        try:
            for claim, data in self._read_together(wanted):
                if data.startswith(b"["):
                    self._lists[claim] = data
                if claim in summed:
                    digests[claim] = hashlib.sha256(data).hexdigest()
            listed = {claim: commitments_in(data) for claim, data in self._lists.items()}
            for _ in self._read_together(self._not_remembered(chain.from_iterable(listed.values()))):
                pass
        except LedgerLocked:
            raise
        except (LedgerError, ValueError):  # a list that is none, or a file that cannot be read
            return  # whoever reads it by itself meets it again, and knows the row
        for claim, entries in listed.items():
            if is_plain_request(self._lists[claim]) and all(map(self._is_remembered, entries)):
                self._remember((claim, None))
        lacking = {claim for claim in wanted if not self._is_remembered(claim)}
        self._settled = {
            row.idx for row, claimed in zip(rows, claims, strict=True)
            if (not lacking or lacking.isdisjoint(claimed))
            and (row.kind not in _MORE or self._is_more(row, digests))
        }

    def add(self, row: Row) -> Iterable[Finding]:
        """Check what a row of a known kind and of its form commits to; what is only missing is told at the end."""
        return () if row.idx in self._settled else self._check(row)

    def unsettled(self, rows: Iterable[Row]) -> list[Row]:
        """Return those of the next rows of which there may be something to say."""
        settled = self._settled
        return [row for row in rows if row.idx not in settled]

    def _is_more(self, row: Row, digests: Mapping[Claim, str]) -> bool:
        """Say whether what a row commits to, which is whole, is also known to be what it should be besides."""
        if row.kind in MANIFESTS:
            name, count = MANIFESTS[row.kind]
            return self._is_remembered((_claim(row.data[name]), None if count is None else row.data[count]))
        keys = digested(row)
        return keys is None or digests.get(_claim(row.data[keys[0]])) == row.data[keys[1]]

    def _check(self, row: Row) -> Iterator[Finding]:
        for claim in claims_in(row.kind, row.data):
            if not self._is_remembered(claim):
                yield from self._read(row, claim, [])
        if row.kind in MANIFESTS:
            yield from self._walk(row, *MANIFESTS[row.kind])
        keys = digested(row)
        if keys is not None:
            yield from self._hold_against(row, *keys)

    def erased_by(self, row: Row) -> Iterator[Finding]:
        """Take in what an `erase` row took away, and check nothing else."""
        yield from self._walk(row, *MANIFESTS["erase"])

    def lacks_something(self) -> bool:
        """Say whether content is missing that no row so far has erased."""
        return any(name not in self._erased for name in self._absent)

    def erased_meanwhile(self, row: Row) -> None:
        """Take in what an `erase` row took away that was written after the last row of the snapshot.

        What is wrong with such a row is the next audit's to find; what it does not name remains missing.
        """
        try:
            check_data(row.kind, row.data)
            data = self._reader.read_content(row.data["contents"])
            if data is not None:
                self._note_erased(row, manifest_entries(data))
        except VerificationError:
            return

    def left_behind(self) -> tuple[str, tuple[Finding, ...]]:
        """Return a note if content is still there that a row says is erased, and a finding if that cannot be told.

        The row comes first and the deletion after it: a crash between them, or an erasure that is going on.
        """
        if self._unreadable:
            return "", ()
        try:
            rows = [row for name, row in self._erased.items() if self._reader.holds_content(bytes.fromhex(name))]
        except LedgerLocked:
            raise
        except LedgerError as error:
            return "", (finding(Rule.CONTENT, f"whether erased content is gone cannot be read: {error}"),)
        if not rows:
            return "", ()
        first = f"{counted(len(rows), 'content')} still there whose erasure is recorded, the first by row {min(rows)}"
        return f"{first}: safeloop erase --pending finishes it", ()

    def finish(self) -> tuple[tuple[Finding, ...], tuple[Finding, ...]]:
        """Return findings about content that is missing, and gaps where a row says that it was erased."""
        missing = [(name, absence) for name, absence in self._absent.items() if name not in self._erased]
        erased = [(absence, self._erased[name]) for name, absence in self._absent.items() if name in self._erased]
        if missing and not self._reader.has_contents():
            first = min(absence.row for _, absence in missing)
            words = f"there is no content database beside {self._reader.path}: {counted(len(missing), 'content')} lost"
            return (finding(Rule.CONTENT, f"{words}, the first of row {first}", row=first),), self._gaps(erased)
        return tuple(_missing(name, absence) for name, absence in missing), self._gaps(erased)

    def _gaps(self, erased: list[tuple[_Absence, int]]) -> tuple[Finding, ...]:
        """Sum up what was erased, by the row that did it, and as many as that row says.

        What only an erased list named is never missed by itself.
        """
        gaps = []
        for eraser in sorted({eraser for _, eraser in erased}):
            first = min((absence for absence, by in erased if by == eraser), key=lambda absence: absence.row)
            words = f"row {eraser} erased {counted(self._erased_by[eraser], 'content')}, the first of row {first.row}"
            gaps.append(finding(Rule.ERASED, words, row=eraser, session=first.session))
        return tuple(gaps)

    def _not_remembered(self, claims: Iterable[Claim]) -> list[Claim]:
        return [claim for claim in dict.fromkeys(claims) if not self._is_remembered(claim)]

    def _read_together(self, wanted: list[Claim]) -> Iterator[tuple[Claim, bytes]]:
        """Yield what is whole of these, and remember it."""
        for claim, data in self._reader.whole_contents(wanted, _MOST_BYTES):
            self._remember(claim)
            yield claim, data

    def _read(self, row: Row, claim: Claim, into: list[bytes]) -> Iterator[Finding]:
        """Read content and put it into the list if it is what the row committed to."""
        committed = _commitment(claim)
        name = committed["salted_sha256"]
        if name in self._faulty or self._unreadable:
            return
        try:
            data = self._reader.read_content(committed)
        except LedgerLocked:
            raise
        except VerificationError:
            self._faulty.add(name)
            words = f"row {row.id}: content {name[:8]} is not what the row committed to"
            yield finding(Rule.CONTENT, words, row=row.id, session=row.session)
            return
        except LedgerError as error:
            self._unreadable = True
            words = f"row {row.id}: content cannot be read from here on: {error}"
            yield finding(Rule.CONTENT, words, row=row.id, session=row.session)
            return
        if data is None:
            self._absent.setdefault(name, _Absence(row.id, row.session))
            return
        into.append(data)
        self._remember(claim)

    def _hold_against(self, row: Row, key: str, stated: str) -> Iterator[Finding]:
        """Compare content with the plain digest of it that a row states."""
        found: list[bytes] = []
        yield from self._read(row, _claim(row.data[key]), found)
        for words in (digest_fault(row, key, stated, data) for data in found):
            if words:
                yield finding(Rule.CONTENT, f"row {row.id}: {words}", row=row.id, session=row.session)

    def _is_remembered(self, key: _Key) -> bool:
        if key in self._whole:
            return True
        if key not in self._whole_before:
            return False
        self._remember(key)
        return True

    def _remember(self, key: _Key) -> None:
        self._whole.add(key)
        if len(self._whole) > _REMEMBERED:
            self._whole, self._whole_before = set(), self._whole

    def _walk(self, row: Row, name: str, count: str | None) -> Iterator[Finding]:
        """Check what a manifest lists, one level deep; an `erase` row's entries are noted as gone."""
        number = None if count is None else row.data[count]
        claim = _claim(row.data[name])
        if self._is_remembered((claim, number)):
            return
        found = [self._lists[claim]] if claim in self._lists else []
        if not found:
            yield from self._read(row, claim, found)
        for data in found:
            try:
                entries = () if number is None and is_plain_request(data) else manifest_entries(data)
            except EncodingError as error:
                yield _bad_manifest(row, name, str(error))
                return
            if words := list_fault(row, number, entries):
                yield _bad_manifest(row, name, words)
            elif row.kind != "erase":
                self._remember((claim, number))  # what it lists is found or missed once
            if row.kind == "erase":
                self._note_erased(row, entries)
                return
            for each in commitments_in(data):
                if not self._is_remembered(each):
                    yield from self._read(row, each, [])

    def _note_erased(self, row: Row, entries: Iterable[dict[str, Any]]) -> None:
        listed: set[str] = set()
        for entry in entries:
            names = [entry.get("salted_sha256"), *(each["salted_sha256"] for each in commitments(entry))]
            listed |= {str(name) for name in filter(digest, names)}
        for name in listed:
            self._erased.setdefault(name, row.id)
        self._erased_by[row.id] = len(listed)


def _claim(commitment: Mapping[str, Any]) -> Claim:
    return commitment["bytes"], commitment["salted_sha256"], commitment["type"]


def _commitment(claim: Claim) -> dict[str, Any]:
    return {"bytes": claim[0], "salted_sha256": claim[1], "type": claim[2]}


def _missing(name: str, absence: _Absence) -> Finding:
    words = f"row {absence.row}: content {name[:8]} is missing, and no row says that it was erased"
    return finding(Rule.CONTENT, words, row=absence.row, session=absence.session)


def _bad_manifest(row: Row, key: str, words: str) -> Finding:
    return finding(Rule.MANIFEST, f"row {row.id}: its list of {key}: {words}", row=row.id, session=row.session)
