"""crontab.example, each line as cron would run it: its own few variables, `%` unescaped, no terminal; and twice."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from importlib import resources
from pathlib import Path
from time import time as now

import pytest

from tests.cli.program import ROOT, Done, Program
from tests.servers.usage_server import Charge, UsageServer

TEXT = (ROOT / "crontab.example").read_text(encoding="utf-8")
VARIABLES = dict(re.findall(r"^([A-Z_]+)=(.*)$", TEXT, re.M))
ENTRIES = re.findall(r"^((?:[\d*,/-]+ +){5})(.*)$", TEXT, re.M)


def command(containing: str) -> str:
    """The command of an entry as cron hands it to /bin/sh: an unescaped % would end it, and \\% is %."""
    (line,) = [text for _, text in ENTRIES if containing in text]
    assert not re.search(r"(?<!\\)%", line), "an unescaped % is a new line to cron"
    return line.replace("\\%", "%")


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Program]:
    made = Program.at(tmp_path / "p")
    made.launch_with({"LC_CTYPE": "C.UTF-8", **measured(made)})  # that is what Python makes of no locale
    for name in ("jobs", "kept", "lib", "home/.config/safeloop"):
        (made.folder / name).mkdir(parents=True)
    ledger = made.folder / "lib" / "ledger.db"
    assert made("init", "--ledger", str(ledger)).code == 0
    (made.folder / "home/.config/safeloop/api-key.env").write_text("export ANTHROPIC_API_KEY=not-a-key\n")
    page = resources.files("safeloop.cli.demo").joinpath("page.html").read_text("utf-8")
    (made.folder / "jobs" / "page.html").write_text(page)
    job = (
        'what_it_does = "Audit one page for SEO faults"\nwhat_it_does_not = "Change the page"\n'
        'done_looks_like = "report.md lists every fault with a fix"\n[ceilings]\nturns = 8\ntokens = 60000\n'
    )
    (made.folder / "jobs" / "job.toml").write_text(job)
    yield made


def measured(machine: Program) -> dict[str, str]:
    return {name: value for name, value in machine.environment.items() if name.startswith("COVERAGE_")}


def by_cron(machine: Program, line: str) -> Done:
    """Run a line with the crontab's variables, their paths put on this machine, and cron's own few."""
    folder = machine.folder
    put = {"PATH": f"{folder}/bin:/usr/bin:/bin", "SAFELOOP_LEDGER": f"{folder}/lib/ledger.db",
           "JOBS": f"{folder}/jobs", "KEPT": f"{folder}/kept", "MAILTO": VARIABLES["MAILTO"]}  # fmt: skip
    assert set(put) == set(VARIABLES), "a variable of the example that this test does not know"
    cron = {"HOME": str(folder / "home"), "LOGNAME": "operator", "SHELL": "/bin/sh"}
    offline = {"SAFELOOP_MODEL": "offline-auditor"}
    done = subprocess.run(
        ["/bin/sh", "-c", line], cwd=folder / "home", env={**put, **cron, **offline, **measured(machine)}, capture_output=True,
        text=True, stdin=subprocess.DEVNULL, check=False,
    )
    return Done(done.returncode, done.stdout, done.stderr)


def test_each_entry_has_a_time_that_cron_understands() -> None:
    assert len(ENTRIES) == 6
    most = (59, 23, 31, 12, 7)
    for times, _ in ENTRIES:
        fields = times.split()
        for field, limit in zip(fields, most, strict=True):
            assert all(int(number) <= limit for number in re.findall(r"\d+", field))


@pytest.fixture
def provider(machine: Program) -> Iterator[UsageServer]:
    with UsageServer() as server:
        (machine.folder / "home/.config/safeloop/admin-key.env").write_text(
            f"export ANTHROPIC_ADMIN_KEY={server.admin_key}\nexport ANTHROPIC_BASE_URL={server.url}\n"
            "export SAFELOOP_API_KEY_ID=apikey_01\n"
        )
        yield server


def test_the_bill_is_compared_daily_and_there_is_a_mail_about_a_call_that_nobody_recorded(
    machine: Program, provider: UsageServer
) -> None:
    compare = command("safeloop reconcile")
    for _ in range(2):
        done = by_cron(machine, compare)
        assert (done.code, done.out, done.err) == (0, "", "")
    usage = {"input_tokens": 700, "output_tokens": 50}
    provider.charges.append(Charge(now() - 30 * 3_600, "claude-sonnet-5-5", usage))
    done = by_cron(machine, compare)
    assert (done.code, done.out) == (0, "")
    assert "ghost_call" in done.err
    assert by_cron(machine, compare) == Done(0, "", ""), "told once"


def test_every_line_runs_twice_as_cron_runs_it(machine: Program) -> None:
    run, audit, resume = command("safeloop run"), command("safeloop audit"), command("safeloop resume")
    checkpoint, inbox = command("safeloop checkpoint"), command("safeloop inbox")
    assert by_cron(machine, inbox) == Done(1, "", ""), "nothing waits, and there is no mail"
    for time in (1, 2):
        done = by_cron(machine, run)
        assert (done.code, done.out, done.err) == (0, "", ""), "a mail from cron means something to look at"
        done = by_cron(machine, resume)
        assert (done.code, done.out, done.err) == (0, "", ""), "nothing waits, so nothing is said"
        done = by_cron(machine, checkpoint)
        assert (done.code, done.out, done.err) == (0, "", "")
        done = by_cron(machine, audit)
        assert (done.code, done.out, done.err) == (0, "", "")
        done = by_cron(machine, inbox)
        assert (done.code, done.err) == (0, "")
        assert done.out.startswith(f"{time} wait")
        assert done.out.count(" completed ") == time
    kept = sorted(path.name for path in (machine.folder / "kept").iterdir())
    assert len(kept) == 2
    assert re.fullmatch(r"20\d\d-\d\d-\d\d\.txt", kept[0])
    assert kept[1] == "latest.txt"


def test_the_morning_after_somebody_cut_the_ledger_there_is_a_mail(machine: Program) -> None:
    by_cron(machine, command("safeloop run"))
    before = {path: path.read_bytes() for path in (machine.folder / "lib").glob("ledger*.db")}
    by_cron(machine, command("safeloop run"))
    by_cron(machine, command("safeloop checkpoint"))
    for path in (machine.folder / "lib").glob("*.db-*"):
        path.unlink()
    for path, data in before.items():
        path.write_bytes(data)
    done = by_cron(machine, command("safeloop audit"))
    assert done.code == 11
    assert "FAIL" in done.out


def test_a_job_without_its_api_key_file_runs_nothing(machine: Program) -> None:
    (machine.folder / "home/.config/safeloop/api-key.env").unlink()
    done = by_cron(machine, command("safeloop run"))
    assert done.code != 0
    assert done.err, "and says so"
    assert machine("log", "--ledger", "lib/ledger.db").out == ""
