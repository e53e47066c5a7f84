"""The ledger as programs use it: rules, threads, forks, interrupts, and the tutorial's own verbs."""

from __future__ import annotations

import contextlib
import gc
import hashlib
import multiprocessing
import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
import weakref
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest

from safeloop.errors import (
    EncodingError,
    LedgerError,
    LedgerLocked,
    LedgerNotFound,
    SettingError,
    VerificationError,
)
from safeloop.ledger import Content, Draft, Ledger, LedgerRow, View, ed25519, seal
from safeloop.ledger.keys import KeyFolder
from safeloop.ledger.rows import NO_ROW, encode_body, parse_row
from tests.ledger.making import ROOT, add, python, run, state_of, turn, verified_rows


@pytest.fixture
def keys(tmp_path: Path) -> Path:
    return tmp_path / "keys"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "l.db"


@pytest.fixture
def ledger(path: Path, keys: Path) -> Any:
    opened = Ledger(path, keys=keys)
    yield opened
    opened.close()


# Appending


def test_rows_are_chained_by_session_signed_and_in_one_tree(ledger: Ledger, path: Path, keys: Path) -> None:
    made = [*add(ledger, 2, "one"), *add(ledger, 1, "two"), *add(ledger, 1, "one")]
    assert [(row.idx, row.session, row.n) for row in made] == [(0, "one", 0), (1, "one", 1), (2, "two", 0), (3, "one", 2)]
    assert [row.prev for row in made] == [NO_ROW, made[0].leaf, NO_ROW, made[1].leaf]
    writer = KeyFolder(keys).writer()
    for row in made:
        assert row.writer == writer.key_id
        assert ed25519.verify(writer.public, row.sig, seal.pae(row.body))
    assert verified_rows(path, keys) == made
    assert ledger.rows("one") == (made[0], made[1], made[3])
    assert ledger.rows("nobody") == ()
    assert ledger.rows_of_kinds("turn") == tuple(made)
    checkpoint, note = ledger.head()
    assert (checkpoint.origin, checkpoint.size) == (ledger.origin, 4)
    assert note.startswith(ledger.origin)
    assert state_of(path, keys).root == checkpoint.root


def test_a_ledger_goes_on_where_it_was_left(path: Path, keys: Path) -> None:
    origins = set()
    for _ in range(5):
        opened = Ledger(path, keys=keys)
        origins.add(opened.origin)
        add(opened, 3)
        opened.close()
    assert len(origins) == 1
    assert [row.n for row in verified_rows(path, keys)] == list(range(15))


def test_two_open_ledgers_of_one_file_take_turns(path: Path, keys: Path) -> None:
    one, other = Ledger(path, keys=keys), Ledger(path, keys=keys)
    for _ in range(5):
        add(one)
        add(other, 2)
        add(other)
    assert len(verified_rows(path, keys)) == 20
    one.close()
    add(other)
    other.close()
    assert len(verified_rows(path, keys)) == 21


def test_a_rule_sees_the_rows_under_the_lock(ledger: Ledger) -> None:
    add(ledger, 2)

    def rule(view: View) -> list[Draft]:
        assert view.size == 2
        assert [row.n for row in view.session("s")] == [0, 1]
        assert view.session("nobody") == ()
        assert view.has("s", "turn")
        assert not view.has("s", "open")
        assert len(view.kinds("turn", "breach")) == 2
        return [turn("s", turn=len(view.session("s")) + 1)]

    assert ledger.append(rule)[0].data["turn"] == 3


def test_a_rule_that_decides_for_nothing_adds_nothing(ledger: Ledger, path: Path, keys: Path) -> None:
    add(ledger)
    before = ledger.head()
    assert ledger.append(lambda _: ()) == ()
    assert ledger.append(lambda _: iter([])) == ()
    assert ledger.head() == before
    add(ledger)
    assert len(verified_rows(path, keys)) == 2


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit, GeneratorExit, MemoryError])
def test_a_rule_that_raises_leaves_nothing_behind(
    ledger: Ledger, path: Path, keys: Path, error: type[BaseException]
) -> None:
    content = ledger.content(b"text", "text/plain")

    def rule(_: View) -> Any:
        yield turn("s", (content,))
        raise error

    add(ledger)
    with pytest.raises(error):
        ledger.append(rule)
    add(ledger)
    assert len(verified_rows(path, keys)) == 2
    assert ledger.read_content(content.commitment) is None


@pytest.mark.parametrize(
    ("draft", "error", "reason"),
    [
        (Draft("s", "nonsense", {}), EncodingError, "no kind of row 'nonsense'"),
        (Draft("s", "resume", {"after": 1}), EncodingError, "in_doubt, software is missing"),
        (Draft("latest", "turn", turn().data), SettingError, "'latest' cannot be a session's id"),
        (Draft("", "turn", turn().data), SettingError, "'' cannot be"),
        (Draft("../../etc", "turn", turn().data), SettingError, "cannot be"),
        (Draft("\x1b[2J", "turn", turn().data), SettingError, r"'\\u\{1b\}\[2J' cannot be"),
        (turn(turn=2**53), EncodingError, "integer beyond"),
        (turn(model="a\0b"), EncodingError, r"U\+0000"),
        (turn(model="\ud800"), EncodingError, "lone surrogate"),
        (turn(model="m" * 201), EncodingError, "model is"),
        (Draft("s", "erase", {"contents": Content(b"", "t", b"s" * 32).commitment, "count": 1, "reason": "x" * 60_000}),
         EncodingError, "longer than 60000"),
    ],
)
def test_one_bad_draft_in_a_batch_leaves_none_of_it(
    ledger: Ledger, path: Path, keys: Path, draft: Draft, error: type[Exception], reason: str
) -> None:
    add(ledger)
    with pytest.raises(error, match=reason):
        ledger.append(lambda _: [turn(), draft, turn()])
    add(ledger, 2)
    assert [row.n for row in verified_rows(path, keys)] == [0, 1, 2]


def test_rows_about_the_ledger_have_the_reserved_session(ledger: Ledger) -> None:
    limits = {"hour": {}, "day": {"tokens": 5}, "month": {}}
    assert ledger.append(lambda _: [Draft("ledger", "limits", limits)])[0].session == "ledger"


def test_using_the_ledger_within_its_own_rule_is_a_mistake_that_costs_nothing(
    ledger: Ledger, path: Path, keys: Path
) -> None:
    uses = (
        lambda: add(ledger), lambda: ledger.rows("s"), lambda: ledger.rows_of_kinds("turn"), ledger.head,
        lambda: ledger.get_all(), lambda: ledger.read_content(Content(b"", "t", b"s" * 32).commitment), ledger.close,
        lambda: ledger.write("s", 1, "llm", "x", 1, 1, True),
    )
    for use in uses:
        def rule(_: View, use: Any = use) -> list[Draft]:
            use()
            return [turn()]

        with pytest.raises(RuntimeError, match="a rule must not"):
            ledger.append(rule)
    add(ledger)
    assert len(verified_rows(path, keys)) == 1


def test_a_rule_on_a_second_ledger_of_the_same_file_waits_for_itself_only_so_long(path: Path, keys: Path) -> None:
    one, other = Ledger(path, keys=keys), Ledger(path, keys=keys, timeout_s=0.1)
    with pytest.raises(LedgerLocked):
        one.append(lambda _: add(other) and [])
    add(one)
    add(other)
    one.close()
    other.close()


def test_a_closed_ledger_says_so_and_may_be_closed_again(path: Path, keys: Path) -> None:
    ledger = Ledger(path, keys=keys)
    add(ledger)
    ledger.close()
    ledger.close()
    for use in (lambda: add(ledger), lambda: ledger.rows("s"), ledger.head):
        with pytest.raises(RuntimeError, match="the ledger is closed"):
            use()
    assert len(verified_rows(path, keys)) == 1


def test_the_time_is_the_clock_s_in_utc_and_may_go_backwards(path: Path, keys: Path) -> None:
    moments = iter([
        datetime(2026, 11, 21, 9, 0, 0, 5, timezone(timedelta(hours=2))),
        datetime(2026, 11, 21, 6, 59, tzinfo=UTC),
        datetime(1970, 1, 1, tzinfo=UTC),
    ])
    ledger = Ledger(path, keys=keys, clock=lambda: next(moments))
    for number in (1, 2, 1):
        add(ledger, number)
    ledger.close()
    assert [row.at for row in verified_rows(path, keys)] == [
        "2026-11-21T07:00:00.000005Z", "2026-11-21T06:59:00.000000Z", "2026-11-21T06:59:00.000000Z",
        "1970-01-01T00:00:00.000000Z",
    ]


def test_in_memory_nothing_is_left_and_everything_works(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SAFELOOP_KEYS", str(tmp_path / "keys"))
    ledger = Ledger(":memory:")
    content = ledger.content(b"reply", "text/plain")
    rows = (*add(ledger, 2, contents=(content,)), *add(ledger))
    assert ledger.rows("s") == rows
    assert ledger.read_content(rows[0].data["response"]) == b"reply"
    assert ledger.head()[0].size == 3
    assert ledger.db_path == ":memory:"
    child = os.fork()
    if child == 0:
        os._exit(0 if add(ledger)[0].n == 3 else 1)
    assert os.waitpid(child, 0)[1] == 0
    assert add(ledger)[0].n == 3
    ledger.close()
    assert list(tmp_path.iterdir()) == []


# Content


def test_content_is_kept_before_its_row_and_read_by_its_commitment(ledger: Ledger) -> None:
    content = ledger.content("é".encode(), "text/plain; charset=utf-8")
    assert ledger.content("é".encode(), "text/plain; charset=utf-8").salt != content.salt
    assert len(content.salt) == 32
    assert ledger.read_content(content.commitment) is None
    row = add(ledger, contents=(content,))[0]
    assert ledger.read_content(row.data["response"]) == "é".encode()
    with pytest.raises(VerificationError):
        ledger.read_content(row.data["response"] | {"bytes": 3})


# A file that is pulled away


@pytest.mark.parametrize("name", ["l.db", "l.content.db"])
@pytest.mark.parametrize("change", ["unlink", "rename", "replace"])
def test_a_file_that_is_no_longer_where_it_was_takes_no_more_rows(
    ledger: Ledger, path: Path, keys: Path, tmp_path: Path, name: str, change: str
) -> None:
    """Rows in a file that has no name would be acknowledged and lost."""
    add(ledger, 2)
    file = path.with_name(name)
    saved = tmp_path / "saved"
    os.link(file, saved)
    if change == "unlink":
        file.unlink()
    elif change == "rename":
        file.rename(tmp_path / "elsewhere.db")
    else:
        (tmp_path / "new").write_bytes(file.read_bytes())
        (tmp_path / "new").replace(file)
    with pytest.raises(LedgerNotFound, match=f"{name} was removed, moved or replaced while it was open") as caught:
        add(ledger)
    assert caught.value.hint
    saved.replace(file)
    add(ledger)
    assert len(ledger.rows("s")) == 3


def test_a_ledger_made_anew_by_others_in_the_same_place_gets_no_rows_of_the_old_one(
    ledger: Ledger, path: Path, keys: Path, tmp_path: Path
) -> None:
    add(ledger, 2)
    for file in path.parent.glob("l.*"):
        file.unlink()
    other = Ledger(path, keys=tmp_path / "other keys")
    add(other)
    with pytest.raises(LedgerNotFound, match="while it was open"):
        add(ledger)
    with pytest.raises(LedgerError, match="was not signed by the log key|should be ledger"):
        Ledger(path, keys=keys)
    other.close()
    assert len(verified_rows(path, tmp_path / "other keys")) == 1


# Threads, processes, forks, signals

WRITER = """
import sys, threading
from tests.ledger.making import Ledger, add
path, keys, name, threads, count = sys.argv[1:]
ledger = Ledger(path, keys=keys)
def work(number):
    for turn in range(int(count)):
        add(ledger, 1 + turn % 2, f"{name}.{(number + turn) % 3}")
        if turn % 5 == 0:
            ledger.rows(f"{name}.0")
workers = [threading.Thread(target=work, args=(number,)) for number in range(int(threads))]
for worker in workers: worker.start()
for worker in workers: worker.join()
ledger.close()
"""


def test_eight_processes_of_four_threads_lose_and_disturb_nothing(path: Path, keys: Path) -> None:
    Ledger(path, keys=keys).close()
    # Half of them share sessions, so that chains too are written from several processes.
    processes = [python(WRITER, path, keys, f"p{number // 2}", 4, 10) for number in range(8)]
    for process in processes:
        assert process.communicate(timeout=120) == ("", "")
    assert sorted(found.name for found in path.parent.iterdir()) == ["keys", "l.content.db", "l.db"]
    rows = verified_rows(path, keys)  # checks every chain: n without gaps, prev the leaf before
    assert len(rows) == 8 * 4 * 15
    assert state_of(path, keys).size == len(rows), "after a quiet end the state is exactly at the head"


def test_a_fork_and_its_parent_both_go_on(ledger: Ledger, path: Path, keys: Path) -> None:
    add(ledger, 2, "parent")
    child = os.fork()
    if child == 0:
        status = 1
        with contextlib.suppress(BaseException):
            for _ in range(20):
                add(ledger, 1, "child")
            ledger.close()
            status = 0
        os._exit(status)
    for _ in range(20):
        add(ledger, 1, "parent")
    assert os.waitpid(child, 0)[1] == 0
    add(ledger, 1, "parent")
    assert len(verified_rows(path, keys)) == 43


def test_rows_of_a_child_survive_that_its_parent_closes_first(path: Path, keys: Path) -> None:
    """The child would inherit SQLite's belief in locks that only the parent holds."""
    ledger = Ledger(path, keys=keys)
    add(ledger)
    to_child, from_child = os.pipe(), os.pipe()
    child = os.fork()
    if child == 0:
        status = 1
        with contextlib.suppress(BaseException):
            add(ledger)
            os.write(from_child[1], b"x")
            os.read(to_child[0], 1)
            add(ledger)
            status = 0
        os._exit(status)
    os.read(from_child[0], 1)
    ledger.close()
    os.write(to_child[1], b"x")
    assert os.waitpid(child, 0)[1] == 0
    for end in (*to_child, *from_child):
        os.close(end)
    assert len(verified_rows(path, keys)) == 3


def _in_child(ledger: Ledger, name: str) -> None:
    for _ in range(5):
        add(ledger, 1, name)


def test_multiprocessing_with_fork_shares_a_ledger(ledger: Ledger, path: Path, keys: Path) -> None:
    add(ledger)
    context = multiprocessing.get_context("fork")
    children = [context.Process(target=_in_child, args=(ledger, f"c{number}")) for number in range(4)]
    for child in children:
        child.start()
    add(ledger, 5)
    for child in children:
        child.join()
        assert child.exitcode == 0
    add(ledger)
    assert len(verified_rows(path, keys)) == 27


def test_a_fork_waits_for_a_thread_that_is_appending(ledger: Ledger, path: Path, keys: Path) -> None:
    started = threading.Event()

    def slow(_: View) -> list[Draft]:
        started.set()
        time.sleep(0.2)
        return [turn("thread")]

    worker = threading.Thread(target=lambda: ledger.append(slow))
    worker.start()
    started.wait()
    child = os.fork()
    if child == 0:
        status = 1
        with contextlib.suppress(BaseException):
            add(ledger, 1, "child")
            status = 0
        os._exit(status)
    worker.join()
    assert os.waitpid(child, 0)[1] == 0
    add(ledger)
    assert [row.session for row in verified_rows(path, keys)] == ["thread", "child", "s"]


def test_a_ledger_may_be_opened_within_a_rule_while_another_thread_forks(
    ledger: Ledger, path: Path, keys: Path, tmp_path: Path
) -> None:
    started = threading.Event()

    def rule(_: View) -> list[Draft]:
        started.set()
        time.sleep(0.1)  # the fork waits for this rule by now
        other = Ledger(tmp_path / "other.db", keys=keys)
        add(other)
        other.close()
        return [turn()]

    worker = threading.Thread(target=lambda: ledger.append(rule), daemon=True)
    worker.start()
    started.wait()
    child = os.fork()
    if child == 0:
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    worker.join(30)
    assert not worker.is_alive()
    assert len(verified_rows(path, keys)) == len(verified_rows(tmp_path / "other.db", keys)) == 1


def test_a_child_that_was_forked_within_a_rule_can_neither_commit_nor_go_on(
    ledger: Ledger, path: Path, keys: Path
) -> None:
    children = []

    def rule(_: View) -> list[Draft]:
        children.append(os.fork())
        return [turn("parent" if children[-1] else "child")]

    in_child = False
    status = 1
    try:
        try:
            ledger.append(rule)
        except RuntimeError as error:
            in_child = children[-1] == 0
            assert "forked in the middle of an append" in str(error)
            with pytest.raises(RuntimeError, match="forked in the middle"):
                add(ledger)
            status = 0
    finally:
        if children and children[-1] == 0:
            os._exit(status)
    assert not in_child
    assert os.waitpid(children[0], 0)[1] == 0
    add(ledger)
    assert [row.session for row in verified_rows(path, keys)] == ["parent", "s"]


def test_files_of_another_process_are_neither_used_nor_closed(
    path: Path, keys: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger = Ledger(path, keys=keys)
    add(ledger)
    with monkeypatch.context() as patch:
        patch.setattr("safeloop.ledger.files.os.getpid", lambda: -1)
        with pytest.raises(RuntimeError, match="forked in the middle"):
            ledger.rows("s")
        ledger.close()
    assert Path(f"{path}-wal").stat().st_size, "the parent's log was folded by its child"
    gc.collect()


def test_a_program_that_forks_and_execs_disturbs_nothing(ledger: Ledger, path: Path, keys: Path) -> None:
    add(ledger)
    subprocess.run([sys.executable, "-c", "pass"], check=True)
    subprocess.run(["true"], check=True, preexec_fn=lambda: None)
    add(ledger)
    assert len(verified_rows(path, keys)) == 2


def test_an_interrupt_at_any_moment_leaves_a_ledger_that_works(path: Path, keys: Path) -> None:
    code = """
import random, signal, sys
from tests.ledger.making import Ledger, add
random.seed(int(sys.argv[3]))
ledger = Ledger(sys.argv[1], keys=sys.argv[2], timeout_s=5)
acknowledged = interrupted = 0
def interrupt(*_): raise KeyboardInterrupt
signal.signal(signal.SIGALRM, interrupt)
while interrupted < 150:
    try:
        signal.setitimer(signal.ITIMER_REAL, random.uniform(0.0001, 0.003))
        while True:
            acknowledged += len(add(ledger, random.choice([1, 1, 5])))
    except KeyboardInterrupt:
        interrupted += 1
    signal.setitimer(signal.ITIMER_REAL, 0)
    acknowledged += len(add(ledger))  # the very next append works
ledger.close()
print(acknowledged)
"""
    # An exception between two steps of coverage's own bookkeeping would leave coverage's own lock held.
    acknowledged = int(run(code, path, keys, 7, measured=False))
    rows = verified_rows(path, keys)
    assert len(rows) >= acknowledged
    # Failed but persisted: an interrupt that came after COMMIT, at most one batch each.
    assert len(rows) <= acknowledged + 150 * 5


def test_control_c_while_waiting_for_the_lock_is_obeyed_at_once(ledger: Ledger, path: Path, keys: Path) -> None:
    code = """
import sys
from tests.ledger.making import Ledger, add
ledger = Ledger(sys.argv[1], keys=sys.argv[2], timeout_s=60)
print("waiting", flush=True)
try:
    add(ledger)
except KeyboardInterrupt:
    print("interrupted")
"""
    add(ledger)

    def rule(_: View) -> list[Draft]:
        with python(code, path, keys) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == "waiting\n"
            time.sleep(0.1)
            process.send_signal(signal.SIGINT)
            assert process.communicate(timeout=10)[0] == "interrupted\n"  # and closing waits for nobody
        return [turn()]

    ledger.append(rule)
    assert len(verified_rows(path, keys)) == 2


def test_a_ledger_that_nobody_closes_is_closed_with_its_last_name(path: Path, keys: Path) -> None:
    ledger = Ledger(path, keys=keys)
    add(ledger)
    gone = weakref.ref(ledger)
    del ledger
    gc.collect()
    assert gone() is None
    assert not Path(f"{path}-wal").exists()
    assert len(verified_rows(path, keys)) == 1


def test_a_program_that_never_closes_ends_without_a_warning_and_with_its_rows(path: Path, keys: Path) -> None:
    code = """
import gc, sys
from tests.ledger.making import Ledger, add
def forgotten(session):
    add(Ledger(sys.argv[1], keys=sys.argv[2]), session=session)
forgotten("a"); gc.collect()
ledger = Ledger(sys.argv[1], keys=sys.argv[2])
add(ledger, session="b")
ledger.cycle = ledger
"""
    with subprocess.Popen(
        [sys.executable, "-X", "dev", "-W", "error", "-c", code, path, keys], cwd=ROOT, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.communicate(timeout=60)[1] == ""
    assert process.returncode == 0
    assert not Path(f"{path}-wal").exists()
    assert [row.session for row in verified_rows(path, keys)] == ["a", "b"]


def test_a_ledger_that_cannot_be_opened_leaves_no_file_open(path: Path, keys: Path, tmp_path: Path) -> None:
    Ledger(path, keys=keys).close()
    path.with_name("l.content.db").write_bytes(b"nonsense" * 1_000)
    before = set(os.listdir("/proc/self/fd"))
    for _ in range(3):
        with pytest.raises(Exception, match="is not a database"):
            Ledger(path, keys=keys)
    gc.collect()
    assert len(os.listdir("/proc/self/fd")) <= len(before)


# The tutorial's verbs


def test_the_tutorial_s_program_runs(ledger: Ledger) -> None:
    assert ledger.write("a", 0, "llm", "the task", 120, 34, True) == 1
    assert ledger.write("a", 1, "llm", "the task", 80, 30, True, None) == 2
    assert ledger.write("b", 6, "circuit_breaker", "other", 0, 0, False, "turn_ceiling") == 3
    rows = ledger.get_all()
    assert [row.id for row in rows] == [1, 2, 3]
    assert ledger.get_session("a") == rows[:2]
    assert ledger.get_session("nobody") == []
    assert rows[0] == LedgerRow(
        id=1, session_id="a", turn_count=0, state_origin="llm", input_hash=hashlib.sha256(b"the task").hexdigest(),
        token_delta=120, execution_time_ms=34, pass_fail=True, breach_reason=None, created_at=rows[0].created_at,
    )
    assert rows[2].breach_reason == "turn_ceiling"
    assert rows[2].pass_fail is False
    with pytest.raises(AttributeError):
        rows[0].id = 5  # type: ignore[misc]


def test_a_breach_by_hand_has_the_fixed_values_of_a_breach(ledger: Ledger) -> None:
    ledger.write("a", 6, "circuit_breaker", "x", 99, 99, True)
    row = ledger.rows("a")[0]
    assert row.kind == "breach"
    assert (row.data["pass_fail"], row.data["token_delta"], row.data["execution_time_ms"]) == (False, 0, 0)
    assert row.data["breach_reason"] == "unknown"
    assert [row.data[key] for key in ("scope", "limit", "spent", "next_at_most")] == [None] * 4


def test_what_a_row_by_hand_cannot_know_is_null(ledger: Ledger) -> None:
    ledger.write("a", 1, "tool\x1b[2J" + "x" * 500, "x", 1, 1, 1)  # type: ignore[arg-type]
    row = ledger.rows("a")[0]
    assert row.data["pass_fail"] is True
    assert row.data["state_origin"].startswith(r"tool\u{1b}[2Jxxx")
    assert len(row.data["state_origin"].encode()) <= 200
    assert {key for key, value in row.data.items() if value is None} == {
        "attempt", "intent", "model", "response", "stop_reason", "usage", "cost_microusd", "elapsed_ms", "overrun",
        "breach_reason",
    }


def test_the_task_itself_never_enters_the_file(path: Path, keys: Path) -> None:
    ledger = Ledger(path, keys=keys)
    ledger.write("a", 1, "llm", "very-secret-task \ud800", 1, 1, True)
    ledger.close()
    for file in path.parent.glob("l.*"):
        assert b"very-secret-task" not in file.read_bytes()


@pytest.mark.parametrize("session", ["latest", "ledger", "", "a/b", "é", "a" * 129, None, 5, "\x1b[2J"])
def test_an_id_that_no_session_can_have_is_refused(ledger: Ledger, session: Any) -> None:
    with pytest.raises(SettingError, match="cannot be a session's id") as caught:
        ledger.write(session, 1, "llm", "x", 1, 1, True)
    assert "\x1b" not in str(caught.value)
    assert ledger.get_all() == []


@pytest.mark.parametrize("change", [{"turn_count": -1}, {"turn_count": True}, {"token_delta": -5}, {"token_delta": 1.5},
                                    {"execution_time_ms": None}, {"token_delta": 2**53}])
def test_a_value_that_no_row_can_hold_is_refused(ledger: Ledger, change: dict[str, Any]) -> None:
    good = {"session_id": "a", "turn_count": 1, "state_origin": "llm", "input_str": "x", "token_delta": 1,
            "execution_time_ms": 1, "pass_fail": True}
    with pytest.raises(EncodingError):
        ledger.write(**(good | change))
    assert ledger.write(**good) == 1


def test_only_the_loop_writes_into_a_session_that_it_opened(ledger: Ledger) -> None:
    ledger.write("a", 1, "llm", "x", 1, 1, True)
    task = ledger.content(b"task", "text/plain")
    opened = {
        "spec": "a" * 64, "task": task.commitment, "input_hash": "a" * 64, "model": "m", "endpoint": "e",
        "ceilings": {}, "parent": None, "continues": None, "workspace": None, "billing_workspace": None,
        "api_key_id": None, "tools": [], "software": "s",
    }
    ledger.append(lambda _: [Draft("a", "open", opened, (task,))])
    with pytest.raises(RuntimeError, match="session a was opened by a loop"):
        ledger.write("a", 2, "llm", "x", 1, 1, True)
    ledger.write("b", 1, "llm", "x", 1, 1, True)
    assert [row.kind for row in ledger.rows("a")] == ["turn", "open"]
    assert len(ledger.get_session("a")) == 1


def test_the_attributes_that_callers_read_are_there(path: Path, keys: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SAFELOOP_KEYS", str(keys))
    monkeypatch.chdir(path.parent)
    ledger = Ledger()
    assert ledger.db_path == "ledger.db"
    assert (path.parent / "ledger.db").is_file()
    ledger.close()
    ledger = Ledger(str(path))
    assert ledger.db_path == str(path)
    ledger.close()


# A file that lies


def test_a_row_that_a_reader_cannot_parse_is_an_error_and_no_guess(ledger: Ledger, path: Path) -> None:
    add(ledger)
    ledger.close()
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute(
        "INSERT INTO row (idx, body, sig) VALUES (1, ?, zeroblob(64))", ('{"session":"s","n":1,"kind":"turn"}',)
    )
    connection.close()
    opened = Ledger(path, keys=path.parent / "keys")
    with pytest.raises(EncodingError, match="not canonical|not the nine"):
        opened.rows("s")
    opened.close()


def test_what_is_sealed_is_what_would_be_parsed(ledger: Ledger) -> None:
    row = add(ledger)[0]
    assert parse_row(row.idx, row.body, row.sig) == row
    draft = Draft(row.session, row.kind, row.data)
    assert encode_body(draft, ledger=row.ledger, n=row.n, prev=row.prev, at=row.at, writer=row.writer) == row.body
