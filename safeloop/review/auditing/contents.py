"""Content against the commitments in the rows: present and the same, or erased by a signed row.

What was found whole is remembered for a while, so that a prompt that many requests repeat is read once or twice. What
is missing is remembered until the end, because the row that erased it comes later: memory grows with what is missing.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from safeloop.errors import EncodingError, LedgerError, LedgerLocked, VerificationError
from safeloop.ledger import Row, parse
from safeloop.ledger.kinds import commitment, digest
from safeloop.ledger.reader import LedgerReader
from safeloop.review.auditing.findings import Finding, Rule, counted, finding

MANIFESTS: dict[str, tuple[str, str | None]] = {
    "close": ("files", "file_count"), "release": ("files", "file_count"),
    "intent": ("request", None), "erase": ("contents", "count"),
}
"""By kind: the key of the manifest, and of the number of its entries."""

_REMEMBERED = 65_536


@dataclass(frozen=True, slots=True)
class _Absence:
    row: int
    session: str


def commitments(value: Any) -> Iterator[dict[str, Any]]:
    """Yield every commitment inside a value: the objects with exactly its three keys."""
    if commitment(value):
        yield value
    elif isinstance(value, dict):
        for item in value.values():
            yield from commitments(item)
    elif isinstance(value, list):
        for item in value:
            yield from commitments(item)


class ContentCheck:
    """The comparison, row by row.

    Args:
        reader: Gives the content. It lies in a file of its own, so that it is read as it is now, not as it was
            when the snapshot began; it is always there before the row that names it.
    """

    def __init__(self, reader: LedgerReader) -> None:
        self._reader = reader
        self._whole: dict[tuple[str, int], None] = {}
        self._absent: dict[str, _Absence] = {}
        self._erased: dict[str, int] = {}
        self._faulty: set[str] = set()
        self._unreadable = False

    def add(self, row: Row) -> Iterator[Finding]:
        """Check what a row of a known kind commits to; what is only missing is told at the end."""
        for each in commitments(row.data):
            yield from self._check(row, each)
        if row.kind in MANIFESTS:
            yield from self._walk(row, *MANIFESTS[row.kind])

    def erased_by(self, row: Row) -> Iterator[Finding]:
        """Take in what an `erase` row took away, and check nothing else."""
        yield from self._walk(row, *MANIFESTS["erase"])

    def finish(self) -> tuple[tuple[Finding, ...], tuple[Finding, ...]]:
        """Return findings about content that is missing, and gaps where a row says that it was erased."""
        missing = [(name, absence) for name, absence in self._absent.items() if name not in self._erased]
        erased = [(absence, self._erased[name]) for name, absence in self._absent.items() if name in self._erased]
        if missing and not self._reader.has_contents():
            first = min(absence.row for _, absence in missing)
            words = f"there is no content database beside {self._reader.path}: {counted(len(missing), 'content')} lost"
            return (finding(Rule.CONTENT, f"{words}, the first of row {first}", row=first),), _gaps(erased)
        return tuple(_missing(name, absence) for name, absence in missing), _gaps(erased)

    def _check(self, row: Row, committed: dict[str, Any]) -> Iterator[Finding]:
        name = committed["salted_sha256"]
        key = (name, committed["bytes"])
        if key in self._whole:
            self._whole[key] = self._whole.pop(key)  # the newest is forgotten last
            return
        yield from self._read(row, committed, [])

    def _read(self, row: Row, committed: dict[str, Any], into: list[bytes]) -> Iterator[Finding]:
        """Read content and put it into the list if it is what the row committed to."""
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
        self._whole[name, committed["bytes"]] = None
        if len(self._whole) > _REMEMBERED:
            self._whole.pop(next(iter(self._whole)))

    def _walk(self, row: Row, key: str, count: str | None) -> Iterator[Finding]:
        """Check what a manifest lists, one level deep; an `erase` row's entries are noted as gone."""
        found: list[bytes] = []
        yield from self._read(row, row.data[key], found)
        for data in found:
            try:
                entries = parse(data)
            except EncodingError as error:
                yield _bad_manifest(row, key, str(error))
                return
            if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
                yield _bad_manifest(row, key, "not a list of objects")
                return
            if count is not None and len(entries) != row.data[count]:
                yield _bad_manifest(row, key, f"it has {len(entries):,} entries, and the row says {row.data[count]:,}")
            if row.kind == "erase":
                self._note_erased(row, entries)
                return
            for each in commitments(entries):
                yield from self._check(row, each)

    def _note_erased(self, row: Row, entries: list[dict[str, Any]]) -> None:
        for entry in entries:
            names = [entry.get("salted_sha256"), *(each["salted_sha256"] for each in commitments(entry))]
            for name in filter(digest, names):
                self._erased.setdefault(str(name), row.id)


def _gaps(erased: list[tuple[_Absence, int]]) -> tuple[Finding, ...]:
    """Sum up what was erased, by the row that did it."""
    gaps = []
    for eraser in sorted({eraser for _, eraser in erased}):
        first = min((absence for absence, by in erased if by == eraser), key=lambda absence: absence.row)
        number = sum(by == eraser for _, by in erased)
        words = f"row {eraser} erased {counted(number, 'content')}, the first of row {first.row}"
        gaps.append(finding(Rule.ERASED, words, row=eraser, session=first.session))
    return tuple(gaps)


def _missing(name: str, absence: _Absence) -> Finding:
    words = f"row {absence.row}: content {name[:8]} is missing, and no row says that it was erased"
    return finding(Rule.CONTENT, words, row=absence.row, session=absence.session)


def _bad_manifest(row: Row, key: str, words: str) -> Finding:
    return finding(Rule.MANIFEST, f"row {row.id}: its list of {key}: {words}", row=row.id, session=row.session)
