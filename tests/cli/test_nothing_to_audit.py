"""An audit of nothing, or by nobody's keys, fails and says why: a job that reads the exit code never takes it for a pass."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cli.program import Program

SELF = "home/.config/safeloop/keys/self"


def empty_file(program: Program) -> None:
    (program.folder / "ledger.db").write_bytes(b"")


def empty_file_elsewhere(program: Program) -> None:
    (program.folder / "empty.db").touch()
    program.more["SAFELOOP_LEDGER"] = "empty.db"


def empty_ledger(program: Program) -> None:
    assert program("init", "--ledger", "new.db").code == 0
    program.more["SAFELOOP_LEDGER"] = "new.db"


def no_trust(program: Program) -> None:
    shutil.rmtree(program.folder / SELF)


def no_policy(program: Program) -> None:
    (program.folder / SELF / "policy").unlink()


def policy_of_nonsense(program: Program) -> None:
    (program.folder / SELF / "policy").write_text("trust me\n")


def release_policy_of_nonsense(program: Program) -> None:
    (program.folder / SELF / "release.toml").write_text("acepts = 2\n")


def trust_for_another_ledger(program: Program) -> None:
    other = Program.at(program.folder / "other")
    assert other("init").code == 0
    shutil.copytree(other.folder / SELF, program.folder / "pins")
    program.more["SAFELOOP_TRUST"] = "pins"


@pytest.mark.parametrize(("make", "rule", "words"), [
    (empty_file, "empty", "ledger.db is an empty file"), (empty_file_elsewhere, "empty", "empty.db is an empty file"),
    (empty_ledger, "empty", "new.db has no rows"), (no_trust, "trust", "self is not a trust folder"),
    (no_policy, "trust", "self has no file policy"), (policy_of_nonsense, "trust", "policy line 1"),
    (release_policy_of_nonsense, "trust", "release.toml has an unknown key: acepts"),
    (trust_for_another_ledger, "trust", "trust folder pins pins no log of this origin"),
])
@pytest.mark.parametrize("how", [(), ("--tree",)], ids=str)
def test_it_fails_with_the_reason(
    program: Program, make: Callable[[Program], None], rule: str, words: str, how: tuple[str, ...]
) -> None:
    assert program.job().code == 0
    make(program)
    told = program("audit", *how)
    assert (told.code, told.err) == (11, "")
    assert words in told.out and "hint: " in told.out
    assert told.out.splitlines()[-1].startswith(f"{'tree' if how else 'record'} FAIL (")
    found = program("audit", "--json", *how)
    assert (found.code, found.json["exit_code"], found.json["record"]) == (11, 11, "FAIL")
    assert [each["rule"] for each in found.json["findings"]].count(rule) == 1
    assert found.json["rows_standing"] == 0 or make is trust_for_another_ledger


def test_a_ledger_that_is_not_there_is_not_one_that_fails(program: Program, tmp_path: Path) -> None:
    for missing in ("nowhere.db", str(tmp_path)):
        assert program("audit", "--ledger", missing).code == 14


def test_the_tree_alone_is_incomplete_and_one_session_is_said_to_be_one(program: Program) -> None:
    assert program.job().code == 0
    tree = program("audit", "--tree", "--json")
    assert (tree.code, tree.json["exit_code"], tree.json["completeness"], tree.json["tree"]) == (18, 18, "INCOMPLETE", "PASS")
    assert "INCOMPLETE: signatures" in program("audit", "--tree").out
    name = program.rows()[0]["session"]
    one = program("audit", name)
    assert one.code == 0
    assert one.out.splitlines()[-1].startswith(f"record of session {name} PASS, 10 rows stand; other sessions were not judged")
    assert "session" not in program("audit").out
