"""A stranger's file: read to the last column, never written, and imported whole or not at all."""

from __future__ import annotations

import hashlib
import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from safeloop.cli.importing import _spec_data
from safeloop.errors import LedgerError, LedgerNotFound, SettingError
from safeloop.ledger import Ledger
from safeloop.ledger.reader import LedgerReader
from safeloop.ledger.store.tutorial import TutorialFile
from safeloop.ledger.trust import load_trust
from safeloop.ledger.upkeep import importing
from safeloop.ledger.upkeep.importing import Conversion, Imported, import_tutorial
from safeloop.review import ReviewSurface
from safeloop.review.attesting.imported import imported_attestation
from safeloop.review.auditing.audit import audit

ROWS = """CREATE TABLE ledger (id INTEGER PRIMARY KEY AUTOINCREMENT, session_id TEXT NOT NULL, turn_count INTEGER NOT NULL,
 state_origin TEXT NOT NULL, input_hash TEXT NOT NULL, token_delta INTEGER NOT NULL, execution_time_ms INTEGER NOT NULL,
 pass_fail INTEGER NOT NULL, breach_reason TEXT, created_at TEXT NOT NULL);"""
SPECS = """CREATE TABLE spec (id INTEGER PRIMARY KEY AUTOINCREMENT, session_id TEXT NOT NULL, what_it_does TEXT NOT NULL,
 what_it_does_not TEXT NOT NULL, done_looks_like TEXT NOT NULL, created_at TEXT NOT NULL);"""
ATTESTATIONS = """CREATE TABLE attestations (id INTEGER PRIMARY KEY AUTOINCREMENT, session_id TEXT NOT NULL,
 reviewer TEXT NOT NULL, attested_at TEXT NOT NULL, notes TEXT, frame_hash TEXT NOT NULL);"""
HASH = hashlib.sha256(b"task").hexdigest()
AT = "2026-01-02T03:04:05.678901+00:00"
FIELDS = ("session_id", "turn_count", "state_origin", "input_hash", "token_delta", "execution_time_ms", "pass_fail",
          "breach_reason", "created_at")  # fmt: skip


class Old:
    """A ledger of the tutorial in the making."""

    def __init__(self, path: Path, schema: str = ROWS + SPECS + ATTESTATIONS) -> None:
        self.path = path
        with self.sql() as sql:
            sql.executescript(schema)

    def sql(self) -> sqlite3.Connection:
        return sqlite3.connect(self.path)

    def spec(self, session: object = "s", does: object = "Audit", done: object = "report.md is there") -> Old:
        return self._insert("spec", session, does, "Change", done, AT)

    def row(self, session: object = "s", turn: object = 1, **changes: object) -> Old:
        values = dict(zip(FIELDS, (session, turn, "llm", HASH, 100, 12, 1, None, AT), strict=True)) | changes
        return self._insert("ledger", *values.values())

    def breach(self, session: object = "s", turn: object = 2) -> Old:
        return self.row(session, turn, state_origin="circuit_breaker", token_delta=0, pass_fail=0,
                        breach_reason="turn_ceiling")

    def attest(self, session: object = "s", reviewer: object = "alice", at: object = AT, notes: object = "fine",
               frame: object = "a" * 64) -> Old:
        return self._insert("attestations", session, reviewer, at, notes, frame)

    def _insert(self, table: str, *values: object) -> Old:
        marks = ", ".join("?" * (len(values) + 1))
        with closing(self.sql()) as sql, sql:
            sql.execute(f"INSERT INTO {table} VALUES ({marks})", (None, *values))
        return self


class Place:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.db, self.keys = folder / "l.db", folder / "keys"
        self.ledger = Ledger(self.db, keys=self.keys)

    def old(self, name: str = "old.db", schema: str = ROWS + SPECS + ATTESTATIONS) -> Old:
        return Old(self.folder / name, schema)

    def take(self, path: Path, name: str | None = None) -> Imported:
        with TutorialFile(path) as file:
            return import_tutorial(self.ledger, file, Conversion(_spec_data, imported_attestation), name)

    def refused(self, path: Path, words: str) -> None:
        before = self.ledger.head()
        kept = path.read_bytes() if path.is_file() else None
        with pytest.raises(LedgerError, match=words):
            self.take(path)
        assert self.ledger.head() == before, "nothing was imported"
        assert kept is None or path.read_bytes() == kept

    def kinds(self, session: str) -> list[str]:
        return [row.kind for row in self.ledger.rows(session)]

    def content(self, committed: Any) -> Any:
        return json.loads(self.ledger.read_content(committed) or b"null")


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    made = Place(tmp_path)
    yield made
    made.ledger.close()


def test_a_session_comes_over_with_its_promise_its_rows_and_who_attested_it(place: Place) -> None:
    old = place.old().spec().row().breach().attest()
    done = place.take(old.path)
    assert place.kinds("import:old:s") == ["spec", "turn", "breach", "attestation"]
    spec, turn, breach, attestation = place.ledger.rows("import:old:s")
    assert (spec.data["what_it_does"], spec.data["done_looks_like"]) == ("Audit", "report.md is there")
    assert (turn.data["turn"], turn.data["token_delta"], turn.data["input_hash"]) == (1, 100, HASH)
    assert (breach.data["breach_reason"], breach.data["limit"]) == ("turn_ceiling", None)
    assert (attestation.data["reviewer"], attestation.data["signature"]) == ("alice", None)
    original = place.content(turn.data["response"])
    assert original == {"id": 1, **dict(zip(FIELDS, ("s", 1, "llm", HASH, 100, 12, 1, None, AT), strict=True))}
    assert place.content(attestation.data["frame_text"])["attested_at"] == AT
    record = place.ledger.rows("import:old")
    kept = [each for row in record[1:-1] for each in place.content(row.data["response"])]
    assert [(each["table"], each["row"]["id"]) for each in kept] == [("spec", 1), ("ledger", 2)]
    assert kept[0]["row"]["created_at"] == AT
    assert done.rows == done.written == len(record) + 4


def test_it_can_be_reviewed_never_released_and_the_audit_calls_it_ungoverned(place: Place) -> None:
    place.take(place.old().spec().row().breach().attest().path)
    text = ReviewSurface(place.db, place.db, keys=place.keys, create=False).render("import:old:s")
    assert "ungoverned session" in text
    with LedgerReader(place.db) as reader:
        report = audit(reader, load_trust(place.keys / "self"), state=None)
    assert (report.record, report.completeness) == ("PASS", "INCOMPLETE"), report.findings
    assert [gap.rule.value for gap in report.gaps] == ["ungoverned"]


def test_the_old_file_is_not_touched(place: Place) -> None:
    old = place.old().spec().row()
    before, stamp = old.path.read_bytes(), old.path.stat()
    place.take(old.path)
    assert old.path.read_bytes() == before
    assert old.path.stat().st_mtime_ns == stamp.st_mtime_ns
    assert [path.name for path in place.folder.glob("old*")] == ["old.db"]


def test_a_file_of_a_read_only_owner_is_enough(place: Place) -> None:
    old = place.old().row()
    old.path.chmod(0o400)
    assert place.take(old.path).written == 3


def test_the_same_file_again_is_recognised_under_whatever_name(place: Place, tmp_path: Path) -> None:
    old = place.old().spec().row()
    place.take(old.path)
    head = place.ledger.head()
    copy = tmp_path / "copy.db"
    copy.write_bytes(old.path.read_bytes())
    for path, name in ((old.path, None), (old.path, "other"), (copy, None)):
        done = place.take(path, name)
        assert (done.name, done.written) == ("old", 0)
    assert place.ledger.head() == head


def test_another_file_needs_another_name(place: Place, tmp_path: Path) -> None:
    place.take(place.old().row().path)
    (tmp_path / "more").mkdir()
    other = Old(tmp_path / "more" / "old.db").row("t")
    with pytest.raises(SettingError, match="another file was imported as old"):
        place.take(other.path)
    assert place.take(other.path, "more").name == "more"
    assert place.kinds("import:more:t") == ["turn"]


def test_an_import_that_was_cut_short_is_completed_and_nothing_is_there_twice(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = place.old()
    for number in range(6):
        old.spec(f"s{number}").row(f"s{number}").row(f"s{number}", 2).breach(f"s{number}", 3).attest(f"s{number}")
    monkeypatch.setattr(importing, "_BATCH", 4)
    real = importing._append
    for allowed in (0, 1, 3, 2, 1):
        left = iter(range(allowed))

        def dying(*arguments: Any, left: Iterator[int] = left) -> Any:
            if next(left, None) is None:
                raise KeyboardInterrupt
            return real(*arguments)

        monkeypatch.setattr(importing, "_append", dying)
        with pytest.raises(KeyboardInterrupt):
            place.take(old.path)
    monkeypatch.setattr(importing, "_append", real)
    done = place.take(old.path)
    assert 0 < done.written < done.rows
    for number in range(6):
        assert place.kinds(f"import:old:s{number}") == ["spec", "turn", "turn", "breach", "attestation"]
    assert place.ledger.head()[0].size == done.rows
    assert place.ledger.rows("import:old")[-1].data["stop_reason"] == "complete"


def test_a_name_whose_sessions_somebody_writes_by_hand_is_refused(place: Place) -> None:
    place.ledger.write("import:two:s", 1, "llm", "x", 1, 1, True)
    other = place.old("two.db").row(turn=9)
    with pytest.raises(SettingError, match="another file was imported as two"):
        place.take(other.path)


MISFITS = {
    "turn_count": (-1, "many", 1.5, 2**53, b"x"), "token_delta": (-5, "1e3x", b"\0"), "execution_time_ms": (-1,),
    "pass_fail": (2, "yes", -1), "input_hash": ("", "A" * 64, "a" * 63, HASH + "\n", b"x"),
    "state_origin": (b"llm",), "breach_reason": (b"x",), "session_id": (b"x",),
}  # fmt: skip


@pytest.mark.parametrize(("column", "value"), [(key, each) for key, values in MISFITS.items() for each in values])
def test_a_row_that_cannot_be_counted_refuses_the_whole(place: Place, column: str, value: object) -> None:
    old = place.old().spec()
    for _ in range(3):
        old.row()
    old.row(**{column: value})
    place.refused(old.path, f"row 4 of table ledger: {column} is .* nothing was imported")


def test_texts_that_no_row_can_hold_are_made_visible_and_kept_as_they_were(place: Place) -> None:
    nasty = "a\0b\u202e\x1b[31m" + "é" * 500
    old = place.old().row(state_origin=nasty, breach_reason=nasty)
    with closing(old.sql()) as sql, sql:
        sql.execute("UPDATE ledger SET created_at = CAST(x'ff41' AS TEXT)")
    place.take(old.path)
    row = place.ledger.rows("import:old:s")[0]
    assert row.data["state_origin"].startswith("a\\u{0}b\\u{202e}\\u{1b}[31m")
    kept = place.content(row.data["response"])
    assert (kept["state_origin"], kept["created_at"]) == (nasty, "\udcffA")


@pytest.mark.parametrize("session", ["", "a b", "ü", "x" * 200, "../../etc", "hash:" + "0" * 32, "a\0b", "\x1b[2J", " "])
def test_any_session_id_becomes_one_of_ours_and_two_never_the_same(place: Place, session: str) -> None:
    place.take(place.old().row(session).row("s").path)
    with LedgerReader(place.db) as reader:
        found = set(reader.sessions()) - {"import:old", "import:old:s"}
    assert len(found) == 1
    name = found.pop()
    assert name.startswith("import:old:hash:")
    assert place.content(place.ledger.rows(name)[0].data["response"])["session_id"] == session


@pytest.mark.parametrize("answer", ["", "   ", "x" * 70_000, "a\0b", b"bytes"])
def test_a_spec_that_no_row_can_hold_is_kept_as_content(place: Place, answer: object) -> None:
    place.take(place.old().spec(does=answer).row().path)
    assert place.kinds("import:old:s") == ["turn"]
    (kept,) = place.content(place.ledger.rows("import:old")[1].data["response"])
    expected = {"hex": answer.hex()} if isinstance(answer, bytes) else answer
    assert kept["row"]["what_it_does"] == expected


@pytest.mark.parametrize("changes", [
    {"at": "yesterday"}, {"at": "0001-01-01T00:00:00+23:59"}, {"at": b"x"}, {"frame": "short"}, {"frame": b"x"},
    {"notes": "n" * 4_001}, {"notes": "a\0b"}, {"notes": b"x"}, {"reviewer": b"x"}, {"session": "never ran"},
], ids=str)  # fmt: skip
def test_an_attestation_that_no_row_can_hold_is_kept_as_content(place: Place, changes: dict[str, Any]) -> None:
    place.take(place.old().row().attest(**changes).attest(notes=None).path)
    assert place.kinds("import:old:s") == ["turn", "attestation"]
    (kept,) = place.content(place.ledger.rows("import:old")[1].data["response"])
    assert (kept["table"], kept["row"]["id"]) == ("attestations", 1)


def test_columns_and_tables_that_nobody_knows_are_kept_or_named(place: Place) -> None:
    old = place.old(schema=ROWS.replace("created_at", "cost REAL, 'odd \" name' BLOB, created_at") + "CREATE TABLE notes (x);")
    with closing(old.sql()) as sql, sql:
        sql.execute("INSERT INTO ledger VALUES (7, 's', 1, 'llm', ?, 1, 1, 1, NULL, 9e999, x'00ff', 'then')", (HASH,))
    done = place.take(old.path)
    assert done.others == ("notes",)
    kept = place.content(place.ledger.rows("import:old:s")[0].data["response"])
    assert (kept["id"], kept["cost"], kept['odd " name']) == (7, {"real": "inf"}, {"hex": "00ff"})


NOT_IMPORTED = {
    "a view": ("CREATE TABLE t (id, session_id); CREATE VIEW ledger AS SELECT * FROM t;", "no table of rows or specs"),
    "an endless view": (
        "CREATE VIEW ledger AS WITH RECURSIVE c(id) AS (SELECT 1 UNION ALL SELECT id + 1 FROM c) SELECT * FROM c;",
        "no table of rows or specs"),
    "a virtual table": ("CREATE VIRTUAL TABLE ledger USING fts5(id, session_id);", "no table of rows or specs"),
    "no such table": ("CREATE TABLE songs (name);", "no table of rows or specs"),
    "attestations alone": (ATTESTATIONS, "no table of rows or specs"),
    "a column less": (ROWS.replace("token_delta INTEGER NOT NULL,", ""), "table ledger lacks token_delta"),
    "a computed column": (
        ROWS.replace("token_delta INTEGER NOT NULL", "token_delta INTEGER AS (length(zeroblob(1000000000)))"),
        "table ledger lacks token_delta"),
    "a column less of the specs": (ROWS + SPECS.replace("done_looks_like", "done"), "table spec lacks done_looks_like"),
}  # fmt: skip


@pytest.mark.parametrize(("schema", "words"), NOT_IMPORTED.values(), ids=NOT_IMPORTED)
def test_what_is_not_the_tutorial_s_is_refused(place: Place, schema: str, words: str) -> None:
    place.refused(place.old(schema=schema).path, words)


def test_computed_columns_beside_the_others_are_never_computed(place: Place) -> None:
    old = place.old(schema=ROWS.replace("created_at", "bomb AS (zeroblob(1000000000)), created_at"))
    with closing(old.sql()) as sql, sql:
        sql.execute(f"INSERT INTO ledger ({', '.join(FIELDS)}) VALUES ('s', 1, 'llm', '{HASH}', 1, 1, 1, NULL, 'x')")
    place.take(old.path)
    assert "bomb" not in place.content(place.ledger.rows("import:old:s")[0].data["response"])


def test_a_huge_value_refuses_the_whole(place: Place) -> None:
    place.refused(place.old().row().row(breach_reason="x" * 5_000_000).path, "too big")


@pytest.mark.parametrize("data", [b"", b"no database at all" * 99, b"SQLite format 3\0" + b"\xff" * 4_096])
def test_no_database_is_refused(place: Place, data: bytes) -> None:
    path = place.folder / "old.db"
    path.write_bytes(data)
    place.refused(path, "is empty|is not a database|is damaged")


def test_nothing_and_a_folder_are_refused(place: Place) -> None:
    with pytest.raises(LedgerNotFound):
        place.take(place.folder / "none.db")
    place.refused(place.folder, "is a folder")


def test_a_damaged_file_refuses_the_whole(place: Place) -> None:
    old = place.old()
    with closing(old.sql()) as sql, sql:
        values = ("s", 1, "llm", HASH, 1, 1, 1, "x" * 300, AT)
        sql.executemany(f"INSERT INTO ledger ({', '.join(FIELDS)}) VALUES ({', '.join('?' * 9)})", [values] * 2_000)
    data = bytearray(old.path.read_bytes())
    data[len(data) // 2 : len(data) // 2 + 8_192] = b"\xa5" * 8_192
    old.path.write_bytes(data)
    place.refused(old.path, "is damaged|table ledger")


def test_a_file_in_utf_16_is_read_as_well(place: Place) -> None:
    old = place.old(schema="PRAGMA encoding = 'UTF-16le';" + ROWS).row("zoë")
    place.take(old.path)
    with LedgerReader(place.db) as reader:
        assert sum(session.startswith("import:old:hash:") for session in reader.sessions()) == 1


def test_a_signed_ledger_is_not_imported_not_even_itself(place: Place) -> None:
    place.ledger.write("s", 1, "llm", "x", 1, 1, True)
    place.ledger.close()
    place.ledger = Ledger(place.db, keys=place.keys)
    other = Ledger(place.folder / "other.db", keys=place.folder / "keys2")
    other.close()
    place.refused(place.folder / "other.db", "is a signed ledger already")


@pytest.mark.parametrize("side", ["-wal", "-journal"])
def test_rows_that_are_still_in_a_log_are_not_left_behind_silently(place: Place, side: str) -> None:
    old = place.old().row()
    Path(f"{old.path}{side}").write_bytes(b"something")
    place.refused(old.path, "holds what is not in the file yet")


def test_a_file_that_changes_while_it_is_read_is_refused(place: Place) -> None:
    old = place.old().row()
    before = place.ledger.head()
    with TutorialFile(old.path) as file:
        old.row()
        with pytest.raises(LedgerError, match="changed while it was read"):
            import_tutorial(place.ledger, file, Conversion(_spec_data, imported_attestation))
    assert place.ledger.head() == before


@pytest.mark.parametrize("name", ["", "a b", "a:b", "x" * 33, "-x", "é", "a\n"])
def test_a_name_that_cannot_be_one_is_refused(place: Place, name: str) -> None:
    old = place.old().row()
    with pytest.raises(SettingError, match="cannot name an import"):
        place.take(old.path, name)


@pytest.mark.parametrize(("stem", "name"), [("my ledger", "my-ledger"), (".hidden", "hidden"), ("ü", "-"), ("x" * 60, "x" * 32)])
def test_a_file_s_name_becomes_one(place: Place, stem: str, name: str) -> None:
    assert place.take(place.old(f"{stem}.db").row().path).name == (name if name != "-" else "tutorial")
