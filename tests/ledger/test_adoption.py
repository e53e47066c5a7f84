"""Adopting is the deliberate way on, and only for a ledger that extends what was kept; it is a row, or it is not done."""

from __future__ import annotations

import shutil
import sqlite3
from pathlib import Path

import pytest

from safeloop.errors import (
    KeyUnusable,
    LedgerError,
    LedgerLocked,
    LedgerNotFound,
    ProofError,
    StateMismatch,
    VerificationError,
)
from safeloop.ledger import Ledger
from safeloop.ledger.keys import KeyFolder
from safeloop.ledger.reader import LedgerReader
from safeloop.ledger.state import State, create_state, read_state, state_path
from safeloop.ledger.upkeep import adoption
from safeloop.ledger.upkeep.adoption import adopt
from tests.ledger.making import add


class Place:
    """A ledger, its keys, and checkpoints kept at each size."""

    def __init__(self, folder: Path) -> None:
        self.db, self.keys = folder / "a.db", folder / "keys"
        ledger = Ledger(self.db, keys=self.keys)
        self.notes = [self.note()]
        for _ in range(5):
            add(ledger)
            self.notes.append(self.note())
        self.origin = ledger.origin
        ledger.close()

    def note(self, db: Path | None = None) -> str:
        with LedgerReader(db or self.db) as reader:
            note = reader.head()
        assert note is not None
        return note

    def moved(self, folder: Path) -> Path:
        folder.mkdir(exist_ok=True)
        for path in self.db.parent.glob("a.*"):
            path.rename(folder / path.name)
        return folder / "a.db"

    def copied(self, folder: Path) -> Path:
        folder.mkdir(exist_ok=True)
        for path in self.db.parent.glob("a.*"):
            if path.is_file() and not path.name.endswith(("-wal", "-shm")):
                shutil.copy(path, folder / path.name)
        return folder / "a.db"

    def restore(self, copy: Path) -> None:
        for path in self.db.parent.glob("a.*db*"):
            path.unlink()
        for path in copy.parent.glob("a.*db"):
            shutil.copy(path, self.db.parent / path.name)

    def state(self) -> State | None:
        return read_state(state_path(self.keys, self.origin))

    def forget(self) -> None:
        """As on another machine: no state of this ledger."""
        state_path(self.keys, self.origin).unlink()

    def put_state(self, state: State) -> None:
        self.forget()
        create_state(state_path(self.keys, self.origin), state)

    def write(self, db: Path | None = None, count: int = 1) -> int:
        """Append turns; gives the number of the first."""
        ledger = Ledger(db or self.db, keys=self.keys, create=False)
        try:
            return add(ledger, count)[0].id
        finally:
            ledger.close()


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


@pytest.mark.parametrize("kept", range(6))
def test_a_moved_ledger_is_adopted_with_any_checkpoint_of_its_own_past(place: Place, tmp_path: Path, kept: int) -> None:
    there = place.moved(tmp_path / "new")
    with pytest.raises(StateMismatch):
        place.write(there)
    row = adopt(there, place.notes[kept], keys=place.keys)
    assert (row.id, row.kind, row.data["event"], row.data["checkpoint"]) == (6, "key", "adopt", place.notes[kept])
    assert place.write(there) == 7
    with pytest.raises(LedgerNotFound):
        place.write()  # the old place is nobody's now, and `create=False` makes none


def test_the_ledger_must_extend_the_checkpoint(place: Place, tmp_path: Path) -> None:
    copy = place.copied(tmp_path / "copy")
    place.write()
    newer, before = place.note(), place.state()
    place.restore(copy)
    with pytest.raises(ProofError, match="has 5 rows, fewer than the 6 of the checkpoint"):
        adopt(place.db, newer, keys=place.keys)
    assert place.state() == before, "a refusal changes nothing"
    with pytest.raises(StateMismatch):
        place.write()


@pytest.mark.parametrize("kept", [0, 5])
def test_an_older_file_is_never_adopted_and_the_state_stays(place: Place, tmp_path: Path, kept: int) -> None:
    copy = place.copied(tmp_path / "copy")
    place.write(count=3)
    before = place.state()
    with pytest.raises(StateMismatch, match="has 5 rows, but 8 were signed, the last at .*/a.db: it is an older") as caught:
        adopt(copy, place.notes[kept], keys=place.keys)
    assert "restore the newest file" in caught.value.hint and "safeloop init --ledger" in caught.value.hint
    place.restore(copy)
    with pytest.raises(StateMismatch, match="it is an older file"):
        adopt(place.db, place.notes[kept], keys=place.keys)
    assert place.state() == before
    with pytest.raises(StateMismatch):
        place.write()


def test_where_no_state_is_known_a_restored_backup_is_taken_with_its_checkpoint(place: Place, tmp_path: Path) -> None:
    copy = place.copied(tmp_path / "copy")
    place.write(count=3)
    place.restore(copy)
    place.forget()
    adopt(place.db, place.notes[5], keys=place.keys)
    assert place.write() == 7


def test_of_two_continuations_the_second_is_not_adopted_after_the_first(place: Place, tmp_path: Path) -> None:
    """A backup is adopted where it lies, and then the original, which was only moved and is longer: a fork."""
    copy = place.copied(tmp_path / "copy")
    adopt(copy, place.notes[5], keys=place.keys)
    place.write(copy)
    before = place.state()
    place.forget()
    adopt(place.db, place.notes[5], keys=place.keys)
    place.write(count=4)
    place.put_state(before)
    with pytest.raises(StateMismatch, match="is another history than the 7 rows .* a fork"):
        adopt(place.db, place.notes[0], keys=place.keys)
    assert place.state() == before
    assert place.write(copy) == 8


def test_another_history_of_the_same_length_is_refused(place: Place, tmp_path: Path) -> None:
    """Two continuations of one backup: each verifies by itself, and the checkpoint of one refuses the other."""
    copy = place.copied(tmp_path / "copy")
    place.write(count=2)
    first = place.note()
    place.restore(copy)
    place.forget()
    adopt(place.db, place.notes[5], keys=place.keys)
    place.write()
    with pytest.raises(ProofError, match="is not the history of this checkpoint"):
        adopt(place.db, first, keys=place.keys)


def test_a_ledger_that_is_written_while_it_is_adopted_keeps_its_state(place: Place, monkeypatch) -> None:
    whole = adoption._check_extends

    def meanwhile(*arguments: object) -> None:
        whole(*arguments)  # type: ignore[arg-type]
        place.write(count=2)

    monkeypatch.setattr(adoption, "_check_extends", meanwhile)
    with pytest.raises(LedgerLocked, match="was written while it was adopted"):
        adopt(place.db, place.notes[5], keys=place.keys)
    assert place.state().size == 7
    assert place.write() == 8


def test_an_adoption_that_others_went_on_from_is_not_undone(place: Place, tmp_path: Path, monkeypatch) -> None:
    there = place.moved(tmp_path / "new")

    def fail(*_: object) -> None:
        place.write(there)
        raise KeyboardInterrupt

    monkeypatch.setattr(adoption, "_record", fail)
    with pytest.raises(KeyboardInterrupt):
        adopt(there, place.notes[5], keys=place.keys)
    assert place.state().size == 6
    assert place.write(there) == 7


def test_a_checkpoint_of_another_log_or_of_nobody_adopts_nothing(place: Place, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    other = Place(tmp_path / "other")
    there = place.moved(tmp_path / "new")
    note = place.notes[5]
    for forged in (other.notes[5], note.replace("\n5\n", "\n4\n"), note[: note.index("\n\n") + 2], "", note + "x"):
        with pytest.raises(VerificationError):
            adopt(there, forged, keys=place.keys)
    with pytest.raises(StateMismatch):
        place.write(there)


def test_other_keys_adopt_nothing(place: Place, tmp_path: Path) -> None:
    there = place.moved(tmp_path / "new")
    with pytest.raises(KeyUnusable, match="has no keys for it"):
        adopt(there, place.notes[5], keys=tmp_path / "none")
    KeyFolder(tmp_path / "others").create()
    with pytest.raises(KeyUnusable, match="was not signed by the log key"):
        adopt(there, place.notes[5], keys=tmp_path / "others")


def test_nothing_is_adopted_where_nothing_is(place: Place, tmp_path: Path) -> None:
    with pytest.raises(LedgerNotFound):
        adopt(tmp_path / "nowhere.db", place.notes[5], keys=place.keys)
    with pytest.raises(LedgerError, match="is a folder"):
        adopt(tmp_path, place.notes[5], keys=place.keys)


def edited(path: Path, *statements: str) -> None:
    """Edit as a forger would: triggers taken off and put back, so that the schema is the format's again."""
    connection = sqlite3.connect(path)
    made = "SELECT type, name, sql FROM sqlite_master WHERE type IN ('trigger', 'view') ORDER BY rowid"
    found = connection.execute(made).fetchall()
    for statement in (*(f"DROP {kind} {name}" for kind, name, _ in found), *statements, *(sql for _, _, sql in found)):
        connection.execute(statement)
    connection.commit()
    connection.close()


@pytest.mark.parametrize(
    "edit",
    ["UPDATE row SET body = replace(body, '\"turn\":1', '\"turn\":2') WHERE idx = 1",
     "UPDATE row SET sig = (SELECT sig FROM row WHERE idx = 2) WHERE idx = 1",
     "DELETE FROM row WHERE idx = 4", "DELETE FROM row WHERE idx = 2",
     "UPDATE row SET idx = 9 WHERE idx = 4"],
)  # fmt: skip
def test_rows_that_the_head_does_not_sign_are_not_adopted(place: Place, tmp_path: Path, edit: str) -> None:
    there = place.moved(tmp_path / "new")
    edited(there, edit)
    before = place.state()
    for note in (place.notes[0], place.notes[1], place.notes[5]):
        with pytest.raises(VerificationError):
            adopt(there, note, keys=place.keys)
    assert place.state() == before


def test_stored_hashes_are_no_evidence(place: Place, tmp_path: Path) -> None:
    """A forger who recomputes the tree's nodes has still not signed a head."""
    there = place.moved(tmp_path / "new")
    edited(there, "UPDATE row SET body = replace(body, '\"turn\":1', '\"turn\":2') WHERE idx = 1", "DELETE FROM node")
    with pytest.raises(VerificationError):
        adopt(there, place.notes[1], keys=place.keys)


@pytest.mark.parametrize("damage", ["gone", "torn"])
def test_a_lost_state_is_made_again_by_adoption_only(place: Place, damage: str) -> None:
    path = state_path(place.keys, place.origin)
    if damage == "gone":
        path.unlink()
    else:
        path.write_bytes(b"\0" * path.stat().st_size)
    with pytest.raises(StateMismatch):
        place.write()
    adopt(place.db, place.notes[3], keys=place.keys)
    place.write()


def test_a_ledger_in_its_place_may_be_adopted_again(place: Place) -> None:
    for _ in range(2):
        adopt(place.db, place.note(), keys=place.keys)
    ledger = Ledger(place.db, keys=place.keys)
    assert [row.data["event"] for row in ledger.rows("ledger")] == ["adopt", "adopt"]
    ledger.close()


def test_if_the_row_cannot_be_written_the_ledger_is_not_adopted(
    place: Place, tmp_path: Path
) -> None:
    there = place.moved(tmp_path / "new")
    for content in there.parent.glob("a.content.db*"):
        content.unlink()
    (there.parent / "a.content.db").write_bytes(b"no database at all, and so no ledger can be opened here" * 50)
    before = place.state()
    with pytest.raises(LedgerError):
        adopt(there, place.notes[5], keys=place.keys)
    assert place.state() == before
    assert "/new/" not in (place.keys / "known_ledgers").read_text(), "the old place is still no place for a fresh start"


def test_where_no_state_was_known_a_failed_adoption_leaves_none(place: Place) -> None:
    state_path(place.keys, place.origin).unlink()
    for content in place.db.parent.glob("a.content.db*"):
        content.unlink()
    (place.db.parent / "a.content.db").mkdir()
    with pytest.raises(LedgerError):
        adopt(place.db, place.notes[5], keys=place.keys)
    assert place.state() is None


def test_memory_has_nothing_to_adopt(place: Place) -> None:
    with pytest.raises(LedgerError):
        adopt(":memory:", place.notes[5], keys=place.keys)
