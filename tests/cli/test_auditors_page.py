"""The page `auditors`, followed on another machine: pins, a copy of the ledger, a kept checkpoint, a release; no keys."""

from __future__ import annotations

import hashlib
import re
import shutil
from pathlib import Path

import pytest

from safeloop.review.auditing.findings import Rule
from tests.cli.program import ROOT, Program
from tests.cli.test_verify_page import blocks, follow

PAGE = (ROOT / "safeloop" / "docs" / "auditors.md").read_text(encoding="utf-8")
JOB = "A job that uses a release"


@pytest.fixture
def desk(proved: Program, auditor: Program, tmp_path: Path) -> Program:
    """What an auditor is handed, and nothing else."""
    folder = auditor.folder
    shutil.rmtree(folder / "pins")
    (folder / "out").rename(folder / "bundle")
    (folder / "kept").rename(folder / "kept.txt")
    assert proved("trust", "export", str(folder / "pins.txt")).code == 0
    assert proved("backup", str(folder / "copy.db")).code == 0
    auditor.more["FINGERPRINT"] = hashlib.sha256((folder / "pins.txt").read_bytes()).hexdigest()
    auditor.more["SESSION"] = proved.rows()[0]["session"]
    return auditor


def test_every_block_of_the_page_says_what_the_page_says(desk: Program) -> None:
    code, said, complaints = follow(desk, blocks("auditors"))
    assert code == 0, complaints
    (pins,) = said["Pins"]
    assert pins.startswith(f"{desk.more['FINGERPRINT']}  pins.txt\npinned in pins\n")
    assert "reviewer  alice@example.org SHA256:" in pins and "own keys" not in pins
    assert re.search(r"^record PASS, \d+ rows stand$", said["The ledger"][0], re.M)
    (session,) = said["One session"]
    frame = (desk.folder / "frame.txt").read_bytes()
    assert session.endswith(f"{hashlib.sha256(frame).hexdigest()}  frame.txt\n")
    assert hashlib.sha256(frame).hexdigest() in (desk.folder / "bundle/release/statement-1.json").read_text()
    verdict, later = said["A release"]
    assert verdict.endswith("bundle: release verified\n") and "not proved: " in verdict
    fingerprint = re.findall(r"SHA256:\S+$", pins, re.M)[-1]
    assert later == (f'Good "safeloop-review" signature for alice@example.org with ED25519 key {fingerprint}\n'
                     "the files are those of the sums\n")
    assert (desk.folder / "used.md").read_bytes() == (desk.folder / "bundle/report.md").read_bytes()


@pytest.mark.parametrize("harm", [
    "echo >> bundle/report.md", "echo x > bundle/more", "ln -s /etc/passwd bundle/link", "mkfifo bundle/pipe",
    "mkdir bundle/.git", "rm bundle/release/receipts/*-10.*", "rm -r bundle/release", "rm -r bundle; mkdir bundle",
    "rm pins/reviewers", "rm -r pins", "rm pins/*", "echo 'accepts = 2' > pins/release.toml",
    "echo nonsense >> pins/revoked", "sed -i 's/namespaces=/valid-before=\"20200101Z\",namespaces=/' pins/reviewers", "SESSION=another",
    "mv bundle/report.md bundle/r\u0435port.md", "truncate -s 70G bundle/report.md",
    "rm bundle/report.md; ln bundle/release/frame.txt bundle/report.md",
], ids=lambda harm: harm[:30])
def test_a_job_uses_nothing_of_a_folder_that_is_not_the_release_that_it_waits_for(desk: Program, harm: str) -> None:
    commands = blocks("auditors")
    pins, job = ([each for each in commands if each[0] == name] for name in ("Pins", JOB))
    code, said, complaints = follow(desk, [*pins, ("harm", f"{harm}\n"), *job])
    assert (code, len(said[JOB])) == (0, len(job)), complaints  # the job came to its question, and the answer was no
    assert not (desk.folder / "used.md").exists(), complaints
    assert "Traceback" not in complaints


def test_the_page_says_how_to_read_every_rule_and_once_only() -> None:
    table = PAGE.split("## The ledger\n")[1].split("\nNotes are no findings")[0]
    told = [name for line in table.splitlines() if line.startswith("| ") and line.count("|") == 4
            for name in re.findall(r"`([a-z]+)`", line.split("|")[2])]
    assert sorted(told) == sorted(str(rule) for rule in Rule)
