"""The ledger that grows: what an append costs, one row or a hundred, in a new ledger or behind a million rows."""

from __future__ import annotations

import itertools
import os
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from safeloop import Ledger
from safeloop.ledger import Draft
from safeloop.ledger.keys import KeyFolder
from safeloop.ledger.note import verify_checkpoint
from safeloop.ledger.proofs import receipt
from safeloop.ledger.reader import LedgerReader
from safeloop.ledger.seal import pae
from safeloop.ledger.site import existing_site, real_path
from tests.bench.measure import Measure, timed

APPENDS, BATCHES, BATCH = 400, 20, 100
OPENINGS, RECEIPTS = 20, 50
RECEIPT_S = 0.005
BODY_BYTES = 880


def appending(folder: Path, ledger: Ledger) -> tuple[Measure, ...]:
    """Return what an append costs, in a ledger and with raw files in this folder."""
    return (
        Measure("append, one row a commit", "append + fdatasync of the same bytes",
                lambda: _append_one(ledger), lambda: _fdatasync(folder / "raw"), inverted=True, floor=0.30),
        Measure("append, 100 rows a commit", "Ed25519 signing, one core",
                lambda: _append_hundred(ledger), _sign, inverted=True, floor=0.40),
    )  # fmt: skip


def growing(empty: Path, million: Path, keys: Path) -> tuple[Measure, ...]:
    """Return what the size of a ledger costs.

    Args:
        empty: A ledger that was just made; its rows stay few.
        million: One with as many rows as is wanted, a million for the figures.
        keys: The key folder of both.
    """
    return (
        Measure("open a large ledger, append one", "an empty one",
                lambda: _open_and_append(million, keys), lambda: _open_and_append(empty, keys),
                inverted=False, floor=1.5),
        Measure("receipt from a large ledger", f"{RECEIPT_S * 1000:g} ms",
                lambda: _receipts(million, keys), lambda: RECEIPT_S * RECEIPTS, inverted=False, floor=1.0),
    )  # fmt: skip


def draft(number: int) -> Draft:
    """Draft a `turn` row in one of twenty sessions."""
    data = {
        "turn": number + 1, "attempt": None, "intent": None, "state_origin": "llm", "model": None,
        "input_hash": "0" * 64, "response": None, "stop_reason": None, "usage": None, "token_delta": 1,
        "cost_microusd": None, "execution_time_ms": 0, "elapsed_ms": None, "pass_fail": True, "overrun": None,
        "breach_reason": None,
    }  # fmt: skip
    return Draft(f"bench-{number % 20}", "turn", data)


def _append_one(ledger: Ledger) -> float:
    drafts = [draft(number) for number in range(APPENDS)]
    return timed(lambda: [ledger.append(lambda _, one=one: (one,)) for one in drafts])


def _append_hundred(ledger: Ledger) -> float:
    drafts = tuple(draft(number) for number in range(BATCH))
    return timed(lambda: [ledger.append(lambda _: drafts) for _ in range(BATCHES)])


def _fdatasync(path: Path) -> float:
    descriptor, body = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), b"x" * BODY_BYTES

    def write() -> None:
        os.write(descriptor, body)
        os.fdatasync(descriptor)

    try:
        return timed(lambda: [write() for _ in range(APPENDS)])
    finally:
        os.close(descriptor)


def _sign() -> float:
    key, data = Ed25519PrivateKey.generate(), pae(b"x" * BODY_BYTES)
    return timed(lambda: [key.sign(data) for _ in range(BATCHES * BATCH)])


def _open_and_append(path: Path, keys: Path) -> float:
    def once(number: int) -> None:
        ledger = Ledger(path, keys=keys)
        ledger.append(lambda _: (draft(number),))
        ledger.close()

    return timed(lambda: [once(number) for number in range(OPENINGS)])


_positions = itertools.count(1)


def _receipts(path: Path, keys: Path) -> float:
    """Make receipts of rows all over the ledger, each verified as it is made; the file is open already."""
    log = existing_site(real_path(path), KeyFolder(keys)).verifier
    with LedgerReader(path) as reader:
        size = verify_checkpoint(reader.head() or "", log).size
        # A large prime's multiples: no row is asked for twice.
        chosen = [next(_positions) * 7_368_787 % size for _ in range(RECEIPTS)]
        return timed(lambda: [receipt(reader, idx, log) for idx in chosen])
