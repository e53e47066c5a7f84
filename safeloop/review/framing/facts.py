"""What a frame is made of: the rows up to the cut, the spec, and the content that they commit to."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from safeloop.errors import VerificationError
from safeloop.ledger import Row, parse, visible
from safeloop.ledger.kinds import KINDS, check_data, commitment
from safeloop.review.cut import is_governed, rows_to_cut
from safeloop.spec import SpecResult
from safeloop.spec.dry_run import is_dry_run

Commitment = Mapping[str, Any]
ReadContent = Callable[[Commitment], bytes | None]

# The contents that the frame shows or judges, by kind of row. Requests, replies and arguments are not among them.
_READ: dict[str, tuple[str, ...]] = {
    "open": ("task",), "tool": ("result",), "check": ("detail",), "close": ("output", "files"),
}


@dataclass(frozen=True, slots=True)
class Erased:
    """Content that a signed `erase` row took away.

    Attributes:
        row: That row's number, from 1.
        size: The bytes there were.
    """

    row: int
    size: int


Kept = bytes | Erased


@dataclass(frozen=True, slots=True)
class StagedFile:
    """One file of the manifest; `before` is None where the session made the file."""

    name: str
    before: Kept | None
    after: Kept


@dataclass(frozen=True, slots=True)
class Facts:
    """Everything that a frame is a function of.

    Attributes:
        ledger: The origin.
        session: The session's id.
        spec: The promise.
        rows: The rows of the session up to the cut, which is the last of them; at least one.
        contents: What they commit to, by `salted_sha256`: all that the frame shows.
        files: The staged files by the bytes of their names; erased if their manifest was.
    """

    ledger: str
    session: str
    spec: SpecResult
    rows: tuple[Row, ...]
    contents: Mapping[str, Kept]
    files: tuple[StagedFile, ...] | Erased

    @property
    def cut(self) -> Row:
        """The row at the cut."""
        return self.rows[-1]

    @property
    def open(self) -> Row | None:
        """The `open` row; None in an ungoverned session."""
        return next((row for row in self.rows if row.kind == "open"), None)

    @property
    def close(self) -> Row | None:
        """The `close` row at the cut; None in an ungoverned session."""
        return self.cut if is_governed(self.rows) else None

    @property
    def task(self) -> Kept | None:
        """The task; None in an ungoverned session, whose rows hold only its hash."""
        return None if self.open is None else self.content(self.open.data["task"])

    @property
    def output(self) -> Kept | None:
        """The final answer; None if there is none."""
        found = None if self.close is None else self.close.data["output"]
        return None if found is None else self.content(found)

    @property
    def is_dry_run(self) -> bool:
        """Whether the session was a dry run, which nobody can accept."""
        return self.open is not None and is_dry_run(self.open.data)

    @property
    def is_whole(self) -> bool:
        """Whether nothing that the frame shows was erased."""
        return not any(isinstance(kept, Erased) for kept in self.contents.values())

    def content(self, committed: Commitment) -> Kept:
        """Return what one of the rows committed to."""
        return self.contents[committed["salted_sha256"]]

    def kinds(self, *kinds: str) -> tuple[Row, ...]:
        """Return the rows of these kinds, in order."""
        return tuple(row for row in self.rows if row.kind in kinds)


def gather(ledger: str, spec: SpecResult, rows: tuple[Row, ...], cut: Row, read: ReadContent) -> Facts:
    """Take together what a frame needs.

    Args:
        ledger: The origin.
        spec: The promise.
        rows: All rows of the session, verified, in order: those after the cut only say what was erased.
        cut: The row at the cut.
        read: Returns content, or None where it is not kept.

    Raises:
        VerificationError: A row is not of its kind's form, or content is missing without an `erase` row.
    """
    kept = rows_to_cut(rows, cut)
    for row in rows:
        check_form(row)
    source = _Source(read, _erased(rows, read))
    for row in kept:
        for key in _READ.get(row.kind, ()):
            if row.data[key] is not None:
                source.take(row, row.data[key])
    files = _files(cut, source) if is_governed(kept) else ()
    return Facts(ledger, cut.session, spec, kept, source.taken, files)


class _Source:
    """Takes content, each piece once, and remembers it."""

    def __init__(self, read: ReadContent, erased: Mapping[str, int]) -> None:
        self._read = read
        self._erased = erased
        self.taken: dict[str, Kept] = {}

    def take(self, row: Row, committed: Commitment) -> Kept:
        digest = committed["salted_sha256"]
        if digest not in self.taken:
            data = self._read(committed)
            if data is not None:
                self.taken[digest] = data
            elif digest in self._erased:
                self.taken[digest] = Erased(self._erased[digest], committed["bytes"])
            else:
                raise VerificationError(
                    f"row {row.id}: its content {digest[:8]} is missing, and no row says that it was erased",
                    hint="restore NAME.content.db from a backup; safeloop audit says what else is missing",
                )
        return self.taken[digest]


def read_manifest(data: bytes, where: str) -> list[dict[str, Any]]:
    """Read a manifest: a canonical array of objects.

    Raises:
        VerificationError: It is not one.
    """
    entries = parse(data)
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise VerificationError(f"{where} is not a list of objects")
    return entries


def check_form(row: Row) -> None:
    """Check the data of a row of a known kind; one of an unknown kind is shown as such.

    Raises:
        VerificationError: It is not of its kind's form.
    """
    if row.kind in KINDS:
        try:
            check_data(row.kind, row.data)
        except VerificationError as error:
            raise VerificationError(f"row {row.id}: {error}", hint="safeloop audit says which rows stand") from None


def _erased(rows: Iterable[Row], read: ReadContent) -> dict[str, int]:
    """Return what the session's `erase` rows took away: digest to number of the row."""
    found: dict[str, int] = {}
    for row in rows:
        if row.kind != "erase":
            continue
        data = read(row.data["contents"])
        if data is None:
            raise VerificationError(f"row {row.id}: the list of what it erased is missing",
                                    hint="restore NAME.content.db from a backup")
        for entry in read_manifest(data, f"what row {row.id} erased"):
            found.setdefault(str(entry.get("salted_sha256")), row.id)
    return found


def _files(close: Row, source: _Source) -> tuple[StagedFile, ...] | Erased:
    manifest = source.take(close, close.data["files"])
    if isinstance(manifest, Erased):
        return manifest
    where = f"row {close.id}: the list of its files"
    entries = read_manifest(manifest, where)
    names = [_file_name(entry, where) for entry in entries]
    order = [each.encode() for each in names]
    if order != sorted(set(order)) or len(names) != close.data["file_count"]:
        raise VerificationError(f"{where} is out of order, names a file twice, or is not as long as the row says")
    return tuple(
        StagedFile(
            each,
            None if entry["before"] is None else source.take(close, entry["before"]),
            source.take(close, entry["after"]),
        )
        for each, entry in zip(names, entries, strict=True)
    )


def _file_name(entry: dict[str, Any], where: str) -> str:
    found = entry.get("name")
    if (
        entry.keys() != {"name", "before", "after"}
        or not isinstance(found, str) or not found
        or not commitment(entry["after"])
        or not (entry["before"] is None or commitment(entry["before"]))
    ):
        raise VerificationError(f"{where} has an entry that is not a name, before and after: {visible(str(found), 80)}")
    return found
