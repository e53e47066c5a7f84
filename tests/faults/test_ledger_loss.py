"""Media that lose their end: what is left is a prefix, nobody writes on it, and the audit says since where."""

from __future__ import annotations

import contextlib
import os
import shutil
import struct
from collections.abc import Iterator
from pathlib import Path

import pytest

from safeloop.errors import LedgerError, SafeloopError, StateMismatch
from safeloop.ledger import Ledger, Row
from safeloop.ledger.reader import LedgerReader
from safeloop.ledger.state import State, read_state
from safeloop.ledger.trust import load_trust
from safeloop.review.auditing.audit import audit
from safeloop.review.auditing.findings import Rule
from safeloop.review.auditing.verdict import AuditReport
from tests.ledger.making import add, run, state_of, verified_rows

FOLDED, LOGGED = 4, 5
ROWS = FOLDED + LOGGED
LOG_HEADER, FRAME_HEADER = 32, 24  # sqlite.org/fileformat2.html#the_write_ahead_log


class Victim:
    """A ledger whose writer was killed, with the last commits in the log only, and what its state said."""

    def __init__(self, folder: Path) -> None:
        self.path, self.keys, self._saved = folder / "l.db", folder / "keys", folder / "saved"
        ledger = Ledger(self.path, keys=self.keys)
        add(ledger, FOLDED)
        ledger.close()
        run(
            "import os, sys; from tests.ledger.making import Ledger, add; l = Ledger(sys.argv[1], keys=sys.argv[2]);"
            f"[add(l) for _ in range({LOGGED})]; os._exit(9)", self.path, self.keys, expect=9,
        )
        self._saved.mkdir()
        for name in ("l.db", "l.db-wal"):
            shutil.copy(folder / name, self._saved / name)
        self.state: State = state_of(self.path, self.keys)
        self.whole: list[Row] = verified_rows(self.path, self.keys)
        self.log = (self._saved / "l.db-wal").read_bytes()
        self.file = (self._saved / "l.db").read_bytes()

    def lose(self, *, file: int | None = None, log: int | None = None) -> None:
        """Put file and log back, each cut at an offset; None leaves the file whole, and no log at all."""
        Path(f"{self.path}-shm").unlink(missing_ok=True)
        self.path.write_bytes(self.file[:file])
        Path(f"{self.path}-wal").unlink(missing_ok=True)
        if log is not None:
            Path(f"{self.path}-wal").write_bytes(self.log[:log])

    def report(self) -> AuditReport:
        with LedgerReader(self.path) as reader:
            return audit(reader, load_trust(self.keys / "self"), state=self.state)


@pytest.fixture
def victim(tmp_path: Path) -> Victim:
    return Victim(tmp_path)


def commits(log: bytes) -> Iterator[int]:
    """Yield the offsets at which a commit of the log is complete, by the log's own frames."""
    (page,) = struct.unpack(">I", log[8:12])
    for offset in range(LOG_HEADER, len(log) - page - FRAME_HEADER + 1, page + FRAME_HEADER):
        if log[8 + 8 : 8 + 16] == log[offset + 8 : offset + 16] and struct.unpack(">I", log[offset + 4 : offset + 8])[0]:
            yield offset + FRAME_HEADER + page


def cuts(log: bytes) -> list[int]:
    """Return every frame's beginning, middle and end, and a byte more and less; thoroughly, every 64th byte too."""
    (page,) = struct.unpack(">I", log[8:12])
    frames = range(LOG_HEADER, len(log) + 1, page + FRAME_HEADER)
    near = {offset + delta for offset in frames for delta in (-1, 0, 1, FRAME_HEADER, page // 2)}
    if os.environ.get("HYPOTHESIS_PROFILE") == "thorough":
        near |= set(range(0, len(log), 64))
    return sorted(offset for offset in near | {0, 1} if 0 <= offset <= len(log))


def test_a_log_cut_at_any_frame_leaves_the_commits_before_the_cut_and_the_audit_says_how_many(victim: Victim) -> None:
    ends, seen = list(commits(victim.log)), set()
    assert len(ends) == LOGGED
    for offset in cuts(victim.log):
        rows = FOLDED + sum(end <= offset for end in ends)
        seen.add(rows)
        victim.lose(log=offset)
        report = victim.report()
        if rows == ROWS:
            assert report.findings == ()
            continue
        with LedgerReader(victim.path) as reader:
            assert [stored[:2] for stored in reader.rows()] == [(row.idx, row.body) for row in victim.whole[:rows]]
        assert report.record == "FAIL"
        (found,) = report.findings
        assert found.rule is Rule.STATE
        assert f"{ROWS} rows" in found.message
        assert report.size == rows
        ledger = Ledger(victim.path, keys=victim.keys)
        with pytest.raises(StateMismatch, match=f"has {rows} rows, but {ROWS} were signed"):
            add(ledger)
        ledger.close()
        assert state_of(victim.path, victim.keys) == victim.state, "a refusal changes nothing"
    assert seen == set(range(FOLDED, ROWS + 1))


def test_a_log_that_comes_back_whole_is_written_on(victim: Victim) -> None:
    victim.lose(log=len(victim.log) // 2)
    ledger = Ledger(victim.path, keys=victim.keys)
    with pytest.raises(StateMismatch):
        add(ledger)
    ledger.close()
    victim.lose(log=len(victim.log))
    ledger = Ledger(victim.path, keys=victim.keys)
    add(ledger)
    ledger.close()
    assert [row.leaf for row in verified_rows(victim.path, victim.keys)][:ROWS] == [row.leaf for row in victim.whole]


@pytest.mark.parametrize("tail", ["cut", "zeros"])
def test_a_file_that_lost_its_end_gives_no_row_that_was_not_signed_and_is_never_written_on(
    tmp_path: Path, tail: str
) -> None:
    path, keys = tmp_path / "l.db", tmp_path / "keys"
    ledger = Ledger(path, keys=keys)
    add(ledger, 80)
    ledger.close()
    whole, state, rows, said = path.read_bytes(), state_of(path, keys), verified_rows(path, keys), set()
    # A page that is half zeros is not short but altered: the corpus of attacks has those.
    within = (0, 1, 2_048) if tail == "cut" else (0,)
    for offset in sorted({page + delta for page in range(0, len(whole), 4_096) for delta in within}):
        damaged = whole[:offset] if tail == "cut" else whole[:offset].ljust(len(whole), b"\0")
        replace(path, damaged)
        said |= what_is_said(path, keys, state, rows)
        with contextlib.ExitStack() as stack, pytest.raises(SafeloopError):
            opened = Ledger(path, keys=keys)
            stack.callback(opened.close)
            add(opened)
        assert path.read_bytes() == damaged, "a refusal changes nothing"
        assert state_of_file(keys) == state
    assert "refused" in said
    assert ("FILE" in said) == (tail == "zeros"), "SQLite refuses a file that is shorter than its header says"
    replace(path, whole)
    assert verified_rows(path, keys) == rows


def replace(path: Path, data: bytes) -> None:
    for side in ("-wal", "-shm"):
        Path(f"{path}{side}").unlink(missing_ok=True)
    path.write_bytes(data)


def what_is_said(path: Path, keys: Path, state: State, rows: list[Row]) -> set[str]:
    """Audit a damaged file, expect that it fails and that what can be read is a prefix; return the rules that it broke."""
    try:
        with LedgerReader(path) as reader:
            report = audit(reader, load_trust(keys / "self"), state=state)
    except LedgerError as error:
        assert error.hint
        return {"refused"}
    assert report.record == "FAIL"
    readable = readable_of(path)
    assert readable == [(row.idx, row.body) for row in rows[: len(readable)]]
    for found in report.findings:
        if found.rule is Rule.FILE:
            assert f"nothing can be read from row {len(readable) + 1} on" in found.message
    return {found.rule.name for found in report.findings}


def readable_of(path: Path) -> list[tuple[int, bytes]]:
    """Return the rows that can be read before the damage."""
    found = []
    with LedgerReader(path) as reader, contextlib.suppress(LedgerError):
        for idx, body, _ in reader.rows():
            found.append((idx, body))
    return found


def state_of_file(keys: Path) -> State | None:
    """Return the only state of a key folder, without opening the ledger."""
    (file,) = keys.glob("*.state")
    return read_state(file)
