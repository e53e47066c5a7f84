"""Attacks on the file itself: its schema, its indexes, its pages; and audits from where nothing may be written."""

from __future__ import annotations

import contextlib
import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import pytest

from safeloop.errors import LedgerError, LedgerLocked, LedgerNotFound, SessionNotFoundError
from safeloop.ledger.trust import load_trust
from tests.review.attacks import OWN, Draft, Victim, by_hand, found, make, raw, rewrite_schema, set_signature, unguarded

APPEND = """
import sys, time
from safeloop.ledger import Ledger
ledger = Ledger(sys.argv[1], keys=sys.argv[2])
print("ready", flush=True)
number = 0
while True:
    number += 1
    ledger.write(f"hand-{number % 7}", number, "llm", "task", 1, 1, pass_fail=True)
    time.sleep(0.002)
"""


def test_a_table_without_its_columns_is_a_finding_and_no_exception(tmp_path: Path) -> None:
    victim, _, _ = make(tmp_path)
    rewrite_schema(victim.path, "row", lambda text: text.replace("sig BLOB", "gis BLOB").replace("length(sig)", "1"))
    report = victim.audit()
    assert found(report) == [("schema", None), ("file", 1)]
    assert "the file cannot be read to its end" in " ".join(report.notes)


def test_rows_without_a_position_are_findings_and_no_exceptions(tmp_path: Path) -> None:
    victim, _, _ = make(tmp_path)
    rewrite_schema(victim.path, "row", lambda text: text.replace("idx INTEGER PRIMARY KEY", "idx INTEGER"))
    report = victim.audit()
    assert {("schema", None), ("tree", None)} <= set(found(report))
    assert report.rows_standing == 0


# Indexes: what programs search, and what `integrity_check` would have to be trusted for.


def test_an_index_that_was_sorted_otherwise_is_found(tmp_path: Path) -> None:
    victim, _, _ = make(tmp_path)
    rewrite_schema(victim.path, "row_session", lambda text: text.replace("(session_id, n)", "(session_id DESC, n)"))
    with raw(victim.path) as sql:
        sql.execute("REINDEX row_session")
    rewrite_schema(victim.path, "row_session", lambda text: text.replace("(session_id DESC, n)", "(session_id, n)"))
    rules = found(victim.audit())
    assert [rule for rule, _ in rules] == ["derived"]
    assert rules[0][1] is not None


def test_an_index_that_shows_other_rows_than_these_is_found(tmp_path: Path) -> None:
    victim, _, _ = make(tmp_path)
    before = victim.sealed()[9]
    with unguarded(victim.path) as sql:
        sql.execute("DELETE FROM row WHERE idx = 9")
    with unguarded(victim.path, indexes=False) as sql:
        sql.execute("INSERT INTO row (idx, body, sig) VALUES (9, CAST(? AS TEXT), ?)", before)
    report = victim.audit()
    assert set(found(report)) == {("derived", None), ("derived", 10)}
    assert len(report.findings) == 4


def test_a_stale_index_entry_of_a_row_that_is_gone_is_found(tmp_path: Path) -> None:
    victim, _, _ = make(tmp_path)
    with unguarded(victim.path, indexes=False) as sql:
        sql.execute("DELETE FROM row WHERE idx = 9")
    report = victim.audit()
    assert found(report) == [("derived", None), ("derived", None), ("missing", 10)]


# The file as a whole.


@pytest.mark.parametrize("junk", [b"", b"words" * 100])
def test_a_file_that_is_no_ledger_is_an_error_and_no_finding(tmp_path: Path, junk: bytes) -> None:
    victim, _, _ = make(tmp_path)
    trust = victim.trust()
    victim.path.write_bytes(junk)
    with pytest.raises(LedgerError, match=r"empty|not a database"):
        victim.audit(trust=trust)
    victim.path.unlink()
    with pytest.raises(LedgerNotFound):
        victim.audit(trust=trust)
    assert not victim.path.exists()


def test_pages_that_cannot_be_read_are_a_finding_and_what_was_read_before_stands(tmp_path: Path) -> None:
    victim, _, _ = make(tmp_path)
    by_hand(victim, "hand", 60)
    with raw(victim.path) as sql:
        page = sql.execute("PRAGMA page_size").fetchone()[0]
        size = sql.execute("PRAGMA page_count").fetchone()[0]
    data = bytearray(victim.path.read_bytes())
    last = max(
        number for number in range(size)
        if data[number * page] == 0x0D and b'"kind":"turn"' in data[number * page : (number + 1) * page]
    )
    data[last * page : last * page + 8] = b"\xff" * 8
    victim.path.write_bytes(data)
    report = victim.audit(state=OWN)
    rules = found(report)
    assert [rule for rule, _ in rules] == ["file"]
    assert 11 < (rules[0][1] or 0) <= 70
    assert report.rows_standing == report.rows == (rules[0][1] or 0) - 1


def damage(victim: Victim, name: str) -> None:
    """Overwrite the root page of a table or an index."""
    with raw(victim.path) as sql:
        size = sql.execute("PRAGMA page_size").fetchone()[0]
        page = sql.execute("SELECT rootpage FROM sqlite_master WHERE name = ?", (name,)).fetchone()[0]
    data = bytearray(victim.path.read_bytes())
    data[(page - 1) * size : (page - 1) * size + 8] = b"\xff" * 8
    victim.path.write_bytes(data)


@pytest.mark.parametrize(("name", "words"), [
    ("row_kind", "the indexes cannot be read"), ("row_session", "the indexes cannot be read"),
    ("node", "the stored tree cannot be read"),
])
def test_derived_data_that_cannot_be_read_unseats_no_row(tmp_path: Path, name: str, words: str) -> None:
    victim, _, _ = make(tmp_path)
    damage(victim, name)
    report = victim.audit(state=OWN, checkpoints=[victim.head()])
    assert {rule for rule, _ in found(report)} == {"derived"}
    assert any(words in each.message for each in report.findings)
    assert report.rows_standing == 10


def test_a_head_that_cannot_be_read_unseats_no_row(tmp_path: Path) -> None:
    victim, _, _ = make(tmp_path)
    damage(victim, "head")
    report = victim.audit()
    assert found(report) == [("head", None)]
    assert report.rows_standing == 10


@pytest.mark.parametrize("file", ["path", "contents"])
def test_a_locked_file_is_an_error_and_no_verdict(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, file: str
) -> None:
    victim, _, _ = make(tmp_path)
    trust = victim.trust()
    monkeypatch.setattr("safeloop.ledger.store.database.BUSY_TIMEOUT_S", 0.05)
    with raw(getattr(victim, file)) as sql:
        sql.execute("PRAGMA locking_mode = EXCLUSIVE")
        sql.execute("BEGIN EXCLUSIVE")
        with pytest.raises(LedgerLocked):
            victim.audit(trust=trust)


# One session.


def test_one_session_is_judged_by_its_rows_and_the_whole_tree(tmp_path: Path) -> None:
    victim, _, _ = make(tmp_path)
    report = victim.audit(session="beta", state=OWN)
    assert (found(report), report.rows, report.rows_standing, report.size) == ([], 5, 5, 10)
    set_signature(victim.path, 6, bytes(64))
    set_signature(victim.path, 1, bytes(64))
    report = victim.audit(session="beta", state=OWN)
    assert found(report) == [("tree", 2), ("signature", 7)]
    assert (report.rows, report.rows_standing, report.session) == (5, 4, "beta")


def test_an_unknown_session_is_an_error_unless_something_is_wrong(tmp_path: Path) -> None:
    victim, _, _ = make(tmp_path)
    for name in ("gamma", "alph", "latest", "ledger", 'a"b'):
        with pytest.raises(SessionNotFoundError):
            victim.audit(session=name)
    with unguarded(victim.path) as sql:
        sql.execute("DELETE FROM row WHERE idx < 5")
    assert found(victim.audit(session="alpha")) == [("missing", 1)]


# Where, when, and by whom it is run.


def test_a_copy_without_its_state_is_audited_and_says_what_it_could_not_see(tmp_path: Path) -> None:
    victim, _, _ = make(tmp_path)
    copy = victim.copy(tmp_path / "elsewhere")
    report = copy.audit()
    assert found(report) == []
    assert any("no state of this ledger" in note for note in report.notes)
    beside = copy.audit(state=OWN)
    assert found(beside) == []
    assert any("copy" in note for note in beside.notes)
    victim.path.unlink()  # now it is not a copy, but where the ledger went
    assert found(copy.audit(state=OWN)) == [("state", None)]


@pytest.fixture
def public_folder() -> Iterator[Path]:
    """A folder that another user may look into, which pytest's own are not."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o755)
    yield folder
    for each in (folder, *folder.rglob("*")):
        if each.is_dir():
            each.chmod(0o755)
    shutil.rmtree(folder)


@contextlib.contextmanager
def as_nobody() -> Iterator[None]:
    """Be somebody whom the permissions of files bind, which they do not bind root."""
    if os.geteuid() != 0:
        yield
        return
    os.setresgid(65534, 65534, 0)
    os.setresuid(65534, 65534, 0)
    try:
        yield
    finally:
        os.setresuid(0, 0, 0)
        os.setresgid(0, 0, 0)


def test_a_read_only_folder_is_audited_by_somebody_without_keys(tmp_path: Path, public_folder: Path) -> None:
    victim, _, _ = make(tmp_path)
    assert found(victim.audit()) == []
    copy = victim.copy(public_folder / "ledger")
    shutil.copytree(victim.keys / "self", public_folder / "trust")
    for each in (public_folder, *public_folder.rglob("*")):
        each.chmod(0o555 if each.is_dir() else 0o444)
    before = sorted(public_folder.rglob("*"))
    with as_nobody():
        assert not os.access(copy.path, os.W_OK)
        assert not os.access(victim.keys / "writer.pem", os.R_OK) or os.geteuid() != 65534
        report = copy.audit(trust=load_trust(public_folder / "trust"))
    assert (found(report), report.exit_code, report.verdict) == ([], 0, "record PASS, 10 rows stand")
    assert sorted(public_folder.rglob("*")) == before


def test_an_audit_leaves_every_byte_as_it_was(tmp_path: Path) -> None:
    victim, _, _ = make(tmp_path)
    before = {file: file.read_bytes() for file in tmp_path.rglob("*") if file.is_file()}
    victim.audit(state=OWN)
    assert {file: file.read_bytes() for file in before} == before
    # In a folder that can be written SQLite may leave its own empty side files, and nothing else appears.
    others = {file for file in tmp_path.rglob("*") if file.is_file()} - before.keys()
    assert {file.name.rpartition("-")[2] for file in others} <= {"wal", "shm"}


def test_audits_beside_a_writer_never_raise_a_false_alarm(tmp_path: Path) -> None:
    victim = Victim(tmp_path / "ledger.db", tmp_path / "keys")
    writer = subprocess.Popen(
        [sys.executable, "-c", APPEND, victim.path, victim.keys], stdout=subprocess.PIPE, cwd=Path(__file__).parents[3]
    )
    try:
        assert writer.stdout is not None
        writer.stdout.readline()
        by_hand(victim, "own", 1)
        kept = [victim.head()]
        audits = size = 0
        while size < 200 or audits < 20:
            report = victim.audit(state=OWN, checkpoints=kept, is_alone=False)
            assert found(report) == []
            assert report.size >= size
            size, audits = report.size, audits + 1
            kept = [*kept[-5:], victim.head()]
        assert writer.poll() is None
    finally:
        writer.kill()
        writer.communicate()


def test_memory_does_not_grow_with_rows(tmp_path: Path) -> None:
    peaks = []
    for rows in (300, 600, 2_100):  # the first also fills what is filled once
        victim = Victim(tmp_path / f"{rows}.db", tmp_path / "keys")
        limits = Draft("ledger", "limits", {"hour": {}, "day": {}, "month": {}})
        for _ in range(rows // 300):
            victim.append(*[limits] * 300)
        trust = victim.trust()
        tracemalloc.start()
        assert victim.audit(trust=trust).size == rows
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[2] < peaks[1] + 50_000  # a single object kept per row would be more


def test_the_judge_loads_neither_the_judged_nor_a_model_sdk() -> None:
    names = "('anthropic', 'safeloop.loop', 'safeloop.models', 'safeloop.tools', 'safeloop.breaker')"
    script = f"import sys, safeloop.review.auditing.audit; print([name for name in {names} if name in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=Path(__file__).parents[3]
    )
    assert done.stdout == "[]\n"


def test_sqlite_is_new_enough_for_these_attacks() -> None:
    assert sqlite3.sqlite_version_info >= (3, 37)
