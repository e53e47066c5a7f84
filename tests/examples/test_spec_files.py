"""The examples that are spec files: each is run from the very commands that its comment gives, in a folder of its own."""

from __future__ import annotations

import csv
import json
import re
import shlex
import shutil
import subprocess
import tomllib
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from safeloop.models.scripted import ScriptedClient
from tests.cli.program import ROOT, Done, Program
from tests.cli.test_exit_codes import claude
from tests.servers.anthropic_server import AnthropicServer, message

EXAMPLES = ROOT / "examples"
NAMES = ("security-review", "support-triage", "invoice", "seo-audit")
LEFT = {"security-review": "review.md", "support-triage": "triage.json", "invoice": "invoice.json",
        "seo-audit": "report.md"}


def comment(name: str) -> str:
    return "\n".join(
        line.removeprefix("#")
        for line in (EXAMPLES / name / "spec.toml").read_text("utf-8").splitlines() if line.startswith("#")
    )


def commands(name: str, *, scripted: bool, dry: bool = False) -> list[list[str]]:
    """The commands of the example's comment, as a shell would split them, without the program's name."""
    found = [shlex.split(line)[1:] for line in re.findall(r"(?m)^   (safeloop run .*)$", comment(name))]
    return [each for each in found if ("--script" in each) is scripted and ("--dry-run" in each) is dry]


def script(name: str) -> list[Any]:
    replies: list[Any] = json.loads((EXAMPLES / name / "script.json").read_text("utf-8"))
    return replies


def staged(machine: Program, name: str) -> str:
    session = machine.rows()[-1]["session"]
    machine("review", session)
    shown = machine("review", session).out
    assert f"File:                {LEFT[name]}" in shown
    found = [path for path in machine.folder.rglob(LEFT[name]) if "staging" in path.parts]
    return found[-1].read_text("utf-8")


@pytest.fixture
def machine(tmp_path: Path) -> Program:
    made = Program.at(tmp_path / "p")
    assert made("init").code == 0
    shutil.copytree(EXAMPLES, made.folder / "examples")
    return made


@pytest.mark.parametrize("name", NAMES)
def test_an_example_runs_without_a_key_and_keeps_its_promise(machine: Program, name: str) -> None:
    (command,) = commands(name, scripted=True)
    done = machine(*command)
    assert (done.code, "completed; " in done.out) == (0, True), done.err
    assert staged(machine, name)
    assert machine("audit").code == 0


@pytest.mark.parametrize("name", NAMES)
def test_an_example_runs_with_claude_by_the_command_that_it_gives(machine: Program, name: str) -> None:
    """The real SDK against a server on loopback, which plays the same replies."""
    replies = [message(*each["content"]) if isinstance(each, dict) else each for each in script(name)]
    (command,) = commands(name, scripted=False)
    with AnthropicServer(replies) as server:
        done = machine(*command, env=claude(server))
    assert done.code == 0, done.err
    assert len(server.posts) == len(replies)
    asked = {tool["name"] for tool in server.requests[0].body["tools"]}
    assert asked == set(tomllib.loads((EXAMPLES / name / "spec.toml").read_text("utf-8"))["tools"]["names"])


@pytest.mark.parametrize("name", NAMES)
def test_an_example_that_says_it_is_done_without_its_file_is_unmet(machine: Program, name: str) -> None:
    """Its criteria are no decoration."""
    (command,) = commands(name, scripted=True)
    (machine.folder / "examples" / name / "script.json").write_text(json.dumps(["All done."] * 9))
    assert machine(*command).code == 16


@pytest.mark.parametrize("name", NAMES)
def test_what_an_example_writes_is_refused_if_it_is_cut_short(machine: Program, name: str) -> None:
    (command,) = commands(name, scripted=True)
    replies = script(name)
    for each in replies:
        for block in each["content"] if isinstance(each, dict) else ():
            if "content" in block["input"]:
                block["input"]["content"] = block["input"]["content"][:60]
    (machine.folder / "examples" / name / "script.json").write_text(json.dumps([*replies, *["Done."] * 9]))
    assert machine(*command).code == 16


def test_the_triage_is_mended_after_its_check_failed_and_both_rounds_are_rows(machine: Program) -> None:
    machine(*commands("support-triage", scripted=True)[0])
    checks = [(row["data"]["criterion"], row["data"]["pass_fail"]) for row in machine.rows() if row["kind"] == "check"]
    names = ["every ticket has a category, a priority and a reason", "no ticket was forgotten"]
    assert checks == [(names[0], False), (names[1], True), (names[0], True), (names[1], True)]
    given = json.loads(staged(machine, "support-triage"))
    asked = json.loads((EXAMPLES / "support-triage/input/tickets.json").read_text("utf-8"))
    assert [each["id"] for each in given] == [each["id"] for each in asked]


def test_the_invoices_figures_are_those_of_the_invoice_and_add_up() -> None:
    (written,) = [block["input"]["content"] for each in script("invoice") if isinstance(each, dict)
                  for block in each["content"] if block["name"] == "write_file"]
    given = json.loads(written)
    text = (EXAMPLES / "invoice/input/invoice.txt").read_text("utf-8")
    for figure in [given["net"], given["vat"], given["total"], *(line["amount"] for line in given["lines"])]:
        assert f"{figure} EUR" in text
    amounts = [Decimal(line["amount"]) for line in given["lines"]]
    assert amounts == [line["quantity"] * Decimal(line["price"]) for line in given["lines"]]
    assert sum(amounts) == Decimal(given["net"])
    assert Decimal(given["net"]) + Decimal(given["vat"]) == Decimal(given["total"])


def test_the_invoices_dry_run_writes_nothing(machine: Program) -> None:
    (command,) = commands("invoice", scripted=True, dry=True)
    done = machine(*command)
    assert (done.code, "dry run: completed" in done.out) == (0, True)
    assert list(machine.folder.rglob("invoice.json")) == []


def test_the_diff_is_one_and_the_review_names_lines_that_it_adds(tmp_path: Path) -> None:
    diff = (EXAMPLES / "security-review/input/change.diff").read_text("utf-8")
    counted = subprocess.run(["git", "apply", "--numstat", "-"], input=diff, text=True, capture_output=True,
                             cwd=tmp_path, check=True)  # fmt: skip
    assert next(csv.reader([counted.stdout.strip()], delimiter="\t")) == ["14", "2", "app/export.py"]
    first = int(re.findall(r"(?m)^@@ -\d+,\d+ \+(\d+),", diff)[0])
    after = [line for line in diff.partition("@@\n")[2].splitlines() if not line.startswith("-")]
    review = script("security-review")[1]["content"][0]["input"]["content"]
    for number, word in {13: "SELECT", 21: "shell=True", 18: "EXPORTS / name", 9: "PASSWORD", 8: "automated"}.items():
        assert f"(app/export.py:{number})" in review
        assert after[number - first].startswith("+")
        assert word in after[number - first]


def test_the_line_for_cron_runs_as_cron_runs_it(machine: Program) -> None:
    """Without a terminal, from the folder that it names, with the key from its file; silent, and twice."""
    (line,) = re.findall(r"(?m)^   [\d*]+ [\d*]+ \* \* \d  (.*)$", comment("seo-audit"))
    assert "%" not in line, "a % is a new line to cron"
    home = machine.folder / "home"
    (home / ".config/safeloop").mkdir(parents=True, exist_ok=True)
    replies = [message(*each["content"]) if isinstance(each, dict) else each for each in script("seo-audit")] * 2
    with AnthropicServer(replies) as server:
        key = "".join(f"export {name}={shlex.quote(value)}\n" for name, value in claude(server).items())
        (home / ".config/safeloop/api-key.env").write_text(key)
        for _ in range(2):
            done: Done = machine.shell(line.replace("/opt/safeloop", str(machine.folder)), env={"HOME": str(home)})
            assert (done.code, done.out, done.err) == (0, "", "")
    assert [row["data"]["outcome"] for row in machine.rows() if row["kind"] == "close"] == ["completed"] * 2


@pytest.mark.parametrize("name", NAMES)
def test_the_script_of_an_example_is_one(name: str) -> None:
    assert ScriptedClient.from_file(EXAMPLES / name / "script.json").costs_nothing
    assert len(script(name)) >= 3


@pytest.mark.parametrize("name", NAMES)
def test_a_spec_of_an_example_draws_no_warning(machine: Program, name: str) -> None:
    done = machine("spec", "--file", f"examples/{name}/spec.toml", "--strict")
    assert done.code == 0, done.err
