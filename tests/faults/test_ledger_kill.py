"""Writers that die: what was acknowledged is there, and the next writer goes on."""

from __future__ import annotations

import os
import random
import signal
import time
from pathlib import Path

import pytest

from safeloop.errors import ExitCode, KeyUnusable, LedgerLocked
from safeloop.ledger import Draft, Ledger, View
from safeloop.ledger.state import StateFile
from tests.ledger.making import add, python, run, state_of, turn, verified_rows

APPEND_FOR_EVER = """
import sys, time
from tests.ledger.making import Ledger, add
ledger = Ledger(sys.argv[1], keys=sys.argv[2])
while True:
    contents = (ledger.content(b"x" * 3000, "text/plain"),)
    for row in add(ledger, 2, sys.argv[3], contents=contents):
        print(row.leaf)
    sys.stdout.flush()
    time.sleep(float(sys.argv[4]))
"""

DIE_AT = """
import importlib, os, sys
from tests.ledger.making import Ledger, add
module, owner, name = sys.argv[3].split(":")
owner = getattr(importlib.import_module(module), owner)
ledger = Ledger(sys.argv[1], keys=sys.argv[2])
real = getattr(owner, name)
def die(*arguments, **named):
    if sys.argv[4] == "after":
        real(*arguments, **named)
    os._exit(9)
setattr(owner, name, die)
add(ledger, 2, contents=(ledger.content(b"orphan" * 100, "text/plain"),))
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "l.db"


@pytest.fixture
def keys(tmp_path: Path) -> Path:
    return tmp_path / "keys"


def append_and_verify(path: Path, keys: Path, expect: int) -> None:
    ledger = Ledger(path, keys=keys)
    add(ledger)
    ledger.close()
    assert len(verified_rows(path, keys)) == expect
    assert state_of(path, keys).size == expect


@pytest.mark.parametrize("writers", [1, 3])
def test_rows_acknowledged_before_a_kill_are_there_after_it(path: Path, keys: Path, writers: int) -> None:
    Ledger(path, keys=keys).close()
    chance, acknowledged = random.Random(2026), set()
    for attempt in range(5):
        processes = [
            python(APPEND_FOR_EVER, path, keys, f"s{number}", 0.003 * (writers - 1), measured=False)  # others want it too
            for number in range(writers)
        ]
        for process in processes:
            assert process.stdout is not None
            acknowledged.add(process.stdout.readline().strip())  # all of them have begun
        time.sleep(chance.uniform(0, 0.05))
        for process in processes:
            process.kill()
        for process in processes:
            assert process.stdout is not None
            acknowledged |= set(process.stdout.read().split("\n")[:-1])
            process.communicate(timeout=30)
        rows = verified_rows(path, keys)  # chain, tree, head, and a state that is not ahead
        assert acknowledged <= {row.leaf for row in rows}
        ledger = Ledger(path, keys=keys)
        assert all(ledger.read_content(row.data["response"]) for row in rows if row.data["response"])
        add(ledger, 1, f"after {attempt}".replace(" ", "."))
        if attempt % 2:
            ledger.close()  # every other time the log stays unfolded for the next round
        else:
            del ledger
    assert len(acknowledged) >= 5 * writers


@pytest.mark.parametrize(
    ("place", "when", "persisted"),
    [
        ("safeloop.ledger.store.contents:ContentStore:put", "before", 0),
        ("safeloop.ledger.store.contents:ContentStore:put", "after", 0),
        ("safeloop.ledger.store.rows:RowStore:extend", "before", 0),
        ("safeloop.ledger.store.rows:RowStore:extend", "after", 0),
        ("safeloop.ledger.files:OpenFiles:check_process", "after", 0),
        ("safeloop.ledger.state:StateFile:write", "before", 2),
        ("safeloop.ledger.state:StateFile:write", "after", 2),
    ],
)
def test_a_crash_at_each_step_of_an_append_leaves_all_of_it_or_nothing(
    path: Path, keys: Path, place: str, when: str, persisted: int
) -> None:
    ledger = Ledger(path, keys=keys)
    add(ledger, 3)
    ledger.close()
    run(DIE_AT, path, keys, place, when, expect=9)
    assert len(verified_rows(path, keys)) == 3 + persisted
    assert state_of(path, keys).size == (5 if when == "after" and "StateFile" in place else 3)
    append_and_verify(path, keys, 4 + persisted)


def test_content_without_a_row_is_harmless(path: Path, keys: Path) -> None:
    run(DIE_AT, path, keys, "safeloop.ledger.store.contents:ContentStore:put", "after", expect=9)
    append_and_verify(path, keys, 1)


@pytest.mark.parametrize("moment", ["", " --after"])
def test_a_state_that_cannot_be_written_is_an_error_after_rows_that_are_there(
    path: Path, keys: Path, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    ledger = Ledger(path, keys=keys)
    add(ledger, 2)

    def full(*_: object) -> int:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("safeloop.ledger.state.os.pwrite", full)
        with pytest.raises(KeyUnusable, match="No space left on device; the rows themselves are recorded"):
            add(ledger)
    assert len(verified_rows(path, keys)) == 3
    assert state_of(path, keys).size == 2
    if moment:
        ledger.close()
        ledger = Ledger(path, keys=keys)
    add(ledger)
    ledger.close()
    assert len(verified_rows(path, keys)) == 4
    assert state_of(path, keys).size == 4


def test_a_state_write_that_tears_its_slot_costs_one_step(path: Path, keys: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ledger = Ledger(path, keys=keys)
    add(ledger, 2)
    real = os.pwrite
    with monkeypatch.context() as patch:
        patch.setattr("safeloop.ledger.state.os.pwrite", lambda fd, data, at: real(fd, data[:100] + b"\0" * 99, at))
        add(ledger)
    ledger.close()
    assert state_of(path, keys).size == 2
    append_and_verify(path, keys, 4)


def test_a_stopped_writer_makes_others_give_up_in_time_and_go_on_when_it_does(path: Path, keys: Path) -> None:
    ledger = Ledger(path, keys=keys, timeout_s=0.3)
    add(ledger)
    code = """
import sys, time
from tests.ledger.making import Ledger, turn
ledger = Ledger(sys.argv[1], keys=sys.argv[2])
def rule(view):
    print("deciding", flush=True)
    sys.stdin.readline()
    return [turn("slow")]
ledger.append(rule)
"""
    with python(code, path, keys) as process:
        assert process.stdout is not None
        assert process.stdin is not None
        assert process.stdout.readline() == "deciding\n"
        process.send_signal(signal.SIGSTOP)
        begin = time.monotonic()
        with pytest.raises(LedgerLocked, match=r"another process has held the ledger for 0\.3 s") as caught:
            add(ledger)
        assert 0.3 <= time.monotonic() - begin < 3
        assert caught.value.exit_code == ExitCode.UNUSABLE == 14
        assert caught.value.hint.startswith("fuser -v ")
        assert len(ledger.rows("s")) == 1, "reading goes on"
        process.send_signal(signal.SIGCONT)
        assert process.communicate("go\n", timeout=30) == ("", "")
    add(ledger)
    ledger.close()
    assert [row.session for row in verified_rows(path, keys)] == ["s", "slow", "s"]


def test_a_writer_killed_while_it_decides_lets_go_of_everything(path: Path, keys: Path) -> None:
    code = """
import sys, time
from tests.ledger.making import Ledger, turn
ledger = Ledger(sys.argv[1], keys=sys.argv[2])
def rule(view):
    print("deciding", flush=True)
    time.sleep(60)
ledger.append(rule)
"""
    with python(code, path, keys) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "deciding\n"
        process.kill()
    append_and_verify(path, keys, 1)


def test_a_process_that_is_terminated_in_the_middle_of_a_rule_records_nothing_of_it(path: Path, keys: Path) -> None:
    ledger = Ledger(path, keys=keys)

    class Terminated(BaseException):
        pass

    def terminate(*_: object) -> None:
        raise Terminated

    before = signal.signal(signal.SIGTERM, terminate)

    def rule(_: View) -> list[Draft]:
        os.kill(os.getpid(), signal.SIGTERM)
        return [turn()]

    try:
        with pytest.raises(Terminated):
            ledger.append(rule)
    finally:
        signal.signal(signal.SIGTERM, before)
    ledger.close()
    append_and_verify(path, keys, 1)


def test_the_state_is_written_only_under_its_lock_and_only_after_the_rows(
    path: Path, keys: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger = Ledger(path, keys=keys)
    seen = []
    real = StateFile.write

    def write(self: StateFile, state: object) -> None:
        seen.append(len(verified_rows(path, keys)))
        with pytest.raises(LedgerLocked):
            Ledger(path, keys=keys, timeout_s=0).append(lambda _: [turn("other")])
        real(self, state)  # type: ignore[arg-type]

    monkeypatch.setattr(StateFile, "write", write)
    add(ledger, 2)
    add(ledger, 3)
    assert seen == [2, 5]
    ledger.close()
