"""Rows of the tutorial's ledger as rows of ours: pure, and strict where a number would be counted.

A row of its table `ledger` must fit, or nothing is imported: what cannot be counted must not count as nothing. A spec
or an attestation that does not fit is kept as it was, as content, and has no row.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from typing import Any

from safeloop.errors import LedgerError
from safeloop.ledger.encoding import MAX_INTEGER
from safeloop.ledger.kinds import digest
from safeloop.ledger.ledger import CIRCUIT_BREAKER, UNKNOWN_TO_BREACHES_BY_HAND, UNKNOWN_TO_TURNS_BY_HAND
from safeloop.ledger.store.tutorial import OldRow, Value
from safeloop.ledger.visible import visible

_PLAIN = re.compile(r"(?!hash:)[A-Za-z0-9._:-]+\Z")
_LONGEST_ID = 128
_COUNTS = {"turn_count": "turn", "token_delta": "token_delta", "execution_time_ms": "execution_time_ms"}


def session_of(name: str, row: OldRow, table: str) -> str:
    """Return the id of a session of ours for the one that an old row names; different ones stay different.

    Raises:
        LedgerError: It names none.
    """
    old = row["session_id"]
    if not isinstance(old, str):
        raise _misfit(table, row, "session_id")
    plain = f"import:{name}:{old}"
    if _PLAIN.match(old) and len(plain) <= _LONGEST_ID:
        return plain
    return f"import:{name}:hash:{hashlib.sha256(old.encode('utf-8', 'surrogateescape')).hexdigest()[:32]}"


def kind_and_data(row: OldRow) -> tuple[str, dict[str, Any]]:
    """Return the kind and the data of the row of ours; a turn's `response` is still null.

    Raises:
        LedgerError: A value that no row of ours can hold, and which.
    """
    data: dict[str, Any] = {ours: _count(row, theirs) for theirs, ours in _COUNTS.items()}
    if row["pass_fail"] not in (0, 1) or type(row["pass_fail"]) is not int:
        raise _misfit("ledger", row, "pass_fail")
    if not digest(row["input_hash"]):
        raise _misfit("ledger", row, "input_hash")
    if row["breach_reason"] is not None and not isinstance(row["breach_reason"], str):
        raise _misfit("ledger", row, "breach_reason")
    reason = None if row["breach_reason"] is None else visible(row["breach_reason"])
    data |= {"state_origin": _name(row, "state_origin"), "input_hash": row["input_hash"],
             "pass_fail": bool(row["pass_fail"]), "breach_reason": reason}
    if row["state_origin"] != CIRCUIT_BREAKER:
        return "turn", data | dict.fromkeys(UNKNOWN_TO_TURNS_BY_HAND)
    data |= {"pass_fail": False, "token_delta": 0, "execution_time_ms": 0, "breach_reason": reason or "unknown"}
    return "breach", data | dict.fromkeys(UNKNOWN_TO_BREACHES_BY_HAND)


def original(row: OldRow) -> bytes:
    """Return an old row with all its columns as JSON; bytes as `{"hex": ...}`, what is no UTF-8 as lone surrogates."""
    return json.dumps({name: _plain(value) for name, value in row.items()}, ensure_ascii=True).encode()


def record_of(turn: int, file_sha256: str, response: Mapping[str, Any], stop_reason: str | None) -> dict[str, Any]:
    """Return the data of a `turn` row of the import itself."""
    return dict.fromkeys(UNKNOWN_TO_TURNS_BY_HAND) | {
        "turn": turn, "state_origin": "import", "input_hash": file_sha256, "token_delta": 0, "execution_time_ms": 0,
        "pass_fail": True, "breach_reason": None, "response": dict(response), "stop_reason": stop_reason,
    }


def _count(row: OldRow, column: str) -> int:
    value = row[column]
    if type(value) is not int or not 0 <= value <= MAX_INTEGER:
        raise _misfit("ledger", row, column)
    return value


def _name(row: OldRow, column: str) -> str:
    value = row[column]
    if not isinstance(value, str):
        raise _misfit("ledger", row, column)
    return visible(value)


def _plain(value: Value) -> object:
    if isinstance(value, bytes):
        return {"hex": value.hex()}
    if isinstance(value, float):
        return {"real": repr(value)}  # infinity is a number to SQLite, and none to JSON
    return value


def _misfit(table: str, row: OldRow, column: str) -> LedgerError:
    value = visible(repr(row[column])[:200], 80)
    number = visible(repr(row["id"])[:80], 40)
    return LedgerError(
        f"row {number} of table {table}: {column} is {value}, which no row of ours can hold; nothing was imported",
        hint="mend a copy of the file, and import that",
    )
