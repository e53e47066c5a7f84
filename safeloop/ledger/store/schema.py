"""The database's schema, as text: an audit compares it with what the file holds, statement by statement."""

from __future__ import annotations

APPLICATION_ID = 0x534C4C47  # "SLLG"
USER_VERSION = 1


def _generated(name: str, kind: str, path: str) -> str:
    # json_valid first: one malformed body must not break every query.
    return f"{name} {kind} AS (CASE WHEN json_valid(body) THEN json_extract(body, '{path}') END) VIRTUAL"


_COLUMNS = (
    ("session_id", "TEXT", "$.session"),
    ("n", "INTEGER", "$.n"),
    ("kind", "TEXT", "$.kind"),
    ("created_at", "TEXT", "$.at"),
    ("turn_count", "INTEGER", "$.data.turn"),
    ("state_origin", "TEXT", "$.data.state_origin"),
    ("input_hash", "TEXT", "$.data.input_hash"),
    ("token_delta", "INTEGER", "$.data.token_delta"),
    ("execution_time_ms", "INTEGER", "$.data.execution_time_ms"),
    ("pass_fail", "INTEGER", "$.data.pass_fail"),
    ("breach_reason", "TEXT", "$.data.breach_reason"),
    ("what_it_does", "TEXT", "$.data.what_it_does"),
    ("what_it_does_not", "TEXT", "$.data.what_it_does_not"),
    ("done_looks_like", "TEXT", "$.data.done_looks_like"),
    ("reviewer", "TEXT", "$.data.reviewer"),
    ("attested_at", "TEXT", "$.at"),
    ("notes", "TEXT", "$.data.notes"),
    ("frame_hash", "TEXT", "$.data.frame"),
    ("parent", "TEXT", "$.data.parent"),
)

_ROW = ",\n  ".join(
    (
        "idx INTEGER PRIMARY KEY",
        "body TEXT NOT NULL",
        "sig BLOB NOT NULL CHECK (length(sig) = 64)",
        "id INTEGER AS (idx + 1) VIRTUAL",
        *(_generated(*column) for column in _COLUMNS),
    )
)

# Triggers stop accidents; signatures are the evidence. INSERT OR REPLACE walks past UPDATE and DELETE triggers,
# so an insert is refused unless it is the next row.
STATEMENTS = (
    f"CREATE TABLE row (\n  {_ROW}\n) STRICT",
    "CREATE TABLE node (level INTEGER NOT NULL, idx INTEGER NOT NULL, hash BLOB NOT NULL CHECK (length(hash) = 32), "
    "PRIMARY KEY (level, idx)) STRICT, WITHOUT ROWID",
    "CREATE TABLE head (id INTEGER PRIMARY KEY CHECK (id = 0), note TEXT NOT NULL) STRICT",
    "CREATE TABLE hour (hour TEXT PRIMARY KEY, tokens INTEGER NOT NULL, microusd INTEGER NOT NULL, "
    "sessions INTEGER NOT NULL) STRICT, WITHOUT ROWID",
    "CREATE TABLE held (session TEXT NOT NULL, n INTEGER NOT NULL, attempt INTEGER, hour TEXT NOT NULL, "
    "tokens INTEGER NOT NULL, microusd INTEGER, PRIMARY KEY (session, n)) STRICT, WITHOUT ROWID",
    # Not unique: INSERT OR REPLACE would delete the row that it meets here, and no trigger would see it.
    "CREATE INDEX row_session ON row (session_id, n)",
    "CREATE INDEX row_kind ON row (kind)",
    "CREATE INDEX row_parent ON row (parent) WHERE parent IS NOT NULL",
    # It looks afterwards: before, SQLite would compute every generated column once more. A row that has a leaf was
    # there already and has been replaced.
    "CREATE TRIGGER row_insert AFTER INSERT ON row WHEN NEW.idx IS NOT (SELECT max(idx) FROM row) "
    "OR (NEW.idx IS NOT 0 AND NOT EXISTS (SELECT 1 FROM row WHERE idx = NEW.idx - 1)) "
    "OR EXISTS (SELECT 1 FROM node WHERE level = 0 AND idx = NEW.idx) "
    "BEGIN SELECT RAISE(ABORT, 'the ledger is append-only: this is not the next row'); END",
    "CREATE TRIGGER row_update BEFORE UPDATE ON row "
    "BEGIN SELECT RAISE(ABORT, 'the ledger is append-only: rows are never changed'); END",
    "CREATE TRIGGER row_delete BEFORE DELETE ON row "
    "BEGIN SELECT RAISE(ABORT, 'the ledger is append-only: rows are never deleted'); END",
    "CREATE TRIGGER node_update BEFORE UPDATE ON node "
    "BEGIN SELECT RAISE(ABORT, 'the ledger is append-only: hashes are never changed'); END",
    "CREATE TRIGGER node_delete BEFORE DELETE ON node "
    "BEGIN SELECT RAISE(ABORT, 'the ledger is append-only: hashes are never deleted'); END",
    "CREATE TRIGGER head_delete BEFORE DELETE ON head "
    "BEGIN SELECT RAISE(ABORT, 'the head is replaced, never deleted'); END",
    "CREATE VIEW ledger AS SELECT id, session_id, turn_count, state_origin, input_hash, token_delta, "
    "execution_time_ms, pass_fail, breach_reason, created_at FROM row WHERE kind IN ('turn', 'breach') ORDER BY idx",
    "CREATE VIEW spec AS SELECT id, session_id, what_it_does, what_it_does_not, done_looks_like, created_at "
    "FROM row WHERE kind = 'spec' ORDER BY idx",
    "CREATE VIEW attestations AS SELECT id, session_id, reviewer, attested_at, notes, frame_hash "
    "FROM row WHERE kind = 'attestation' ORDER BY idx",
)

CONTENT_STATEMENTS = (
    "CREATE TABLE content (salted_sha256 BLOB PRIMARY KEY, salt BLOB NOT NULL, bytes BLOB NOT NULL, "
    "type TEXT NOT NULL) STRICT, WITHOUT ROWID",
)
