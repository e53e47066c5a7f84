"""Ledgers of a given size for measures to read: governed sessions of twenty rows each, kept from one run to the next.

Their rows are spread over the month before they were built.
"""

from __future__ import annotations

import contextlib
import hashlib
import shutil
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from safeloop.ledger import Draft, Ledger
from safeloop.ledger.content import JSON, TEXT, Content, manifest
from safeloop.ledger.upkeep.limiting import WINDOWS, set_limits

ROWS_OF_SESSION = 20
_TURNS = 8
_TOKENS = 50
_SESSIONS_AT_ONCE = 100
_MONTH = timedelta(days=30)
_VERSION = 3  # of what is built here: ledgers of another are built anew


@dataclass(frozen=True, slots=True)
class Built:
    """A ledger that lies ready, and the key folder that made it."""

    path: Path
    keys: Path
    rows: int


def build(folder: Path, rows: int, *, limited: bool = False) -> Built:
    """Return a ledger of so many rows, a multiple of twenty; made in batches where it is not there yet.

    Args:
        limited: Limits of hour, day and month are in force, by one row more.
    """
    place = folder / f"ledger-{_VERSION}-{rows}{'-limited' * limited}"
    built = Built(place / "ledger.db", place / "keys", rows)
    if (place / "whole").exists():
        return built
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir(parents=True)
    left, begun = rows // ROWS_OF_SESSION, datetime.now(UTC) - _MONTH
    done = 0
    with contextlib.closing(Ledger(built.path, keys=built.keys, clock=lambda: begun + _MONTH * (done / left))) as ledger:
        if limited:
            set_limits(ledger, {(window, "tokens"): 10**12 for window in WINDOWS})
        while done < left:
            number = min(left - done, _SESSIONS_AT_ONCE)
            _append_sessions(ledger, number)
            done += number
    (place / "whole").touch()
    return built


def _append_sessions(ledger: Ledger, number: int) -> None:
    names = [str(uuid.uuid4()) for _ in range(number)]
    specs = ledger.append(lambda _: [_spec(name) for name in names])
    ledger.append(lambda _: [draft for spec in specs for draft in _work(ledger, spec.session, spec.leaf)])


def _spec(name: str) -> Draft:
    return Draft(name, "spec", {
        "what_it_does": "Audit one page for SEO faults", "what_it_does_not": "Change the page, follow links",
        "done_looks_like": "report.md lists every fault with a fix", "criteria": [],
        "ceilings": {"turns": _TURNS, "tokens": 40_000}, "tools": {"permissions": ["read", "write"]},
    })  # fmt: skip


def _work(ledger: Ledger, name: str, spec: str) -> Iterator[Draft]:
    """Draft what a run of eight turns and one tool writes; each session has contents of its own."""
    task, reply = ledger.content(b"the page", TEXT), ledger.content(b'{"content":[]}', JSON)
    message, output = ledger.content(b"task: the page", TEXT), ledger.content(b"done", TEXT)
    request = ledger.content(manifest([{"content": message.commitment, "role": "user"}]), JSON)
    arguments, files = ledger.content(b"{}", JSON), ledger.content(manifest([]), JSON)
    input_hash = hashlib.sha256(b"the page").hexdigest()
    yield Draft(name, "open", _open(spec, task, input_hash), (task,))
    for turn in range(1, _TURNS + 1):
        yield Draft(name, "intent", {
            "turn": turn, "attempt": 1, "model": "claude-sonnet-5-5", "wanted_max_tokens": 1_024, "max_tokens": 1_024,
            "request": request.commitment, "bound": "bound", "reserved_tokens": 2_000, "reserved_microusd": None,
            "elapsed_ms": 10 * turn,
        }, (message, request))  # fmt: skip
        yield Draft(name, "turn", _turn(turn, reply, input_hash), (reply,))
        if turn == 1:
            yield Draft(name, "tool", {
                "turn": 1, "call": "toolu_01", "tool": "list_files", "permission": "read",
                "arguments": arguments.commitment, "result": output.commitment, "execution_time_ms": 1,
                "pass_fail": True, "error": None,
            }, (arguments, output))  # fmt: skip
    yield Draft(name, "close", {
        "outcome": "completed", "reason": None, "turns": _TURNS, "total_tokens": _TURNS * _TOKENS, "cost_microusd": None,
        "elapsed_ms": 100, "output": output.commitment, "files": files.commitment, "file_count": 0,
    }, (output, files))  # fmt: skip


def _open(spec: str, task: Content, input_hash: str) -> dict[str, Any]:
    return {
        "spec": spec, "task": task.commitment, "input_hash": input_hash, "model": "claude-sonnet-5-5",
        "endpoint": "https://api.anthropic.com", "ceilings": {"turns": _TURNS, "tokens": 40_000}, "parent": None,
        "continues": None, "workspace": None, "billing_workspace": None, "api_key_id": None,
        "tools": [{"name": "list_files", "permission": "read", "schema": "0" * 64}], "software": "safeloop 0.1.0",
    }  # fmt: skip


def _turn(turn: int, reply: Content, input_hash: str) -> dict[str, Any]:
    usage = {"input": 30, "cache_write": 0, "cache_read": 0, "output": 20, "thinking": 0, "searches": 0}
    return {
        "turn": turn, "attempt": 1, "intent": 2 * turn + (turn > 1), "state_origin": "llm",
        "model": "claude-sonnet-5-5", "input_hash": input_hash, "response": reply.commitment,
        "stop_reason": "end_turn", "usage": usage, "token_delta": _TOKENS, "cost_microusd": None,
        "execution_time_ms": 900, "elapsed_ms": 10 * turn + 5, "pass_fail": True, "overrun": False,
        "breach_reason": None,
    }  # fmt: skip
