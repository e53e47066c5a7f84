"""What the tests of the ledger are made of: vectors, drafts, and other processes."""

from __future__ import annotations

import importlib
import os
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

from safeloop.ledger import Content, Draft, Ledger, Row
from safeloop.ledger.keys import KeyFolder
from safeloop.ledger.merkle import Frontier
from safeloop.ledger.note import Checkpoint, verify_checkpoint
from safeloop.ledger.reader import LedgerReader
from safeloop.ledger.rows import NO_ROW, parse_row
from safeloop.ledger.site import open_site, real_path
from safeloop.ledger.state import State, read_state
from tests.forked import Forked

VECTORS = Path(__file__).parent.parent / "vectors"
ROOT = Path(__file__).parent.parent.parent


def vector(name: str) -> str:
    """Return the text of a golden file."""
    return (VECTORS / name).read_text(encoding="utf-8")


def turn(session: str = "s", contents: tuple[Content, ...] = (), **changes: Any) -> Draft:
    """Draft a `turn` row."""
    data: dict[str, Any] = {
        "turn": 1, "attempt": None, "intent": None, "state_origin": "llm", "model": "m", "input_hash": "a" * 64,
        "response": contents[0].commitment if contents else None, "stop_reason": "end_turn", "usage": None,
        "token_delta": 12, "cost_microusd": None, "execution_time_ms": 5, "elapsed_ms": None, "pass_fail": True,
        "overrun": None, "breach_reason": None,
    }
    return Draft(session, "turn", data | changes, contents)


def add(ledger: Ledger, count: int = 1, session: str = "s", **changes: Any) -> tuple[Row, ...]:
    """Append turns, all at once."""
    return ledger.append(lambda _: [turn(session, **changes) for _ in range(count)])


def verified_rows(path: Path, keys: Path) -> list[Row]:
    """Read a ledger as a judge would, from the stored bytes, and check chain, tree, head and state."""
    site = open_site(real_path(path), KeyFolder(keys), create=False)
    state = None if site.state is None else read_state(site.state)
    frontier, tails, roots, rows = Frontier(), {}, {0: Frontier().root()}, []
    with LedgerReader(path) as reader, reader.snapshot():
        assert reader.schema_is_intact()
        head = verify_checkpoint(reader.head() or "", site.verifier)
        for idx, body, signature in reader.rows():
            row = parse_row(idx, body, signature)
            assert idx == frontier.size
            assert row.ledger == site.origin
            assert (row.n, row.prev) == tails.get(row.session, (0, NO_ROW))
            tails[row.session] = (row.n + 1, row.leaf)
            nodes = frontier.append(bytes.fromhex(row.leaf))
            roots[frontier.size] = frontier.root()
            assert all(reader.node(level, position) == digest for level, position, digest in nodes)
            rows.append(row)
    assert head == Checkpoint(site.origin, frontier.size, frontier.root())
    assert state is not None
    assert state.path == real_path(path)
    assert state.size <= head.size, "the state is ahead of the file"
    assert roots[state.size] == state.root
    return rows


def state_of(path: Path, keys: Path) -> State:
    """Return the state of a ledger, which must have one."""
    site = open_site(real_path(path), KeyFolder(keys), create=False)
    assert site.state is not None
    state = read_state(site.state)
    assert state is not None
    return state


def python(code: str, *arguments: object, measured: bool = True) -> Forked:
    """Start a Python that runs `code` with `sys.argv[1:]` as given; unmeasured, coverage keeps its hands off it."""
    environment = {key: value for key, value in os.environ.items() if measured or not key.startswith("COVERAGE_")}
    return Forked(
        "tests.ledger.making", (code, *(str(argument) for argument in arguments)), ROOT,
        {**environment, "PYTHONPATH": str(ROOT), "PYTHONWARNINGS": "error"}, pipes=("stdin", "stdout", "stderr"), text=True,
    )


def prepare() -> None:
    """Import what most of such code needs."""
    for name in ("safeloop.ledger.upkeep.erasing", "safeloop.ledger.upkeep.backup", "safeloop.review.auditing.audit"):
        importlib.import_module(name)


def main() -> None:
    """Run the code that is the first argument."""
    code, *sys.argv[1:] = sys.argv[1:]
    exec(compile(code, "<string>", "exec"), {"__name__": "__main__"})


def run(code: str, *arguments: object, expect: int = 0, measured: bool = True) -> str:
    """Run `code` to its end and return what it printed."""
    with python(code, *arguments, measured=measured) as process:
        try:
            out, err = process.communicate(timeout=60)
        except subprocess.TimeoutExpired:
            process.kill()
            raise
    assert process.returncode == expect, f"exit {process.returncode}\n{out}\n{err}"
    return out


@cache
def private_mounts() -> tuple[str, ...]:
    """Return the command that gives a process mounts of its own, or nothing where that is not permitted."""
    if shutil.which("unshare") is None:
        return ()
    for command in (("unshare", "-m"), ("unshare", "-rm")):
        probe = [*command, "sh", "-c", "mount -t tmpfs -o size=1m tmpfs /mnt"]
        if subprocess.run(probe, capture_output=True, check=False).returncode == 0:
            return command
    return ()


def run_mounted(shell: str, code: str, *arguments: object) -> str:
    """Run a shell line that mounts something, and then `code`; the mounts are gone with the process."""
    script = f'{shell}\nexec "$0" -W error -c "$@"'
    command = [*private_mounts(), "sh", "-ec", script, sys.executable, code, *(str(one) for one in arguments)]
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, cwd=ROOT, timeout=60,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert done.returncode == 0, f"exit {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done.stdout
