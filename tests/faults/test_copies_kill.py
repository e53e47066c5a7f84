"""kill -9 between a row and what it says, in the middle of a copy, and beside eight writers."""

from __future__ import annotations

import os
import signal
import sqlite3
import time
from contextlib import closing
from pathlib import Path

import pytest

from safeloop.ledger import Ledger
from safeloop.ledger.reader import LedgerReader
from safeloop.ledger.trust import load_trust
from safeloop.ledger.upkeep.backup import backup
from safeloop.ledger.upkeep.erasing import erase, finish, plan_session
from safeloop.review.auditing.audit import audit
from tests.ledger.making import add, python, run, verified_rows
from tests.ledger.test_importing import Old, Place

SECRET = b"the patient's name is Emilia Galotti "

DIE_ERASING = """
import importlib, os, sys
from tests.ledger.making import Ledger
from safeloop.ledger.reader import LedgerReader
from safeloop.ledger.upkeep.erasing import erase, plan_session
module, owner, name = sys.argv[3].split(":")
owner = getattr(importlib.import_module(module), owner)
ledger = Ledger(sys.argv[1], keys=sys.argv[2])
with LedgerReader(sys.argv[1]) as reader:
    plan = plan_session(reader, "s")
real = getattr(owner, name)
def die(*arguments, **named):
    if sys.argv[4] == "after":
        real(*arguments, **named)
    os._exit(9)
setattr(owner, name, die)
erase(ledger, plan, "asked for")
"""

BACK_UP = """
import sys
from pathlib import Path
from safeloop.ledger.upkeep.backup import backup
for number in range(1000):
    backup(sys.argv[1], f"{sys.argv[3]}/{number}.db", keys=Path(sys.argv[2]))
    print(number, flush=True)
"""

APPEND_FOR_EVER = """
import sys
from tests.ledger.making import Ledger, add
ledger = Ledger(sys.argv[1], keys=sys.argv[2])
while True:
    add(ledger, 2, sys.argv[3], contents=(ledger.content(b"x" * 3000, "text/plain"),))
"""

IMPORT = """
import sys
from pathlib import Path
from tests.ledger.making import Ledger
from safeloop.cli.importing import _spec_data
from safeloop.ledger.store.tutorial import TutorialFile
from safeloop.ledger.upkeep.importing import Conversion, import_tutorial
from safeloop.review.attesting.imported import imported_attestation
ledger = Ledger(sys.argv[1], keys=sys.argv[2])
print("ready", flush=True)
with TutorialFile(Path(sys.argv[3])) as file:
    import_tutorial(ledger, file, Conversion(_spec_data, imported_attestation))
"""


def everything(folder: Path) -> bytes:
    return b"".join(path.read_bytes() for path in folder.glob("l.*") if path.is_file())


@pytest.mark.parametrize(("where", "when", "recorded"), [
    ("safeloop.ledger.ledger:Ledger:append", "before", False),
    ("safeloop.ledger.ledger:Ledger:append", "after", True),
    ("safeloop.ledger.store.contents:ContentStore:erase", "before", True),
    ("safeloop.ledger.store.contents:ContentStore:erase", "after", True),
])  # fmt: skip
@pytest.mark.parametrize("again", ["the same", "pending"])
def test_an_erasure_that_died_is_finished_by_the_next(
    tmp_path: Path, where: str, when: str, recorded: bool, again: str
) -> None:
    db, keys = tmp_path / "l.db", tmp_path / "keys"
    ledger = Ledger(db, keys=keys)
    for size in (1, 50, 2_000):
        add(ledger, 1, contents=(ledger.content(SECRET * size, "text/plain"),))
    ledger.close()
    run(DIE_ERASING, db, keys, where, when, expect=9, measured=False)
    ledger = Ledger(db, keys=keys)
    assert [row.kind for row in ledger.rows("s")].count("erase") == recorded
    if not recorded or again == "the same":
        with LedgerReader(db) as reader:
            plan = plan_session(reader, "s")
        erase(ledger, plan, "asked for")
    else:
        finish(ledger)
    assert SECRET[:12] not in everything(tmp_path)
    assert [row.kind for row in ledger.rows("s")].count("erase") == 1, "and never two rows for one erasure"
    ledger.close()
    assert len(verified_rows(db, keys)) == 4
    with LedgerReader(db) as reader:
        assert audit(reader, load_trust(keys / "self"), state=None).record == "PASS"


def test_a_deletion_that_only_the_log_knows_is_folded_by_the_next(tmp_path: Path) -> None:
    """The worst moment: deleted and committed, the file not yet written anew."""
    db, keys = tmp_path / "l.db", tmp_path / "keys"
    ledger = Ledger(db, keys=keys)
    content = ledger.content(SECRET * 500, "text/plain")
    add(ledger, 1, contents=(content,))
    with LedgerReader(db) as reader:
        plan = plan_session(reader, "s")
    reading = sqlite3.connect(tmp_path / "l.content.db", isolation_level=None)
    with sqlite3.connect(tmp_path / "l.content.db") as sql:  # without secure_delete, and not folded
        sql.execute("PRAGMA secure_delete = OFF")
        sql.execute("DELETE FROM content WHERE salted_sha256 = ?", (content.digest,))
    reading.close()
    assert SECRET[:12] in everything(tmp_path)
    erase(ledger, plan, "asked for")
    assert SECRET[:12] not in everything(tmp_path)
    ledger.close()


def test_backups_beside_eight_writers_and_a_kill_leave_whole_copies_only(tmp_path: Path) -> None:
    db, keys, copies = tmp_path / "l.db", tmp_path / "keys", tmp_path / "copies"
    copies.mkdir()
    with closing(Ledger(db, keys=keys)) as ledger:
        add(ledger)  # or a backup that comes before the first of eight is one of nothing
    writers = [python(APPEND_FOR_EVER, db, keys, f"w{number}", measured=False) for number in range(8)]
    try:
        for _ in range(4):
            with python(BACK_UP, db, keys, copies, measured=False) as process:
                assert process.stdout is not None
                process.stdout.readline()
                time.sleep(int.from_bytes(os.urandom(1), "big") / 1_000)
                process.send_signal(signal.SIGKILL)
            for writer in writers:
                writer.send_signal(signal.SIGSTOP)  # what they would add is in no copy, and takes time
            named = [path for path in copies.glob("*.db") if path.stem.isdigit()]
            assert named
            for copy in named:
                with LedgerReader(copy) as reader:
                    report = audit(reader, load_trust(keys / "self"), state=None)
                assert report.record == "PASS", report.findings
                assert report.size > 0
            for path in copies.iterdir():
                path.unlink()
            for writer in writers:
                writer.send_signal(signal.SIGCONT)
    finally:
        for writer in writers:
            writer.kill()
            writer.communicate()
    assert backup(db, copies / "last.db", keys=keys).size == len(verified_rows(db, keys))


def test_an_import_that_was_killed_is_completed(tmp_path: Path) -> None:
    place = Place(tmp_path)
    place.ledger.close()
    old = Old(tmp_path / "old.db")
    with sqlite3.connect(old.path) as sql:
        sql.executescript(
            "WITH RECURSIVE c(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM c WHERE i < 4000) INSERT INTO ledger "
            "SELECT i, 's' || (i % 50), i / 50, 'llm', printf('%064d', 0), 1, 1, 1, NULL, 't' FROM c"
        )
    for delay in (0.05, 0.3, 0.6):
        with python(IMPORT, place.db, place.keys, old.path, measured=False) as process:
            assert process.stdout is not None
            process.stdout.readline()
            time.sleep(delay)
            process.kill()
    place.ledger = Ledger(place.db, keys=place.keys)
    done = place.take(old.path)
    assert done.rows == 4_002
    place.ledger.close()
    rows = verified_rows(place.db, place.keys)
    assert len(rows) == done.rows
    assert len({(row.session, row.data["turn"]) for row in rows}) == len(rows), "none twice"
