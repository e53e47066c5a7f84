"""Eight writers that are killed at random moments, beside audits: nothing acknowledged is lost, and no alarm is false."""

from __future__ import annotations

import os
from pathlib import Path

from safeloop.ledger import Ledger
from safeloop.ledger.reader import LedgerReader
from safeloop.ledger.state import State
from safeloop.ledger.trust import load_trust
from safeloop.review.auditing.audit import audit
from safeloop.review.auditing.verdict import AuditReport
from tests.ledger.making import add, python, state_of, verified_rows

WRITERS = 8
SECONDS = 120.0 if os.environ.get("HYPOTHESIS_PROFILE") == "thorough" else 5.0

# One process forks the writers, because to start Python takes longer than most of them live.
STORM = """
import os, random, signal, sys, time
from tests.ledger.making import Ledger, add
path, keys, acknowledged, writers, seconds = sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4]), float(sys.argv[5])
chance = random.Random(2026)

def writer(number):
    child = os.fork()
    if child:
        return child
    out = os.open(acknowledged, os.O_WRONLY | os.O_APPEND)
    mine = random.Random(number)
    ledger = Ledger(path, keys=keys)
    while True:
        contents = (ledger.content(mine.randbytes(mine.randrange(9_000)), "text/plain"),) if mine.random() < 0.3 else ()
        rows = add(ledger, mine.randrange(1, 6), f"s{number % 11}", contents=contents)
        os.write(out, "".join(row.leaf + "\\n" for row in rows).encode())  # one write, whole or not at all
        if mine.random() < 0.02:
            ledger.close()
            ledger = Ledger(path, keys=keys)

children = [writer(number) for number in range(writers)]
started, deaths, end = writers, 0, time.monotonic() + seconds
while time.monotonic() < end:
    time.sleep(chance.uniform(0, 0.05))
    place = chance.randrange(writers)
    os.kill(children[place], signal.SIGKILL)
    assert os.WIFSIGNALED(os.waitpid(children[place], 0)[1]), "a writer gave up by itself"
    deaths += 1
    children[place] = writer(started)
    started += 1
for child in children:
    os.kill(child, signal.SIGKILL)
    assert os.WIFSIGNALED(os.waitpid(child, 0)[1]), "a writer gave up by itself"
print(deaths + writers)
"""


def audited(path: Path, keys: Path) -> tuple[State, AuditReport]:
    """Audit as the command does: the state is read before the file."""
    state = state_of(path, keys)
    with LedgerReader(path) as reader:
        return state, audit(reader, load_trust(keys / "self"), state=state)


def test_eight_writers_killed_at_random_lose_nothing_and_raise_no_false_alarm(tmp_path: Path) -> None:
    path, keys, acknowledged = tmp_path / "l.db", tmp_path / "keys", tmp_path / "acknowledged"
    ledger = Ledger(path, keys=keys)
    add(ledger)  # an empty ledger fails an audit
    ledger.close()
    acknowledged.touch()
    audits, last = 0, State(path, 0, b"")
    with python(STORM, path, keys, acknowledged, WRITERS, SECONDS, measured=False) as storm:
        while storm.poll() is None:
            before = acknowledged.read_bytes().count(b"\n")
            state, report = audited(path, keys)
            assert report.findings == (), "a false alarm"
            assert state.size >= last.size, "the state went backwards"
            assert report.size >= before
            audits, last = audits + 1, state
        assert storm.stdout is not None
        assert storm.stderr is not None
        deaths, errors = storm.stdout.read().strip(), storm.stderr.read()
    assert (storm.returncode, errors) == (0, "")
    assert int(deaths) >= 5 * SECONDS
    assert audits >= 3
    rows = verified_rows(path, keys)
    leaves = acknowledged.read_text().split()
    assert len(leaves) >= 20 * SECONDS
    assert set(leaves) <= {row.leaf for row in rows}
    ledger = Ledger(path, keys=keys)
    add(ledger)
    assert all(ledger.read_content(row.data["response"]) is not None for row in rows if row.data["response"])
    ledger.close()
    state, report = audited(path, keys)
    assert (report.record, report.findings) == ("PASS", ())
    assert state.size == report.size == len(rows) + 1
