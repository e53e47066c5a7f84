"""`report` as a script uses it: files, exit codes, stdout, and what is refused."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from tests.cli.program import Program


@pytest.fixture
def told(kept: Program, tmp_path: Path) -> Path:
    """A file that is not there yet; the ledger is only read."""
    return tmp_path / "report.html"


def test_a_session_becomes_one_file_that_its_owner_alone_can_read(kept: Program, told: Path) -> None:
    done = kept("report", "latest", "--out", str(told))
    assert done.code == 0, done.err
    digest = hashlib.sha256(told.read_bytes()).hexdigest()
    rows = len(kept.rows("latest"))
    assert done.out == f"page of {rows} rows in {told}, sha256 {digest}\n"
    assert told.stat().st_mode & 0o777 == 0o600
    assert kept("review", "latest").out.splitlines()[0] in told.read_text()
    assert [each.name for each in told.parent.iterdir()] == [told.name]  # nothing is left beside it


def test_the_whole_ledger_and_its_facts_as_json(kept: Program, told: Path) -> None:
    done = kept("report", "--out", str(told), "--json")
    assert (done.code, done.err) == (0, ""), done.err
    assert done.json == {"safeloop": 1, "path": str(told), "sha256": hashlib.sha256(told.read_bytes()).hexdigest(),
                         "rows": len(kept.rows()), "session": None}
    text = told.read_text()
    assert "safeloop audit said: record PASS" in text and "Sessions by outcome" in text
    session = kept.rows("latest")[0]["session"]
    assert kept("report", "latest", "--out", str(told), "--force", "--json").json["session"] == session


def test_a_file_that_is_there_stays_unless_it_is_to_be_replaced(kept: Program, told: Path) -> None:
    told.write_text("mine")
    done = kept("report", "latest", "--out", str(told))
    assert done.code == 2 and "nothing was changed" in done.err and "--force" in done.err
    assert told.read_text() == "mine"
    assert kept("report", "latest", "--out", str(told), "--force").code == 0
    assert told.read_text().startswith("<!DOCTYPE html>")
    assert told.stat().st_mode & 0o777 == 0o600


def test_the_page_goes_into_a_pipe(kept: Program) -> None:
    done = kept("report", "latest", "--out", "-")
    assert done.code == 0 and done.out.startswith("<!DOCTYPE html>") and done.out.endswith("</html>\n")
    assert hashlib.sha256(done.out.encode()).hexdigest() in done.err
    both = kept("report", "latest", "--out", "-", "--json")
    assert both.code == 2 and "cannot both have stdout" in both.out


def test_what_is_not_there_is_said_with_the_next_step(kept: Program, tmp_path: Path) -> None:
    assert kept("report", "latest").code == 2
    missing = kept("report", "nobody", "--out", str(tmp_path / "r.html"))
    assert missing.code == 14 and "safeloop inbox" in missing.err
    nowhere = kept("report", "latest", "--out", str(tmp_path / "no" / "r.html"))
    assert nowhere.code == 2 and f"there is no folder {tmp_path}/no" in nowhere.err and "mkdir -p" in nowhere.err
    (tmp_path / "empty").mkdir()
    untrusted = kept("report", "--out", str(tmp_path / "r.html"), "--trust", str(tmp_path / "empty"))
    assert untrusted.code == 14 and "policy" in untrusted.err
    assert [each.name for each in tmp_path.iterdir()] == ["empty"]


KEYS = "home/.config/safeloop/keys"


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("arguments", [("latest",), ("latest", "--force"), ("--force",)])
@pytest.mark.parametrize("out", [
    "ledger.db", "ledger.db-wal", "ledger.db-shm", "ledger.db-journal", "ledger.content.db", "ledger.content.db-wal",
    "ledger.sessions/r.html", f"{KEYS}/writer.pem", f"{KEYS}/new.html", f"{KEYS}/self/policy", f"{KEYS}/self/release.toml",
    f"{KEYS}/known_ledgers", "state", "link/log.pem", "pins/policy", "pins/r.html",
])
def test_a_page_never_takes_the_place_of_the_ledger_its_state_keys_or_pins(
    kept: Program, arguments: tuple[str, ...], out: str
) -> None:
    keys, pins, link = kept.folder / KEYS, kept.folder / "pins", kept.folder / "link"
    if not pins.exists():
        shutil.copytree(keys / "self", pins)
        link.symlink_to(keys)
    if out == "state":
        out = str(next(keys.glob("*.state")))
    trust = ("--trust", "pins") if out.startswith("pins") else ()
    before = contents(kept.folder)
    done = kept("report", *arguments, "--out", out, *trust)
    assert done.code == 2, done.err
    assert re.search("is a place of the ledger's own|lies among keys or pins|there is no folder", done.err)
    assert "--force" not in done.err
    assert contents(kept.folder) == before
    assert kept("audit").code == 0


def test_the_keys_are_kept_from_a_page_under_other_pins_too(kept: Program) -> None:
    if not (kept.folder / "pins").exists():
        shutil.copytree(kept.folder / KEYS / "self", kept.folder / "pins")
    done = kept("report", "latest", "--out", f"{KEYS}/log.pem", "--force", "--trust", "pins")
    assert done.code == 2 and "lies among keys or pins" in done.err


def test_the_place_where_a_key_that_is_a_link_leads_to_is_kept_too(program: Program, tmp_path: Path) -> None:
    key, elsewhere = program.folder / KEYS / "log.pem", tmp_path / "vault.pem"
    key.rename(elsewhere)
    key.symlink_to(elsewhere)
    done = program("report", "--out", str(elsewhere), "--force")
    assert done.code == 2 and "lies among keys or pins" in done.err
    assert b"PRIVATE KEY" in elsewhere.read_bytes()


@pytest.mark.parametrize("make", [
    os.mkfifo, Path.mkdir, lambda path: path.symlink_to("elsewhere"), lambda path: path.symlink_to("/dev/null"),
])
def test_only_a_regular_file_is_replaced(kept: Program, told: Path, make: Callable[[Path], None]) -> None:
    (told.parent / "elsewhere").write_text("mine")
    make(told)
    before = told.lstat()
    for force in ((), ("--force",)):
        done = kept("report", "latest", "--out", str(told), *force)
        assert done.code == 2 and "is not a regular file: nothing was changed" in done.err, done.err
        assert "--force" not in done.err
    assert told.lstat() == before
    assert sorted(each.name for each in told.parent.iterdir()) == sorted(["elsewhere", told.name])


@pytest.fixture
def damaged(program: Program) -> Program:
    """A ledger with one character of row 4 changed."""
    assert program.job().code == 0
    with closing(sqlite3.connect(program.folder / "ledger.db")) as sql:
        (trigger,) = sql.execute("SELECT sql FROM sqlite_master WHERE name = 'row_update'").fetchone()
        sql.execute("DROP TRIGGER row_update")
        sql.execute("UPDATE row SET body = replace(body, '\"at\":\"20', '\"at\":\"21') WHERE idx = 3")
        sql.execute(trigger)
        sql.commit()
    return program


def test_of_a_ledger_that_fails_its_audit_the_page_says_so_and_the_code_too(damaged: Program) -> None:
    done = damaged("report", "--out", "r.html")
    assert done.code == 11 and "fails its audit" in done.err
    text = (damaged.folder / "r.html").read_text()
    assert re.search(r'class="alarm">When the page was made, safeloop audit said: record FAIL', text)
    refused = damaged("report", "latest", "--out", "s.html")
    assert refused.code == 11 and "safeloop audit" in refused.err
    assert not (damaged.folder / "s.html").exists()


def test_without_the_extra_a_note_says_how_to_have_charts(kept: Program, told: Path) -> None:
    (told.parent / "none" / "pygal").mkdir(parents=True)
    (told.parent / "none" / "pygal" / "__init__.py").write_text("raise ImportError('none')\n")
    done = kept.shell(f"safeloop report latest --out {told}", env={"PYTHONPATH": str(told.parent / "none")})
    assert done.code == 0, done.err
    assert done.err == "note: the page has tables and no charts; for those: pip install 'safeloop[report]'\n"
    assert "<svg" not in told.read_text()
