"""`python -m safeloop` in a folder of somebody else's files: none of them is taken for a module."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from safeloop.errors import ExitCode
from tests.cli.program import PATIENCE_S, Program

HOSTILE = "import pathlib; pathlib.Path(__file__).with_name('ran').touch(); raise SystemExit(0)"
SPEC = """
what_it_does = "List the tickets"
what_it_does_not = "Answer them"
done_looks_like = "tickets.json lists every ticket with its id"
[[criteria]]
name = "fits"
kind = "json_schema"
file = "tickets.json"
schema = '{}'
retries = 0
"""


def as_module(program: Program, *arguments: str, flags: tuple[str, ...] = (), **more: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [sys.executable, *flags, "-m", "safeloop", *arguments], cwd=program.folder, env={**program.environment, **more},
        capture_output=True, stdin=subprocess.DEVNULL, timeout=PATIENCE_S, check=False,
    )  # fmt: skip


@pytest.mark.parametrize("flags", [(), ("-P",)])
def test_a_library_that_lies_in_the_current_folder_is_not_imported(program: Program, flags: tuple[str, ...]) -> None:
    for name in ("jsonschema", "click", "cryptography", "sqlite3"):
        (program.folder / name).mkdir()
        (program.folder / name / "__init__.py").write_text(HOSTILE)
    (program.folder / "job.toml").write_text(SPEC)
    (program.folder / "calls.json").write_text('["done"]')
    done = as_module(program, "run", "--spec-file", "job.toml", "--task", "x", "--script", "calls.json", flags=flags)
    assert list(program.folder.rglob("ran")) == []
    assert done.returncode == ExitCode.UNMET, done.stderr.decode()


def test_a_folder_that_the_operator_named_stays_where_modules_are_found(program: Program) -> None:
    (program.folder / "mine.py").write_text("from safeloop.tools import ToolRegistry\nregistry = ToolRegistry()\n")
    path = os.pathsep.join(filter(None, [str(program.folder), program.environment.get("PYTHONPATH", "")]))
    found = "--tools: mine:registry holds no tool"
    (program.folder / "calls.json").write_text('["done"]')
    run = ("run", "--task", "x", "--spec-file", "job.toml", "--script", "calls.json", "--tools")
    (program.folder / "job.toml").write_text(SPEC.partition("[[")[0])
    assert found in as_module(program, *run, "mine:registry", PYTHONPATH=path).stderr.decode()
    assert "there is no module mine" in as_module(program, *run, "mine:registry").stderr.decode()
    assert ".mine:registry holds no tool" in as_module(program, *run, ".mine:registry").stderr.decode()


def test_a_folder_that_is_gone_is_no_traceback(program: Program) -> None:
    script = f'mkdir gone && cd gone && rmdir ../gone && "{sys.executable}" -m safeloop --version'
    done = program.shell(script)
    assert (done.code, done.err) == (0, "")
