"""Attacks on the file around the rows: schema, indexes, stored hashes, pages, encoding; and on content."""

from __future__ import annotations

from functools import partial
from typing import Any

from safeloop.errors import LedgerError
from safeloop.ledger.content import JSON, Content, manifest
from tests.attacks.attack import add, meets
from tests.attacks.scene import NO_PREV, ROWS, Hand, Keys
from tests.review.attacks import raw, rewrite_schema, set_signature, unguarded

# Views and the rest of the schema, through `writable_schema`.


def rewritten(name: str, old: str, new: str, hand: Hand) -> None:
    rewrite_schema(hand.path, name, lambda text: text.replace(old, new, 1))


for name, old, new in (
    ("ledger", "breach_reason", "NULL AS breach_reason"), ("spec", "kind = 'spec'", "kind = 'spec' AND id > 1"),
    ("attestations", "'attestation'", "'turn'"), ("row_insert", "WHEN ", "WHEN 0 AND "),
    ("row_update", "ON row ", "ON row WHEN 0 "), ("row_delete", "ON row ", "ON row WHEN 0 "),
    ("node_update", "ON node ", "ON node WHEN 0 "), ("node_delete", "ON node ", "ON node WHEN 0 "),
    ("head_delete", "ON head ", "ON head WHEN 0 "), ("row", "'$.data.pass_fail'", "'$.data.pass_fai1'"),
    ("row_kind", "(kind)", "(kind) WHERE idx <> 3"), ("row_session", "CREATE ", "CREATE UNIQUE "),
    ("node", "CHECK (length(hash) = 32)", ""), ("hour", "sessions INTEGER NOT NULL", "sessions INTEGER"),
    ("held", "attempt INTEGER", "attempt ANY"), ("row_parent", " WHERE parent IS NOT NULL", ""),
):
    add(f"the schema rewritten: {name}", partial(rewritten, name, old, new), "schema", words=f"CREATE [A-Z ]+ {name}")


def altered(statement: str, hand: Hand) -> None:
    with raw(hand.path) as sql:
        sql.execute(statement)


for statement, words in (
    ("DROP TRIGGER row_delete", "lacks CREATE TRIGGER row_delete"), ("DROP VIEW ledger", "lacks CREATE VIEW ledger"),
    ("DROP TABLE hour", "lacks CREATE TABLE hour"), ("DROP TABLE held", "lacks CREATE TABLE held"),
    ("DROP INDEX row_parent", "lacks CREATE INDEX row_parent"),
    ("CREATE TRIGGER cheap AFTER INSERT ON row BEGIN UPDATE hour SET tokens = 0; END", "has CREATE TRIGGER cheap"),
    ("CREATE TABLE more (a)", "has CREATE TABLE more"), ("ANALYZE", "has CREATE TABLE sqlite_stat1"),
    ("CREATE TRIGGER quiet AFTER INSERT ON row BEGIN DELETE FROM node; END", "has CREATE TRIGGER quiet"),
):
    add(f"the schema altered: {statement}", partial(altered, statement), "schema", words=words)


@meets("schema", words="in another order")
def a_trigger_is_dropped_and_made_again(hand: Hand) -> None:
    with raw(hand.path) as sql:
        text = sql.execute("SELECT sql FROM sqlite_master WHERE name = 'row_update'").fetchone()[0]
        sql.executescript(f"DROP TRIGGER row_update; {text};")


def endless(table: str, hand: Hand) -> None:
    """Put a view without end in place of a table."""
    rows = "WITH RECURSIVE n (i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n) SELECT i AS idx"
    columns = {
        "row": "'' AS body, x'' AS sig", "node": "0 AS level, x'' AS hash", "head": "0 AS id, '' AS note",
        "hour": "'' AS hour, 0 AS tokens, 0 AS microusd, 0 AS sessions",
        "held": "'' AS session, i AS n, 0 AS attempt, '' AS hour, 0 AS tokens, 0 AS microusd",
    }
    with raw(hand.path) as sql:
        for kind, name in sql.execute("SELECT type, name FROM sqlite_master WHERE type IN ('view', 'trigger')").fetchall():
            sql.execute(f"DROP {kind} {name}")
        sql.execute(f"DROP TABLE {table}")
        sql.execute(f"CREATE VIEW {table} AS {rows}, {columns[table]} FROM n")


for table in ("row", "node", "head", "hour", "held"):
    add(f"a view in place of the table {table}", partial(endless, table), "schema")


# Indexes and stored hashes.


@meets("derived", "derived:4", words="index row_kind does not lead to 1 row, the first of them row 4")
def an_index_hides_a_row(hand: Hand) -> None:
    rewrite_schema(hand.path, "row_kind", lambda text: text + " WHERE idx <> 3")
    with raw(hand.path) as sql:
        sql.execute("REINDEX row_kind")
    rewrite_schema(hand.path, "row_kind", lambda text: text.removesuffix(" WHERE idx <> 3"))


@meets("derived", "derived", f"missing:{ROWS}")
def a_row_is_deleted_and_the_indexes_still_list_it(hand: Hand) -> None:
    with unguarded(hand.path, indexes=False) as sql:
        sql.execute(f"DELETE FROM row WHERE idx = {ROWS - 1}")


def hashes(statement: str, hand: Hand) -> None:
    with unguarded(hand.path) as sql:
        sql.execute(statement)


for statement, expected in {
    "UPDATE node SET hash = zeroblob(32) WHERE level = 0 AND idx = 4": ("derived:5",),
    "UPDATE node SET hash = zeroblob(32) WHERE level = 3 AND idx = 1": ("derived:9",),
    "UPDATE node SET hash = zeroblob(31) WHERE level = 1 AND idx = 1": ("derived:3",),
    "DELETE FROM node WHERE level = 2 AND idx = 1": ("derived:5",),
    "INSERT INTO node (level, idx, hash) VALUES (60, 0, zeroblob(32))": ("derived",),
    "DELETE FROM node": ("derived:1",) * 5,
}.items():
    add(f"stored hashes: {statement}", partial(hashes, statement), *expected)


# The file as a whole.


@meets(refused=LedgerError, words="UTF-16")
def the_database_is_made_again_in_utf_16(hand: Hand) -> None:
    with raw(hand.path) as sql:
        tables = sql.execute("SELECT sql FROM sqlite_master WHERE type = 'table' ORDER BY rowid").fetchall()
        marks = [sql.execute(f"PRAGMA {name}").fetchone()[0] for name in ("application_id", "user_version")]
        note = sql.execute("SELECT note FROM head").fetchone()
    hand.path.unlink()
    with raw(hand.path) as sql:
        sql.execute("PRAGMA encoding = 'UTF-16le'")
        for (text,) in tables:
            sql.execute(text)
        sql.executemany("INSERT INTO row (idx, body, sig) VALUES (?, ?, ?)",
                        [(idx, body.decode(), signature) for idx, (body, signature) in enumerate(hand.rows)])
        sql.execute("INSERT INTO head (id, note) VALUES (0, ?)", note)
        sql.execute(f"PRAGMA application_id = {marks[0]}")
        sql.execute(f"PRAGMA user_version = {marks[1]}")


for pragma, words in (("application_id = 7", "is a ledger of the tutorial"), ("user_version = 2", "format version 2")):
    add(f"the file's marks changed: {pragma}", partial(altered, f"PRAGMA {pragma}"), refused=LedgerError, words=words)


@meets(refused=LedgerError, words="is empty, not a ledger")
def the_file_is_emptied(hand: Hand) -> None:
    hand.path.write_bytes(b"")


# Content.


def of(hand: Hand, number: int, key: str) -> bytes:
    return bytes.fromhex(hand.body(number)["data"][key]["salted_sha256"])


@meets("content:4", words="is not what the row committed to")
def a_reply_is_changed(hand: Hand) -> None:
    with raw(hand.contents) as sql:
        sql.execute("UPDATE content SET bytes = x'41' WHERE salted_sha256 = ?", (of(hand, 4, "response"),))


@meets("content:2", words="is not what the row committed to")
def a_salt_is_changed(hand: Hand) -> None:
    with raw(hand.contents) as sql:
        sql.execute("UPDATE content SET salt = zeroblob(32) WHERE salted_sha256 = ?", (of(hand, 2, "task"),))


@meets("content:6", words="missing, and no row says that it was erased")
def the_result_of_a_tool_is_removed(hand: Hand) -> None:
    with raw(hand.contents) as sql:
        sql.execute("DELETE FROM content WHERE salted_sha256 = ?", (of(hand, 6, "result"),))


@meets("content:13", words="missing, and no row says that it was erased")
def the_frame_that_was_signed_is_removed(hand: Hand) -> None:
    with raw(hand.contents) as sql:
        sql.execute("DELETE FROM content WHERE salted_sha256 = ?", (of(hand, 13, "frame_text"),))


@meets("content:12", words="is not what the row committed to")
def a_released_file_is_changed(hand: Hand) -> None:
    with raw(hand.contents) as sql:
        found = sql.execute("UPDATE content SET bytes = CAST(bytes || x'0a' AS BLOB) WHERE bytes = ?", (b"# Title\nnothing is wrong\n",))
        assert found.rowcount == 1


@meets("content:2", words="there is no content database beside")
def all_content_is_removed(hand: Hand) -> None:
    hand.contents.unlink()


@meets("content:2", words="content cannot be read from here on")
def a_view_takes_the_place_of_the_content(hand: Hand) -> None:
    with raw(hand.contents) as sql:
        sql.execute("ALTER TABLE content RENAME TO kept")
        sql.execute("CREATE VIEW content AS SELECT * FROM kept")


@meets("signature:11", "content:12")
def a_row_is_spoilt_so_that_its_content_may_go(hand: Hand) -> None:
    """A damaged neighbour is asked for nothing, and excuses nothing."""
    with raw(hand.contents) as sql:
        sql.execute("DELETE FROM content WHERE salted_sha256 = ?", (of(hand, 12, "output"),))
    set_signature(hand.path, 10, bytes(64))


@meets("content:6", "writer:20", keys=Keys.LOG, words="missing, and no row says that it was erased")
def content_is_removed_and_excused_by_a_row_that_no_writer_signed(hand: Hand) -> None:
    stranger = hand.stranger
    listing = keep(hand, manifest([hand.body(6)["data"]["result"]]))
    data = {"contents": listing, "count": 1, "reason": "asked for"}
    body = hand.body(ROWS) | {"session": "ledger", "n": 0, "prev": NO_PREV, "kind": "erase", "data": data}
    hand.rows.append(hand.seal(body | {"writer": stranger.key_id}, stranger))
    hand.write()
    forget(hand, 6, "result")


@meets(keys=Keys.BOTH, gaps=("erased:20",), words="row 20 erased 1 content, the first of row 6")
def content_is_removed_and_a_signed_row_says_so(hand: Hand) -> None:
    """The record stands; that it was complete can no longer be shown, and the audit says so."""
    listing = keep(hand, manifest([hand.body(6)["data"]["result"]]))
    data = {"contents": listing, "count": 1, "reason": "asked for"}
    hand.rows.append(hand.appended(session="ledger", n=0, prev=NO_PREV, kind="erase", data=data))
    hand.write()
    forget(hand, 6, "result")


# Manifests: signed by the operator, so that nothing but their form can find them.


def listed(data: bytes, hand: Hand) -> None:
    """Have the request of beta's turn list its messages in these bytes."""
    hand.rewrite(17, data=hand.body(17)["data"] | {"request": keep(hand, data)})
    hand.write()


for why, data in {
    "a key is there twice": b'[{"a":1,"a":2}]', "brackets without end": b"[" * 90_000, "no list": b"{}", "no objects": b"[1]",
    "spaces": b"[ ]", "no JSON": b"\xff",
}.items():
    add(f"a manifest outside the format: {why}", partial(listed, data), "manifest:17", keys=Keys.BOTH, words="its list of request")


@meets("manifest:19", keys=Keys.BOTH, words="its list of files: it has 0 entries, and the row says 1")
def a_row_counts_more_files_than_its_manifest_lists(hand: Hand) -> None:
    hand.rewrite(19, data=hand.body(19)["data"] | {"file_count": 1})
    hand.write()


def made(hand: Hand, *entries: dict[str, Any]) -> None:
    """Have beta's close row say that these files were made."""
    listing = keep(hand, manifest(list(entries)))
    hand.rewrite(19, data=hand.body(19)["data"] | {"files": listing, "file_count": len(entries)})
    hand.write()


@meets("manifest:19", keys=Keys.BOTH, words="its names are not each there once and in the order of their bytes")
def a_file_is_listed_twice_so_that_two_readers_see_two(hand: Hand) -> None:
    one, other = (keep(hand, data) for data in (b"shown", b"released"))
    made(hand, *({"after": each, "before": None, "name": "report.md"} for each in (one, other)))


@meets("manifest:19", keys=Keys.BOTH, words="entry 1 is not a file's: after, before and name")
def a_file_is_listed_without_its_name(hand: Hand) -> None:
    made(hand, {"after": keep(hand, b"nameless"), "before": None})


@meets("content:16", keys=Keys.BOTH, words="row 16: its input_hash is not the SHA-256 of its task")
def another_task_is_claimed_than_was_given(hand: Hand) -> None:
    hand.rewrite(16, data=hand.body(16)["data"] | {"input_hash": "0" * 64})
    hand.write()


@meets("content:20", keys=Keys.BOTH, words="row 20: its frame is not the SHA-256 of its frame_text")
def another_frame_is_kept_than_was_signed(hand: Hand) -> None:
    attestation = hand.body(13)["data"] | {"frame_text": keep(hand, b"safeloop frame v1\nall was well\n")}
    hand.rows.append(hand.seal(hand.body(13) | {"n": 14, "prev": hand.leaf(14), "data": attestation}))
    hand.write()


def keep(hand: Hand, data: bytes) -> dict[str, Any]:
    """Put content beside the ledger, and return its commitment."""
    content = Content(data, JSON, bytes(32))
    with raw(hand.contents) as sql:
        sql.execute("INSERT INTO content (salted_sha256, salt, bytes, type) VALUES (?, ?, ?, ?)",
                    (content.digest, content.salt, content.data, content.type))
    return content.commitment


def forget(hand: Hand, number: int, key: str) -> None:
    """Take away the content of a row."""
    with raw(hand.contents) as sql:
        sql.execute("DELETE FROM content WHERE salted_sha256 = ?", (of(hand, number, key),))
