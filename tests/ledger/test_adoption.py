"""Adopting is the deliberate way on, and only for a ledger that extends what was kept; it is a row, or it is not done."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from safeloop.errors import KeyUnusable, LedgerError, LedgerNotFound, ProofError, StateMismatch, VerificationError
from safeloop.ledger import Draft, Ledger
from safeloop.ledger.adoption import adopt
from safeloop.ledger.keys import KeyFolder
from safeloop.ledger.reader import LedgerReader
from safeloop.ledger.site import existing_site
from safeloop.ledger.state import read_state, state_path
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

    def state(self) -> object:
        return read_state(state_path(self.keys, self.origin))

    def opened(self, db: Path | None = None) -> Ledger:
        return Ledger(db or self.db, keys=self.keys, create=False)


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


@pytest.mark.parametrize("kept", range(6))
def test_a_moved_ledger_is_adopted_with_any_checkpoint_of_its_own_past(place: Place, tmp_path: Path, kept: int) -> None:
    there = place.moved(tmp_path / "new")
    with pytest.raises(StateMismatch):
        place.opened(there)
    row = adopt(there, place.notes[kept], keys=place.keys)
    assert (row.id, row.kind, row.data["event"], row.data["checkpoint"]) == (6, "key", "adopt", place.notes[kept])
    ledger = place.opened(there)
    add(ledger)
    ledger.close()
    with pytest.raises(LedgerNotFound):
        place.opened()  # the old place is nobody's now, and `create=False` makes none


def test_the_ledger_must_extend_the_checkpoint(place: Place, tmp_path: Path) -> None:
    copy = place.copied(tmp_path / "copy")
    ledger = place.opened()
    add(ledger)
    ledger.close()
    newer, before = place.note(), place.state()
    place.restore(copy)
    with pytest.raises(ProofError, match="has 5 rows, fewer than the 6 of the checkpoint"):
        adopt(place.db, newer, keys=place.keys)
    assert place.state() == before, "a refusal changes nothing"
    with pytest.raises(StateMismatch):
        place.opened()


def test_a_restored_backup_is_taken_with_the_checkpoint_that_belongs_to_it(place: Place, tmp_path: Path) -> None:
    copy = place.copied(tmp_path / "copy")
    ledger = place.opened()
    add(ledger, 3)
    ledger.close()
    place.restore(copy)
    adopt(place.db, place.notes[5], keys=place.keys)
    ledger = place.opened()
    assert ledger.get_all()[-1].id == 5
    assert add(ledger)[0].id == 7
    ledger.close()


def test_another_history_of_the_same_length_is_refused(place: Place, tmp_path: Path) -> None:
    """Two continuations of one backup: each verifies by itself, and the checkpoint of one refuses the other."""
    copy = place.copied(tmp_path / "copy")
    ledger = place.opened()
    add(ledger, 2)
    ledger.close()
    first = place.note()
    place.restore(copy)
    adopt(place.db, place.notes[5], keys=place.keys)
    ledger = place.opened()
    add(ledger)
    ledger.close()
    with pytest.raises(ProofError, match="is not the history of this checkpoint"):
        adopt(place.db, first, keys=place.keys)


def test_a_checkpoint_of_another_log_or_of_nobody_adopts_nothing(place: Place, tmp_path: Path) -> None:
    other = Place.__new__(Place)
    (tmp_path / "other").mkdir()
    other.__init__(tmp_path / "other")  # type: ignore[misc]
    there = place.moved(tmp_path / "new")
    note = place.notes[5]
    for forged in (other.notes[5], note.replace("\n5\n", "\n4\n"), note[: note.index("\n\n") + 2], "", note + "x"):
        with pytest.raises(VerificationError):
            adopt(there, forged, keys=place.keys)
    with pytest.raises(StateMismatch):
        place.opened(there)


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
    import sqlite3

    connection = sqlite3.connect(path)
    for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
        text = connection.execute("SELECT sql FROM sqlite_master WHERE name = ?", (name,)).fetchone()[0]
        connection.execute(f"DROP TRIGGER {name}")
        statements = (*statements, text)
    for statement in statements:
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
        with pytest.raises(LedgerError | VerificationError):  # type: ignore[arg-type]
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
        place.opened()
    adopt(place.db, place.notes[3], keys=place.keys)
    ledger = place.opened()
    add(ledger)
    ledger.close()


def test_a_ledger_in_its_place_may_be_adopted_again(place: Place) -> None:
    for _ in range(2):
        adopt(place.db, place.note(), keys=place.keys)
    ledger = place.opened()
    assert [row.data["event"] for row in ledger.rows("ledger")] == ["adopt", "adopt"]
    ledger.close()


def test_if_the_row_cannot_be_written_the_ledger_is_not_adopted(
    place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    there = place.moved(tmp_path / "new")
    for content in there.parent.glob("a.content.db*"):
        content.unlink()
    (there.parent / "a.content.db").write_bytes(b"no database at all, and so no ledger can be opened here" * 50)
    before = place.state()
    with pytest.raises(LedgerError):
        adopt(there, place.notes[5], keys=place.keys)
    assert place.state() == before
    with pytest.raises(LedgerError):
        place.opened(there)


def test_memory_has_nothing_to_adopt(place: Place) -> None:
    with pytest.raises(LedgerError):
        adopt(":memory:", place.notes[5], keys=place.keys)


def test_what_was_adopted_is_verified_by_its_checkpoints(place: Place, tmp_path: Path) -> None:
    there = place.moved(tmp_path / "new")
    adopt(there, place.notes[2], keys=place.keys)
    site = existing_site(there, KeyFolder(place.keys))
    assert site.origin == place.origin
    ledger = place.opened(there)
    assert ledger.append(lambda _: (Draft("ledger", "key", ledger.rows("ledger")[-1].data),))
    ledger.close()
