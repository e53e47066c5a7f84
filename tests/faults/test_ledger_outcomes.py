"""Failures in pairs, "failed and not persisted" and "failed but persisted", and clocks and disks that turn."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from safeloop.errors import LedgerLocked
from safeloop.ledger import Ledger
from safeloop.ledger.reader import LedgerReader
from safeloop.ledger.trust import load_trust
from safeloop.review.auditing.audit import audit
from tests.forked import Forked
from tests.ledger.making import add, private_mounts, python, run_mounted, state_of, verified_rows

MOUNTS = pytest.mark.skipif(not private_mounts(), reason="this process may not mount anything")

# A writer that stops at a point of its own append, holding the locks: others see what a crash there would leave.
STOP_AT = """
import importlib, os, signal, sys
from tests.ledger.making import Ledger, add
module, owner, name = sys.argv[3].split(":")
owner = getattr(importlib.import_module(module), owner)
ledger = Ledger(sys.argv[1], keys=sys.argv[2])
add(ledger, 1, "warm")
real = getattr(owner, name)
def stop(*arguments, **named):
    print("stopped", flush=True)
    os.kill(os.getpid(), signal.SIGSTOP)
    return real(*arguments, **named)
setattr(owner, name, stop)
add(ledger, 2, "slow", contents=(ledger.content(b"c" * 5_000, "text/plain"),))
"""
BEFORE_COMMIT = "safeloop.ledger.store.rows:RowStore:set_head"
AFTER_COMMIT = "safeloop.ledger.state:StateFile:write"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "l.db"


@pytest.fixture
def keys(tmp_path: Path) -> Path:
    return tmp_path / "keys"


@contextmanager
def stopped(path: Path, keys: Path, point: str) -> Iterator[Forked]:
    """Have a writer that stands still at a point of its append; it is killed at the end, if it still lives."""
    with python(STOP_AT, path, keys, point) as process:
        assert process.stdout is not None
        while process.stdout.readline() != "stopped\n":
            assert process.poll() is None
        process.wait_until_stopped()  # it has said so, and is about to: whoever woke it now would do so too early
        try:
            yield process
        finally:
            process.kill()


def audited(path: Path, keys: Path) -> int:
    """Audit as the command does, expect nothing, and return the ledger's size."""
    state = state_of(path, keys)
    with LedgerReader(path) as reader:
        report = audit(reader, load_trust(keys / "self"), state=state)
    assert report.findings == ()
    return report.size


@pytest.mark.parametrize(("point", "persisted"), [(BEFORE_COMMIT, 0), (AFTER_COMMIT, 2)])
def test_a_writer_killed_on_either_side_of_its_commit_leaves_nothing_or_all_and_no_alarm(
    path: Path, keys: Path, point: str, persisted: int
) -> None:
    ledger = Ledger(path, keys=keys, timeout_s=0.2)
    add(ledger, 3)
    with stopped(path, keys, point):
        assert audited(path, keys) == 4 + persisted, "an audit beside a writer that stands still"
        assert len(ledger.rows("slow")) == persisted
        with pytest.raises(LedgerLocked):
            add(ledger)
        assert state_of(path, keys).size == 4
    assert audited(path, keys) == 4 + persisted
    add(ledger)
    ledger.close()
    assert state_of(path, keys).size == 5 + persisted
    assert audited(path, keys) == 5 + persisted
    assert [row.session for row in verified_rows(path, keys)].count("slow") == persisted


@pytest.mark.parametrize("point", [BEFORE_COMMIT, AFTER_COMMIT])
def test_a_writer_that_stood_still_and_goes_on_is_not_undone(path: Path, keys: Path, point: str) -> None:
    ledger = Ledger(path, keys=keys)
    add(ledger, 3)
    with stopped(path, keys, point) as process:
        process.send_signal(signal.SIGCONT)
        assert process.wait(timeout=30) == 0
    add(ledger)
    ledger.close()
    assert [row.session for row in verified_rows(path, keys)] == ["s"] * 3 + ["warm", "slow", "slow", "s"]
    assert audited(path, keys) == state_of(path, keys).size == 7


READ_ONLY = """
import subprocess, sys
from pathlib import Path
from safeloop.errors import LedgerError
from tests.ledger.making import Ledger, add, verified_rows
from tests.faults.test_ledger_outcomes import audited
disk, keys = Path(sys.argv[1]), Path(sys.argv[2])
ledger = Ledger(disk / "l.db", keys=keys)
acknowledged = list(add(ledger, 3))
ledger.close()
for attempt in range(2):
    subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
    try:
        ledger = Ledger(disk / "l.db", keys=keys)
        add(ledger)
    except LedgerError as error:
        print(error.hint.split()[0], "|", error)
    assert audited(disk / "l.db", keys) == len(acknowledged)
    assert verified_rows(disk / "l.db", keys) == acknowledged
    subprocess.run(["mount", "-o", "remount,rw", str(disk)], check=True)
    ledger = Ledger(disk / "l.db", keys=keys)
    acknowledged += add(ledger)
    ledger.close()
assert verified_rows(disk / "l.db", keys) == acknowledged
print(len(acknowledged))
"""


@MOUNTS
def test_a_disk_remounted_read_only_is_judged_and_not_written_and_goes_on_when_it_turns_back(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    out = run_mounted(
        f"mount -t tmpfs -o size=4m tmpfs {tmp_path}/disk", READ_ONLY, tmp_path / "disk", tmp_path / "keys"
    ).splitlines()
    assert len(out) == 3
    assert all("read-only" in line or "cannot be opened" in line for line in out[:2]), out
    assert out[2] == "5"


class Clock:
    """A clock that goes where it is told to."""

    def __init__(self, *moments: datetime) -> None:
        self._moments = list(moments)

    def __call__(self) -> datetime:
        return self._moments.pop(0) if len(self._moments) > 1 else self._moments[0]


def test_a_clock_that_runs_backwards_stops_no_row_and_alarms_nobody(path: Path, keys: Path) -> None:
    now = datetime(2026, 11, 21, 12, tzinfo=UTC)
    moments = (now, now - timedelta(days=400), now + timedelta(days=400), now, datetime(1970, 1, 1, tzinfo=UTC))
    ledger = Ledger(path, keys=keys, clock=Clock(*moments))
    for _ in moments:
        add(ledger)
    ledger.close()
    rows = verified_rows(path, keys)
    assert [datetime.fromisoformat(row.at) for row in rows] == list(moments), "`at` is what the clock claimed"
    assert [row.n for row in rows] == [0, 1, 2, 3, 4]
    assert audited(path, keys) == 5
