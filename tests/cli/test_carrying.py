"""A ledger that the command line named is named by every command that is shown next: followed, each finds the same one."""

from __future__ import annotations

import re
import shlex
import shutil
from importlib import import_module
from pathlib import Path

import click
import pytest

from safeloop.cli.carrying import TAKING, carried, carried_facts, ledger_of
from safeloop.cli.main import GROUPS
from tests.cli.conftest import accept
from tests.cli.program import Program

NAME = "the one.db"


def taking() -> list[str]:
    """Every command that takes `--ledger`, by its words."""
    found = []
    for name, where, _ in (each for _, commands in GROUPS for each in commands):
        module, attribute = where.split(":")
        command: click.Command = getattr(import_module(f"safeloop.cli.{module}"), attribute)
        below = command.commands if isinstance(command, click.Group) else {}
        named = {name: command} | {f"{name} {word}": each for word, each in below.items()}
        found += [words for words, each in named.items() if any(param.name == "ledger" for param in each.params)]
    return sorted(found)


def test_every_command_that_takes_a_ledger_is_known() -> None:
    assert sorted(TAKING) == taking()


@pytest.mark.parametrize(("text", "expected"), [
    ("safeloop review 7c", "safeloop review --ledger x.db 7c"), ("safeloop audit says more", "safeloop audit --ledger x.db says more"),
    ("safeloop inbox, or safeloop log", "safeloop inbox --ledger x.db, or safeloop log --ledger x.db"),
    ("safeloop key revoke ID", "safeloop key revoke --ledger x.db ID"), ("safeloop key list", "safeloop key list"),
    ("safeloop ledger adopt --checkpoint N", "safeloop ledger adopt --ledger x.db --checkpoint N"),
    ("safeloop init --ledger y.db", "safeloop init --ledger y.db"), ("safeloop ledger", "safeloop ledger"),
    ("safeloop log 7c; safeloop log --ledger y.db", "safeloop log --ledger x.db 7c; safeloop log --ledger y.db"),
    ("safeloop logs", "safeloop logs"), ("safeloop trust import FILE", "safeloop trust import FILE"), ("", ""),
    ("safeloop resume 7c --rerun t1", "safeloop resume --ledger x.db 7c --rerun t1"), ("safeloop ledger limits", "safeloop ledger limits --ledger x.db"),
    ("safeloop verify out", "safeloop verify out"), ("unsafeloop audit", "unsafeloop audit"),
])
def test_the_ledger_comes_right_after_the_command_s_own_words(text: str, expected: str) -> None:
    assert carried(text, "x.db") == expected
    assert carried(text, None) == text


def test_of_facts_only_what_is_shown_as_a_next_step_is_touched() -> None:
    facts = {"frame": "safeloop audit", "next": "safeloop audit", "rows": 3, "ledger": None,
             "findings": ({"remedy": "safeloop log", "message": "safeloop log"},), "notes": ["safeloop erase --pending"]}
    assert carried_facts(facts, "x.db") == {
        "frame": "safeloop audit", "next": "safeloop audit --ledger x.db", "rows": 3, "ledger": None,
        "findings": [{"remedy": "safeloop log --ledger x.db", "message": "safeloop log"}],
        "notes": ["safeloop erase --ledger x.db --pending"],
    }


def test_a_command_line_is_read_as_it_will_be() -> None:
    assert ledger_of(["audit", "--ledger", "a.db"]) == "a.db"
    assert ledger_of(["audit", "--ledger=a.db", "--ledger", "b=c.db"]) == "b=c.db"
    assert ledger_of(["audit", "--ledger"]) is None and ledger_of(["audit"]) is None
    assert ledger_of([]) is None


def followed(program: Program, text: str) -> list[list[str]]:
    """Every command of a text that names the ledger."""
    return [shlex.split(each) for each in re.findall(r"safeloop [^\n;,]*--ledger 'the one\.db'[^\n;,]*", text)]


def test_each_hint_of_the_walk_leads_to_the_same_ledger(tmp_path: Path) -> None:
    program = Program.at(tmp_path / "p")
    where = ("--ledger", NAME)
    said = [program("init", *where).err]
    program.reviewer()
    ran = program.job(*where)
    name = ran.out.split()[1].rstrip(":")
    said += [ran.err, program("inbox", *where).out, program("release", name, "--to", "out", *where).err,
             program("review", "nosuch", *where).err, program("inbox", *where, "--json").json["waiting"][0]["next"],
             program("release", name, "--to", "out", *where, "--json").json["error"]["hint"]]
    assert [followed(program, each) != [] for each in said] == [True] * len(said)
    for text in said[1:3]:
        ((_, *command),) = followed(program, text)
        assert command[0] == "review" and program(*command).code == 0
    export = program("attest", name, "--as", "alice@example.org", "--export", "e", "--decision", "accept", *where)
    ((_, *command),) = followed(program, export.out + export.err)
    signed = program.shell("ssh-keygen -q -Y sign -f alice -n safeloop-review e/statement.json")
    assert signed.code == 0 and program(*command).code == 0
    ((_, *command),) = followed(program, program("inbox", *where).out)
    assert program(*[word.replace("DIR", "out") for word in command]).code == 0
    program("erase", name, "--reason", "x", "--yes", *where)
    report = program("audit", *where, "--json").json
    assert NAME in report["gaps"][0]["remedy"] and NAME in program("audit", *where).out
    assert not (program.folder / "ledger.db").exists()


def test_what_the_environment_names_is_not_repeated(program: Program) -> None:
    assert "--ledger" not in program("review", "nosuch", env={"SAFELOOP_LEDGER": "ledger.db"}).err


def test_a_release_is_followed_by_the_command_that_verifies_it_by_the_pins_that_were_named(program: Program) -> None:
    key = program.reviewer()
    assert program.job().code == 0
    accept(program, "latest", key)
    shutil.copytree(program.folder / "home/.config/safeloop/keys/self", program.folder / "the pins")
    named = program("release", "latest", "--to", "an out", "--trust", "the pins")
    assert (named.code, named.err) == (0, "next: safeloop verify 'an out' --trust 'the pins'\n")
    assert program("audit").code == 0
    default = program("release", "latest", "--to", "an out", "--force")
    known = program("release", "latest", "--to", "an out", "--force", env={"SAFELOOP_TRUST": "the pins"})
    assert default.err == known.err == "next: safeloop verify 'an out'\n"
    for done in (named, default):
        assert program.shell(done.err.removeprefix("next: ")).out.split("\n")[-2].startswith("an out: release verified")
