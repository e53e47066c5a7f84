"""A backup is both databases as they were at one moment, whole under their names or not there, and never overwrites."""

from __future__ import annotations

import os
import signal
import sqlite3
import stat
import sys
import threading
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import pytest

from safeloop.errors import LedgerError, LedgerLocked, LedgerNotFound, SettingError, StateMismatch, VerificationError
from safeloop.ledger import Ledger
from safeloop.ledger.reader import LedgerReader
from safeloop.ledger.state import read_state, state_path
from safeloop.ledger.trust import load_trust
from safeloop.ledger.upkeep.backup import _claimed, backup
from safeloop.review.auditing.audit import audit
from safeloop.review.auditing.verdict import AuditReport
from tests.ledger.making import add
from tests.review.sessions import SessionBuilder


def finished(ledger: Ledger) -> SessionBuilder:
    """A session of its own that completed: a task, a reply, an answer and a file."""
    session = SessionBuilder(ledger).spec().open("Audit this page.").turn("All is well.")
    return session.close(output="All is well.", files={"report.md": (None, b"# Title")})


class Place:
    def __init__(self, folder: Path) -> None:
        self.db, self.keys, self.to = folder / "l.db", folder / "keys", folder / "copies" / "b.db"
        self.to.parent.mkdir()
        self.ledger = Ledger(self.db, keys=self.keys)
        finished(self.ledger)

    def audit(self, path: Path) -> AuditReport:
        with LedgerReader(path) as reader:
            state = read_state(state_path(self.keys, reader.origin()))
            return audit(reader, load_trust(self.keys / "self"), state=state)


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    made = Place(tmp_path)
    yield made
    made.ledger.close()


def test_the_copy_is_whole_private_and_leaves_nothing_beside_it(place: Place) -> None:
    done = backup(place.db, place.to, keys=place.keys)
    assert sorted(path.name for path in place.to.parent.iterdir()) == ["b.content.db", "b.db"]
    assert {stat.S_IMODE(path.stat().st_mode) for path in place.to.parent.iterdir()} == {0o600}
    assert (done.size, done.note) == (place.ledger.head()[0].size, place.ledger.head()[1])
    report = place.audit(place.to)
    assert (report.record, report.completeness) == ("PASS", "COMPLETE")
    assert f"this is a copy of {place.db}" in report.notes


@pytest.mark.parametrize("step", range(1, 9))
def test_a_backup_that_died_is_made_by_the_same_command_or_is_there(place: Place, step: int) -> None:
    """Killed just before its k-th new name, removal or lock."""
    place.ledger.close()
    child = os.fork()
    if child == 0:
        seen = count(1)

        def watch(event: str, _: object) -> None:
            if event in ("os.link", "os.remove", "fcntl.flock") and next(seen) == step:
                os.kill(os.getpid(), signal.SIGKILL)

        try:
            sys.addaudithook(watch)
            backup(place.db, place.to, keys=place.keys)
        finally:
            os._exit(1)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status), "a backup takes more steps than that"
    if place.to.exists():
        with pytest.raises(SettingError, match="there already"):
            backup(place.db, place.to, keys=place.keys)
    else:
        backup(place.db, place.to, keys=place.keys)
        assert sorted(path.name for path in place.to.parent.iterdir()) == ["b.content.db", "b.db"]
    assert place.audit(place.to).record == "PASS"


def test_a_half_made_backup_is_not_taken_from_the_one_who_makes_it(place: Place) -> None:
    part, content = place.to.with_name(".b.part.content.db"), place.to.with_name("b.content.db")
    with _claimed(part):
        content.hardlink_to(part)
        with pytest.raises(LedgerLocked, match="another backup is writing"):
            backup(place.db, place.to, keys=place.keys)
        assert content.exists()
    with pytest.raises(SettingError, match="b.content.db is there already"):
        backup(place.db, place.to, keys=place.keys)
    assert content.exists(), "without its temporary name it may be anybody's"


def test_a_copy_that_ends_before_the_ledger_passes_and_says_so(place: Place) -> None:
    backup(place.db, place.to, keys=place.keys)
    add(place.ledger, 3)
    report = place.audit(place.to)
    assert report.record == "PASS"
    assert f"this is a copy of {place.db}, and ends 3 rows before it" in report.notes


def test_what_is_no_copy_is_still_found(place: Place) -> None:
    """Where the ledger itself is gone, what lies elsewhere is a moved one, and may be an older one."""
    backup(place.db, place.to, keys=place.keys)
    place.ledger.close()
    place.db.unlink()
    assert [each.rule.value for each in place.audit(place.to).findings] == ["state"]


def test_a_copy_of_another_history_is_found(place: Place, tmp_path: Path) -> None:
    backup(place.db, place.to, keys=place.keys)
    add(place.ledger, 1)
    place.ledger.close()
    for name in ("l.db", "l.content.db"):
        (tmp_path / name).rename(tmp_path / f"true-{name}")
        (place.to.parent / name.replace("l.", "b.", 1)).rename(tmp_path / name)
    state = state_path(place.keys, place.ledger.origin)
    kept = state.read_bytes()
    with pytest.raises(StateMismatch):
        add(Ledger(place.db, keys=place.keys, create=False))
    # The operator's own fork: the state is taken away, and a shorter file written on.
    state.unlink()
    with LedgerReader(place.db) as reader:
        note = reader.head() or ""
    from safeloop.ledger.upkeep.adoption import adopt

    adopt(place.db, note, keys=place.keys)
    forked = Ledger(place.db, keys=place.keys)
    add(forked, 2)
    forked.close()
    state.write_bytes(kept)
    (tmp_path / "l.db").rename(tmp_path / "fork.db")
    (tmp_path / "l.content.db").rename(tmp_path / "fork.content.db")
    (tmp_path / "true-l.db").rename(tmp_path / "l.db")
    assert [each.rule.value for each in place.audit(tmp_path / "fork.db").findings] == ["state"]


def test_a_copy_is_never_written_to(place: Place) -> None:
    backup(place.db, place.to, keys=place.keys)
    with pytest.raises(StateMismatch, match="was at .* and is now at"):
        add(Ledger(place.to, keys=place.keys, create=False))
    assert place.audit(place.to).record == "PASS"


@pytest.mark.parametrize("name", ["b.db", "b.content.db", "b.db-wal", "b.content.db-journal"])
def test_nothing_is_replaced(place: Place, name: str) -> None:
    there = place.to.with_name(name)
    there.write_text("mine")
    with pytest.raises(SettingError, match="is there already"):
        backup(place.db, place.to, keys=place.keys)
    assert there.read_text() == "mine"
    assert [path.name for path in place.to.parent.iterdir()] == [name]


def test_a_link_to_nothing_is_not_followed(place: Place, tmp_path: Path) -> None:
    place.to.symlink_to(tmp_path / "elsewhere.db")
    with pytest.raises(SettingError, match="is there already"):
        backup(place.db, place.to, keys=place.keys)
    assert not (tmp_path / "elsewhere.db").exists()


@pytest.mark.parametrize("name", ["", "..", "x.content.db", "nowhere/b.db"])
def test_a_name_that_cannot_be_is_refused(place: Place, name: str) -> None:
    with pytest.raises(SettingError):
        backup(place.db, place.to.parent / name if name else Path("/"), keys=place.keys)


def test_no_ledger_no_backup(place: Place, tmp_path: Path) -> None:
    with pytest.raises(LedgerNotFound):
        backup(tmp_path / "none.db", place.to, keys=place.keys)
    assert not list(place.to.parent.iterdir())


def test_a_ledger_whose_rows_are_not_its_head_s_is_not_copied(place: Place) -> None:
    place.ledger.close()
    with sqlite3.connect(place.db) as sql:
        sql.executescript("DROP TRIGGER row_update; UPDATE row SET sig = zeroblob(64) WHERE idx = 1")
    with pytest.raises(VerificationError, match="are not the .* that its head signs"):
        backup(place.db, place.to, keys=place.keys)
    assert not list(place.to.parent.iterdir())


def test_a_missing_row_is_named(place: Place) -> None:
    place.ledger.close()
    with sqlite3.connect(place.db) as sql:
        sql.executescript("DROP TRIGGER row_delete; DELETE FROM row WHERE idx = 2")
    with pytest.raises(VerificationError, match="row 3 is missing"):
        backup(place.db, place.to, keys=place.keys)


def test_a_ledger_without_content_is_copied_without_it(place: Place) -> None:
    place.ledger.close()
    place.db.with_name("l.content.db").unlink()
    assert backup(place.db, place.to, keys=place.keys).content is None
    assert [path.name for path in place.to.parent.iterdir()] == ["b.db"]


def test_another_machine_without_the_keys_can_copy_too(place: Place, tmp_path: Path) -> None:
    assert backup(place.db, place.to, keys=tmp_path / "other").size == place.ledger.head()[0].size


def test_rows_that_come_while_it_copies_are_not_in_it_and_nothing_of_it_is_missing(place: Place, tmp_path: Path) -> None:
    stop = threading.Event()

    def write() -> None:
        while not stop.wait(0.001):
            add(place.ledger, 1, contents=(place.ledger.content(b"x" * 5_000, "text/plain"),))

    writer = threading.Thread(target=write)
    writer.start()
    copies: list[Path] = []
    sizes: list[int] = []
    try:
        while len(copies) < 4 or sizes[-1] < sizes[0] + 20:
            copies.append(tmp_path / "copies" / f"{len(copies)}.db")
            sizes.append(backup(place.db, copies[-1], keys=place.keys).size)
    finally:
        stop.set()
        writer.join()
    assert sizes == sorted(sizes)
    for copy, size in zip(copies, sizes, strict=True):
        report = place.audit(copy)
        assert (report.record, report.size) == ("PASS", size), report.findings


def test_what_a_dead_backup_left_is_cleared_away_and_a_living_one_is_not(place: Place) -> None:
    left = place.to.with_name(".b.part.db")
    finished = place.to.with_name("finished.db")
    left.write_text("half")
    finished.hardlink_to(left)  # as after a crash between the name and the end
    with _claimed(left), pytest.raises(LedgerLocked, match="another backup is writing"):
        backup(place.db, place.to, keys=place.keys)
    left.write_text("half")
    backup(place.db, place.to, keys=place.keys)
    assert not left.exists()
    assert finished.read_text() == "half"


def test_a_folder_that_cannot_be_written_is_said_to_be_that(place: Place) -> None:
    place.to.with_name(".b.part.db").mkdir()
    with pytest.raises((LedgerError, SettingError), match="cannot be made"):
        backup(place.db, place.to, keys=place.keys)
