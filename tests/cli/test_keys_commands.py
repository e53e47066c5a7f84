"""`key` as an operator types it, with passphrases from files and commands."""

from __future__ import annotations

import os
import re
import time
from pathlib import Path

import pytest

from safeloop.cli import passphrases
from safeloop.errors import KeyUnusable
from tests.cli.program import ROOT, Program

PASSPHRASE = "correct horse battery\n"


@pytest.fixture
def bare(tmp_path: Path) -> Program:
    return Program.at(tmp_path / "p")


def secret(program: Program, text: str = PASSPHRASE, mode: int = 0o600) -> dict[str, str]:
    path = program.folder / "secret"
    path.write_text(text)
    path.chmod(mode)
    return {"SAFELOOP_KEY_PASSPHRASE_FILE": str(path)}


def test_keys_are_made_once_and_never_replaced(bare: Program) -> None:
    made = bare("key", "new", "--json").json
    assert not made["encrypted"] and [each["role"] for each in made["keys"]] == ["writer", "log"]
    again = bare("key", "new")
    assert again.code == 14 and "already" in again.err and "safeloop key rotate" in again.err
    assert [each["key_id"] for each in bare("key", "list", "--json").json["keys"]] == [
        each["key_id"] for each in made["keys"]]


def test_the_walk_of_an_encrypted_folder(bare: Program) -> None:
    env = secret(bare)
    assert bare("key", "new", "--encrypt").code == 14
    assert bare("key", "new", "--encrypt", env=env).code == 0
    assert bare("init").code == 14
    assert bare("init", env=env).code == 0
    assert bare("spec", "--file", "job.toml", env=env).code == 0
    for reads in (["log"], ["inbox"], ["audit"], ["checkpoint"], ["key", "list"], ["trust", "show"]):
        assert bare(*reads).code in (0, 18), reads
    refused = bare("spec", "--file", "job.toml")
    assert refused.code == 14 and "SAFELOOP_KEY_PASSPHRASE_FILE" in refused.err
    command = {"SAFELOOP_KEY_PASSPHRASE_COMMAND": f"cat '{bare.folder / 'secret'}'"}
    assert bare("key", "rotate", env=command).code == 0
    assert bare("spec", "--file", "job.toml", env=command).code == 0
    assert "sealed   the writer key is encrypted" in bare("key", "list").out
    assert bare("audit").code in (0, 18)


@pytest.mark.parametrize(
    ("text", "mode", "words"),
    [
        (PASSPHRASE, 0o644, "can be read by others (mode 0644)"), (PASSPHRASE, 0o640, "can be read by others"),
        ("\n", 0o600, "empty passphrase"), ("", 0o600, "empty passphrase"), ("x" * 1_001, 0o600, "more than 1,000 bytes"),
        (PASSPHRASE + "\n", 0o600, "does not open"), ("wrong", 0o600, "does not open"),
    ],
)
def test_a_passphrase_file_that_is_not_right_is_refused(bare: Program, text: str, mode: int, words: str) -> None:
    assert bare("key", "new", "--encrypt", env=secret(bare)).code == 0
    done = bare("init", env=secret(bare, text, mode))
    assert done.code == 14 and words in done.err and "hint:" in done.err
    assert text.strip() not in done.err or not text.strip() or text == "wrong"


def test_a_folder_or_a_pipe_is_no_passphrase_file(bare: Program) -> None:
    assert bare("key", "new", "--encrypt", env=secret(bare)).code == 0
    for path, words in (("bin", "not a regular file"), ("none", "No such file"), ("/dev/null", "not a regular file")):
        done = bare("init", env={"SAFELOOP_KEY_PASSPHRASE_FILE": path})
        assert done.code == 14 and words in done.err, path


@pytest.mark.parametrize(
    ("command", "code", "words"),
    [
        ("false", 14, "failed with exit code 1"), ("true", 14, "empty passphrase"), ("/none/such", 14, "cannot be run"),
        ("echo 'open", 2, "No closing quotation"), (" ", 2, "names no command"),
        ("echo $HOME; echo x", 14, "does not open"), ("yes", 14, "gives more than 1,000 bytes"),
        ("sh -c 'head -c 1002 /dev/zero; exec sleep 100'", 14, "more than 1,000 bytes"),
    ],
)
def test_a_passphrase_command_that_is_not_right_is_refused(bare: Program, command: str, code: int, words: str) -> None:
    assert bare("key", "new", "--encrypt", env=secret(bare)).code == 0
    done = bare("init", env={"SAFELOOP_KEY_PASSPHRASE_COMMAND": command})
    assert (done.code, words in done.err) == (code, True), done.err


def test_a_project_file_never_names_a_passphrase_and_two_sources_are_refused(bare: Program) -> None:
    both = {**secret(bare), "SAFELOOP_KEY_PASSPHRASE_COMMAND": "true"}
    assert bare("init", env=both).code == 2
    for name in ("key_passphrase_file", "key_passphrase_command"):
        (bare.folder / "safeloop.toml").write_text(f'{name} = "x"\n')
        done = bare("init")
        assert done.code == 2 and f"never sets {name}" in done.err


def test_a_command_that_never_answers_is_ended_with_what_it_started(monkeypatch, tmp_path: Path) -> None:
    monkeypatch.setattr(passphrases, "_COMMAND_TIMEOUT_S", 0.3)
    late = tmp_path / "late"
    with pytest.raises(KeyUnusable, match="has not answered"):
        passphrases.run_passphrase(f"sh -c 'sleep 1; touch {late}'", "test")
    time.sleep(1.2)
    assert not late.exists()


def test_a_command_that_prints_without_end_is_ended_at_once(tmp_path: Path) -> None:
    began = time.monotonic()
    with pytest.raises(KeyUnusable, match="gives more than 1,000 bytes"):
        passphrases.run_passphrase(f"sh -c 'echo $$ > {tmp_path / 'id'}; exec yes'", "test")
    assert time.monotonic() - began < 10
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "id").read_text()), 0)


@pytest.mark.parametrize("command", ["sh -c 'echo answer; exec >&-; sleep 5'", "sh -c 'printf a; sleep 5'"])
def test_a_command_that_answers_and_does_not_end_is_ended(monkeypatch, command: str) -> None:
    monkeypatch.setattr(passphrases, "_COMMAND_TIMEOUT_S", 0.3)
    with pytest.raises(KeyUnusable, match="has not answered for 0.3 s"):
        passphrases.run_passphrase(command, "test")


@pytest.mark.parametrize("length", [1, 999, 1_000])
def test_a_passphrase_comes_whole_from_a_command_that_prints_it_in_pieces(length: int) -> None:
    half = length // 2
    command = f"sh -c 'printf %0{half}d 0; sleep 0.1; printf %0{length - half}d 0; echo'" if half else "echo 0"
    assert passphrases.run_passphrase(command, "test") == b"0" * length


def test_rotate_then_revoke_says_what_auditors_need(program: Program) -> None:
    assert program("spec", "--file", "job.toml").code == 0
    first = program("key", "list", "--json").json
    writer, log = (each["key_id"] for each in first["keys"])
    assert "still signs" in program("key", "revoke", writer).err
    done = program("key", "rotate", "--json").json["rotations"]
    assert [(each["role"], each["old"], len(each["rows"])) for each in done] == [("writer", writer, 1), ("log", log, 1)]
    revoked = program("key", "revoke", writer[:12], "--from-row", "3")
    assert revoked.code == 0 and "from row 3 on; row 4" in revoked.out
    line = f"{writer} {first['ledgers'][0]['origin']} 2"
    assert line in revoked.err
    assert program("key", "revoke", log, "--size", "1").code == 0
    assert program("key", "revoke", log, "--size", "1", "--from-row", "2").code == 2
    listed = program("key", "list").out
    assert f"retired  writer {writer}" in listed and f"revoked  {writer} in" in listed
    assert program("audit").code == 0, "the rotate row was row 2: the bound is after it"


def test_rows_are_voided_only_where_that_is_said(program: Program) -> None:
    assert program("spec", "--file", "job.toml").code == 0
    old = program("key", "rotate", "--role", "writer", "--json").json["rotations"][0]["old"]
    refused = program("key", "revoke", old, "--from-row", "2")
    assert (refused.code, refused.out) == (2, "")
    assert "signed row 2 from row 2 on" in refused.err and "FAIL" in refused.err and "--yes" in refused.err
    assert program("audit").code == 0
    assert program("key", "revoke", old, "--from-row", "3").code == 0
    assert program("audit").code == 0
    assert program("key", "revoke", old, "--from-row", "2", "--yes").code == 0
    assert program("audit").code == 11


def test_the_page_s_recipe_encrypts_a_plain_key_and_what_only_reads_needs_no_passphrase(program: Program) -> None:
    page = (ROOT / "safeloop" / "docs" / "keys.md").read_text(encoding="utf-8")
    recipe = re.search(r"^    umask 077\n(?:    .*\n)+", page, re.M)
    assert recipe is not None
    env = secret(program)
    listed = program("key", "list").out
    typed = recipe.group().replace("-scrypt", "-scrypt -passout file:$SAFELOOP_KEY_PASSPHRASE_FILE")
    other = typed.replace("writer", "log")
    done = program.shell(f"set -e\ncd home/.config/safeloop/keys\n{typed}{other}", env=env)
    assert done.code == 0, done.err
    sealed = program("key", "list")
    assert (sealed.code, [line for line in sealed.out.splitlines() if not line.startswith("sealed")]) == (
        0, listed.splitlines())
    assert program("spec", "--file", "job.toml").code == 14
    assert program("spec", "--file", "job.toml", env=env).code == 0
    assert program("audit").code == 0


def test_a_revoked_writer_without_rows_beyond_the_bound_leaves_the_audit_clean(program: Program) -> None:
    assert program("spec", "--file", "job.toml").code == 0
    old = program("key", "rotate", "--role", "writer", "--json").json["rotations"][0]["old"]
    assert program("key", "revoke", old).code == 0
    assert program("audit").code == 0


def test_other_ledgers_of_the_folder_are_named_where_a_key_still_counts(program: Program) -> None:
    assert program("init", "--ledger", "other.db").code == 0
    old = program("key", "rotate", "--role", "log", "--json").json["rotations"][0]["old"]
    assert "other.db" in program("key", "revoke", old).err


def test_a_ledger_that_is_gone_is_a_warning(program: Program) -> None:
    assert program("init", "--ledger", "other.db").code == 0
    (program.folder / "other.db").unlink()
    done = program("key", "rotate", "--role", "writer")
    assert done.code == 0 and "warning: " in done.err and "other.db has no row of it" in done.err
    assert "(gone)" in program("key", "list").out


def test_a_ledger_that_can_never_be_written_again_is_skipped_by_name(program: Program) -> None:
    assert program("init", "--ledger", "other.db").code == 0
    (program.folder / "other.db").write_bytes(b"x" * 5000)
    stopped = program("key", "rotate", "--role", "writer")
    assert stopped.code == 14 and "--skip" in stopped.err
    assert "waiting  writer" in program("key", "list").out
    assert program("key", "rotate", "--role", "writer", "--skip", "other.db").code == 0
    assert "waiting" not in program("key", "list").out
