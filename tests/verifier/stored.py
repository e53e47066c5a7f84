"""What is stored: rows, head and nodes, read from SQLite without trusting its schema."""

import contextlib
import sqlite3
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.verifier import page
from tests.verifier.findings import WHOLE, Refused, Report

APPLICATION = 0x534C4C47
INDEXES = (
    ("row_session", ("session_id", "n"), "1"), ("row_kind", ("kind",), "1"),
    ("row_parent", ("parent",), "parent IS NOT NULL"),
)
"""Name, columns, and which rows each must list."""


@dataclass
class Stored:
    """The evidence of one ledger, and what is derived from it.

    Attributes:
        rows: Position, body and signature of each; what is not stored as bytes is empty.
        nodes: Hashes by level and index.
        charges: The lines of `hour` and of `held`, each value followed by its type; neither where the schema is not the
            page's, or they cannot be read.
        has_tables: False if a view is where evidence should be; then nothing is read.
        is_whole: The file could be read to its end.
    """

    rows: list[tuple[int, bytes, bytes]] = field(default_factory=list)
    note: bytes = b""
    nodes: dict[tuple[int, int], bytes] = field(default_factory=dict)
    charges: dict[str, list[tuple[Any, ...]]] = field(default_factory=dict)
    has_tables: bool = True
    is_whole: bool = True


def open_read_only(path: Path) -> sqlite3.Connection:
    db = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, isolation_level=None)
    db.text_factory = bytes
    return db


def is_ours(db: sqlite3.Connection) -> bool:
    marks = [db.execute(f"PRAGMA {name}").fetchone()[0] for name in ("application_id", "user_version", "encoding")]
    return marks == [APPLICATION, 1, b"UTF-8"]


def statements(db: sqlite3.Connection) -> tuple[str, ...]:
    """Return the text of the schema, in its order."""
    texts = db.execute("SELECT sql FROM sqlite_master ORDER BY rowid")
    return tuple((text or b"").decode("utf-8", "replace") for (text,) in texts)


def read(path: Path, report: Report) -> Stored:
    """Read all in one transaction; what cannot be read is **file**.

    Raises:
        Refused: Not a ledger of this version.
    """
    stored = Stored()
    with contextlib.closing(_opened(path)) as db:
        try:
            db.execute("BEGIN")
            is_intact = _has_schema(db, stored, report)
            if stored.has_tables:
                _evidence(db, stored, report)
                nodes = db.execute("SELECT level, idx, hash FROM node")
                stored.nodes = {(level, idx): digest for level, idx, digest in nodes}
            if is_intact:
                _check_indexes(db, report)
                _read_charges(db, stored, report)
        except (sqlite3.Error, OverflowError) as error:
            stored.is_whole = False
            report.fail(stored.rows[-1][0] + 1 if stored.rows else 0, "file", f"cannot be read to its end: {error}")
    return stored


def _opened(path: Path) -> sqlite3.Connection:
    try:
        db = open_read_only(path)
        is_one = is_ours(db)
    except sqlite3.Error as error:
        raise Refused(f"no ledger: {error}") from None
    if not is_one:
        db.close()
        raise Refused("not a ledger of version 1: refused unread")
    return db


def _has_schema(db: sqlite3.Connection, stored: Stored, report: Report) -> bool:
    found = {name: kind for _, name, kind, *_ in db.execute("PRAGMA main.table_list")}
    stored.has_tables = all(found.get(name) == b"table" for name in (b"row", b"node", b"head"))
    if not stored.has_tables or statements(db) != page.schema():
        report.fail(WHOLE, "schema", "the schema is not that of the page")
        return False
    return True


def _evidence(db: sqlite3.Connection, stored: Stored, report: Report) -> None:
    with contextlib.suppress(sqlite3.DatabaseError):  # then there is none that holds
        for (note,) in db.execute("SELECT CAST(note AS BLOB) FROM head"):
            stored.note = bytes(note)
    query = "SELECT idx, CAST(body AS BLOB), sig, typeof(sig) FROM row NOT INDEXED ORDER BY idx"
    for idx, body, sig, kind in db.execute(query):
        if not isinstance(idx, int) or idx < 0:
            report.fail(WHOLE, "tree", f"a row lies at position {idx}")
            continue
        stored.rows.append((idx, body or b"", sig if kind == b"blob" else b""))


def _check_indexes(db: sqlite3.Connection, report: Report) -> None:
    """Look up each row by each index, which is safe once the schema is the page's."""
    for index, columns, listed_where in INDEXES:
        where = " AND ".join((*(f"{name} IS ?" for name in columns), listed_where))
        rows = db.execute(f"SELECT idx, {', '.join(columns)} FROM row NOT INDEXED WHERE {listed_where}").fetchall()
        query = f"SELECT idx FROM row INDEXED BY {index} WHERE {where}"
        hidden = [idx for idx, *values in rows if (idx,) not in db.execute(query, [*map(_text, values)]).fetchall()]
        if hidden:
            report.fail(min(hidden), "derived", f"{index} does not lead to {len(hidden)} rows")
        walk = f"SELECT {columns[0]} FROM row INDEXED BY {index} WHERE {listed_where} ORDER BY {columns[0]}"
        listed = db.execute(f"SELECT count(*) FROM ({walk})")
        if listed.fetchone() != (len(rows),):
            report.fail(WHOLE, "derived", f"{index} does not list as many rows as there are")


def _read_charges(db: sqlite3.Connection, stored: Stored, report: Report) -> None:
    try:
        for table in ("hour", "held"):
            columns = [name.decode() for _, name, *_ in db.execute(f"PRAGMA table_info({table})")]
            pairs = ", ".join(f"{name}, typeof({name})" for name in columns)
            stored.charges[table] = db.execute(f"SELECT {pairs} FROM {table}").fetchall()
    except sqlite3.Error as error:
        stored.charges.clear()
        report.fail(WHOLE, "derived", f"what was charged cannot be read: {error}")


def _text(value: object) -> object:
    return value.decode() if isinstance(value, bytes) else value
