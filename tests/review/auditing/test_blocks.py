"""Rows cut into blocks, blocks hashed to subtrees, and the work on them shared out: by attacks on what holds it together."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from safeloop.errors import LedgerError, ProofError, SafeloopError
from safeloop.ledger.merkle import Frontier, root
from safeloop.review.auditing import blocks as cutting
from safeloop.review.auditing.blocks import Block, blocks, subtree
from safeloop.review.auditing.workers import _Crew, results

LEAVES = [bytes([number]) * 32 for number in range(32)]


def sizes(block: Block) -> tuple[int, int]:
    return block.first, len(block.bodies)


def die_at_one(block: Block) -> int:
    if block.first == 1 and multiprocessing.parent_process() is not None:
        os.kill(os.getpid(), signal.SIGKILL)
    return block.first


class Late:
    """Says which process works; another one than this gets to it only after a minute."""

    def __call__(self, _: Block) -> int:
        return os.getpid()

    def __reduce__(self) -> tuple[Callable[[int], Late], tuple[int]]:
        return late, (os.getpid(),)


def late(pid: int) -> Late:
    if os.getpid() != pid:
        time.sleep(60)
    return Late()


def who(_: Block) -> int:
    return os.getpid()


def positions(end: int) -> Iterator[tuple[object, object, object]]:
    return ((idx, b"body", b"") for idx in range(end))


@given(st.lists(st.integers(0, 40), unique=True, max_size=30), st.sampled_from([1, 2, 4, 8]))
def test_every_row_is_in_one_block_at_its_position(found: list[int], size: int) -> None:
    cut = list(blocks(((idx, idx, b"") for idx in sorted(found)), size))
    assert [body for block in cut for body in block.bodies] == sorted(found)
    for block in cut:
        assert block.bodies == list(range(block.first, block.first + len(block.bodies)))
        assert len({idx // size for idx in block.bodies}) <= 1


def test_rows_where_none_can_follow_are_strays_and_move_nothing() -> None:
    rows = [(-3, b"", b""), (0, b"", b""), (0, b"", b""), ("1", b"", b""), (1, b"", b""), (2.0, b"", b"")]
    (block,) = blocks(rows, 8)
    assert (sizes(block), block.strays) == ((0, 2), [(-3, 0), (0, 1), ("1", 1), (2.0, 2)])


def test_what_was_read_before_the_damage_comes_before_the_error() -> None:
    def rows() -> Iterator[tuple[object, object, object]]:
        yield from positions(3)
        raise LedgerError("damaged")

    seen = []
    with pytest.raises(LedgerError, match="damaged"):
        seen += [seen.append(sizes(block)) for block in blocks(rows(), 2)]
    assert seen == [(0, 2), (2, 1)]


def test_long_bodies_are_cut_into_more_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cutting, "MOST_BYTES", 10)
    assert [sizes(block) for block in blocks(positions(9), 8)] == [(0, 3), (3, 3), (6, 2), (8, 1)]


@given(st.integers(0, 32), st.integers(0, 3))
def test_a_tree_that_grows_by_subtrees_is_the_tree_of_its_leaves(number: int, level: int) -> None:
    frontier, done = Frontier(), 0
    while done < number:
        if done % (1 << level) == 0 and done + (1 << level) <= number:
            levels = subtree(LEAVES[done : done + (1 << level)])
            frontier.append(levels[-1][0], level)
            done += 1 << level
        else:
            frontier.append(LEAVES[done])
            done += 1
        assert (frontier.size, frontier.root()) == (done, root(LEAVES[:done]))


def test_a_subtree_cannot_begin_within_another() -> None:
    frontier = Frontier()
    frontier.append(LEAVES[0])
    with pytest.raises(ProofError, match="cannot begin at leaf 1"):
        frontier.append(LEAVES[1], 1)


@pytest.mark.usefixtures("started")
@pytest.mark.parametrize("processes", [1, 2, 3])
def test_results_come_in_order_and_few_blocks_are_under_way(processes: int) -> None:
    drawn: list[int] = []

    def drawing() -> Iterator[Block]:
        for block in blocks(positions(40), 1):
            drawn.append(block.first)
            yield block

    with results(sizes, drawing(), processes) as found:
        for expected, (block, size) in enumerate(found):
            assert (block.first, size) == (expected, (expected, 1))
            assert len(drawn) - expected <= 4 * processes + 1
    assert len(drawn) == 40


@pytest.mark.usefixtures("started")
@pytest.mark.parametrize("processes", [1, 2])
def test_an_error_of_the_source_comes_after_every_result(processes: int) -> None:
    def broken() -> Iterator[Block]:
        yield from blocks(positions(5), 1)
        raise LedgerError("damaged")

    seen = []
    with pytest.raises(LedgerError, match="damaged"), results(sizes, broken(), processes) as found:
        seen += [seen.append(block.first) for block, _ in found]
    assert seen == [0, 1, 2, 3, 4]


@pytest.mark.usefixtures("started")
def test_a_worker_that_dies_is_an_error_that_says_what_to_do() -> None:
    with pytest.raises(SafeloopError, match=r"ended before its work did \(exit code -9\)") as caught:
        with results(die_at_one, blocks(positions(10), 1), 2) as found:
            list(found)
    assert "--processes 1" in caught.value.hint
    assert not children(os.getpid())


def test_nobody_waits_for_a_worker_that_has_not_started(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("safeloop.review.auditing.workers._PATIENCE_S", 60.0)
    began = time.monotonic()
    with results(Late(), blocks(positions(50), 1), 2) as found:
        assert [(block.first, pid) for block, pid in found] == [(at, os.getpid()) for at in range(50)]
    assert not children(os.getpid())
    assert time.monotonic() - began < 30


@pytest.mark.usefixtures("started")
def test_a_worker_that_has_started_takes_part() -> None:
    with results(who, blocks(positions(50), 1), 2) as found:
        assert {os.getpid()} < {pid for _, pid in found}


@pytest.mark.usefixtures("started")
def test_a_worker_that_is_done_has_its_next_block_before_anything_else_is_done(monkeypatch: pytest.MonkeyPatch) -> None:
    sent, crews, send = list[int](), set[_Crew[int]](), _Crew._send

    def watch(crew: _Crew[int], worker: Any, block: Block) -> Any:
        crews.add(crew)
        sent.append(block.first)
        return send(crew, worker, block)

    monkeypatch.setattr(_Crew, "_send", watch)
    after = []
    with results(who, blocks(positions(40), 1), 2) as found:
        for _ in found:
            after.append(len(sent))
            (crew,) = crews
            worker = crew._workers[0]
            if worker.errands:
                assert worker.pipe.poll(30)
    growing = after[: after.index(after[-1]) + 1]
    assert len(growing) > 5
    assert growing == sorted(set(growing))


@pytest.mark.usefixtures("started")
def test_whoever_leaves_early_leaves_no_process_behind() -> None:
    with results(sizes, blocks(positions(100), 1), 3) as found:
        next(found)
        assert len(children(os.getpid())) == 2
    assert not children(os.getpid())


LONG = """
from tests.review.auditing.test_blocks import positions, who
from safeloop.review.auditing.blocks import blocks
from safeloop.review.auditing.workers import results
if __name__ == "__main__":
    with results(who, blocks(positions(10**9), 1), 3) as found:
        seen = set()
        for _, pid in found:
            if pid not in seen and len(seen) == 2:
                print("ready", flush=True)
            seen.add(pid)
"""


@pytest.mark.parametrize("ending", [signal.SIGINT, signal.SIGKILL])
def test_workers_end_with_whoever_they_work_for(tmp_path: Path, ending: signal.Signals) -> None:
    """^C reaches the whole group, and a kill only the parent."""
    script = tmp_path / "long.py"
    script.write_text(LONG)
    root_folder = Path(__file__).parents[3]
    parent = subprocess.Popen(
        [sys.executable, script], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
        env={**os.environ, "PYTHONPATH": str(root_folder)},
    )
    assert parent.stdout is not None
    try:
        assert parent.stdout.readline() == "ready\n"
        workers = children(parent.pid)
        assert len(workers) == 2
        if ending is signal.SIGINT:
            os.killpg(parent.pid, ending)
        else:
            parent.kill()
        _, errors = parent.communicate(timeout=30)
    finally:
        parent.kill()
        parent.wait()
    assert parent.returncode == -ending
    assert errors.count("Traceback") == (ending is signal.SIGINT)  # the script's own
    patience = time.monotonic() + 30
    while any(is_alive(worker) for worker in workers):
        assert time.monotonic() < patience
        time.sleep(0.02)


def children(pid: int) -> list[int]:
    """Return the worker processes of a process; multiprocessing's own helper is none."""
    found = Path(f"/proc/{pid}/task").glob("*/children")
    pids = [int(each) for file in found for each in file.read_text().split()]
    return [each for each in pids if "spawn_main" in Path(f"/proc/{each}/cmdline").read_text()]


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().split()[2] != "Z"
    except OSError:
        return False
