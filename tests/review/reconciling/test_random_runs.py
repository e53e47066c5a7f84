"""A provider that bills what it was sent, and sessions that crash, retry and run side by side: the bill is explained."""

from __future__ import annotations

import contextlib
import json
import os
import random
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import IO, Any, cast

import pytest

from safeloop.errors import LedgerError
from safeloop.ledger import Ledger
from safeloop.ledger.reader import LedgerReader
from safeloop.loop import abandon_session
from safeloop.models.usage_report import UsageReports
from safeloop.review.reconciling.comparing import Comparison, Terms, compare
from safeloop.review.reconciling.findings import Thresholds
from safeloop.review.reconciling.reading import read_report
from safeloop.review.reconciling.recorded import recorded_calls
from safeloop.review.reconciling.recording import record
from safeloop.review.reconciling.report import Payer, joined
from safeloop.review.reconciling.settling import prove
from safeloop.review.reconciling.telling import source_of
from tests.breaker.family import House
from tests.review.reconciling.living import loop_at
from tests.servers.anthropic_server import message, text
from tests.servers.faults import Fault
from tests.servers.usage_server import Charge, UsageServer

ROOT = Path(__file__).parents[3]
ROUNDS = 3


@pytest.fixture(scope="module")
def graveyard() -> Iterator[subprocess.Popen[str]]:
    unmeasured = {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE_")}
    with subprocess.Popen(
        [sys.executable, "-m", "tests.review.reconciling.living"], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        text=True, cwd=ROOT, env=unmeasured,
    ) as process:
        yield process
        cast(IO[str], process.stdin).close()


class Moody:
    """A model that needs several turns, behind a network and a provider that fail in every way."""

    def __init__(self, seed: int) -> None:
        self.chance, self.is_calm = random.Random(seed), True

    def __call__(self, request: Any) -> Any:
        if self.is_calm:
            return "done"
        words = "x" * self.chance.randrange(4, 700)
        unfinished = message(text(words), stop_reason="max_tokens")
        ways = [Fault.status(429), Fault.status(529), Fault.status(500), Fault("reset"), Fault.cut(words),
                Fault.break_off(words), Fault.half_event(words)]  # fmt: skip
        return self.chance.choice([unfinished, unfinished, words, words, self.chance.choice(ways)])


def lived(
    graveyard: subprocess.Popen[str], server: UsageServer, folder: Path, chance: random.Random | None
) -> list[int]:
    """Let four sessions live and die; without chance none dies."""
    kills = {f"s{number}": [999] for number in range(4)} if chance is None else {f"s{number}": [chance.choice([chance.randrange(2, 14), 999]) for _ in range(3)] for number in range(4)}
    job = {"url": server.url, "path": str(folder / "ledger.db"), "keys": str(folder / "keys"), "kills": kills}
    cast(IO[str], graveyard.stdin).write(f"{json.dumps(job)}\n")
    cast(IO[str], graveyard.stdin).flush()
    return list(json.loads(cast(IO[str], graveyard.stdout).readline()))


def early(server: UsageServer, folder: Path, moody: Moody) -> None:
    """Let a session live without trouble half an hour ago: the ordinary case is a report that has some of those."""
    with contextlib.closing(
        Ledger(folder / "ledger.db", keys=folder / "keys", clock=lambda: datetime.now(UTC) - timedelta(minutes=30))
    ) as ledger:
        server.now = lambda: time.time() - 1_800
        loop_at(ledger, server.url, "early").run("do it")
        server.now, moody.is_calm = time.time, False


def fetched(server: UsageServer, width: str = "1m") -> Any:
    """The server's own report, of three hours before now and after."""
    reports = UsageReports(server.url, server.admin_key)
    now = datetime.now(UTC)
    pages = reports.pages(now - timedelta(hours=3), now + timedelta(hours=3), width)
    report = joined([read_report([page]) for page in pages])
    reports.close()
    return report


def compared(server: UsageServer, folder: Path, width: str = "1m") -> tuple[Any, Comparison]:
    report = fetched(server, width)
    terms = Terms(Payer(None, None), report.ends, Thresholds(), {})
    with LedgerReader(folder / "ledger.db") as reader:
        found = recorded_calls(reader, report.begins, report.ends, endpoints=[server.url], unnamed=terms.unnamed)
    return report, compare(report, found, terms)


def test_what_was_sent_is_what_is_billed_through_crashes_and_retries_and_settling_never_passes_below(
    graveyard, tmp_path
):
    seen: set[str] = set()
    for seed in range(ROUNDS):
        folder = tmp_path / str(seed)
        folder.mkdir()
        moody = Moody(seed)
        with UsageServer(moody) as server:
            early(server, folder, moody)
            seen |= round_of(graveyard, server, folder, random.Random(seed))
    assert seen >= {"status -9", "in doubt", "settled to something", "settled to nothing"}, "the rounds prove too little"


def round_of(
    graveyard: subprocess.Popen[str], server: UsageServer, folder: Path, chance: random.Random
) -> set[str]:
    """Let sessions live, compare, settle, and compare again; return what was seen on the way."""
    with contextlib.closing(Ledger(folder / "ledger.db", keys=folder / "keys")) as ledger:
        server.late_s = chance.uniform(-55, 55)
        statuses = lived(graveyard, server, folder, chance)
        assert set(statuses) <= {0, -9}
        for session in ("s0", "s1", "s2", "s3"):
            with contextlib.suppress(LedgerError):  # it has ended already
                abandon_session(ledger, session)
        for width in ("1m", "1h"):
            assert compared(server, folder, width)[1].findings == ()
        report, found = compared(server, folder)
        assert report.size, "nothing was billed: the round proves nothing"
        proved = prove(found, report.width, lambda *_: None, until=report.ends).settlements
        before = charged(folder)
        done = record(ledger, source_of(report, "1m"), found.findings, proved)
        assert before - charged(folder) == sum(each.charged - each.billed for each in done.settled)
        assert charged(folder) >= sum(server.billed), "what is charged fell below what was billed"
        assert House(folder, is_new=False).findings() == []
        for width in ("1m", "1h"):
            assert compared(server, folder, width)[1].findings == (), "what was settled explains its bill no more"
        again = record(ledger, source_of(report, "1m"), found.findings, proved)
        assert (again.rows, again.before) == ((), done.rows[0])
        doubts = {"in doubt" for row in ledger.rows_of_kinds("attempt") if row.data["in_doubt"]}
    settled = {"settled to nothing" if each.billed == 0 else "settled to something" for each in done.settled}
    return doubts | settled | {f"status {status}" for status in statuses}


def charged(folder: Path) -> int:
    with LedgerReader(folder / "ledger.db") as reader:
        return reader.charged_since("")[0]


def test_each_fault_planted_among_real_rows_has_its_name(graveyard, tmp_path):
    Ledger(tmp_path / "ledger.db", keys=tmp_path / "keys").close()
    with UsageServer(lambda _: "x" * 400) as server:
        assert set(lived(graveyard, server, tmp_path, None)) == {0}
        honest = list(server.charges)
        assert compared(server, tmp_path)[1].findings == ()
        faults = {
            "ghost_call": [*honest, Charge(time.time() - 600, honest[0].model, {"input_tokens": 5, "output_tokens": 5})],
            "missing_record": honest[1:],
            "model_substitution": [Charge(honest[0].at, "claude-haiku-5-5", honest[0].usage), *honest[1:]],
        }  # fmt: skip
        for fault, charges in faults.items():
            server.charges = charges
            assert [str(each.fault) for each in compared(server, tmp_path)[1].findings] == [fault]
