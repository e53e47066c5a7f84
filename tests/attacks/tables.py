"""Attacks on what the file derives from rows to reserve by: charges of hours, intents that are held, children by parent.

No key is needed for them, and the rows stand: what goes wrong is what a breaker would decide by these tables.
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from tests.attacks.attack import add, meets
from tests.attacks.pen import Liar, gamma, publish
from tests.attacks.scene import ALPHA, BETA, Hand, Keys
from tests.review.attacks import overwrite_root, raw, rewrite_schema

HOUR = "(SELECT max(hour) FROM hour)"

# Hours. All that the scene's sessions were charged may lie in one hour or in two.


def changed(statement: str, hand: Hand) -> None:
    with raw(hand.path) as sql:
        assert sql.execute(statement).rowcount > 0


for name, statement, words in (
    ("tokens are lowered", "UPDATE hour SET tokens = tokens - 1", r"tokens, and its rows add up to"),
    ("tokens are raised", "UPDATE hour SET tokens = tokens + 1", r"tokens, and its rows add up to"),
    ("tokens are negative", "UPDATE hour SET tokens = -1000000", r"-1,000,000 tokens, and its rows add up to"),
    ("microusd are lowered", "UPDATE hour SET microusd = microusd - 1", r"-1 microusd, and its rows add up to 0"),
    ("sessions are lowered", f"UPDATE hour SET sessions = 0 WHERE hour = {HOUR}", r"0 sessions, and its rows add up to \d"),
    ("an hour is deleted", f"DELETE FROM hour WHERE hour = {HOUR}", "table hour misstates .*: it is not listed"),
    ("every hour is deleted", "DELETE FROM hour", "it is not listed"),
    ("an hour is put before all", "INSERT INTO hour VALUES ('1999-12-31T23', -900000, 0, 0)",
     "table hour lists 1 hour of which no row tells"),
    ("an hour is put after all", "INSERT INTO hour VALUES ('9999-12-31T23', 0, 0, 0)",
     "table hour lists 1 hour of which no row tells"),
    ("an hour has another name", f"UPDATE hour SET hour = '1999-12-31T23' WHERE hour = {HOUR}", "it is not listed"),
):
    add(f"charged hours: {name}", partial(changed, statement), "derived", words=words)


@contextlib.contextmanager
def lax(path: Path, table: str) -> Iterator[sqlite3.Connection]:
    """Open a file whose table takes values of any type, or none; the schema is put back as it was."""
    with raw(path) as sql:
        text = sql.execute("SELECT sql FROM sqlite_master WHERE name = ?", (table,)).fetchone()[0]
    free = text.replace(" STRICT,", "").replace(" INTEGER", "").replace(" TEXT", "").replace(" NOT NULL", "")
    rewrite_schema(path, table, lambda _: free)
    with raw(path) as sql:
        yield sql
    rewrite_schema(path, table, lambda _: text)


def mistyped(table: str, statement: str, hand: Hand) -> None:
    with lax(hand.path, table) as sql:
        assert sql.execute(statement).rowcount > 0


for name, statement, words in (
    ("text", "UPDATE hour SET tokens = 'none'", "tokens that are no integer, and its rows add up to"),
    ("digits", "UPDATE hour SET tokens = CAST(tokens AS TEXT)", "tokens that are no integer"),
    ("bytes", "UPDATE hour SET tokens = x'00'", "tokens that are no integer"),
    ("a real that is equal", "UPDATE hour SET tokens = CAST(tokens AS REAL)", "tokens that are no integer"),
    ("infinity", "UPDATE hour SET microusd = -9e999", "microusd that are no integer"),
    ("nothing", "UPDATE hour SET sessions = NULL", "sessions that are no integer"),
    ("an hour of bytes", "UPDATE hour SET hour = CAST(hour AS BLOB)", "it is not listed"),
    ("an hour that is no UTF-8", "INSERT INTO hour VALUES (CAST(x'ff' AS TEXT), -5, 0, 0)", "1 hour of which no row tells"),
):
    add(f"charged hours of another type: {name}", partial(mistyped, "hour", statement), "derived", words=words)


@meets("derived", words="what was charged cannot be read")
def the_page_of_the_hours_is_overwritten(hand: Hand) -> None:
    overwrite_root(hand.path, "hour")


# Intents that are held: gamma's first one is open, its second was settled, its third is in doubt.


def holding(hand: Hand) -> None:
    loop = gamma(hand).begin().ask(5_000)
    loop.step(100, 6_000).ask(7_000).fail(7_000, in_doubt=True)
    publish(loop)


def held(statement: str, hand: Hand) -> None:
    holding(hand)
    changed(statement, hand)


def held_mistyped(statement: str, hand: Hand) -> None:
    holding(hand)
    mistyped("held", statement, hand)


ONE = "table held misstates 1 intent, the first at n"
for name, statement, words in (
    ("a reservation is removed", "DELETE FROM held WHERE n = 2", f"{ONE} 2"),
    ("a doubt is removed", "DELETE FROM held WHERE n = 5", f"{ONE} 5"),
    ("all are removed", "DELETE FROM held", "table held misstates 2 intents, the first at n 2"),
    ("a reservation is lowered", "UPDATE held SET tokens = 1 WHERE n = 2", f"{ONE} 2"),
    ("a reservation is negative", "UPDATE held SET tokens = -5000 WHERE n = 2", f"{ONE} 2"),
    ("a doubt is lowered", "UPDATE held SET microusd = -1 WHERE n = 5", f"{ONE} 5"),
    ("a reservation becomes a doubt", "UPDATE held SET attempt = 7 WHERE n = 2", f"{ONE} 2"),
    ("a doubt becomes a reservation", "UPDATE held SET attempt = NULL WHERE n = 5", f"{ONE} 5"),
    ("a reservation moves to another hour", "UPDATE held SET hour = '1999-12-31T23' WHERE n = 2", f"{ONE} 2"),
    ("a reservation moves to another session", f"UPDATE held SET session = '{BETA}' WHERE n = 2",
     "table held misstates 2 intents"),
    ("what was settled is held again",
     "INSERT INTO held SELECT session, 3, NULL, hour, 6000, 0 FROM held WHERE n = 2", f"{ONE} 3"),
    ("what was settled is a doubt again",
     f"INSERT INTO held SELECT '{ALPHA}', 2, 3, hour, -900, 0 FROM held WHERE n = 2", f"{ONE} 2"),
    ("an intent that never was is held", f"INSERT INTO held VALUES ('nobody', 0, NULL, {HOUR}, -9, 0)", f"{ONE} 0"),
):
    add(f"held intents: {name}", partial(held, statement), "derived", keys=Keys.BOTH, words=words)

for name, statement, words in (
    ("text", "UPDATE held SET tokens = 'none' WHERE n = 2", f"{ONE} 2"),
    ("a real that is equal", "UPDATE held SET tokens = CAST(tokens AS REAL) WHERE n = 2", f"{ONE} 2"),
    ("a place that is real", "UPDATE held SET n = 2.0 WHERE n = 2", f"{ONE} 2"),
    ("a place that is bytes", "INSERT INTO held VALUES ('gamma', x'00', NULL, '', 0, 0)", rf"{ONE} b'.*00'"),
    ("a session that is bytes", "UPDATE held SET session = CAST(session AS BLOB) WHERE n = 2", "2 intents"),
    ("a price that is text", "UPDATE held SET microusd = 'none' WHERE n = 5", f"{ONE} 5"),
    ("a session that is no UTF-8", "UPDATE held SET session = CAST(x'ff' AS TEXT) WHERE n = 2", "cannot be read"),
):
    add(f"held intents of another type: {name}", partial(held_mistyped, statement), "derived", keys=Keys.BOTH, words=words)


@meets("derived", "derived", words="table held misstates 1 intent", keys=Keys.BOTH)
def a_reservation_is_taken_out_of_its_hour_too(hand: Hand) -> None:
    """So that the two tables agree with each other."""
    holding(hand)
    changed("UPDATE hour SET tokens = tokens - 5000 WHERE hour = (SELECT hour FROM held WHERE n = 2)", hand)
    changed("DELETE FROM held WHERE n = 2", hand)


# Children by their parent.


def indexed(index: str, hand: Hand) -> None:
    """Make the entries of `row_parent` by another rule, beside a child of gamma; the schema is put back as it was."""
    parent = gamma(hand).begin()
    publish(Liar(parent.book, "child").begin(parent="gamma"))  # type: ignore[arg-type]  # the pen of both
    with raw(hand.path) as sql:
        text = sql.execute("SELECT sql FROM sqlite_master WHERE name = 'row_parent'").fetchone()[0]
    rewrite_schema(hand.path, "row_parent", lambda _: index)
    with raw(hand.path) as sql:
        sql.execute("REINDEX row_parent")
    rewrite_schema(hand.path, "row_parent", lambda _: text)


BY_PARENT = "CREATE INDEX row_parent ON row"
add("children by parent: one is hidden", partial(indexed, f"{BY_PARENT} (parent) WHERE parent IS NOT NULL AND idx <> 22"),
    "derived", "derived:23", keys=Keys.BOTH, words="index row_parent does not lead to 1 row, the first of them row 23")
add("children by parent: one is another's", partial(indexed, f"{BY_PARENT} (parent || 'x') WHERE parent IS NOT NULL"),
    "derived:23", keys=Keys.BOTH, words="index row_parent does not lead to 1 row, the first of them row 23")
add("children by parent: one more is listed",
    partial(indexed, f"{BY_PARENT} (CASE WHEN idx = 15 THEN 'gamma' ELSE parent END) WHERE parent IS NOT NULL OR idx = 15"),
    "derived", keys=Keys.BOTH, words="index row_parent does not list as many rows as there are")


# A file of an earlier day.


@meets("schema", words="lacks CREATE TABLE hour .*; lacks CREATE TABLE held .*; lacks CREATE INDEX row_parent")
def the_file_is_made_again_as_it_was_before_charges_were_kept(hand: Hand) -> None:
    """Nothing is filled in, and the rows stand."""
    make_again(hand.path, earlier(hand.path))


def earlier(path: Path) -> list[str]:
    """Return the schema that files had before there were `hour`, `held` and `row_parent`."""
    with raw(path) as sql:
        texts = [text for (text,) in sql.execute("SELECT sql FROM sqlite_master WHERE sql IS NOT NULL ORDER BY rowid")]
    kept = [text for text in texts if text.split("(")[0].split()[2] not in ("hour", "held", "row_parent")]
    parent = next(line for line in kept[0].splitlines() if line.startswith("  parent "))
    return [kept[0].replace(f",\n{parent}", ""), *kept[1:]]


def make_again(path: Path, schema: list[str]) -> None:
    """Make a ledger's file anew by these statements, with the rows, hashes, head and marks that it has."""
    aside = path.with_name("aside.db")
    with raw(aside) as sql:
        sql.execute("ATTACH ? AS old", (str(path),))
        for name in ("application_id", "user_version"):
            sql.execute(f"PRAGMA main.{name} = {sql.execute(f'PRAGMA old.{name}').fetchone()[0]}")
        made = [text for text in schema if text.startswith("CREATE TABLE")]
        for text in made:
            sql.execute(text)
        for table, columns in (("row", "idx, body, sig"), ("node", "level, idx, hash"), ("head", "id, note")):
            sql.execute(f"INSERT INTO {table} ({columns}) SELECT {columns} FROM old.{table} ORDER BY 1, 2")
        for text in schema[len(made):]:
            sql.execute(text)
    for side in ("-wal", "-shm"):
        path.with_name(path.name + side).unlink(missing_ok=True)
    aside.replace(path)
