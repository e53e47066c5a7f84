"""The README is true: its session, its commands, its Python, its links."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.program import Program
from tests.transcripts.runner import Names, steps_of

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
GAP = "…"
TYPED = re.compile("«([^»]*)»")


def blocks(kind: str) -> list[str]:
    return re.findall(rf"```{kind}\n(.*?)```", README, re.S)


def test_it_begins_with_one_sentence() -> None:
    first = README.split("\n\n")[1].replace("\n", " ")
    assert first.count(". ") == 0
    assert first.endswith(".")


def test_the_session_is_one_that_was_played(tmp_path: Path) -> None:
    recorded = (ROOT / "tests" / "transcripts" / "readme.txt").read_text(encoding="utf-8")
    recorded = re.sub(r"<hash \d+>", "<hash>", recorded)
    typed_out = TYPED.sub(lambda found: "<typed>" if found[1] == "<last 4>" else found[1], recorded)
    played = [line for line in typed_out.splitlines() if line]
    names = Names(tmp_path)
    shown = [names.normal(line) for line in blocks("console")[0].splitlines() if line]
    shown = [re.sub(r"<hash \d+>", "<hash>", line) for line in shown]
    shown = [re.sub(r"(?<=of its hash: )[0-9a-f]{4}$", "<typed>", line) for line in shown]
    begun = next(line for line in shown if line.startswith("$ "))
    at, may_skip = played.index(begun), False
    for line in shown:
        if line == GAP:
            may_skip = True
            continue
        assert line in played[at:], f"the session never showed: {line}"
        found = played.index(line, at)
        assert may_skip or found == at or line.startswith("$ "), f"left out without {GAP}: {played[at:found]}"
        at, may_skip = found + 1, False
    commands = [step.command for step in steps_of(recorded)[1]]
    assert commands[0] == "cp -r <examples> .", "a clone has them"
    assert [line[2:] for line in shown if line.startswith("$ ")] == commands[1:]


def test_the_set_up_commands_name_what_the_project_has() -> None:
    (demo,), (test,), (install,) = blocks("sh demo"), blocks("sh test"), blocks("sh install")
    for command in (demo, test, install):
        assert command.startswith("python3 -m venv .venv && .venv/bin/pip install -q ")
    assert shlex.split(demo)[-2:] == [".venv/bin/safeloop", "demo"]
    assert "pytest" in test


def test_the_install_and_the_demo_command_run_as_they_stand_in_a_fresh_clone(tmp_path: Path) -> None:
    subprocess.run(["git", "clone", "-q", str(ROOT), str(tmp_path / "clone")], check=True, capture_output=True)
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("ANTHROPIC", "SAFELOOP", "COVERAGE"))}
    environment["HOME"] = str(tmp_path / "home")
    (tmp_path / "home").mkdir()
    installed = blocks("sh install")[0] + "command -v safeloop && cd / && safeloop --version"
    said = subprocess.run(
        ["bash", "-c", installed], cwd=tmp_path / "clone", env=environment, stdin=subprocess.DEVNULL,
        capture_output=True, text=True, check=True, timeout=400,
    ).stdout.splitlines()  # fmt: skip
    assert said[0] == str(tmp_path / "clone/.venv/bin/safeloop") and said[1].startswith("safeloop ")
    done = subprocess.run(
        ["bash", "-c", blocks("sh demo")[0]], cwd=tmp_path / "clone", env=environment, stdin=subprocess.DEVNULL,
        capture_output=True, text=True, check=False, timeout=400,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "record PASS" in done.stdout
    assert "record FAIL (1 finding)" in done.stdout
    assert "release refused" in done.stdout


def test_every_line_of_the_walk_with_ones_own_key_runs(tmp_path: Path) -> None:
    program = Program.at(tmp_path / "p", SAFELOOP_MODEL="offline-auditor")
    subprocess.run(["cp", "-r", str(ROOT / "examples"), str(program.folder)], check=True)
    (program.folder / "home" / ".ssh").mkdir(mode=0o700)
    key = program.folder / "home" / ".ssh" / "id_ed25519"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key)], check=True)
    (walk,) = [block for block in blocks("sh") if block.startswith("safeloop init")]
    for line in walk.splitlines():
        with program.terminal("bash", "-c", line) as terminal:
            if line.startswith("safeloop attest"):
                terminal.expect("leave? ")
                terminal.type("accept")
                terminal.expect("of its hash: ")
                terminal.type(re.findall(r"frame sha256 ([0-9a-f]{64})", terminal.seen)[0][-4:])
            assert terminal.wait() == 0, terminal.seen
    assert (program.folder / "released" / "report.md").exists()


def test_the_operator_s_and_the_auditor_s_lines_run_on_two_machines(tmp_path: Path) -> None:
    operator, auditor = Program.at(tmp_path / "operator"), Program.at(tmp_path / "auditor")
    assert operator("init").code == 0
    operator.reviewer()
    assert operator.job().code == 0
    with operator.at_terminal("attest", "latest", "--as", "alice@example.org", "--key", "alice") as terminal:
        terminal.expect("leave? ")
        terminal.type("accept")
        terminal.expect("of its hash: ")
        terminal.type(re.findall(r"frame sha256 ([0-9a-f]{64})", terminal.seen)[0][-4:])
        assert terminal.wait() == 0, terminal.seen
    assert operator("release", "latest", "--to", "released").code == 0
    shown = operator.shell("set -e\n" + blocks("sh page")[0])
    assert (shown.code, "<!doctype html>" in (operator.folder / "report.html").read_text().lower()) == (0, True), shown.err
    handed = operator.shell("set -e\n" + blocks("sh operator")[0])
    assert (handed.code, "Traceback" in handed.err) == (0, False), handed.err
    for name in ("pins.txt", "kept.txt", "row.tlog-proof", "released", "copy.db", "copy.content.db"):
        (operator.folder / name).rename(auditor.folder / name)
    lines = blocks("sh auditor")[0].replace("FINGERPRINT", handed.out.split()[0])
    done = auditor.shell("set -e\n" + lines)
    assert done.code == 0, done.out + done.err
    said = done.out.splitlines()
    assert "row.tlog-proof: receipt verified" in said and "released: release verified" in said
    assert re.fullmatch(r"record PASS, \d+ rows stand", said[-1])


@pytest.mark.parametrize("number", range(len(blocks("python"))))
def test_every_python_block_runs(number: int, tmp_path: Path) -> None:
    environment = os.environ | {"SAFELOOP_KEYS": str(tmp_path / "keys")}
    done = subprocess.run(
        [sys.executable, "-c", blocks("python")[number]], cwd=tmp_path, env=environment, capture_output=True,
        text=True, check=False, timeout=60,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("True 1 ")
    assert "[5] UNRESOLVED ASSUMPTIONS" in done.stdout


def test_every_link_leads_somewhere() -> None:
    links = re.findall(r"\]\(([^)]+)\)", README)
    assert len(links) > 5
    assert [link for link in links if not (ROOT / link).exists()] == []
