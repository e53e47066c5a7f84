"""A ledger to attack, and the tools of somebody who may write its file: raw SQL, and for some attacks the keys.

Every tool leaves the schema's text exactly as it was, and indexes as SQLite keeps them, so that only the check that
an attack is aimed at can find it.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import shutil
import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from safeloop.errors import EncodingError
from safeloop.ledger import Draft, Ledger, Row, encode, seal
from safeloop.ledger.charges import post
from safeloop.ledger.content import JSON, TEXT, manifest
from safeloop.ledger.keys import KeyFolder, SigningKey
from safeloop.ledger.merkle import Frontier
from safeloop.ledger.note import Checkpoint, Verifier, parse_checkpoint, sign_checkpoint
from safeloop.ledger.reader import LedgerReader
from safeloop.ledger.rows import parse_row
from safeloop.ledger.state import State, read_state, state_path
from safeloop.ledger.store.book import StoredBook
from safeloop.ledger.trust import Trust, load_trust
from safeloop.review.auditing.audit import audit
from safeloop.review.auditing.verdict import AuditReport

Sealed = tuple[bytes, bytes]
OWN = "the state that the key folder holds"
MOMENT = datetime.now(UTC)  # of every row of a governed session: no two of them are of different hours


@dataclass
class Victim:
    """A ledger, its key folder, and what an auditor would do with them."""

    path: Path
    keys: Path

    @property
    def contents(self) -> Path:
        return self.path.with_name(self.path.name.removesuffix(".db") + ".content.db")

    @property
    def origin(self) -> str:
        with LedgerReader(self.path) as reader:
            return reader.origin()

    @property
    def writer(self) -> SigningKey:
        return KeyFolder(self.keys).writer()

    @property
    def log(self) -> SigningKey:
        return KeyFolder(self.keys).log()

    def trust(self) -> Trust:
        return load_trust(self.keys / "self")

    def state(self, origin: str = "") -> State | None:
        return read_state(state_path(self.keys, origin or self.origin))

    def head(self) -> str:
        with LedgerReader(self.path) as reader:
            return reader.head() or ""

    def sealed(self) -> list[Sealed]:
        """Return every row as (body, signature)."""
        with LedgerReader(self.path) as reader:
            return [(body, signature) for _, body, signature in reader.rows()]

    def bodies(self) -> list[dict[str, Any]]:
        return [json.loads(body) for body, _ in self.sealed()]

    def audit(
        self,
        *,
        trust: Trust | None = None,
        state: State | str | None = None,
        checkpoints: Sequence[str] = (),
        session: str | None = None,
        since: str | None = None,
        tree_only: bool = False,
        processes: int = 1,
        is_alone: bool = True,
    ) -> AuditReport:
        """Audit as the command would; the state is compared where it is asked for (`OWN`, or one that was read).

        It is done in blocks of more rows than there are, and in full blocks of two: they must say the same, where
        nobody writes between them.
        """
        if state == OWN:
            state = self.state()
        assert state is None or isinstance(state, State)

        def judged(reader: LedgerReader, rows_per_block: int) -> AuditReport:
            return audit(
                reader, trust or self.trust(), state=state, checkpoints=checkpoints, session=session, since=since,
                tree_only=tree_only, processes=processes, few_rows=0, rows_per_block=rows_per_block,
            )

        with LedgerReader(self.path) as reader:
            report = judged(reader, 0)
            assert not is_alone or judged(reader, 2) == report
            return report

    def append(self, *drafts: Draft) -> tuple[Row, ...]:
        with contextlib.closing(Ledger(self.path, keys=self.keys)) as ledger:
            return ledger.append(lambda view: drafts)

    def copy(self, folder: Path) -> Victim:
        folder.mkdir()
        for file in (self.path, self.contents):
            shutil.copy(file, folder)
        return Victim(folder / self.path.name, self.keys)

    def seal(self, body: Mapping[str, Any] | bytes, writer: SigningKey | None = None) -> Sealed:
        """Sign a body as the writer would, without any check."""
        data = body if isinstance(body, bytes) else encode(dict(body))
        return data, (writer or self.writer).sign(seal.pae(data))


@dataclass
class Session:
    """Ids and numbers of a governed session, for attacks to aim at."""

    id: str
    rows: tuple[Row, ...]

    def row(self, kind: str) -> Row:
        return next(row for row in self.rows if row.kind == kind)


def make(folder: Path) -> tuple[Victim, Session, Session]:
    """Make a ledger of ten rows: two governed sessions of five each, one after the other."""
    victim = Victim(folder / "ledger.db", folder / "keys")
    return victim, governed(victim, "alpha"), governed(victim, "beta", b"another page")


def governed(victim: Victim, name: str, task: bytes = b"find the faults") -> Session:
    """Run a whole session by hand, as a loop would: content for everything, manifests and all."""
    with contextlib.closing(Ledger(victim.path, keys=victim.keys, clock=lambda: MOMENT)) as ledger:
        spec = ledger.append(lambda view: [spec_draft(name)])[0]
        prompt, reply = ledger.content(task, TEXT), ledger.content(b'{"content":[]}', JSON)
        message = ledger.content(b"task: " + task, TEXT)
        request = ledger.content(manifest([{"content": message.commitment, "role": "user"}]), JSON)
        before, after = ledger.content(b"old", TEXT), ledger.content("für alle\n".encode(), TEXT)
        files = ledger.content(
            manifest([{"after": after.commitment, "before": before.commitment, "name": "report.md"}]), JSON
        )
        output = ledger.content(b"done", TEXT)
        ledger.append(lambda view: [
            Draft(name, "open", open_data(spec.leaf, prompt.commitment, task), (prompt,)),
            Draft(name, "intent", intent_data(request.commitment), (message, request)),
        ])
        ledger.append(lambda view: [Draft(name, "turn", turn_data(reply.commitment), (reply,))])
        ledger.append(lambda view: [
            Draft(name, "close", close_data(output.commitment, files.commitment), (before, after, files, output))
        ])
        return Session(name, ledger.rows(name))


def spec_draft(name: str) -> Draft:
    return Draft(name, "spec", {
        "what_it_does": "audit a page", "what_it_does_not": "change it", "done_looks_like": "report.md is there",
        "criteria": [], "ceilings": {"turns": 5}, "tools": {"permissions": ["read"]},
    })


def open_data(spec: str, task: Mapping[str, Any], words: bytes = b"find the faults") -> dict[str, Any]:
    return {
        "spec": spec, "task": dict(task), "input_hash": hashlib.sha256(words).hexdigest(), "model": "scripted",
        "endpoint": "none", "ceilings": {"turns": 5}, "parent": None, "continues": None, "workspace": None,
        "billing_workspace": None, "api_key_id": None, "tools": [], "software": "safeloop 0.1.0",
    }


def intent_data(request: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "turn": 1, "attempt": 1, "model": "scripted", "wanted_max_tokens": 100, "max_tokens": 100,
        "request": dict(request), "bound": "bound", "reserved_tokens": 200, "reserved_microusd": None, "elapsed_ms": 1,
    }


def turn_data(response: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "turn": 1, "attempt": 1, "intent": 2, "state_origin": "llm", "model": "scripted", "input_hash": "0" * 64,
        "response": dict(response), "stop_reason": "end_turn", "token_delta": 50,
        "usage": {"input": 30, "cache_write": 0, "cache_read": 0, "output": 20, "thinking": 0, "searches": 0},
        "cost_microusd": None, "execution_time_ms": 5, "elapsed_ms": 6, "pass_fail": True, "overrun": None,
        "breach_reason": None,
    }


def close_data(output: Mapping[str, Any], files: Mapping[str, Any], count: int = 1) -> dict[str, Any]:
    return {
        "outcome": "completed", "reason": None, "turns": 1, "total_tokens": 50, "cost_microusd": None,
        "elapsed_ms": 9, "output": dict(output), "files": dict(files), "file_count": count,
    }


def erase(victim: Victim, session: str, contents: Sequence[Mapping[str, Any]], *, listed: int | None = None) -> Row:
    """Erase contents as the command would: the signed row first, then salt and bytes."""
    with contextlib.closing(Ledger(victim.path, keys=victim.keys)) as ledger:
        listing = ledger.content(manifest([dict(each) for each in contents]), JSON)
        data = {"contents": listing.commitment, "count": listed or len(contents), "reason": "asked to"}
        row = ledger.append(lambda view: [Draft(session, "erase", data, (listing,))])[0]
    with raw(victim.contents) as sql:
        for each in contents:
            sql.execute("DELETE FROM content WHERE salted_sha256 = ?", (bytes.fromhex(each["salted_sha256"]),))
    return row


@contextlib.contextmanager
def raw(path: Path) -> Iterator[sqlite3.Connection]:
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as sql:
        sql.execute("PRAGMA synchronous = OFF")  # an attack need not outlive a crash
        yield sql


def overwrite_root(path: Path, table: str) -> None:
    """Write nonsense over the page at which a table begins."""
    with raw(path) as sql:
        page = sql.execute("SELECT rootpage FROM sqlite_master WHERE name = ?", (table,)).fetchone()[0]
        size = sql.execute("PRAGMA page_size").fetchone()[0]
        sql.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    data = bytearray(path.read_bytes())
    data[(page - 1) * size : page * size] = b"\xff" * size
    path.write_bytes(data)


@contextlib.contextmanager
def unguarded(path: Path, *, indexes: bool = True) -> Iterator[sqlite3.Connection]:
    """Open a ledger's file with its triggers out of the way, and leave the schema as it was.

    Args:
        path: The ledger.
        indexes: False hides the indexes too, so that they are not kept up.
    """
    hidden = "type = 'trigger'" if indexes else "type IN ('trigger', 'index')"
    with _schema_writable(path) as sql:
        saved = sql.execute(f"SELECT rowid, * FROM sqlite_master WHERE {hidden}").fetchall()
        sql.execute(f"DELETE FROM sqlite_master WHERE {hidden}")
    with raw(path) as sql:
        sql.execute("PRAGMA ignore_check_constraints = ON")
        yield sql
    with _schema_writable(path) as sql:
        sql.executemany(
            "INSERT INTO sqlite_master (rowid, type, name, tbl_name, rootpage, sql) VALUES (?, ?, ?, ?, ?, ?)", saved
        )


def rewrite_schema(path: Path, name: str, change: Callable[[str], str]) -> None:
    """Change the text of one table, index, trigger or view, in its place."""
    with _schema_writable(path) as sql:
        text = sql.execute("SELECT sql FROM sqlite_master WHERE name = ?", (name,)).fetchone()[0]
        assert change(text) != text
        sql.execute("UPDATE sqlite_master SET sql = ? WHERE name = ?", (change(text), name))


@contextlib.contextmanager
def _schema_writable(path: Path) -> Iterator[sqlite3.Connection]:
    with raw(path) as sql:
        sql.execute("PRAGMA writable_schema = ON")
        yield sql


def set_body(path: Path, idx: int, body: bytes) -> None:
    with unguarded(path) as sql:
        sql.execute("UPDATE row SET body = CAST(? AS TEXT) WHERE idx = ?", (body, idx))


def set_signature(path: Path, idx: int, signature: bytes) -> None:
    with unguarded(path) as sql:
        sql.execute("UPDATE row SET sig = ? WHERE idx = ?", (signature, idx))


def set_head(path: Path, note: str) -> None:
    with unguarded(path) as sql:
        sql.execute("UPDATE head SET note = ?", (note,))


def rebuild(victim: Victim, rows: Sequence[Sealed], *, log: SigningKey | None = None, head: str = "") -> None:
    """Write the whole ledger anew from sealed rows: tree and, with a log key, the head included."""
    origin = parse_checkpoint(victim.head()).origin
    frontier = Frontier()
    nodes = [node for body, signature in rows for node in frontier.append(seal.leaf(body, signature))]
    if log is not None:
        head = sign_checkpoint(Checkpoint(origin, len(rows), frontier.root()), Verifier(origin, log.public), log.sign)
    with unguarded(victim.path) as sql:
        sql.execute("DELETE FROM row")
        sql.execute("DELETE FROM node")
        sql.executemany(
            "INSERT INTO row (idx, body, sig) VALUES (?, CAST(? AS TEXT), ?)",
            ((idx, body, signature) for idx, (body, signature) in enumerate(rows)),
        )
        sql.executemany("INSERT INTO node (level, idx, hash) VALUES (?, ?, ?)", nodes)
        if head:
            sql.execute("UPDATE head SET note = ?", (head,))
        restate(sql)


def restate(sql: sqlite3.Connection) -> None:
    """Put what rows charge to hours in order again: an attack that forgets to is found by that alone."""
    sql.execute("DELETE FROM hour")
    sql.execute("DELETE FROM held")
    book = StoredBook(sql, "the victim")
    for stored in sql.execute("SELECT idx, CAST(body AS BLOB), sig FROM row ORDER BY idx").fetchall():
        with contextlib.suppress(EncodingError, LookupError, TypeError):  # what is no row charges nothing
            post(book, parse_row(*stored))


def by_hand(victim: Victim, session: str, turns: int) -> None:
    """Write rows as the tutorial does; the session is ungoverned."""
    with contextlib.closing(Ledger(victim.path, keys=victim.keys)) as ledger:
        for turn in range(1, turns + 1):
            ledger.write(session, turn, "llm", "task", 10, 5, pass_fail=True)


def found(report: AuditReport) -> list[tuple[str, int | None]]:
    return [(str(each.rule), each.row) for each in report.findings]


def of_record(report: AuditReport) -> list[tuple[str, int | None]]:
    """Return what was found but for the rules of the loop's word, where rows stand that no loop would write."""
    return [each for each in found(report) if each[0] not in ("closed", "release")]


def gaps(report: AuditReport) -> list[tuple[str, int | None]]:
    return [(str(each.rule), each.row) for each in report.gaps]


__all__ = [
    "OWN", "Draft", "Ledger", "Session", "Victim", "by_hand", "close_data", "erase", "found", "gaps", "governed",
    "intent_data", "make", "of_record", "open_data", "raw", "rebuild", "restate", "rewrite_schema", "set_body", "set_head",
    "set_signature",
    "spec_draft", "turn_data", "unguarded",
]
