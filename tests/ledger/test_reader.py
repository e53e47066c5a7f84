"""A ledger as judges read it: nothing made, nothing changed, nothing believed."""

from __future__ import annotations

import contextlib
import shutil
import sqlite3
from pathlib import Path

import pytest

from safeloop.errors import LedgerError, LedgerNotFound, VerificationError
from safeloop.ledger import Content, Ledger
from safeloop.ledger.merkle import Frontier
from safeloop.ledger.reader import LedgerReader
from safeloop.ledger.rows import parse_row
from safeloop.ledger.store import schema
from tests.ledger.making import add

TEXT = Content(b"the reply", "text/plain", b"s" * 32)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    ledger = Ledger(tmp_path / "l.db", keys=tmp_path / "keys")
    add(ledger, 2, "one", contents=(TEXT,))
    add(ledger, 1, "two")
    ledger.close()
    return tmp_path / "l.db"


def execute(path: Path, *statements: str) -> None:
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as connection:
        for statement in statements:
            connection.execute(statement)


def test_a_reader_makes_nothing(tmp_path: Path) -> None:
    with pytest.raises(LedgerNotFound, match="there is no ledger at"):
        LedgerReader(tmp_path / "l.db")
    assert list(tmp_path.iterdir()) == []


def test_an_empty_file_is_no_ledger_to_a_reader(tmp_path: Path) -> None:
    (tmp_path / "l.db").touch()
    with pytest.raises(LedgerError, match="is empty, not a ledger"):
        LedgerReader(tmp_path / "l.db")
    assert (tmp_path / "l.db").stat().st_size == 0


def test_a_reader_needs_no_keys_and_changes_no_byte(path: Path) -> None:
    shutil.rmtree(path.parent / "keys")
    before = {found.name: found.read_bytes() for found in path.parent.iterdir()}
    with LedgerReader(path) as reader, reader.snapshot():
        assert reader.size() == 3
        assert [parse_row(*stored).session for stored in reader.rows()] == ["one", "one", "two"]
        assert reader.read_content(TEXT.commitment) == b"the reply"
        assert reader.has_contents()
    after = {found.name: found.read_bytes() for found in path.parent.iterdir() if found.stat().st_size}
    assert {name: data for name, data in after.items() if not name.endswith("-shm")} == before


def test_a_reader_sees_one_state_and_then_the_next(path: Path) -> None:
    ledger = Ledger(path, keys=path.parent / "keys")
    with LedgerReader(path) as reader:
        with reader.snapshot():
            head = reader.head()
            add(ledger, 5)
            assert (reader.size(), reader.head()) == (3, head)
            assert sum(1 for _ in reader.rows()) == 3
            assert reader.node_count() == 4
        assert (reader.size(), sum(1 for _ in reader.rows())) == (8, 8)
    ledger.close()


def test_the_tree_is_read_as_it_was_stored(path: Path) -> None:
    frontier = Frontier()
    with LedgerReader(path) as reader:
        expected = [tuple(node) for row in reader.rows() for node in frontier.append(bytes.fromhex(parse_row(*row).leaf))]
        assert sorted(reader.nodes()) == sorted(expected)
        assert dict(reader.nodes_of(0)) == {index: digest for level, index, digest in expected if level == 0}
        assert reader.node(1, 0) == next(digest for level, index, digest in expected if (level, index) == (1, 0))
        with pytest.raises(LedgerError, match="lacks the hash"):
            reader.node(1, 1)


def test_an_index_finds_sessions_and_kinds_in_order(path: Path) -> None:
    with LedgerReader(path) as reader:
        assert list(reader.sessions()) == ["one", "two"]
        assert [idx for idx, _, _ in reader.rows_of("two")] == [2]
        assert [idx for idx, _, _ in reader.rows_of_kinds("turn")] == [0, 1, 2]
        assert list(reader.rows_of("nobody")) == []


def test_the_origin_is_the_head_s_claim(path: Path) -> None:
    with contextlib.closing(Ledger(path, keys=path.parent / "keys")) as ledger, LedgerReader(path) as reader:
        assert reader.origin() == ledger.origin
    execute(path, "UPDATE head SET note = 'nonsense'")
    with LedgerReader(path) as reader, pytest.raises(LedgerError, match="has no usable head"):
        reader.origin()
    execute(path, "DROP TRIGGER head_delete", "DELETE FROM head")
    with LedgerReader(path) as reader:
        assert reader.head() is None
        with pytest.raises(LedgerError, match="has no usable head"):
            reader.origin()


def test_content_may_be_gone_or_changed_or_nonsense_and_the_rows_are_still_read(path: Path) -> None:
    contents = path.with_name("l.content.db")
    execute(contents, "UPDATE content SET bytes = x'00'")
    with LedgerReader(path) as reader, pytest.raises(VerificationError, match="is not what the row committed to"):
        reader.read_content(TEXT.commitment)
    contents.write_bytes(b"nonsense" * 1_000)
    with LedgerReader(path) as reader:
        assert reader.size() == 3
        with pytest.raises(LedgerError, match="is not a database"):
            reader.read_content(TEXT.commitment)
    contents.unlink()
    with LedgerReader(path) as reader:
        assert not reader.has_contents()
        assert reader.read_content(TEXT.commitment) is None


def test_an_intact_schema_has_no_faults(path: Path) -> None:
    with LedgerReader(path) as reader:
        assert reader.schema_is_intact()
        assert reader.schema_faults() == ()
        assert reader.has_tables()
        assert reader.searched(0, 3) == {"row_session": (3, 0, None), "row_kind": (3, 0, None), "row_parent": (0, 0, None)}
        assert reader.searched_for([parse_row(*stored) for stored in reader.rows()]) == reader.searched(0, 3)
        assert reader.index_sizes() == {"row_session": 3, "row_kind": 3, "row_parent": 0}


def test_what_was_added_to_the_schema_or_taken_from_it_is_named(path: Path) -> None:
    execute(path, "DROP VIEW ledger", "CREATE VIEW ledger AS SELECT 1 AS id", "CREATE TABLE more (a)")
    with LedgerReader(path) as reader:
        assert not reader.schema_is_intact()
        assert [fault[:24] for fault in reader.schema_faults()] == [
            "lacks CREATE VIEW ledger", "has CREATE VIEW ledger A", "has CREATE TABLE more (a"
        ]


def test_the_same_statements_in_another_order_are_not_the_schema(path: Path) -> None:
    view = next(statement for statement in schema.STATEMENTS if statement.startswith("CREATE VIEW ledger"))
    execute(path, "DROP VIEW ledger", view)
    with LedgerReader(path) as reader:
        assert not reader.schema_is_intact()
        assert reader.schema_faults() == ("has the format's statements in another order, or twice",)


def test_a_view_under_a_table_s_name_is_no_table(path: Path) -> None:
    execute(path, "DROP TABLE node", "CREATE VIEW node AS SELECT 0 AS level, 0 AS idx, zeroblob(32) AS hash")
    with LedgerReader(path) as reader:
        assert not reader.has_tables()


@pytest.mark.parametrize("index", ["row_session", "row_kind"])
def test_an_index_that_hides_a_row_is_found(path: Path, index: str) -> None:
    statement = next(text for text in schema.STATEMENTS if text.startswith(f"CREATE INDEX {index}"))
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute(f"DROP INDEX {index}")
        connection.execute(f"{statement} WHERE idx <> 1")
        connection.execute("PRAGMA writable_schema = ON")
        connection.execute("UPDATE sqlite_master SET sql = ? WHERE name = ?", (statement, index))
    with LedgerReader(path) as reader:
        assert (reader.searched(0, 3)[index], reader.index_sizes()[index]) == ((3, 1, 1), 2)
        assert reader.searched(0, 1)[index] == reader.searched(2, 3)[index] == (1, 0, None)
        rows = [parse_row(*stored) for stored in reader.rows()]
        assert reader.searched_for(rows)[index] == (3, 1, 1)
        assert reader.searched_for(rows[:1])[index] == reader.searched_for(rows[2:])[index] == (1, 0, None)


def test_rows_are_searched_for_by_their_own_word(path: Path) -> None:
    with LedgerReader(path) as reader:
        rows = [parse_row(*stored) for stored in reader.rows()]
        of_another = rows[0]._replace(session="three"), rows[1]._replace(n=7), rows[2]
        assert reader.searched_for(of_another)["row_session"] == (3, 2, 0)
        of_another = rows[0], rows[1]._replace(kind="close"), rows[2]._replace(data={"parent": "one"})
        found = reader.searched_for(of_another)
        assert (found["row_kind"], found["row_parent"]) == ((3, 1, 1), (1, 1, 2))
