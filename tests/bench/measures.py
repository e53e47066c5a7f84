"""What is measured, and against what: each measure is a pair of functions that return seconds for the same work."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import uuid
from pathlib import Path

from safeloop import AgentLoop, CircuitBreaker, Ledger, ScriptedClient, SpecResult, file_tools
from safeloop.ledger import Draft
from tests.bench.appending import appending
from tests.bench.appending import draft as draft_of
from tests.bench.measure import Measure, timed

__all__ = ["Measure", "measures"]

TURNS = 10


def measures(folder: Path) -> tuple[Measure, ...]:
    """Return the measures, with their files in this folder."""
    os.environ["SAFELOOP_KEYS"] = str(folder / "keys")
    ledger = Ledger(folder / "bench.db")
    return (
        Measure("safeloop --help", "python -c 'import click'", _help, _import_click, inverted=False, floor=None),
        *appending(folder, ledger),
        Measure("governed turn with a tool call", "its durable appends",
                lambda: _turns(ledger), lambda: _appends_of_turns(ledger), inverted=False, floor=2.5),
    )  # fmt: skip


def turning(empty: Path, million: Path, keys: Path) -> tuple[Measure, ...]:
    """Return what the size of a ledger, and a month of windows in it, cost a governed turn; see `growing`."""
    return (
        Measure("governed turn in a large ledger", "in an empty one",
                lambda: _turns_in(million, keys), lambda: _turns_in(empty, keys), inverted=False, floor=1.5),
    )  # fmt: skip


def _turns_in(path: Path, keys: Path) -> float:
    with contextlib.closing(Ledger(path, keys=keys)) as ledger:
        return _turns(ledger)


def _help() -> float:
    return timed(lambda: subprocess.run([sys.executable, "-m", "safeloop", "--help"], check=True, capture_output=True))


def _import_click() -> float:
    return timed(lambda: subprocess.run([sys.executable, "-c", "import click"], check=True, capture_output=True))


_CALL = {"type": "tool_use", "id": "t", "name": "list_files", "input": {}}


def _turns(ledger: Ledger) -> float:
    replies = [*({"content": [_CALL]} for _ in range(TURNS)), "done"]
    spec = SpecResult("list files", "anything else", "the list is shown", f"bench-turns-{uuid.uuid4()}")
    breaker = CircuitBreaker(TURNS + 1, 10**9, repeat_limit=TURNS)
    loop = AgentLoop(spec, breaker, ledger, ScriptedClient(replies), tools=lambda staging: file_tools(None, staging))

    def work() -> None:
        assert loop.run("list the files").outcome == "completed"

    return timed(work)


def _appends_of_turns(ledger: Ledger) -> float:
    """Append as many rows, one a commit and each with its content, as those turns need: intent, turn, tool."""
    rows = 3 * TURNS + 2 + 3  # and one answer's two, and spec, open, close

    def append(number: int) -> None:
        content = ledger.content(b"x" * 200, "application/json")
        draft = draft_of(number)
        ledger.append(lambda _: (Draft(draft.session, draft.kind, draft.data, (content,)),))

    return timed(lambda: [append(number) for number in range(rows)])
