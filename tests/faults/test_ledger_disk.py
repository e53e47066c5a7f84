"""Disks that are full, short or torn: nothing that was refused is there, and nothing that was acknowledged is gone."""

from __future__ import annotations

import contextlib
import shutil
from pathlib import Path

import pytest

from safeloop.errors import SafeloopError, StateMismatch
from safeloop.ledger import Ledger, ed25519
from safeloop.ledger.keys import KeyFolder
from safeloop.ledger.reader import LedgerReader
from safeloop.ledger.rows import parse_row
from tests.ledger.making import add, private_mounts, run, run_mounted, verified_rows

MOUNTS = pytest.mark.skipif(not private_mounts(), reason="this process may not mount anything")

FILL = """
import os, sys
from pathlib import Path
from safeloop.errors import LedgerError
from tests.ledger.making import Ledger, add, state_of, turn, verified_rows
disk, keys, content = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
ledger = Ledger(disk / "l.db", keys=keys)
(disk / "ballast").write_bytes(b"b" * 600_000)
acknowledged = []
for attempt in range(3):
    try:
        while True:
            contents = (ledger.content(os.urandom(content), "text/plain"),) if content else ()
            acknowledged += add(ledger, 3, f"s{attempt}", contents=contents)
    except LedgerError as error:
        print(error, "|", error.hint)
    assert verified_rows(disk / "l.db", keys) == acknowledged, "a refused row was persisted, or an acknowledged one lost"
    assert state_of(disk / "l.db", keys).size == len(acknowledged)
    with (disk / "ballast").open("r+b") as ballast:
        ballast.truncate(400_000 - 200_000 * attempt)
    acknowledged += add(ledger, 1, "room")
    assert all(ledger.read_content(row.data["response"]) for row in acknowledged if row.data["response"])
ledger.close()
ledger = Ledger(disk / "l.db", keys=keys)
acknowledged += add(ledger)
assert verified_rows(disk / "l.db", keys) == acknowledged
ledger.close()
print(len(acknowledged))
"""


@MOUNTS
@pytest.mark.parametrize("content", [0, 20_000])
def test_a_full_disk_refuses_whole_batches_and_space_mends_it(tmp_path: Path, content: int) -> None:
    (tmp_path / "disk").mkdir()
    out = run_mounted(
        f"mount -t tmpfs -o size=2m tmpfs {tmp_path}/disk", FILL, tmp_path / "disk", tmp_path / "keys", content
    ).splitlines()
    assert len(out) == 4
    for line in out[:3]:
        assert "the disk is full; nothing of this was recorded | df " in line or "disk I/O error" in line
    assert int(out[3]) > 10


@MOUNTS
def test_a_full_disk_at_creation_leaves_nothing_that_counts(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    code = """
import sys
from pathlib import Path
from safeloop.errors import LedgerError
from tests.ledger.making import Ledger, add, verified_rows
disk, keys = Path(sys.argv[1]), Path(sys.argv[2])
for size in (150_000, 120_000, 90_000, 60_000, 30_000):
    (disk / "ballast").write_bytes(b"b" * size)
    try:
        ledger = Ledger(disk / "l.db", keys=keys)
        add(ledger)
    except LedgerError as error:
        print("refused", error)
    else:
        break
(disk / "ballast").unlink()
ledger = Ledger(disk / "l.db", keys=keys)
add(ledger)
ledger.close()
print(sorted(found.name for found in disk.iterdir()), len(verified_rows(disk / "l.db", keys)))
"""
    out = run_mounted(f"mount -t tmpfs -o size=160k tmpfs {tmp_path}/disk", code, tmp_path / "disk", tmp_path / "keys")
    assert out.count("refused") >= 2
    assert "['l.content.db', 'l.db'] " in out.splitlines()[-1]


def test_a_file_that_may_not_grow_refuses_rows_and_keeps_the_old_ones(tmp_path: Path) -> None:
    code = """
import resource, signal, sys
from pathlib import Path
from safeloop.errors import LedgerError
from tests.ledger.making import Ledger, add, verified_rows
path, keys = Path(sys.argv[1]), Path(sys.argv[2])
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
ledger = Ledger(path, keys=keys)
acknowledged = list(add(ledger))
soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
for limit in (150_000, 300_000, 301_000, 450_123):
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
    try:
        while True:
            acknowledged += add(ledger, 2)
    except LedgerError as error:
        print(type(error).__name__)
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert verified_rows(path, keys) == acknowledged
    acknowledged += add(ledger)
ledger.close()
assert verified_rows(path, keys) == acknowledged
"""
    assert run(code, tmp_path / "l.db", tmp_path / "keys") == "LedgerError\n" * 4


# A log that was cut


@pytest.fixture
def torn(tmp_path: Path) -> Path:
    """A ledger whose writer was killed, with five of ten rows in the log only."""
    path, keys = tmp_path / "l.db", tmp_path / "keys"
    ledger = Ledger(path, keys=keys)
    add(ledger, 5)
    ledger.close()
    run(
        "import os, sys; from tests.ledger.making import Ledger, add; l = Ledger(sys.argv[1], keys=sys.argv[2]);"
        "[add(l) for _ in range(5)]; os._exit(9)", path, keys, expect=9,
    )
    (tmp_path / "saved").mkdir()
    for name in ("l.db", "l.db-wal"):
        shutil.copy(tmp_path / name, tmp_path / "saved" / name)
    return path


def damage(path: Path, log: bytes | None) -> None:
    shutil.copy(path.parent / "saved" / "l.db", path)
    Path(f"{path}-shm").unlink(missing_ok=True)
    Path(f"{path}-wal").unlink(missing_ok=True)
    if log is not None:
        Path(f"{path}-wal").write_bytes(log)


def readable_prefix(path: Path, keys: Path) -> int:
    """Return how many rows a judge reads; they are whole, signed, and what the head says."""
    from safeloop.ledger.merkle import Frontier
    from safeloop.ledger.note import parse_checkpoint

    frontier, writer = Frontier(), KeyFolder(keys).writer().public
    with LedgerReader(path) as reader, reader.snapshot():
        for stored in reader.rows():
            row = parse_row(*stored)
            assert ed25519.verify(writer, row.sig, b"DSSEv1 36 application/vnd.safeloop.row.v1+json %d %b" % (
                len(row.body), row.body
            ))
            frontier.append(bytes.fromhex(row.leaf))
        head = parse_checkpoint(reader.head() or "")
    assert (head.size, head.root) == (frontier.size, frontier.root())
    return head.size


def test_a_log_cut_anywhere_leaves_a_readable_prefix_that_nobody_may_write_on(torn: Path) -> None:
    keys = torn.parent / "keys"
    whole = (torn.parent / "saved" / "l.db-wal").read_bytes()
    assert readable_prefix(torn, keys) == 10
    seen = set()
    for part in range(0, 40):
        offset = len(whole) * part // 40
        damage(torn, whole[:offset])
        rows = readable_prefix(torn, keys)
        seen.add(rows)
        ledger = Ledger(torn, keys=keys)
        with pytest.raises(StateMismatch, match=f"has {rows} rows, but 10 were signed"):
            add(ledger)
        assert len(ledger.rows("s")) == rows
        ledger.close()
    assert seen == {5, 6, 7, 8, 9}
    damage(torn, whole)
    ledger = Ledger(torn, keys=keys)
    add(ledger)
    ledger.close()
    assert len(verified_rows(torn, keys)) == 11


def test_a_log_that_was_left_behind_in_a_copy_is_missed(torn: Path) -> None:
    keys = torn.parent / "keys"
    damage(torn, None)
    assert readable_prefix(torn, keys) == 5
    ledger = Ledger(torn, keys=keys)
    with pytest.raises(StateMismatch, match="has 5 rows, but 10 were signed"):
        add(ledger)
    ledger.close()


def test_a_flipped_bit_in_the_log_shortens_it_and_never_changes_a_row(torn: Path) -> None:
    keys = torn.parent / "keys"
    whole = (torn.parent / "saved" / "l.db-wal").read_bytes()
    for part in range(1, 30):
        flipped = bytearray(whole)
        flipped[len(whole) * part // 30] ^= 0x10
        damage(torn, bytes(flipped))
        assert 5 <= readable_prefix(torn, keys) < 10
        ledger = Ledger(torn, keys=keys)
        with pytest.raises(StateMismatch):
            add(ledger)
        ledger.close()


def test_a_file_cut_in_the_middle_is_damage_or_a_mismatch_and_no_crash(tmp_path: Path) -> None:
    path, keys = tmp_path / "l.db", tmp_path / "keys"
    ledger = Ledger(path, keys=keys)
    add(ledger, 60)
    ledger.close()
    whole = path.read_bytes()
    for part in range(1, 20):
        path.write_bytes(whole[: len(whole) * part // 20])
        with contextlib.ExitStack() as stack, pytest.raises(SafeloopError) as caught:
            opened = Ledger(path, keys=keys)
            stack.callback(opened.close)
            add(opened)
        assert caught.value.hint
    path.write_bytes(whole)
    ledger = Ledger(path, keys=keys)
    add(ledger)
    ledger.close()
    assert len(verified_rows(path, keys)) == 61
