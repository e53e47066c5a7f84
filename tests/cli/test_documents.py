"""What is written about the command line is what the command line does."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from importlib import import_module

import pytest

from safeloop.cli.main import GROUPS
from safeloop.cli.settings import KNOWN, Settings
from safeloop.errors import ExitCode
from safeloop.loop import DEFAULT_MODEL
from tests.cli.program import ROOT, Program

PAGES = ROOT / "safeloop" / "docs"
COMMANDS = [name for _, commands in GROUPS for name, _, _ in commands]
SUBCOMMANDS = ["ledger adopt", "ledger import", "key new", "key list", "key rotate", "key revoke", "trust show",
               "trust export", "trust import", "trust add-reviewer"]
WALK = ["init", "spec", "run", "resume", "close", "inbox", "review", "attest", "release", "verify", "audit",
        "checkpoint", "receipt", "log", "report", "stats", "approvals", "approve", "refuse", "reconcile", "erase",
        "export", "backup", "ledger", "key", "trust", "config", "demo", "help"]  # fmt: skip


def page(name: str) -> str:
    return (PAGES / f"{name}.md").read_text(encoding="utf-8")


def test_the_page_of_exit_codes_is_the_table_of_the_constants() -> None:
    table = ["| exit code | means |", "|---|---|", *(f"| {int(code)} | {code.meaning} |" for code in ExitCode)]
    found = [line for line in page("exit-codes").splitlines() if line.startswith("|")]
    assert found == table


def test_the_page_of_settings_names_each_setting_with_its_default() -> None:
    rows = {
        cells[0].strip("`"): cells[1:]
        for cells in ([cell.strip() for cell in line.strip("|").split("|")] for line in page("settings").splitlines()
                      if line.startswith("| `"))
    }
    assert list(rows) == [known.name for known in KNOWN]
    for known in KNOWN:
        default, project, meaning = rows[known.name]
        if known.default is not None:
            assert default.strip("`") == str(known.default), known.name
        assert (project == "no") is not known.project
        assert (project == "tightens only") is known.tightens
        assert meaning.startswith(known.meaning.partition(";")[0].partition(":")[0].split(" (")[0])
    assert rows["model"][0].strip("`") == DEFAULT_MODEL == Settings(environment={}).get("model").value


def test_the_commands_are_in_the_order_of_the_walk(kept: Program) -> None:
    assert [name for name in WALK if name in COMMANDS] == COMMANDS
    listed = re.findall(r"^  (\w+)  +\S", kept("--help").out.partition("Promise and run:")[2], re.M)
    assert listed == COMMANDS


@pytest.mark.parametrize("command", [*COMMANDS, *SUBCOMMANDS])
def test_each_command_explains_itself_within_a_hundred_columns(command: str) -> None:
    """In this process, as 22 commands would be 22 starts; that the program says the same is checked on one below."""
    import click

    name, _, rest = command.partition(" ")
    where = {name: where for _, commands in GROUPS for name, where, _ in commands}[name]
    module, attribute = where.split(":")
    found = getattr(import_module(f"safeloop.cli.{module}"), attribute)
    context = click.Context(found, info_name=f"safeloop {name}", terminal_width=100)
    if rest:
        found = found.get_command(context, rest)
        context = click.Context(found, info_name=rest, parent=context, terminal_width=100)
    text = found.get_help(context)
    assert text.startswith(f"Usage: safeloop {command} ")
    assert max(map(len, text.splitlines())) <= 100
    assert found.help and found.help.split("\n")[0].rstrip().endswith((".", "known.", ":")), found.help
    for internal in (r"\bdesk\b", r"\b[a-z]+_[a-z_]+\b", r"\bNone\b", r"\bPath\b", r"\bTrue\b"):
        assert not re.search(internal, text), internal
    options = [option for option in found.params if isinstance(option, click.Option)]
    assert all(option.help for option in options), "an option without a word about it"


def test_the_program_shows_the_same_help(kept: Program) -> None:
    for command in (("run", "--help"), ("run", "-h"), ("--help",), ("trust", "add-reviewer", "--help")):
        done = kept(*command)
        assert (done.code, done.err) == (0, "")
        assert done.out.startswith("Usage: safeloop ")
        assert max(map(len, done.out.splitlines())) <= 100


def test_each_page_can_be_read(kept: Program) -> None:
    topics = kept("help", "--json").json["topics"]
    assert set(topics) == {path.stem for path in PAGES.glob("*.md")}
    for topic in topics:
        assert kept("help", topic).out == page(topic)


def test_pages_name_only_commands_that_exist() -> None:
    known = {*COMMANDS, *SUBCOMMANDS}
    for path in [*PAGES.glob("*.md"), ROOT / "crontab.example"]:
        for named in re.findall(r"safeloop ([a-z]+(?: [a-z-]+)?)\b", path.read_text(encoding="utf-8")):
            first = named.split(" ")[0]
            if first in WALK:
                assert named in known or first in known, f"{path.name}: {named}"


def test_hints_in_the_code_name_only_commands_that_exist() -> None:
    """A hint that leads nowhere is worse than none."""
    wrong = {
        f"{path.relative_to(ROOT)}: safeloop {named}"
        for path in (ROOT / "safeloop").rglob("*.py")
        for named in re.findall(r"safeloop ([a-z]+)\b", path.read_text(encoding="utf-8"))
        if named in WALK and named not in COMMANDS
    }
    assert wrong == set()


JUDGES = (("--help",), ("review", "latest"), ("audit",), ("inbox",), ("log",), ("stats",), ("attest", "--help"),
          ("attest", "latest", "--as", "a", "--key", "k"), ("release", "latest", "--to", "nowhere"))  # fmt: skip
SDKS = {"anthropic", "pydantic", "httpx2", "httpx", "openai", "opentelemetry"}


@pytest.mark.parametrize("command", JUDGES, ids=" ".join)
def test_the_judge_runs_without_the_judged(kept: Program, command: tuple[str, ...]) -> None:
    watch = (
        "import atexit, json, os, sys\n"
        "atexit.register(lambda: os.write(9, json.dumps(sorted(sys.modules)).encode()))\n"
        "sys.argv = ['safeloop', *sys.argv[1:]]\n"
        "from safeloop.cli.main import main\nmain()\n"
    )
    done = subprocess.run(
        ["bash", "-c", 'exec 9>modules.json; exec "$@"', "-", sys.executable, "-c", watch, *command],
        cwd=kept.folder, env=kept.environment, capture_output=True, stdin=subprocess.DEVNULL, check=False,
    )
    assert b"Traceback" not in done.stderr
    loaded = json.loads((kept.folder / "modules.json").read_text())
    assert {name.split(".")[0] for name in loaded} & SDKS == set()
    loop = {name for name in loaded if name.startswith(("safeloop.loop", "safeloop.models", "safeloop.breaker"))}
    assert loop == set() or command == ("inbox",), "review and audit import neither the loop nor a model"


def test_importing_the_package_loads_no_sdk() -> None:
    code = "import sys, safeloop; print(sorted({n.split('.')[0] for n in sys.modules} & set(sys.argv[1:])))"
    done = subprocess.run([sys.executable, "-c", code, *SDKS], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_the_promise_about_what_is_billed_is_claimed_for_bytes_and_for_counts_and_not_for_estimates(kept: Program) -> None:
    page = " ".join(kept("help", "models").out.split())
    said = page.partition('What "billed never exceeds the ceiling" means')[2]
    assert "**Claude, by bytes**: always." in said
    assert "**Claude, counted**: within the provider's own estimate and the margin." in said
    assert "**Estimated**: no promise." in said
