"""The page `on-call`: every command that it names can be typed so, every state and code has its line, its blocks run."""

from __future__ import annotations

import re
import shlex
from importlib import import_module

import click
import pytest

from safeloop.cli import waiting
from safeloop.cli.main import GROUPS
from safeloop.errors import ExitCode
from tests.cli.program import ROOT, Program
from tests.cli.test_inbox import writing
from tests.review.sessions import SessionBuilder

PAGE = (ROOT / "safeloop" / "docs" / "on-call.md").read_text(encoding="utf-8")
COMMANDS = sorted({" ".join(each.split()) for each in re.findall(r"`(safeloop [^`]+)`", PAGE)})
BLOCKS = re.findall(r"^```sh\n(.*?)^```$", PAGE, re.M | re.S)
WHERE = {name: where for _, commands in GROUPS for name, where, _ in commands}


def cells(heading: str) -> list[list[str]]:
    """Return the rows of the table under a heading."""
    section = PAGE.split(f"## {heading}\n")[1].split("\n## ")[0]
    lines = [line for line in section.splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines[1:]]


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_on_the_page_can_be_typed_so(command: str) -> None:
    _, name, *arguments = shlex.split(command)
    module, attribute = WHERE[name].split(":")
    found: click.Command = getattr(import_module(f"safeloop.cli.{module}"), attribute)
    if isinstance(found, click.Group) and arguments:
        sub = found.get_command(click.Context(found), arguments.pop(0))
        assert sub is not None
        found = sub
    if arguments:  # or else it is only called by its name
        found.make_context(name, ["7" if each == "N" else each for each in arguments])


def test_every_word_of_the_inbox_has_a_line_and_no_other() -> None:
    words = [row[0].strip("`") for row in cells("What waits")]
    assert words == [*waiting.WORDS, waiting.RUNNING]
    assert all(len(row) == 4 and all(row) for row in cells("What waits"))


def test_every_exit_code_has_a_line_but_the_one_that_needs_none() -> None:
    assert [int(row[0]) for row in cells("The mail")] == sorted(set(ExitCode) - {ExitCode.DONE})


def test_the_blocks_run_and_say_what_the_page_says(program: Program) -> None:
    program.job()
    (program.folder / "latest.txt").write_text(program("checkpoint").out)
    assert program("ledger", "limits", "--day-tokens", "1").code == 0
    done = [program.shell(f"set -e\n{block}", env={"KEPT": "."}) for block in BLOCKS]
    assert [(each.code, each.err) for each in done] == [(0, "")] * 4
    first, line, disk, window = (each.out for each in done)
    assert " review " in first and "1 session since 20" in first
    assert line == "1 waits: 1 review; oldest now\n"
    assert " review " in disk
    assert "full" in window and "of 1 tokens" in window


def test_the_prompt_of_the_page_works_in_a_shell_and_is_silent_without_a_ledger(program: Program) -> None:
    (prompt,) = re.findall(r"`PS1='([^']*)'`", PAGE)
    command = re.findall(r"\$\((.*)\)", prompt)[0].replace("/var/lib/safeloop/ledger.db", "ledger.db")
    assert program.shell(command).out == ""
    with writing(program) as ledger:
        SessionBuilder(ledger).spec().open().turn().close()
    assert program.shell(command).out == "1 waits: 1 review; oldest now\n"
    assert program.shell(command.replace("ledger.db", "none.db")).out == ""


@pytest.mark.parametrize("suffix", ["-wal", ""])
def test_what_the_page_forbids_is_refused(program: Program, suffix: str) -> None:
    """An old ledger in place of the new one, and none in place of one: nothing is written, and it is said why."""
    program.job()
    program("checkpoint")
    old = (program.folder / "ledger.db").read_bytes()
    program.job()
    (program.folder / "kept.txt").write_text(program("checkpoint").out)
    for path in program.folder.glob("ledger.db*"):
        path.unlink()
    if suffix:
        (program.folder / "ledger.db").write_bytes(old)
        assert program("audit", "--checkpoint", "kept.txt").code == ExitCode.VERIFICATION_FAILED
    assert program("spec", "--file", "job.toml").code == ExitCode.UNUSABLE
    assert program("ledger", "adopt", "--checkpoint", "kept.txt").code in (ExitCode.UNUSABLE, ExitCode.VERIFICATION_FAILED)
