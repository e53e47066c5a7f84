"""The audit: how near it comes to what two processors can verify, and how fast chains and tree alone are."""

from __future__ import annotations

import contextlib
import multiprocessing
from collections.abc import Iterator
from multiprocessing.connection import Connection
from pathlib import Path

from safeloop.ledger import ed25519, seal
from safeloop.ledger.keys import KeyFolder
from safeloop.ledger.reader import LedgerReader
from safeloop.ledger.trust import load_trust
from safeloop.review.auditing.audit import audit
from tests.bench.building import Built
from tests.bench.measure import Measure, Timed, timed

PROCESSES = 2
TREE_ROWS_PER_S = 100_000


@contextlib.contextmanager
def auditing(built: Built) -> Iterator[tuple[Measure, ...]]:
    """Return what audits of a ledger cost; the yardstick's processes wait, started, until the end.

    Starting processes is part of our time and not of the yardstick's.
    """
    with _verifying(built) as verify:
        yield (
            Measure("full audit, two processes", "Ed25519 verifying, two processes",
                    lambda: _audit(built, tree_only=False), verify, inverted=True, floor=0.70, aim=0.85),
            Measure("audit --tree, two processes", f"{TREE_ROWS_PER_S:,} rows/s",
                    lambda: _audit(built, tree_only=True), lambda: built.rows / TREE_ROWS_PER_S,
                    inverted=True, floor=1.0),
        )  # fmt: skip


def _audit(built: Built, *, tree_only: bool) -> float:
    trust = load_trust(built.keys / "self")

    def work() -> None:
        with LedgerReader(built.path) as reader:
            report = audit(reader, trust, state=None, processes=PROCESSES, tree_only=tree_only)
            assert not report.findings, report.verdict

    return timed(work)


@contextlib.contextmanager
def _verifying(built: Built) -> Iterator[Timed]:
    """Start processes that each verify their share of a ledger's signatures whenever they are asked to."""
    spawning = multiprocessing.get_context("spawn")
    public = KeyFolder(built.keys).writer().public
    pipes, processes = [], []
    for share in range(PROCESSES):
        ours, theirs = spawning.Pipe()
        process = spawning.Process(target=_verify, args=(theirs, built.path, public, share), daemon=True)
        process.start()
        theirs.close()
        ours.recv()
        pipes.append(ours)
        processes.append(process)

    def work() -> None:
        for pipe in pipes:
            pipe.send("verify")
        for pipe in pipes:
            pipe.recv()

    try:
        yield lambda: timed(work)
    finally:
        for pipe in pipes:
            pipe.close()
        for process in processes:
            process.join()


def _verify(pipe: Connection, path: Path, public: bytes, share: int) -> None:
    """Verify the rows of one share as often as asked."""
    with LedgerReader(path) as reader:
        rows = [(signature, seal.pae(body)) for idx, body, signature in reader.rows() if idx % PROCESSES == share]
    pipe.send("ready")
    with contextlib.suppress(EOFError):
        while pipe.recv():
            assert all(ed25519.verify(public, signature, message) for signature, message in rows)
            pipe.send("done")
