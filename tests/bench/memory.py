"""The memory of an audit: the peak of the sum over all its processes, of a small ledger and of a large one.

What is summed is the proportional set size: a page that several processes share is counted once between them. It is
read every 20 ms; what comes and goes in between is not seen.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from safeloop.ledger.reader import LedgerReader
from safeloop.ledger.trust import load_trust
from safeloop.review.auditing.audit import audit
from tests.bench.building import Built
from tests.bench.measure import Measure

PROCESSES = 2
MOST_BYTES = 200_000_000
_EVERY_S = 0.02


def memory(small: Built, large: Built) -> tuple[Measure, ...]:
    """Return what an audit's memory owes to the number of rows; both audits start as many processes."""
    known: dict[Path, float] = {}

    def peak(built: Built) -> float:
        if built.path not in known:
            known[built.path] = peak_bytes(built, PROCESSES)
        return known[built.path]

    return (
        Measure(f"memory of an audit of {large.rows:,} rows", f"of {small.rows:,} rows",
                lambda: peak(large), lambda: peak(small), inverted=False, floor=1.5, rounds=1),
        Measure(f"memory of an audit of {large.rows:,} rows", f"{MOST_BYTES // 10**6} MB",
                lambda: peak(large), lambda: MOST_BYTES, inverted=False, floor=1.0, rounds=1),
    )  # fmt: skip


def peak_bytes(built: Built, processes: int) -> int:
    """Audit in a process of its own, and return the most that it and what it starts have held at once."""
    command = [sys.executable, "-m", "tests.bench.memory", str(built.path), str(built.keys), str(processes)]
    most = 0
    with subprocess.Popen(command) as running:
        while running.poll() is None:
            most = max(most, sum(map(_held, _family(running.pid))))
            time.sleep(_EVERY_S)
    assert running.returncode == 0
    return most


def _family(pid: int) -> Iterator[int]:
    """Yield a process and all that it has started."""
    yield pid
    for file in Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            children = file.read_text().split()
        except OSError:
            continue  # it has ended
        for child in children:
            yield from _family(int(child))


def _held(pid: int) -> int:
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0  # it has ended
    return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:"))


def _main(path: str, keys: str, processes: str) -> None:
    with LedgerReader(path) as reader:
        trust = load_trust(Path(keys, "self"))
        assert not audit(reader, trust, state=None, processes=int(processes), few_rows=0).findings


if __name__ == "__main__":
    _main(*sys.argv[1:])
