"""The SQLite files: guards, views, what is not a ledger, and file systems that are not for ledgers."""

from __future__ import annotations

import contextlib
import itertools
import os
import shutil
import sqlite3
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from safeloop.errors import LedgerError, LedgerLocked, LedgerNotFound, VerificationError
from safeloop.ledger import Ledger
from safeloop.ledger.content import Content
from safeloop.ledger.store import database, schema
from safeloop.ledger.store.contents import ContentStore, content_path
from safeloop.ledger.store.rows import RowStore
from tests.ledger.making import add, private_mounts, run, run_mounted, turn, verified_rows

MOUNTS = pytest.mark.skipif(not private_mounts(), reason="this process may not mount anything")

TUTORIAL = """
CREATE TABLE IF NOT EXISTS ledger (id INTEGER PRIMARY KEY AUTOINCREMENT, session_id TEXT NOT NULL,
 turn_count INTEGER NOT NULL, state_origin TEXT NOT NULL, input_hash TEXT NOT NULL, token_delta INTEGER NOT NULL,
 execution_time_ms INTEGER NOT NULL, pass_fail INTEGER NOT NULL, breach_reason TEXT, created_at TEXT NOT NULL);
"""
TUTORIAL_VIEWS = {
    "ledger": [
        ("id", "INTEGER"), ("session_id", "TEXT"), ("turn_count", "INTEGER"), ("state_origin", "TEXT"),
        ("input_hash", "TEXT"), ("token_delta", "INTEGER"), ("execution_time_ms", "INTEGER"), ("pass_fail", "INTEGER"),
        ("breach_reason", "TEXT"), ("created_at", "TEXT"),
    ],
    "spec": [
        ("id", "INTEGER"), ("session_id", "TEXT"), ("what_it_does", "TEXT"), ("what_it_does_not", "TEXT"),
        ("done_looks_like", "TEXT"), ("created_at", "TEXT"),
    ],
    "attestations": [
        ("id", "INTEGER"), ("session_id", "TEXT"), ("reviewer", "TEXT"), ("attested_at", "TEXT"), ("notes", "TEXT"),
        ("frame_hash", "TEXT"),
    ],
}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A ledger of three rows in two sessions, closed."""
    ledger = Ledger(tmp_path / "l.db", keys=tmp_path / "keys")
    add(ledger, 2, "one")
    add(ledger, 1, "two")
    ledger.close()
    return tmp_path / "l.db"


@contextlib.contextmanager
def sql(path: Path) -> Iterator[sqlite3.Connection]:
    """Open a ledger as any other program would."""
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as connection:
        yield connection


def dump(path: Path) -> list[tuple[object, ...]]:
    with sql(path) as connection:
        return connection.execute("SELECT idx, body, sig FROM row ORDER BY idx").fetchall()


BODY = '{"at":"x","session":"one","n":0,"kind":"turn"}'


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE row SET body = '{}'",
        "UPDATE row SET idx = 9 WHERE idx = 2",
        "UPDATE OR REPLACE row SET idx = 0 WHERE idx = 2",
        "DELETE FROM row",
        "DELETE FROM row WHERE idx = 2",
        "INSERT INTO row (idx, body, sig) VALUES (0, '{}', zeroblob(64))",
        "INSERT INTO row (idx, body, sig) VALUES (4, '{}', zeroblob(64))",
        "INSERT INTO row (idx, body, sig) VALUES (-1, '{}', zeroblob(64))",
        "INSERT INTO row (idx, body, sig) VALUES (3, '{}', zeroblob(63))",
        "INSERT INTO row (idx, body, sig) VALUES (3, '{}', NULL)",
        "INSERT INTO row (idx, body, sig) VALUES (3, zeroblob(4), zeroblob(64))",
        "INSERT INTO row (idx, body, sig) VALUES ('three', '{}', zeroblob(64))",
        "INSERT OR REPLACE INTO row (idx, body, sig) VALUES (0, '{}', zeroblob(64))",
        "REPLACE INTO row (idx, body, sig) VALUES (2, '{}', zeroblob(64))",
        "INSERT INTO row (idx, body, sig) VALUES (0, '{}', zeroblob(64)) ON CONFLICT (idx) DO UPDATE SET body = '{}'",
        "INSERT INTO row (idx, body, sig) SELECT idx, body, sig FROM row",
        "UPDATE node SET hash = zeroblob(32)",
        "DELETE FROM node",
        "DELETE FROM head",
        "INSERT INTO head (id, note) VALUES (1, 'second')",
        "UPDATE ledger SET token_delta = 0",
        "DELETE FROM ledger",
    ],
)
def test_accidents_with_sql_are_refused_and_change_nothing(path: Path, statement: str) -> None:
    before = dump(path)
    with sql(path) as connection, pytest.raises((sqlite3.IntegrityError, sqlite3.OperationalError)):
        connection.execute(statement)
    assert dump(path) == before
    verified_rows(path, path.parent / "keys")


def test_insert_or_replace_cannot_push_out_a_row_of_the_same_session_and_position(path: Path) -> None:
    before = dump(path)
    with sql(path) as connection:
        connection.execute("INSERT OR REPLACE INTO row (idx, body, sig) VALUES (3, ?, zeroblob(64))", (before[0][1],))
    assert dump(path)[:3] == before, "a row was deleted through an index that no trigger watches"


def test_one_malformed_body_does_not_break_a_query(path: Path) -> None:
    with sql(path) as connection:
        connection.execute("INSERT INTO row (idx, body, sig) VALUES (3, '{not json', zeroblob(64))")
        assert connection.execute("SELECT count(*) FROM ledger").fetchone() == (3,)
        assert connection.execute("SELECT session_id, n, kind FROM row WHERE idx = 3").fetchone() == (None, None, None)


def test_the_views_have_the_tutorial_s_columns_and_types(path: Path) -> None:
    with sql(path) as connection:
        for view, expected in TUTORIAL_VIEWS.items():
            found = [(name, kind) for _, name, kind, *_ in connection.execute(f"PRAGMA table_info({view})")]
            assert found == expected


def test_the_views_show_what_was_written(path: Path) -> None:
    ledger = Ledger(path, keys=path.parent / "keys")
    ledger.write("three", 7, "circuit_breaker", "task", 0, 0, False, "turn_ceiling")
    ledger.close()
    with sql(path) as connection:
        shown = connection.execute("SELECT * FROM ledger").fetchall()
    assert [row[:4] for row in shown] == [
        (1, "one", 1, "llm"), (2, "one", 1, "llm"), (3, "two", 1, "llm"), (4, "three", 7, "circuit_breaker")
    ]
    assert [row[7:9] for row in shown] == [(1, None)] * 3 + [(0, "turn_ceiling")]


def test_the_file_says_what_it_is_and_only_its_owner_reads_it(path: Path) -> None:
    with sql(path) as connection:
        pragmas = {
            name: connection.execute(f"PRAGMA {name}").fetchone()[0]
            for name in ("application_id", "user_version", "encoding", "journal_mode")
        }
        strict = {name: row[5] for row in connection.execute("PRAGMA table_list") for name in [row[1]]}
    assert pragmas == {"application_id": 0x534C4C47, "user_version": 1, "encoding": "UTF-8", "journal_mode": "wal"}
    assert strict["row"] == strict["node"] == strict["head"] == 1
    before = os.umask(0)
    try:
        ledger = Ledger(path.parent / "other.db", keys=path.parent / "keys")
        add(ledger)
        modes = {found.name: stat.S_IMODE(found.stat().st_mode) for found in path.parent.glob("other*")}
    finally:
        os.umask(before)
    assert modes == dict.fromkeys(
        ["other.db", "other.db-wal", "other.db-shm", "other.content.db", "other.content.db-wal", "other.content.db-shm"],
        0o600,
    )
    ledger.close()
    assert sorted(found.name for found in path.parent.glob("other*")) == ["other.content.db", "other.db"]


@pytest.mark.parametrize("name", ["l.db", "l.content.db"])
def test_every_commit_waits_for_the_disk_and_nobody_else_s_settings_count(path: Path, name: str) -> None:
    with sql(path.with_name(name)) as connection:
        connection.execute("PRAGMA journal_mode = DELETE")
    with contextlib.closing(database.connect(path.with_name(name))) as connection:
        assert connection.execute("PRAGMA synchronous").fetchone() == (2,)
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    with contextlib.closing(ContentStore(path.with_name("l.content.db"))) as store:
        assert store._opened().execute("PRAGMA secure_delete").fetchone() == (1,)


def test_rewriting_the_file_as_a_whole_keeps_schema_and_rows(path: Path) -> None:
    with sql(path) as connection:
        connection.execute("VACUUM")
    assert len(verified_rows(path, path.parent / "keys")) == 3


def test_a_backup_through_sqlite_is_the_same_ledger(path: Path) -> None:
    with sql(path) as source, sql(path.parent / "copy.db") as target:
        source.backup(target)
    with contextlib.closing(RowStore(path.parent / "copy.db", read_only=True)) as store:
        assert store.schema() == schema.STATEMENTS
        assert [(idx, body.decode(), sig) for idx, body, sig in store.rows()] == dump(path)


def _refused(path: Path, reason: str, kind: type[LedgerError] = LedgerError) -> LedgerError:
    before = path.read_bytes() if path.is_file() else None
    for read_only in (True, False):
        with pytest.raises(kind, match=reason) as caught:
            RowStore(path, read_only=read_only)
        assert caught.value.hint
    with pytest.raises(kind, match=reason):
        Ledger(path, keys=path.parent / "keys")
    assert before is None or path.read_bytes() == before
    return caught.value


def test_a_folder_is_no_ledger(tmp_path: Path) -> None:
    assert "ledger.db" in _refused(tmp_path, "is a folder, not a ledger").hint


@pytest.mark.parametrize("device", ["/dev/null", "/dev/zero", "/dev/full"])
def test_a_device_is_no_ledger(tmp_path: Path, device: str) -> None:
    with pytest.raises(LedgerError, match="not a regular file"):
        Ledger(device, keys=tmp_path)


def test_a_pipe_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    _refused(tmp_path / "pipe", "not a regular file")


@pytest.mark.parametrize("text", [b"x", b"some words\n" * 200, b"SQLite format 3", b"SQLite format 3\0", b"\0" * 4096])
def test_a_text_file_is_no_ledger_and_stays_as_it_is(tmp_path: Path, text: bytes) -> None:
    (tmp_path / "notes.db").write_bytes(text)
    _refused(tmp_path / "notes.db", "is not a database|another program's database|is damaged")


def test_another_program_s_database_is_left_as_it_is(tmp_path: Path) -> None:
    with sql(tmp_path / "other.db") as connection:
        connection.execute("CREATE TABLE songs (name TEXT)")
    _refused(tmp_path / "other.db", "another program's database")
    assert [found.name for found in tmp_path.glob("other*")] == ["other.db"]


@pytest.mark.parametrize(
    "script", [TUTORIAL, "CREATE TABLE spec (id TEXT); CREATE TABLE attestations (id TEXT);"], ids=["rows", "specs"]
)
def test_the_tutorial_s_ledger_is_known_and_left_as_it_is(tmp_path: Path, script: str) -> None:
    with sql(tmp_path / "ledger.db") as connection:
        connection.executescript(script)
    error = _refused(tmp_path / "ledger.db", "is a ledger of the tutorial: unsigned, and left as it is")
    assert "safeloop init --ledger" in error.hint


def test_a_newer_format_asks_for_a_newer_program(path: Path) -> None:
    with sql(path) as connection:
        connection.execute("PRAGMA user_version = 2")
    assert _refused(path, "is of format version 2; this safeloop reads version 1").hint.startswith("pip install")


def test_a_ledger_in_utf_16_is_refused(tmp_path: Path) -> None:
    with sql(tmp_path / "l.db") as connection:
        connection.execute("PRAGMA encoding = 'UTF-16le'")
        connection.execute(f"PRAGMA application_id = {schema.APPLICATION_ID}")
        connection.execute("PRAGMA user_version = 1")
        for statement in schema.STATEMENTS:
            connection.execute(statement)
    _refused(tmp_path / "l.db", "is encoded in UTF-16le")


def test_what_is_not_there_or_out_of_reach_is_said_to_be_that(tmp_path: Path) -> None:
    with pytest.raises(LedgerNotFound, match="there is no ledger at") as caught:
        RowStore(tmp_path / "none.db")
    assert caught.value.hint == f"safeloop init --ledger {tmp_path}/none.db"
    (tmp_path / "file").write_text("x")
    with pytest.raises(LedgerError, match="cannot be reached: Not a directory"):
        RowStore(tmp_path / "file" / "l.db")
    with pytest.raises(LedgerError, match="cannot be reached: File name too long"):
        RowStore(tmp_path / ("n" * 300))


def test_looking_at_a_ledger_never_opens_and_closes_it_behind_sqlite_s_back(path: Path) -> None:
    """POSIX drops a process's locks on a file as soon as any descriptor of it is closed.

    The lock that keeps others from taking the log away would go with it, and with the log the next rows.
    """
    keys = path.parent / "keys"
    ledger = Ledger(path, keys=keys)
    add(ledger)
    database.check_file(path)
    RowStore(path, read_only=True).close()
    Ledger(path, keys=keys).close()
    run(
        "import sys; from tests.ledger.making import Ledger, add; l = Ledger(sys.argv[1], keys=sys.argv[2]);"
        "add(l); l.close()", path, keys,
    )
    assert Path(f"{path}-wal").exists(), "the log was taken from under an open ledger"
    add(ledger)
    assert len(verified_rows(path, keys)) == 6
    ledger.close()
    assert len(verified_rows(path, keys)) == 6


def test_the_log_is_folded_as_it_grows_and_its_length_stays_bounded(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "l.db", keys=tmp_path / "keys")
    for _ in range(40):
        add(ledger, 500)
    assert Path(f"{tmp_path}/l.db-wal").stat().st_size < 24_000_000
    assert (tmp_path / "l.db").stat().st_size > 12_000_000
    ledger.close()
    assert len(verified_rows(tmp_path / "l.db", tmp_path / "keys")) == 20_000


def test_a_lock_of_another_program_is_waited_for_and_named(path: Path) -> None:
    ledger = Ledger(path, keys=path.parent / "keys", timeout_s=0.1)
    with sql(path) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(LedgerLocked, match="is locked by another process") as caught:
            add(ledger)
        assert caught.value.hint == f"fuser -v {path}"
        other.execute("ROLLBACK")
    add(ledger)
    ledger.close()


def test_a_transaction_rolls_back_whatever_is_raised_and_the_next_one_works(path: Path) -> None:
    with contextlib.closing(RowStore(path)) as store:
        for error in (ValueError, KeyboardInterrupt, SystemExit, GeneratorExit):
            with pytest.raises(error), store.transaction():
                store.set_head("forged")
                raise error
            assert store.head() != "forged"
        with store.transaction():
            assert store.size() == 3


def test_a_snapshot_does_not_see_what_comes_later(path: Path) -> None:
    ledger = Ledger(path, keys=path.parent / "keys")
    with contextlib.closing(RowStore(path, read_only=True)) as store:
        with store.snapshot():
            assert store.size() == 3
            add(ledger)
            assert store.size() == 3
        assert store.size() == 4
        with pytest.raises(ValueError, match="mine"), store.snapshot():
            raise ValueError("mine")
    ledger.close()


def test_a_reader_cannot_write(path: Path) -> None:
    with contextlib.closing(RowStore(path, read_only=True)) as store:
        with pytest.raises(LedgerError, match="is read-only; nothing of this was recorded"):
            store.set_head("forged")


def test_a_missing_or_mangled_node_is_an_error_with_its_place(path: Path) -> None:
    with sql(path) as connection:
        connection.execute("DROP TRIGGER node_delete")
        connection.execute("DELETE FROM node WHERE level = 0 AND idx = 1")
    with contextlib.closing(RowStore(path, read_only=True)) as store:
        assert len(store.node(1, 0)) == 32
        with pytest.raises(LedgerError, match="lacks the hash of level 0, index 1"):
            store.node(0, 1)


def test_a_damaged_page_is_damage_and_no_crash(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[4096:] = os.urandom(len(data) - 4096)
    path.write_bytes(data)
    with pytest.raises(LedgerError, match="is damaged"):
        RowStore(path, read_only=True)
    with pytest.raises(LedgerError, match="is damaged"):
        Ledger(path, keys=path.parent / "keys")


def test_a_statement_that_sqlite_refuses_is_an_error_of_ours(path: Path) -> None:
    with sql(path) as connection:
        connection.execute("DROP TABLE head")
    with contextlib.closing(RowStore(path, read_only=True)) as store:
        with pytest.raises(LedgerError, match="no such table: head") as caught:
            store.head()
        assert caught.value.hint.startswith("safeloop audit")


def test_rows_of_a_session_can_be_read_from_a_position_on(path: Path) -> None:
    with contextlib.closing(RowStore(path, read_only=True)) as store:
        assert [idx for idx, _, _ in store.rows_of("one")] == [0, 1]
        assert [idx for idx, _, _ in store.rows_of("one", 0)] == [1]
        assert [idx for idx, _, _ in store.rows_of_kinds(("turn", "breach"))] == [0, 1, 2]
        assert list(store.rows_of_kinds(())) == []
        assert [(level, index) for level, index, _ in store.nodes()] == [(0, 0), (0, 1), (0, 2), (1, 0)]
        assert store.last_row_of("nobody") is None


@pytest.mark.parametrize("ask", [
    lambda store: store.has("s1", "open"), lambda store: store.children("s1"),
    lambda store: store.last_row_of("s1"),
], ids=["has", "children", "last_row_of"])
def test_a_session_is_asked_for_without_a_look_at_the_others(ask: Callable[[RowStore], object]) -> None:
    steps: dict[int, int] = {}
    for size in (20, 2_000):
        with contextlib.closing(RowStore(None)) as store:
            for idx in range(size):
                body = b'{"data":{},"kind":"open","n":0,"session":"s%d"}' % idx
                store.extend([(idx, body, bytes(64))], [], "note")
            count = itertools.count()
            store._connection.set_progress_handler(lambda count=count: next(count) < 0, 1)
            ask(store)
            steps[size] = next(count)
    assert steps[2_000] < steps[20] + 50, steps


def test_a_file_is_made_whole_or_not_at_all(tmp_path: Path) -> None:
    with pytest.raises(LedgerError, match="near \"NONSENSE\""):
        database.create(tmp_path / "l.db", ("CREATE TABLE a (b)", "NONSENSE"), ())
    with pytest.raises(LedgerError, match="no such table"):
        database.create(tmp_path / "l.db", (), (("INSERT INTO a VALUES (?)", (1,)),))
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(LedgerError, match="cannot be made: No such file"):
        database.create(tmp_path / "none" / "l.db", (), ())
    (tmp_path / "l.db").write_text("mine")
    with pytest.raises(LedgerError, match="cannot be made: File exists"):
        database.create(tmp_path / "l.db", schema.STATEMENTS, ())
    assert (tmp_path / "l.db").read_text() == "mine"
    assert [found.name for found in tmp_path.iterdir()] == ["l.db"]


# Content


@pytest.fixture
def contents(tmp_path: Path) -> Iterator[ContentStore]:
    database.create(tmp_path / "l.content.db", schema.CONTENT_STATEMENTS, ())
    with contextlib.closing(ContentStore(tmp_path / "l.content.db")) as store:
        yield store


ONE, OTHER = Content(b"one", "text/plain", b"1" * 32), Content(b"", "text/plain", b"2" * 32)


def test_content_lies_beside_its_ledger() -> None:
    assert content_path(Path("/a/l.db")) == Path("/a/l.content.db")
    assert content_path(Path("/a/ledger")) == Path("/a/ledger.content.db")


def test_content_is_kept_once_and_read_by_its_commitment(contents: ContentStore) -> None:
    contents.put([ONE, OTHER, ONE])
    contents.put([ONE])
    contents.put([])
    assert contents.get(ONE.commitment) == b"one"
    assert contents.get(OTHER.commitment) == b""
    assert contents.get(ONE.commitment | {"salted_sha256": "ab" * 32}) is None
    contents.fold_log()


def test_changed_content_is_found_when_it_is_read(contents: ContentStore, tmp_path: Path) -> None:
    contents.put([ONE, OTHER])
    with sql(tmp_path / "l.content.db") as connection:
        connection.execute("UPDATE content SET bytes = ? WHERE salted_sha256 = ?", (b"two", ONE.digest))
        connection.execute("UPDATE content SET salt = zeroblob(0) WHERE salted_sha256 = ?", (OTHER.digest,))
    for content in (ONE, OTHER):
        with pytest.raises(VerificationError, match="is not what the row committed to"):
            contents.get(content.commitment)


def test_content_that_fails_to_be_kept_leaves_nothing_and_the_next_works(contents: ContentStore) -> None:
    with pytest.raises(LedgerError):
        contents.put([ONE, Content(b"x", None, b"3" * 32)])  # type: ignore[arg-type]
    assert contents.get(ONE.commitment) is None
    contents.put([ONE])
    assert contents.get(ONE.commitment) == b"one"


def test_a_judge_reads_a_ledger_whose_content_is_gone(tmp_path: Path) -> None:
    with contextlib.closing(ContentStore(tmp_path / "l.content.db", read_only=True)) as store:
        assert store.get(ONE.commitment) is None
        with pytest.raises(LedgerError, match="there is no content database"):
            store.put([ONE])
    assert list(tmp_path.iterdir()) == []


def test_content_that_is_another_program_s_database_is_not_written(tmp_path: Path) -> None:
    with sql(tmp_path / "l.content.db") as connection:
        connection.execute("CREATE TABLE content (name TEXT)")
    before = (tmp_path / "l.content.db").read_bytes()
    with pytest.raises(LedgerError, match="another program's database"):
        ContentStore(tmp_path / "l.content.db")
    assert (tmp_path / "l.content.db").read_bytes() == before


def test_content_in_memory_leaves_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with contextlib.closing(ContentStore(None)) as store:
        store.put([ONE])
        assert store.get(ONE.commitment) == b"one"
    assert list(tmp_path.iterdir()) == []


# File systems


MOUNTINFO = rb"""21 1 254:0 / / rw,relatime shared:1 - ext4 /dev/root rw
30 21 0:5 / /proc rw - proc proc rw
40 21 0:40 / /mnt/net rw shared:9 master:2 - nfs4 server:/x rw
41 40 0:41 / /mnt/net/local rw - tmpfs tmpfs rw
42 21 0:42 / /mnt/with\040space\011and\134slash rw - cifs //s/x rw
43 21 0:43 / /mnt/donn""" + "é".encode() + rb"""es rw - fuse.sshfs s: rw
44 21 0:44 / /mnt/over rw - nfs s:/ rw
45 44 0:45 / /mnt/over rw - ext4 /dev/b rw
46 21 0:46 / /mnt/raw""" + b"\xff\x0c\xc2\x85" + rb""" rw - 9p s rw
"""


@pytest.mark.parametrize(
    ("place", "kind"),
    [
        ("/l.db", "ext4"),
        ("/mnt/l.db", "ext4"),
        ("/mnt/net", "nfs4"),
        ("/mnt/net/l.db", "nfs4"),
        ("/mnt/network/l.db", "ext4"),
        ("/mnt/net/local/a/b/l.db", "tmpfs"),
        ("/mnt/with space\tand\\slash/l.db", "cifs"),
        ("/mnt/données/l.db", "fuse.sshfs"),
        ("/mnt/over/l.db", "ext4"),
        (os.fsdecode(b"/mnt/raw\xff\x0c\xc2\x85/l.db"), "9p"),
    ],
)
def test_the_deepest_and_latest_mount_is_the_file_system(tmp_path: Path, place: str, kind: str) -> None:
    (tmp_path / "mountinfo").write_bytes(MOUNTINFO)
    assert database.file_system_of(Path(place), tmp_path / "mountinfo") == kind


def test_without_a_table_of_mounts_nothing_is_said(tmp_path: Path) -> None:
    assert database.file_system_of(Path("/l.db"), tmp_path / "none") is None
    (tmp_path / "mountinfo").write_bytes(b"")
    assert database.file_system_of(Path("/l.db"), tmp_path / "mountinfo") is None


def test_a_ledger_on_a_network_file_system_is_refused_before_anything_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = tmp_path / "mountinfo"
    table.write_bytes(b"1 0 0:1 / / rw - ext4 x rw\n2 1 0:2 / %s rw - nfs4 s:/ rw\n" % os.fsencode(tmp_path / "net"))
    (tmp_path / "net").mkdir()
    real = database.file_system_of
    monkeypatch.setattr(database, "file_system_of", lambda path, _: real(path, table))
    with pytest.raises(LedgerError, match="is on nfs4, a network file system") as caught:
        Ledger(tmp_path / "net" / "l.db", keys=tmp_path / "keys")
    assert "local disk" in caught.value.hint
    assert list((tmp_path / "net").iterdir()) == []
    assert not (tmp_path / "keys").exists()


READ = """
import sys
from safeloop.ledger.reader import LedgerReader
with LedgerReader(sys.argv[1]) as reader, reader.snapshot():
    print(reader.size(), len(list(reader.rows())))
"""
WRITE = """
import sys
from tests.ledger.making import Ledger, add, LedgerReader
from safeloop.errors import SafeloopError
try:
    ledger = Ledger(sys.argv[1], keys=sys.argv[2])
    add(ledger)
except SafeloopError as error:
    print(type(error).__name__, error.exit_code, error, "|", error.hint)
"""
FREEZE = "mount --bind {0} {0} && mount -o remount,bind,ro {0}"


@MOUNTS
def test_a_closed_ledger_in_a_folder_that_cannot_be_written_is_read(path: Path) -> None:
    shutil.move(path.parent / "keys", path.parent.parent / f"{path.parent.name}-keys")
    assert run_mounted(FREEZE.format(path.parent), READ, path) == "3 3\n"
    assert sorted(found.name for found in path.parent.iterdir()) == ["l.content.db", "l.db"]


@MOUNTS
def test_an_open_ledger_in_a_folder_that_cannot_be_written_is_read_to_its_last_row(path: Path) -> None:
    ledger = Ledger(path, keys=path.parent / "keys")
    add(ledger)
    assert run_mounted(FREEZE.format(path.parent), READ, path) == "4 4\n"
    ledger.close()


@MOUNTS
def test_a_log_without_its_index_is_read_from_a_copy_that_is_gone_afterwards(path: Path, tmp_path: Path) -> None:
    ledger = Ledger(path, keys=path.parent / "keys")
    add(ledger)
    copy = path.parent / "copy"
    copy.mkdir()
    for name in ("l.db", "l.db-wal"):
        shutil.copy(path.parent / name, copy / name)
    ledger.close()
    room = tmp_path / "room"
    room.mkdir()
    out = run_mounted(FREEZE.format(copy), f"import tempfile\ntempfile.tempdir = {str(room)!r}\n{READ}", copy / "l.db")
    assert (out, list(room.iterdir())) == ("4 4\n", [])
    code = (
        "import sys, tempfile\nfrom safeloop.errors import LedgerError\ntempfile.tempdir = '/nowhere'\ntry:\n"
        + "".join(f"    {line}\n" for line in READ.strip().splitlines())
        + "except LedgerError as error:\n    print(error, '|', error.hint)\n"
    )
    out = run_mounted(FREEZE.format(copy), code, copy / "l.db")
    assert "no temporary copy can be made: No such file or directory | set TMPDIR" in out


@MOUNTS
def test_a_ledger_that_cannot_be_written_is_refused_in_our_own_words(path: Path) -> None:
    keys = path.parent.parent / f"{path.parent.name}-keys"
    shutil.move(path.parent / "keys", keys)
    out = run_mounted(FREEZE.format(path.parent), WRITE, path, keys)
    assert out.startswith("LedgerError 14 ")
    assert "| ls -l" in out
    out = run_mounted(FREEZE.format(path.parent), WRITE, path.parent / "new.db", keys)
    assert "new.content.db cannot be made: Read-only file system" in out


@MOUNTS
def test_a_key_folder_that_cannot_be_written_stops_the_write_and_not_the_reader(path: Path) -> None:
    keys = path.parent / "keys"
    out = run_mounted(FREEZE.format(keys), WRITE, path, keys)
    assert "KeyUnusable 14" in out
    assert ".state cannot be opened: Read-only file system" in out
    assert run_mounted(FREEZE.format(keys), READ, path) == "3 3\n"


def test_the_row_of_a_draft_goes_through_every_column(path: Path) -> None:
    with sql(path) as connection:
        names = [row[1] for row in connection.execute("PRAGMA table_xinfo(row)")]
        values = dict(zip(names, connection.execute(f"SELECT {', '.join(names)} FROM row WHERE idx = 2").fetchone()))
    data = turn("two").data
    assert (values["id"], values["session_id"], values["n"], values["kind"]) == (3, "two", 0, "turn")
    assert (values["turn_count"], values["token_delta"], values["pass_fail"]) == (1, data["token_delta"], 1)
    assert (values["input_hash"], values["what_it_does"], values["reviewer"]) == ("a" * 64, None, None)
    assert values["created_at"] == values["attested_at"]


@pytest.mark.parametrize("read_only", [True, False])
def test_content_that_is_a_view_without_an_end_is_refused_and_never_read(tmp_path: Path, read_only: bool) -> None:
    path = tmp_path / "l.content.db"
    database.create(path, schema.CONTENT_STATEMENTS, ())
    with sql(path) as connection:
        connection.execute("ALTER TABLE content RENAME TO other")
        connection.execute(
            "CREATE VIEW content AS WITH RECURSIVE t(salted_sha256, salt, bytes, type) AS (SELECT x'00', x'00', x'00', 'a' "
            "UNION ALL SELECT * FROM t) SELECT * FROM t"
        )
    with contextlib.closing(ContentStore(path, read_only=read_only)) as store:
        with pytest.raises(LedgerError, match="does not hold exactly the format's table"):
            store.get(ONE.commitment)
        with pytest.raises(LedgerError, match="does not hold exactly the format's table"):
            store.put([ONE])


@pytest.mark.parametrize("error", [UnicodeDecodeError("utf-8", b"\xff", 0, 1, "no"), OverflowError("too large")])
def test_what_the_sqlite_module_stumbles_over_is_a_damaged_file(error: Exception) -> None:
    with pytest.raises(LedgerError, match="l.db is damaged: ") as refused, database.translated("l.db"):
        raise error
    assert refused.value.exit_code == 14
