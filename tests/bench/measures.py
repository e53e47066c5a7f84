"""What is measured, and against what: each measure is a pair of functions that return seconds for the same work."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from safeloop import AgentLoop, CircuitBreaker, Ledger, ScriptedClient, SpecResult, file_tools
from safeloop.ledger import Draft
from safeloop.ledger.seal import pae

Timed = Callable[[], float]
APPENDS, BATCHES, BATCH = 400, 20, 100
TURNS = 10
BODY_BYTES = 880


@dataclass(frozen=True, slots=True)
class Measure:
    """A ratio.

    Attributes:
        ours: Returns the seconds that our code takes for the work.
        theirs: Returns the seconds that the yardstick takes for the same work.
        inverted: The ratio is theirs to ours (a rate), not ours to theirs (a cost).
        floor: The ratio that must hold: at least, if inverted, else at most. None where nothing was promised.
    """

    name: str
    compared_with: str
    ours: Timed
    theirs: Timed
    inverted: bool
    floor: float | None


def measures(folder: Path) -> tuple[Measure, ...]:
    """Return the measures, with their files in this folder."""
    os.environ["SAFELOOP_KEYS"] = str(folder / "keys")
    ledger = Ledger(folder / "bench.db")
    return (
        Measure("safeloop --help", "python -c 'import click'", _help, _import_click, inverted=False, floor=None),
        Measure("append, one row a commit", "append + fdatasync of the same bytes",
                lambda: _append_one(ledger), lambda: _fdatasync(folder / "raw"), inverted=True, floor=0.30),
        Measure("append, 100 rows a commit", "Ed25519 signing, one core",
                lambda: _append_hundred(ledger), _sign, inverted=True, floor=0.40),
        Measure("governed turn with a tool call", "its durable appends",
                lambda: _turns(ledger), lambda: _appends_of_turns(ledger), inverted=False, floor=2.5),
    )  # fmt: skip


def _timed(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def _help() -> float:
    return _timed(lambda: subprocess.run([sys.executable, "-m", "safeloop", "--help"], check=True, capture_output=True))


def _import_click() -> float:
    return _timed(lambda: subprocess.run([sys.executable, "-c", "import click"], check=True, capture_output=True))


def _draft(number: int) -> Draft:
    data = {
        "turn": number + 1, "attempt": None, "intent": None, "state_origin": "llm", "model": None,
        "input_hash": "0" * 64, "response": None, "stop_reason": None, "usage": None, "token_delta": 1,
        "cost_microusd": None, "execution_time_ms": 0, "elapsed_ms": None, "pass_fail": True, "overrun": None,
        "breach_reason": None,
    }  # fmt: skip
    return Draft(f"bench-{number % 20}", "turn", data)


def _append_one(ledger: Ledger) -> float:
    drafts = [_draft(number) for number in range(APPENDS)]
    return _timed(lambda: [ledger.append(lambda _, draft=draft: (draft,)) for draft in drafts])


def _append_hundred(ledger: Ledger) -> float:
    drafts = tuple(_draft(number) for number in range(BATCH))
    return _timed(lambda: [ledger.append(lambda _: drafts) for _ in range(BATCHES)])


def _fdatasync(path: Path) -> float:
    descriptor, body = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), b"x" * BODY_BYTES

    def write() -> None:
        os.write(descriptor, body)
        os.fdatasync(descriptor)

    try:
        return _timed(lambda: [write() for _ in range(APPENDS)])
    finally:
        os.close(descriptor)


def _sign() -> float:
    key, data = Ed25519PrivateKey.generate(), pae(b"x" * BODY_BYTES)
    return _timed(lambda: [key.sign(data) for _ in range(BATCHES * BATCH)])


_CALL = {"type": "tool_use", "id": "t", "name": "list_files", "input": {}}
_sessions = iter(range(10**9))


def _turns(ledger: Ledger) -> float:
    replies = [*({"content": [_CALL]} for _ in range(TURNS)), "done"]
    spec = SpecResult("list files", "anything else", "the list is shown", f"bench-turns-{next(_sessions)}")
    breaker = CircuitBreaker(TURNS + 1, 10**9)
    loop = AgentLoop(spec, breaker, ledger, ScriptedClient(replies), tools=lambda staging: file_tools(None, staging))
    return _timed(lambda: loop.run("list the files"))


def _appends_of_turns(ledger: Ledger) -> float:
    """Append as many rows, one a commit and each with its content, as those turns need: intent, turn, tool."""
    rows = 3 * TURNS + 2 + 3  # and one answer's two, and spec, open, close

    def append(number: int) -> None:
        content = ledger.content(b"x" * 200, "application/json")
        draft = _draft(number)
        ledger.append(lambda _: (Draft(draft.session, draft.kind, draft.data, (content,)),))

    return _timed(lambda: [append(number) for number in range(rows)])
