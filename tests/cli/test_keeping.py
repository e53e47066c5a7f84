"""`erase`, `export`, `backup` and `ledger import` as people and scripts use them; and files of a later version."""

from __future__ import annotations

import os
import re
import sqlite3
from pathlib import Path

import pytest

from safeloop.loop.lock import held
from safeloop.loop.place import lock_path
from tests.cli.program import Program
from tests.ledger.test_importing import Old
from tests.tools.test_removing import make_deep

KEPT = b"Title: too long, cut it"


def stored(program: Program) -> bytes:
    return b"".join(path.read_bytes() for path in program.folder.glob("ledger*.db*"))


def session(program: Program) -> str:
    assert program.job().code == 0
    found: str = program.rows()[-1]["session"]
    return found


def test_erasing_asks_at_a_terminal_for_the_session_s_first_characters(program: Program) -> None:
    name = session(program)
    with program.at_terminal("erase", name[:6], "--reason", "asked for") as terminal:
        terminal.expect(f"Type {name[:8]} to erase: ")
        terminal.type("yes")
        assert terminal.wait() == 12
    assert KEPT in stored(program)
    with program.at_terminal("erase", name[:6], "--reason", "asked for") as terminal:
        terminal.expect("this cannot be undone")
        terminal.type("")
        assert terminal.wait() == 12
    with program.at_terminal("erase", name[:6], "--reason", "asked for") as terminal:
        terminal.expect("to erase: ")
        terminal.type(name[:8])
        assert terminal.wait() == 0
    assert "row 11" in terminal.seen
    assert KEPT not in stored(program)


def test_folders_in_each_other_without_end_are_erased_too(program: Program) -> None:
    name = session(program)
    (staging,) = program.folder.rglob("staging")
    make_deep(staging)
    done = program("erase", name, "--reason", "asked for", "--yes")
    assert done.code == 0, done.err
    assert not os.path.lexists(staging)


def test_without_a_terminal_nothing_is_erased_unless_it_is_said(program: Program) -> None:
    name = session(program)
    refused = program("erase", name, "--reason", "asked for", stdin=f"{name[:8]}\n".encode())
    assert (refused.code, "--yes" in refused.err) == (13, True)
    assert KEPT in stored(program)
    done = program("erase", name, "--reason", "asked for", "--yes", "--json")
    assert (done.code, done.json["rows"]) == (0, [11])
    assert done.json["erased"] == done.json["listed"] > 0
    (removed,) = done.json["removed"]
    assert f"{removed}, to be removed" in done.err and not Path(removed).exists()
    assert KEPT not in stored(program)
    assert [path for path in program.folder.rglob("*") if path.is_file() and KEPT in path.read_bytes()
            and path.name != "writes.json"] == []
    audit = program("audit", "--json")
    assert (audit.code, audit.json["record"], audit.json["completeness"]) == (18, "PASS", "INCOMPLETE")
    again = program("erase", name, "--reason", "asked for", "--yes", "--json")
    assert (again.code, again.json["rows"], again.json["erased"]) == (0, [], 0)
    assert program("erase", "--pending", "--json").json["erased"] == 0


def test_what_is_erased_is_said_by_review_attest_and_release(program: Program) -> None:
    name = session(program)
    assert program("erase", name, "--reason", "asked for", "--yes").code == 0
    shown = program("review", name)
    assert (shown.code, "erased by row 11" in shown.out) == (0, True)
    assert "next: safeloop attest" not in shown.err
    attested = program("attest", name, "--as", "a", "--export", "out", "--decision", "accept")
    assert (attested.code, "was erased" in attested.err) == (12, True)
    assert (program("release", name, "--to", "out").code, "erased" in program("release", name, "--to", "out").err) == (12, True)


def test_a_commitment_is_taken_from_the_log(program: Program) -> None:
    session(program)
    task = program.rows()[1]["data"]["task"]["salted_sha256"]
    done = program("erase", task[:12], "--reason", "asked for", "--yes", "--json")
    assert (done.code, done.json["target"], done.json["erased"]) == (0, task, 1)
    assert done.json["removed"] == [] and "still there: rm -r " in done.err, "of the session only one content is gone"
    assert len(list(program.folder.glob("ledger.sessions/*/staging/report.md"))) == 1


def test_nothing_is_erased_while_somebody_holds_the_session(program: Program) -> None:
    name = session(program)
    lock = lock_path(program.folder / "ledger.db", name)
    with held(lock, "session"):
        refused = program("erase", name, "--reason", "asked for", "--yes")
    assert (refused.code, "is running in another process" in refused.err) == (14, True)
    assert KEPT in stored(program) and (lock.parent / "staging/report.md").exists()
    assert program("erase", name, "--reason", "asked for", "--yes").code == 0
    assert not (lock.parent / "staging").exists()


def test_a_staging_folder_that_a_crash_left_goes_with_the_same_command_and_no_link_is_followed(program: Program) -> None:
    name = session(program)
    assert program("erase", name, "--reason", "asked for", "--yes").code == 0
    staging = lock_path(program.folder / "ledger.db", name).with_name("staging")
    outside = program.folder / "outside"
    outside.mkdir()
    (outside / "kept").write_text("kept")
    staging.mkdir()
    (staging / "link").symlink_to(outside)
    again = program("erase", name, "--reason", "asked for", "--yes")
    assert (again.code, again.out.splitlines()) == (0, ["erased 0 contents; nothing new to list", f"removed {staging}"])
    staging.symlink_to(outside)
    assert program("erase", name, "--reason", "asked for", "--yes").code == 0
    assert (os.path.lexists(staging), (outside / "kept").read_text()) == (False, "kept")


def test_what_an_audit_counts_as_erased_is_what_the_erase_row_says(program: Program) -> None:
    name = session(program)
    listed = program("erase", name, "--reason", "asked for", "--yes", "--json").json["listed"]
    (row,) = [row for row in program.rows() if row["kind"] == "erase"]
    (gap,) = program("audit", "--json").json["gaps"]
    assert row["data"]["count"] == listed
    assert gap["message"] == f"row 11 erased {listed} contents, the first of row 2"


@pytest.mark.parametrize(("command", "code"), [
    (("erase",), 2), (("erase", "latest"), 2), (("erase", "latest", "--reason", " ", "--yes"), 2),
    (("erase", "nosuch", "--reason", "x", "--yes"), 14), (("erase", "00000000", "--reason", "x", "--yes"), 14),
    (("erase", "ledger", "--reason", "x", "--yes"), 14), (("erase", "--pending", "latest"), 2), (("export",), 2),
    (("export", "job.toml"), 2), (("export", "out", "nosuch"), 14), (("backup",), 2), (("backup", "job.toml"), 2),
    (("backup", "none/x.db"), 2), (("ledger", "import"), 2), (("ledger", "import", "none.db"), 14),
    (("ledger", "import", "ledger.db"), 14), (("ledger", "import", "job.toml"), 14),
], ids=str)  # fmt: skip
def test_what_cannot_be_done_is_one_line_and_a_code(program: Program, command: tuple[str, ...], code: int) -> None:
    session(program)
    done = program(*command)
    assert (done.code, done.out) == (code, ""), done.err
    assert "Traceback" not in done.err
    assert KEPT in stored(program)
    assert len(program.rows()) == 10


def test_backup_export_and_import_say_what_they_did(program: Program) -> None:
    name = session(program)
    assert program("backup", "b.db", "--quiet").out == ""
    assert program("audit", "--ledger", "b.db").code == 0
    assert program("log", "--ledger", "b.db", "--json").out == program("log", "--json").out
    written = program("spec", "--file", "job.toml", "--ledger", "b.db")
    assert (written.code, "is now at" in written.err) == (14, True)
    exported = program("export", "out", name, "--json").json
    assert (exported["rows"], exported["missing"], exported["session"]) == (10, 0, name)
    assert program.shell("cd out && sha256sum --check --strict --quiet SHA256SUMS").code == 0
    Old(program.folder / "old.db").spec().row().breach().attest()
    imported = program("ledger", "import", "old.db", "--json").json
    assert (imported["session"], imported["written"]) == ("import:old", imported["rows"])
    assert "nothing to do" in program("ledger", "import", "old.db").out
    assert program.kinds("import:old:s") == ["spec", "turn", "breach", "attestation"]
    assert program("audit").code == 18


def test_a_tutorial_s_ledger_in_the_usual_place_is_taken_over_by_what_the_hint_says(tmp_path: Path) -> None:
    program = Program.at(tmp_path / "p")
    old = Old(program.folder / "ledger.db").spec().row()
    before = old.path.read_bytes()
    for refused in (program("ledger", "import", "ledger.db"), program("init"), program("log", "--ledger", "ledger.db")):
        assert refused.code == 14
        hint = re.search(r"hint: take it over into a signed one: (.*), then (.*)\n", refused.err)
        assert hint is not None, refused.err
    for command in hint.groups():
        assert program.shell(command).code == 0, command
    assert program.kinds("import:ledger:s", "--ledger", "new.db") == ["spec", "turn"]
    assert old.path.read_bytes() == before
    listed = program("log", "--ledger", "new.db").out.splitlines()
    assert {line.split()[2] for line in listed} == {"import:ledger", "import:ledger:s"}, "as a command takes them"


@pytest.mark.parametrize("name", ["nosuch", "home", "empty"])
def test_what_is_no_file_of_the_tutorial_leads_to_no_new_ledger(program: Program, name: str) -> None:
    (program.folder / "empty").touch()
    done = program("ledger", "import", name)
    assert (done.code, "safeloop init" in done.err, "hint: safeloop ledger import FILE" in done.err) == (14, False, True)


def test_the_log_s_lines_have_all_that_an_importer_needs(program: Program) -> None:
    name = session(program)
    assert program.rows(name) == program.rows()
    for row in program.rows():
        assert set(row) == {"safeloop", "verified", "id", "idx", "at", "session", "n", "kind", "data", "prev", "leaf",
                            "ledger", "writer", "body", "sig"}
        assert (row["safeloop"], row["verified"], row["id"]) == (1, False, row["idx"] + 1)


EVERY = (
    ("init",), ("spec", "--file", "job.toml"), ("run", "--spec-file", "job.toml", "--task", "x", "--script", "writes.json"),
    ("close", "latest"), ("inbox",), ("review", "latest"), ("attest", "latest", "--as", "a", "--export", "o", "--decision",
    "accept"), ("release", "latest", "--to", "o"), ("audit",), ("checkpoint",), ("log",),
    ("erase", "latest", "--reason", "x", "--yes"), ("export", "o"), ("backup", "o.db"), ("ledger", "import", "old.db"),
)  # fmt: skip


@pytest.mark.parametrize("file", ["ledger.db", "ledger.content.db"])
def test_a_newer_version_is_refused_by_every_command_and_left_as_it_is(program: Program, file: str) -> None:
    session(program)
    Old(program.folder / "old.db").row()
    path = program.folder / file
    with sqlite3.connect(path) as sql:
        sql.execute("PRAGMA user_version = 2")
    sql.close()
    before = path.read_bytes()
    for command in EVERY:
        done = program(*command)
        assert done.code == 14, (command, done)
        assert "is of format version 2; this safeloop reads version 1" in done.err, (command, done)
        assert "hint: pip install --upgrade safeloop" in done.err
    assert path.read_bytes() == before
    assert not (program.folder / "o").exists()
    assert not (program.folder / "o.db").exists()
