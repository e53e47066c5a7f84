"""Taking over a ledger of the tutorial: its rows become ungoverned sessions of ours, itself it stays untouched.

    import:NAME                 what was imported: the file's SHA-256, and the old rows that have none of ours to be in
    import:NAME:OLD-SESSION     one session of the old file: its spec, its turns and breaches, its attestations

Everything is looked at before the first row is written. The rows are written in batches, always the same ones in the
same order: an import that was cut short is completed by the same command, and one that is complete is recognised.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safeloop.errors import LedgerError, SettingError
from safeloop.ledger.content import JSON
from safeloop.ledger.encoding import encode
from safeloop.ledger.ledger import Ledger, View
from safeloop.ledger.reader import LedgerReader
from safeloop.ledger.rows import Draft, Row, parse_row
from safeloop.ledger.store.tutorial import OldRow, TutorialFile
from safeloop.ledger.upkeep.tutorial_rows import kind_and_data, original, record_of, session_of
from safeloop.ledger.visible import visible

SpecData = Callable[[OldRow], Mapping[str, Any] | None]
AttestationData = Callable[[str, str, OldRow, str, int], Mapping[str, Any] | None]
Step = Callable[[View], Draft]

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,31}\Z")
_BATCH = 500
_MOST_KEPT = 500
_MOST_KEPT_BYTES = 4_000_000
_ANY_LEAF = "0" * 64
_WAIT = None  # what follows looks at rows that must be written before


@dataclass(frozen=True, slots=True)
class Conversion:
    """What lies outside the ledger's room: the data of `spec` and `attestation` rows, or None where they do not fit.

    Attributes:
        spec: From an old row.
        attestation: From ledger, session, old row, leaf and number of the session's rows before any attestation;
            without `frame_text`.
    """

    spec: SpecData
    attestation: AttestationData


@dataclass(frozen=True, slots=True)
class Imported:
    """An import that is complete.

    Attributes:
        name: Its session is `import:NAME`.
        rows: Rows of ours that it has.
        written: How many of them were written now; 0 if it was complete before.
        others: Tables of the file that are not the tutorial's ledger, and were left out.
    """

    name: str
    rows: int
    written: int
    others: tuple[str, ...]


def import_tutorial(ledger: Ledger, file: TutorialFile, conversion: Conversion, name: str | None = None) -> Imported:
    """Take over a file, or complete what an earlier try began.

    Args:
        ledger: Where to, in a file.
        file: The old ledger.
        conversion: How specs and attestations become rows.
        name: What to call the import: letters, digits, dots, dashes, at most 32; None is the file's own name.

    Raises:
        SettingError: Not a name, or another file was imported under it.
        LedgerError: The file is damaged, changed meanwhile, or a row of it does not fit. Nothing was written.
    """
    chosen = _known_as(ledger, file) or _named(file, name)
    steps = _Steps(ledger, file, conversion, chosen)
    total = sum(step is not _WAIT for step in steps.all())  # everything is looked at before anything is written
    file.require_unchanged()
    done = _written(ledger, chosen, file)
    written = 0
    for batch in _batches(steps.all(), done):
        written += len(_append(ledger, chosen, done + written, batch))
    return Imported(chosen, total, written, file.others())


class _Steps:
    """The rows of an import, each made when it is written, always in the same order."""

    def __init__(self, ledger: Ledger, file: TutorialFile, conversion: Conversion, name: str) -> None:
        self._ledger, self._file, self._conversion, self._name = ledger, file, conversion, name

    def all(self) -> Iterator[Step | None]:
        """Yield every step, and `_WAIT` where a batch must end; the file is read from its beginning."""
        self._turns = 0
        self._kept: list[bytes] = []
        self._sessions: set[str] = set()
        file = self._file
        summary = {"file": visible(file.path.name), "sha256": file.sha256, "left_out": [*map(visible, file.others())]}
        yield self._record(encode(summary), None)
        for row in file.rows("spec"):
            yield from self._spec(row)
        for row in file.rows("ledger"):
            yield from self._turn(row)
        yield _WAIT
        for row in file.rows("attestations"):
            yield from self._attestation(row)
        if self._kept:
            yield self._keep()
        yield self._record(encode({"complete": True}), "complete")

    def _spec(self, row: OldRow) -> Iterator[Step]:
        session = session_of(self._name, row, "spec")
        data = self._conversion.spec(row)
        yield from self._keep_original("spec", row)
        if data is not None:
            self._sessions.add(session)
            yield lambda _: Draft(session, "spec", data)

    def _turn(self, row: OldRow) -> Iterator[Step]:
        session = session_of(self._name, row, "ledger")
        kind, data = kind_and_data(row)
        self._sessions.add(session)
        if kind == "breach":  # it has no place for content of its own
            yield from self._keep_original("ledger", row)
            yield lambda _: Draft(session, kind, data)
            return
        yield lambda _: self._with_original(session, kind, data, "response", row)

    def _attestation(self, row: OldRow) -> Iterator[Step]:
        session = session_of(self._name, row, "attestations")
        origin, attestation = self._ledger.origin, self._conversion.attestation
        fits = session in self._sessions and attestation(origin, session, row, _ANY_LEAF, 1) is not None
        if not fits:
            yield from self._keep_original("attestations", row)
            return

        def step(view: View) -> Draft:
            before = _before_attestations(view.session(session))
            data = attestation(origin, session, row, before.leaf, before.n + 1)
            return self._with_original(session, "attestation", data or {}, "frame_text", row)

        yield step

    def _with_original(self, session: str, kind: str, data: Mapping[str, Any], key: str, row: OldRow) -> Draft:
        content = self._ledger.content(original(row), JSON)
        return Draft(session, kind, {**data, key: content.commitment}, (content,))

    def _keep_original(self, table: str, row: OldRow) -> Iterator[Step]:
        """Keep a row that no row of ours commits to; many of them are one content."""
        self._kept.append(b'{"table":"%s","row":%s}' % (table.encode(), original(row)))
        if len(self._kept) >= _MOST_KEPT or sum(map(len, self._kept)) >= _MOST_KEPT_BYTES:
            yield self._keep()

    def _keep(self) -> Step:
        kept, self._kept = self._kept, []
        return self._record(b"[" + b",".join(kept) + b"]", None)

    def _record(self, data: bytes, stop_reason: str | None) -> Step:
        turn = self._turns
        self._turns += 1

        def step(_: View) -> Draft:
            content = self._ledger.content(data, JSON)
            fields = record_of(turn, self._file.sha256, content.commitment, stop_reason)
            return Draft(_session(self._name), "turn", fields, (content,))

        return step


def _batches(steps: Iterator[Step | None], done: int) -> Iterator[tuple[Step, ...]]:
    """Yield the steps that are not done yet, many at a time."""
    batch: list[Step] = []
    for step in steps:
        if step is not None and done:
            done -= 1
        elif step is not None:
            batch.append(step)
        if batch and (step is _WAIT or len(batch) == _BATCH):
            yield tuple(batch)
            batch = []
    if batch:
        yield tuple(batch)


def _append(ledger: Ledger, name: str, done: int, batch: tuple[Step, ...]) -> tuple[Row, ...]:
    def decide(view: View) -> Iterator[Draft]:
        own = view.last_row_of(_session(name))
        if view.count_like(f"{_session(name)}:") + (0 if own is None else own.n + 1) != done:
            raise LedgerError(
                f"somebody else writes into the sessions of import {name}", hint="run the same command again"
            )
        for step in batch:
            yield step(view)

    return ledger.append(decide)


def _before_attestations(rows: tuple[Row, ...]) -> Row:
    """Return the last row that an attestation can be about: the session has one, or there would be no step."""
    return [row for row in rows if row.kind != "attestation"][-1]


def _named(file: TutorialFile, name: str | None) -> str:
    """Return the name that was asked for, or the file's own as far as it can be one."""
    if name is None:
        plain = re.sub(r"[^A-Za-z0-9._-]", "-", file.path.stem).lstrip("._-")[:32]
        return plain or "tutorial"
    if not _NAME.match(name):
        raise SettingError(f"'{visible(name, 60)}' cannot name an import", hint="--name: letters, digits, dots, dashes")
    return name


def _known_as(ledger: Ledger, file: TutorialFile) -> str | None:
    """Return the name under which this very file was imported, or began to be."""
    with LedgerReader(Path(ledger.db_path)) as reader:
        for session in reader.sessions_like("import:"):
            if session.count(":") == 1 and _is_record_of(reader, session, file):
                return session.partition(":")[2]
    return None


def _is_record_of(reader: LedgerReader, session: str, file: TutorialFile) -> bool:
    stored = reader.row_of(session, 0)
    data = {} if stored is None else parse_row(*stored).data
    return data.get("state_origin") == "import" and data.get("input_hash") == file.sha256


def _written(ledger: Ledger, name: str, file: TutorialFile) -> int:
    """Return how many rows of this import there are."""
    with LedgerReader(Path(ledger.db_path)) as reader:
        last = reader.last_row_of(_session(name))
        if last is None and not any(reader.sessions_like(f"{_session(name)}:")):
            return 0
        if last is None or not _is_record_of(reader, _session(name), file):
            raise SettingError(f"another file was imported as {name}", hint="choose another name: --name NAME")
        return parse_row(*last).n + 1 + reader.count_like(f"{_session(name)}:")


def _session(name: str) -> str:
    return f"import:{name}"
