"""Servers, held for a test; the sandbox that holds on this machine, or a skip that says why there is none."""

from __future__ import annotations

import os
import sys
import sysconfig
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from safeloop.spec import ToolGrant
from safeloop.tools import Planned, Refusal, ToolOutcome, ToolRegistry, plan_call, run_planned
from safeloop.tools.mcp import Server, Wanted, supply_of
from safeloop.tools.mcp.offering import mcp_tools
from safeloop.tools.sandbox import Bubblewrap
from tests.tools.sandbox.conftest import sandbox_or_skip

HERE = Path(__file__).resolve().parent
PYTHON = sys.executable


def interpreter_folders() -> tuple[Path, ...]:
    """What a program needs to see to run this interpreter with what is installed beside it."""
    found = [Path(sys.prefix), Path(os.path.realpath(PYTHON)).parents[1], Path(sysconfig.get_path("purelib"))]
    outside = [path for path in found if path.parts[1] not in ("usr", "bin", "lib")]
    return tuple(path for path in outside if not any(other in path.parents for other in outside))


def hostile(how: str, file: Path | str = "", **more: Any) -> Server:
    words = (PYTHON, str(HERE / "hostile.py"), how, *([str(file)] if file else []))
    return Server("bad", words, **{"is_sandboxed": False, "time_limit_s": 20, **more})


def honest(**more: Any) -> Server:
    return Server("good", (PYTHON, "-B", str(HERE / "honest.py")), **{"is_sandboxed": False, **more})


def sandboxed(script: str = "honest.py", *words: str, **more: Any) -> Server:
    folders = (*interpreter_folders(), HERE)
    return Server("good", (PYTHON, "-B", str(HERE / script), *words), folders=folders, **more)


@contextmanager
def held(
    *servers: Server, grant: ToolGrant | None = None, opened_with: tuple[str, ...] | None = None,
    sandbox: Callable[[], Bubblewrap] | None = None, variables: dict[str, str] | None = None, workspace: Path | None = None,
) -> Iterator[ToolRegistry]:
    """The tools of servers: all of them unless a grant says which."""
    def none() -> Bubblewrap:
        raise AssertionError("no server of this test needs a sandbox")

    everything = grant or ToolGrant(("read", "write", "destructive"))
    with mcp_tools(
        servers, Wanted(everything, opened_with), workspace, sandbox=sandbox or none,
        supply=lambda server: supply_of(server, variables or {}),
    ) as registry:
        yield registry


def called(registry: ToolRegistry, name: str, **arguments: Any) -> ToolOutcome:
    """Take a call through all its steps, as one that was approved."""
    plan = plan_call(registry, ToolGrant(("read", "write", "destructive")), name, arguments)
    if isinstance(plan, Refusal):
        return plan.outcome
    return run_planned(plan if isinstance(plan, Planned) else plan.approved())


@pytest.fixture
def bwrap() -> Callable[[], Bubblewrap]:
    sandbox = sandbox_or_skip("bwrap")
    assert isinstance(sandbox, Bubblewrap)
    return lambda: sandbox
