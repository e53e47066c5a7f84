"""`trust export` and `trust import`: the operator's machine, the auditor's, and a fingerprint over the telephone."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from tests.cli.program import Program


@pytest.fixture
def exported(program: Program) -> tuple[Program, str]:
    assert program("spec", "--file", "job.toml").code == 0
    done = program("trust", "export", "pins.txt")
    sha256 = hashlib.sha256((program.folder / "pins.txt").read_bytes()).hexdigest()
    assert (done.code, done.out) == (0, f"{sha256}  pins.txt\n")
    return program, sha256


def test_an_auditor_audits_with_what_was_imported_and_it_is_not_called_self(exported: tuple[Program, str]) -> None:
    program, sha256 = exported
    done = program("trust", "import", "pins.txt", "--trust", "auditor", "--sha256", sha256.upper())
    assert done.code == 0 and "pinned in auditor" in done.out and "would pin:" in done.err
    report = program("audit", "--trust", "auditor", "--json").json
    assert (report["record"], report["self"]) == ("PASS", False)
    assert program("trust", "import", "pins.txt", "--trust", "auditor", "--sha256", sha256).code == 0


def test_without_a_terminal_the_fingerprint_must_be_given_and_right(exported: tuple[Program, str]) -> None:
    program, sha256 = exported
    assert program("trust", "import", "pins.txt", "--trust", "a").code == 13
    for wrong in (sha256[-8:], sha256[:-1] + "x", ""):
        done = program("trust", "import", "pins.txt", "--trust", "a", "--sha256", wrong)
        assert done.code == 11 and "nothing was pinned" in done.err
        assert sha256 not in done.out + done.err, "who can read it off the screen compares nothing"
    assert not (program.folder / "a").exists()


def test_at_a_terminal_the_fingerprint_or_its_end_is_asked_for_and_never_shown(exported: tuple[Program, str]) -> None:
    program, sha256 = exported
    for typed, code in (("", 11), ("00000000", 11), (sha256[:8], 11), (sha256[1:], 11), (sha256[-8:], 0), (sha256.upper(), 0)):
        with program.at_terminal("trust", "import", "pins.txt", "--trust", "a") as terminal:
            terminal.expect("last 8 characters: ")
            assert sha256[-8:] not in terminal.seen
            assert not (program.folder / "a").exists()
            terminal.type(typed)
            assert terminal.wait() == code, typed
            assert (program.folder / "a" / "policy").exists() is (code == 0)
        if code == 0:
            (program.folder / "a").rename(program.folder / f"pinned-{len(typed)}")


def test_pins_from_before_a_rotation_lead_to_the_new_ones_and_to_no_backup(exported: tuple[Program, str]) -> None:
    program, sha256 = exported
    assert program("trust", "import", "pins.txt", "--trust", "a", "--sha256", sha256).code == 0
    (program.folder / "kept").write_text(program("checkpoint").out)
    assert program("key", "rotate", "--role", "log").code == 0
    assert program("spec", "--file", "job.toml").code == 0
    (program.folder / "newer").write_text(program("checkpoint").out)
    found = program("audit", "--trust", "a", "--checkpoint", "newer", "--since", "newer", "--json").json
    blind = [each for each in found["findings"] if "but one by another key of that name" in each["message"]]
    assert [each["rule"] for each in blind] == ["head", "checkpoint", "checkpoint"]
    assert all("trust import" in each["remedy"] and "backup" not in each["remedy"] for each in blind)
    for refused in (program("receipt", "latest", "--trust", "a"), program("checkpoint", "--since", "newer", "--trust", "a")):
        assert refused.code == 11 and "trust import" in refused.err
    assert program("trust", "export", "new.txt").code == 0
    sha256 = hashlib.sha256((program.folder / "new.txt").read_bytes()).hexdigest()
    assert program("trust", "import", "new.txt", "--trust", "a", "--sha256", sha256, "--force").code == 0
    assert program("audit", "--trust", "a", "--checkpoint", "newer", "--checkpoint", "kept").code == 0


def test_another_trust_folder_is_replaced_only_by_force_and_kept(exported: tuple[Program, str]) -> None:
    program, sha256 = exported
    take = ("trust", "import", "pins.txt", "--trust", "a", "--sha256", sha256)
    (program.folder / "a").mkdir()
    (program.folder / "a" / "policy").write_text("quorum none\n")
    done = program(*take)
    assert done.code == 14 and "nothing was changed" in done.err
    assert (program.folder / "a" / "policy").read_text() == "quorum none\n"
    kept = program(*take, "--force", "--json").json["replaced"]
    assert (program.folder / kept / "policy").read_text() == "quorum none\n"


def test_a_machines_own_pins_are_never_imported_over(exported: tuple[Program, str]) -> None:
    program, sha256 = exported
    for more in ((), ("--trust", "elsewhere/self")):
        done = program("trust", "import", "pins.txt", "--sha256", sha256, "--force", *more)
        assert done.code == 2 and "pins its own keys" in done.err


def test_an_exchanged_or_broken_file_pins_nothing(exported: tuple[Program, str], tmp_path: Path) -> None:
    program, sha256 = exported
    thief = Program.at(tmp_path / "thief")
    assert thief("init").code == 0 and thief("trust", "export", "pins.txt").code == 0
    (program.folder / "pins.txt").write_bytes((thief.folder / "pins.txt").read_bytes())
    assert program("trust", "import", "pins.txt", "--trust", "a", "--sha256", sha256).code == 11
    (program.folder / "pins.txt").write_text("log nonsense\n")
    assert program("trust", "import", "pins.txt", "--trust", "a", "--sha256", sha256).code == 11
    (program.folder / "pins.txt").write_bytes(b"x" * 5_000_000)
    assert program("trust", "import", "pins.txt", "--trust", "a", "--sha256", sha256).code == 2
    assert program("trust", "export", "pins.txt").code == 2, "a file that is there is never overwritten"
    assert not (program.folder / "a").exists()
