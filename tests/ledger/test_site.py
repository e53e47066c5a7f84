"""Where a ledger lies and whose it is: made once, never afresh, and never anywhere else."""

from __future__ import annotations

import contextlib
import os
import shutil
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from safeloop.errors import KeyUnusable, LedgerError, LedgerNotFound, StateMismatch
from safeloop.ledger import Ledger, site, trust
from safeloop.ledger.keys import KeyFolder
from safeloop.ledger.state import KnownLedgers, State, state_path
from safeloop.ledger.store import database, schema
from safeloop.ledger.store.contents import content_path
from tests.ledger.making import add, python, run, state_of, verified_rows


@pytest.fixture
def keys(tmp_path: Path) -> Path:
    return tmp_path / "keys"


@pytest.fixture
def path(tmp_path: Path, keys: Path) -> Path:
    """A closed ledger of three rows."""
    (tmp_path / "work").mkdir()
    ledger = Ledger(tmp_path / "work" / "l.db", keys=keys)
    add(ledger, 3)
    ledger.close()
    return tmp_path / "work" / "l.db"


def open_and_add(path: Path, keys: Path) -> None:
    ledger = Ledger(path, keys=keys)
    try:
        add(ledger)
    finally:
        ledger.close()


# Creation


def test_a_new_ledger_has_keys_content_a_state_a_memory_and_a_pin(tmp_path: Path, keys: Path) -> None:
    ledger = Ledger(tmp_path / "l.db", keys=keys)
    assert ledger.origin.startswith("safeloop.local/")
    assert len(ledger.origin) == len("safeloop.local/") + 32
    assert ledger.head()[0].size == 0
    known = KnownLedgers(keys).at(tmp_path / "l.db")
    assert known is not None
    assert known.origin == ledger.origin
    pinned = trust.load_trust(keys / "self")
    assert pinned.log_for(ledger.origin).vkey == known.log
    assert pinned.writer(KeyFolder(keys).writer().key_id) is not None
    assert pinned.reviewers == ()
    assert state_of(tmp_path / "l.db", keys).size == 0
    ledger.close()
    assert sorted(found.name for found in tmp_path.iterdir()) == ["keys", "l.content.db", "l.db"]


def test_two_ledgers_share_keys_and_nothing_else(tmp_path: Path, keys: Path) -> None:
    one, other = Ledger(tmp_path / "a.db", keys=keys), Ledger(tmp_path / "b.db", keys=keys)
    assert one.origin != other.origin
    add(one, 2)
    add(other)
    one.close()
    other.close()
    assert len(verified_rows(tmp_path / "a.db", keys)) == 2
    assert len(verified_rows(tmp_path / "b.db", keys)) == 1


def test_readers_and_create_false_make_nothing(tmp_path: Path, keys: Path) -> None:
    with pytest.raises(LedgerNotFound, match="there is no ledger at") as caught:
        Ledger(tmp_path / "l.db", keys=keys, create=False)
    assert caught.value.hint == f"safeloop init --ledger {tmp_path}/l.db"
    assert list(tmp_path.iterdir()) == []


def test_a_missing_folder_is_not_made(tmp_path: Path, keys: Path) -> None:
    with pytest.raises(LedgerNotFound, match="there is no folder") as caught:
        Ledger(tmp_path / "none" / "l.db", keys=keys)
    assert caught.value.hint == f"mkdir -p {tmp_path}/none"
    assert list(tmp_path.iterdir()) == []


def test_a_name_for_content_is_no_name_for_a_ledger(tmp_path: Path, keys: Path) -> None:
    with pytest.raises(LedgerError, match="a name for content"):
        Ledger(tmp_path / "l.content.db", keys=keys)


def test_an_empty_file_that_nobody_remembers_becomes_a_ledger(tmp_path: Path, keys: Path) -> None:
    (tmp_path / "l.db").touch()
    open_and_add(tmp_path / "l.db", keys)
    assert len(verified_rows(tmp_path / "l.db", keys)) == 1


def test_a_path_that_cannot_be_reached_is_an_error(tmp_path: Path, keys: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(LedgerError, match="cannot be reached: Not a directory"):
        Ledger(tmp_path / "file" / "l.db", keys=keys)


def test_the_key_folder_may_be_the_ledger_s_own(tmp_path: Path) -> None:
    open_and_add(tmp_path / "l.db", tmp_path)
    assert len(verified_rows(tmp_path / "l.db", tmp_path)) == 1


@pytest.mark.parametrize("name", ["l.db", "l.content.db"])
def test_what_is_left_of_another_database_is_never_played_into_a_new_ledger(
    path: Path, tmp_path: Path, keys: Path, name: str
) -> None:
    ledger = Ledger(path, keys=keys)
    ledger.append(lambda _: [])
    content = ledger.content(b"x" * 10_000, "text/plain")
    add(ledger, 1, contents=(content,))
    shutil.copy(f"{path.parent / name}-wal", tmp_path / f"{name}-wal")
    ledger.close()
    with pytest.raises(LedgerError, match=f"{name}-wal is what is left of a database that is gone") as caught:
        Ledger(tmp_path / "l.db", keys=keys)
    assert "move it away" in caught.value.hint
    assert not (tmp_path / "l.db").exists()
    (tmp_path / f"{name}-wal").unlink()
    open_and_add(tmp_path / "l.db", keys)
    assert len(verified_rows(tmp_path / "l.db", keys)) == 1


def test_content_left_from_an_unfinished_creation_is_taken_over(tmp_path: Path, keys: Path) -> None:
    database.create(content_path(tmp_path / "l.db"), schema.CONTENT_STATEMENTS, ())
    open_and_add(tmp_path / "l.db", keys)
    assert len(verified_rows(tmp_path / "l.db", keys)) == 1


def test_processes_that_create_at_once_end_with_one_ledger_and_all_rows(tmp_path: Path, keys: Path) -> None:
    code = """
import sys
from tests.ledger.making import Ledger, add
sys.stdin.readline()
ledger = Ledger(sys.argv[1], keys=sys.argv[2])
for _ in range(5):
    add(ledger, session=sys.argv[3])
print(ledger.origin)
"""
    for attempt in range(3):
        ledger = tmp_path / f"{attempt}.db"
        if attempt:
            ledger.touch()
        processes = [python(code, ledger, keys, f"s{number}") for number in range(6)]
        for process in processes:
            assert process.stdin is not None
            process.stdin.write("go\n")
            process.stdin.flush()
        done = [process.communicate(timeout=60) for process in processes]
        assert [error for _, error in done] == [""] * 6
        assert len({origin for origin, _ in done}) == 1
        assert len(verified_rows(ledger, keys)) == 30
        assert len((keys / "known_ledgers").read_text().splitlines()) == attempt + 1


def test_whoever_comes_second_takes_the_ledger_of_the_first(
    tmp_path: Path, keys: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = site._creating

    @contextlib.contextmanager
    def slow(folder: Path) -> Iterator[None]:
        """Come to the folder after somebody else has made the ledger and written into it."""
        monkeypatch.setattr(site, "_creating", real)
        open_and_add(tmp_path / "l.db", keys)
        with real(folder):
            yield

    monkeypatch.setattr(site, "_creating", slow)
    open_and_add(tmp_path / "l.db", keys)
    assert len(verified_rows(tmp_path / "l.db", keys)) == 2
    assert len(list(keys.glob("*.state"))) == 1


@pytest.mark.parametrize(
    "step",
    ["keys.create_file", "site._creating", "site.database.create", "site.create_state", "state.create_file",
     "site.trust.pin_log", "site.trust.pin_writer", "state.replace_file"],
)
@pytest.mark.parametrize("before", [True, False], ids=["before", "after"])
@pytest.mark.parametrize("nth", [1, 2])
def test_a_crash_at_any_step_of_creation_leaves_what_the_next_one_completes(
    tmp_path: Path, keys: Path, step: str, before: bool, nth: int
) -> None:
    code = """
import importlib, os, sys
from safeloop.ledger import Ledger
module, *names = sys.argv[3].split(".")
owner = importlib.import_module(f"safeloop.ledger.{module}")
for name in names[:-1]:
    owner = getattr(owner, name)
real, calls = getattr(owner, names[-1]), []
def crash(*arguments, **named):
    calls.append(1)
    if len(calls) < int(sys.argv[5]):
        return real(*arguments, **named)
    if sys.argv[4] == "False":
        real(*arguments, **named)
    os._exit(9)
setattr(owner, names[-1], crash)
Ledger(sys.argv[1], keys=sys.argv[2])
"""
    once = {"site._creating", "site.create_state", "site.trust.pin_log", "site.trust.pin_writer", "state.create_file",
            "state.replace_file"}
    expect = 0 if nth == 2 and step in once else 9
    run(code, tmp_path / "l.db", keys, step, before, nth, expect=expect)
    open_and_add(tmp_path / "l.db", keys)
    open_and_add(tmp_path / "l.db", keys)
    assert len(verified_rows(tmp_path / "l.db", keys)) == 2
    opened = site.open_site(tmp_path / "l.db", KeyFolder(keys), create=False)
    known = KnownLedgers(keys).at(tmp_path / "l.db")
    assert known is not None
    assert (known.origin, known.log) == (opened.origin, opened.verifier.vkey)
    pinned = trust.load_trust(keys / "self")
    assert pinned.log_for(opened.origin) == opened.verifier
    assert pinned.writer(opened.writer.key_id) is not None


# Never afresh


@pytest.mark.parametrize("removal", ["unlink", "truncate"])
def test_a_remembered_ledger_that_is_gone_is_an_error_and_never_a_fresh_start(
    path: Path, keys: Path, removal: str
) -> None:
    path.unlink()
    if removal == "truncate":
        path.touch()
    for create in (True, False):
        with pytest.raises(LedgerNotFound, match="is gone or empty; a fresh one would forget what was spent") as caught:
            Ledger(path, keys=keys, create=create)
        assert "backup" in caught.value.hint
    assert not path.exists() or path.stat().st_size == 0


def test_opening_a_copy_elsewhere_does_not_free_the_first_place(path: Path, keys: Path) -> None:
    copy = path.with_name("copy.db")
    for name in ("l.db", "l.content.db"):
        shutil.copy(path.with_name(name), path.with_name(name.replace("l.", "copy.", 1)))
    ledger = Ledger(copy, keys=keys)
    with pytest.raises(StateMismatch, match="was at .*l.db and is now at .*copy.db") as caught:
        add(ledger)
    assert "adopt" in caught.value.hint
    ledger.close()
    path.unlink()
    with pytest.raises(LedgerNotFound, match="would forget what was spent"):
        Ledger(path, keys=keys)


def test_a_moved_ledger_can_be_read_and_not_written(path: Path, keys: Path) -> None:
    moved = path.with_name("moved.db")
    before = state_of(path, keys)
    path.rename(moved)
    path.with_name("l.content.db").rename(path.with_name("moved.content.db"))
    ledger = Ledger(moved, keys=keys)
    assert len(ledger.rows("s")) == 3
    with pytest.raises(StateMismatch, match="is now at"):
        add(ledger)
    ledger.close()
    assert state_of(moved, keys) == before


def test_another_ledger_of_the_same_keys_in_this_place_is_refused(path: Path, tmp_path: Path, keys: Path) -> None:
    open_and_add(tmp_path / "other.db", keys)
    shutil.copy(tmp_path / "other.db", path)
    with pytest.raises(LedgerError, match="should be ledger safeloop.local/.* and is safeloop.local/"):
        Ledger(path, keys=keys)


def test_a_link_and_the_long_way_round_lead_to_the_same_ledger(path: Path, keys: Path, tmp_path: Path) -> None:
    (tmp_path / "link.db").symlink_to(path)
    (tmp_path / "folder").symlink_to(path.parent)
    for way in (tmp_path / "link.db", tmp_path / "folder" / "l.db", path.parent / ".." / "work" / "l.db"):
        open_and_add(way, keys)
    before = Path.cwd()
    os.chdir(path.parent)
    try:
        open_and_add(Path("l.db"), keys)
    finally:
        os.chdir(before)
    assert len(verified_rows(path, keys)) == 7
    (tmp_path / "new.db").symlink_to(tmp_path / "target.db")
    open_and_add(tmp_path / "new.db", keys)
    assert (tmp_path / "target.db").is_file()
    assert len(verified_rows(tmp_path / "target.db", keys)) == 1


def test_a_loop_of_links_is_an_error_and_no_hang(tmp_path: Path, keys: Path) -> None:
    (tmp_path / "a").symlink_to(tmp_path / "b")
    (tmp_path / "b").symlink_to(tmp_path / "a")
    with pytest.raises(LedgerError):
        Ledger(tmp_path / "a", keys=keys)


@pytest.mark.parametrize("name", [b"\xff\xfe.db", "données ✓.db".encode(), b"a b?c#d%20&mode=memory.db", b"-.db", b"x\ny.db"])
def test_a_name_that_is_no_text_or_looks_like_a_url_is_a_name(tmp_path: Path, keys: Path, name: bytes) -> None:
    path = Path(os.fsdecode(os.fsencode(tmp_path) + b"/" + name))
    open_and_add(path, keys)
    open_and_add(path, keys)
    assert name in os.listdir(os.fsencode(tmp_path))
    assert len(verified_rows(path, keys)) == 2
    path.unlink()
    with pytest.raises(LedgerNotFound, match="is gone or empty"):
        Ledger(path, keys=keys)


# Keys and states


def test_keys_of_another_folder_are_refused_and_made_to_no_use(path: Path, tmp_path: Path) -> None:
    with pytest.raises(KeyUnusable, match="has no keys for it") as caught:
        Ledger(path, keys=tmp_path / "none")
    assert "SAFELOOP_KEYS" in caught.value.hint
    assert not (tmp_path / "none").exists()
    Ledger(tmp_path / "other.db", keys=tmp_path / "other").close()
    with pytest.raises(KeyUnusable, match="was not signed by the log key of this key folder") as caught:
        Ledger(path, keys=tmp_path / "other")
    assert "SAFELOOP_KEYS" in caught.value.hint


@pytest.mark.parametrize("role", ["writer", "log"])
def test_a_lost_key_is_never_made_anew_for_a_ledger_that_is_there(path: Path, keys: Path, role: str) -> None:
    (keys / f"{role}.pem").unlink()
    with pytest.raises(KeyUnusable, match="has no keys for it"):
        Ledger(path, keys=keys)
    assert not (keys / f"{role}.pem").exists()


def test_a_key_that_others_can_read_stops_the_ledger(path: Path, keys: Path) -> None:
    (keys / "log.pem").chmod(0o644)
    with pytest.raises(KeyUnusable, match="can be read by others"):
        Ledger(path, keys=keys)


def test_a_removed_state_beside_a_ledger_is_refused_and_not_made_again(path: Path, keys: Path) -> None:
    origin = Ledger(path, keys=keys).origin
    state_path(keys, origin).unlink()
    with pytest.raises(StateMismatch, match="another machine, other keys, or it was removed"):
        Ledger(path, keys=keys)
    assert not state_path(keys, origin).exists()


def test_a_damaged_state_lets_nobody_write(path: Path, keys: Path) -> None:
    origin = Ledger(path, keys=keys).origin
    state_path(keys, origin).write_bytes(b"\0" * 32_768)
    ledger = Ledger(path, keys=keys)
    assert len(ledger.rows("s")) == 3
    with pytest.raises(StateMismatch, match="neither slot is whole"):
        add(ledger)
    ledger.close()
    assert state_path(keys, origin).read_bytes() == b"\0" * 32_768


def test_one_torn_slot_lets_everybody_write(path: Path, keys: Path) -> None:
    origin = Ledger(path, keys=keys).origin
    data = bytearray(state_path(keys, origin).read_bytes())
    newest = 0 if b'"size":3' in data[:16_384] else 16_384
    data[newest + 5] ^= 1
    state_path(keys, origin).write_bytes(data)
    open_and_add(path, keys)
    assert len(verified_rows(path, keys)) == 4
    assert state_of(path, keys).size == 4


def test_a_damaged_memory_is_an_error_and_never_forgetting(path: Path, keys: Path) -> None:
    (keys / "known_ledgers").write_text("not json\n")
    for place in (path, path.with_name("new.db")):
        with pytest.raises(KeyUnusable, match="known_ledgers is damaged"):
            Ledger(place, keys=keys)
    assert not path.with_name("new.db").exists()


def test_a_lost_memory_is_mended_from_state_and_ledger_together(path: Path, keys: Path) -> None:
    (keys / "known_ledgers").unlink()
    open_and_add(path, keys)
    assert KnownLedgers(keys).at(path) is not None
    path.unlink()
    with pytest.raises(LedgerNotFound, match="would forget"):
        Ledger(path, keys=keys)


# Older, shorter, forked


def test_an_older_file_is_refused_and_the_state_stays(path: Path, keys: Path) -> None:
    shutil.copy(path, path.with_name("old"))
    open_and_add(path, keys)
    before = state_of(path, keys)
    shutil.copy(path.with_name("old"), path)
    with pytest.raises(StateMismatch, match="has 3 rows, but 4 were signed: an older file, or its end is cut off") as caught:
        open_and_add(path, keys)
    assert "restore the newest file" in caught.value.hint
    assert state_of(path, keys) == before


def test_a_history_that_was_forked_under_the_same_keys_is_refused(path: Path, keys: Path) -> None:
    origin = Ledger(path, keys=keys).origin
    state = state_path(keys, origin)
    shutil.copy(path, path.with_name("old"))
    shutil.copy(state, path.with_name("old state"))
    open_and_add(path, keys)
    forked = path.with_name("forked")
    shutil.copy(path, forked)
    shutil.copy(path.with_name("old"), path)
    shutil.copy(path.with_name("old state"), state)
    ledger = Ledger(path, keys=keys)
    add(ledger, 2)
    ledger.close()
    before = state_of(path, keys)
    shutil.copy(forked, path)
    with pytest.raises(StateMismatch, match="has 4 rows, but 5 were signed"):
        open_and_add(path, keys)
    shutil.copy(path.with_name("old state"), state)
    open_and_add(path, keys)
    shutil.copyfile(forked, path)
    ledger = Ledger(path, keys=keys)
    with pytest.raises(StateMismatch, match="5 were signed"):
        add(ledger)
    ledger.close()
    assert state_of(path, keys).size == before.size


def test_two_histories_of_one_length_are_told_apart_by_their_roots(path: Path, keys: Path) -> None:
    origin = Ledger(path, keys=keys).origin
    state = state_path(keys, origin)
    shutil.copy(path, path.with_name("old"))
    shutil.copy(state, path.with_name("old state"))
    open_and_add(path, keys)
    shutil.copy(path, path.with_name("forked"))
    shutil.copy(path.with_name("old"), path)
    shutil.copy(path.with_name("old state"), state)
    ledger = Ledger(path, keys=keys)
    add(ledger, 1, "other")
    ledger.close()
    before = state_of(path, keys)
    shutil.copy(path.with_name("forked"), path)
    with pytest.raises(StateMismatch, match="is not the history that was signed: its first 4 rows have another root"):
        open_and_add(path, keys)
    assert state_of(path, keys) == before


def cut_tail(path: Path, rows: int) -> None:
    """Cut rows off the end as a clever attacker would, triggers and all, but without the log key."""
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("DROP TRIGGER row_delete")
    connection.execute("DELETE FROM row WHERE idx >= ?", (rows,))
    for statement in schema.STATEMENTS:
        if "row_delete" in statement:
            connection.execute(statement)
    connection.close()


def test_a_tail_that_was_cut_is_refused(path: Path, keys: Path) -> None:
    cut_tail(path, 2)
    with pytest.raises(LedgerError, match="the schema is not the format's|do not agree"):
        open_and_add(path, keys)


def test_a_row_cut_from_the_tail_with_the_schema_put_back_is_seen_at_the_first_write(path: Path, keys: Path) -> None:
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA writable_schema = ON")
    sql = connection.execute("SELECT sql FROM sqlite_master WHERE name = 'row_delete'").fetchone()[0]
    disarmed = sql.replace("BEFORE DELETE ON row", "BEFORE DELETE ON row WHEN 0")
    connection.execute("UPDATE sqlite_master SET sql = ? WHERE name = 'row_delete'", (disarmed,))
    connection.close()
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("DELETE FROM row WHERE idx = 2")
    connection.execute("PRAGMA writable_schema = ON")
    connection.execute("UPDATE sqlite_master SET sql = ? WHERE name = 'row_delete'", (sql,))
    connection.close()
    ledger = Ledger(path, keys=keys)
    with pytest.raises(LedgerError, match="rows, tree and head do not agree") as caught:
        add(ledger)
    assert "safeloop audit" in caught.value.hint
    ledger.close()


@pytest.mark.parametrize(
    "statement",
    [
        "CREATE TRIGGER more AFTER INSERT ON row BEGIN DELETE FROM node; END",
        "CREATE VIEW more AS SELECT 1",
        "CREATE TABLE more (a)",
        "DROP TRIGGER row_update",
        "DROP VIEW ledger",
        "ALTER TABLE row ADD COLUMN more TEXT",
        "ANALYZE",
    ],
)
def test_a_changed_schema_is_refused_before_a_trigger_can_run(path: Path, keys: Path, statement: str) -> None:
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute(statement)
    connection.close()
    with pytest.raises(LedgerError, match="the schema is not the format's") as caught:
        Ledger(path, keys=keys)
    assert "safeloop audit" in caught.value.hint


@pytest.mark.parametrize(
    ("statement", "reason"),
    [
        ("UPDATE head SET note = 'nonsense'", "has no usable head: not a signed note"),
        ("UPDATE head SET note = ''", "has no usable head"),
        ("UPDATE head SET note = replace(note, '3', '4')", "was not signed by the log key|no usable head"),
    ],
)
def test_a_head_that_is_nonsense_or_forged_is_refused(path: Path, keys: Path, statement: str, reason: str) -> None:
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute(statement)
    connection.close()
    with pytest.raises(LedgerError, match=reason):
        Ledger(path, keys=keys)


def test_without_any_head_there_is_nothing_to_believe(path: Path, keys: Path) -> None:
    opened = site.open_site(path, KeyFolder(keys), create=False)
    with pytest.raises(LedgerError, match="has no head"):
        site.read_head(None, opened)


def test_a_state_says_where_shorter_and_otherwise_in_that_order(path: Path, keys: Path) -> None:
    opened = site.open_site(path, KeyFolder(keys), create=False)
    head = site.Checkpoint(opened.origin, 3, b"r" * 32)

    def node(level: int, index: int) -> bytes:
        return b"n" * 32

    for state, reason in (
        (State(path.with_name("x.db"), 99, b"s" * 32), "was at"),
        (State(path, 99, b"s" * 32), "but 99 were signed"),
        (State(path, 3, b"s" * 32), "another root"),
    ):
        with pytest.raises(StateMismatch, match=reason):
            site.check_state(state, opened, head, node)


def test_a_site_in_memory_is_signed_and_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SAFELOOP_KEYS", str(tmp_path / "keys"))
    found = site.memory_site()
    note = found.sign_head(0, b"r" * 32)
    assert site.read_head(note, found).size == 0
    assert found.origin != site.memory_site().origin
    assert list(tmp_path.iterdir()) == []
