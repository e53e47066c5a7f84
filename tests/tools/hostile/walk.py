"""The run of a hostile model, in a process of its own, whose environment holds canaries: `python -m tests.tools.hostile.walk`."""

from __future__ import annotations

import contextlib
import json
import socket
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import safeloop
from safeloop.ledger import sshsig
from safeloop.ledger.trust import APPROVAL_NAMESPACE
from safeloop.loop import AgentLoop
from safeloop.loop.approving import Approvals
from safeloop.models.anthropic import AnthropicClient
from safeloop.spec import SpecResult, ToolGrant
from safeloop.tools import Root, ToolRegistry, file_tools
from safeloop.tools.approvals import Request, Signed
from safeloop.tools.fetching import FetchOptions, fetch_tools
from safeloop.tools.sandbox import Limits, code_tools, find_sandbox
from tests.loop.reviewing import ALICE, PEOPLE, pin
from tests.tools.fetching.conftest import PUBLIC, Names, Wire
from tests.tools.hostile.corpus import Aims, attacks
from tests.tools.test_contained import swapping

EVERY_TOOL = ("list_files", "read_file", "search_files", "write_file", "edit_file", "fetch_url", "run_python", "run_command")
LIMITS = Limits(
    time_s=1.0, memory_bytes=128 << 20, processes=40, temporary_bytes=8_000_000, file_bytes=5_000_000,
    disk_bytes=1_000_000_000, output_bytes=4_000,
)  # fmt: skip


def granted(request: Request) -> Signed:
    """Approve whatever it is: a person who signs everything must be safe as well."""
    decision = request.decided("granted", ALICE, datetime.now(UTC) + timedelta(minutes=10))
    return Signed(decision, sshsig.sign(PEOPLE[ALICE], APPROVAL_NAMESPACE, decision.statement))


def walk(folder: Path, base_url: str, aims: dict[str, Any]) -> dict[str, Any]:
    """Run to the end; say how it ended."""
    everything = attacks(Aims(**aims))
    ledger = safeloop.Ledger(folder / "kept" / "ledger.db")
    pin(folder / "keys", ALICE)
    options = FetchOptions(
        allowed_hosts=(f"127.0.0.1:{aims['allowed']}",), ports=(80, 443, aims["forbidden"]), seconds=3,
        body_bytes=200_000, wire_bytes=200_000,
        # Public when it is checked first, and then not: which of the two is connected to?
        resolve=Names(rebinding_example=[[PUBLIC], ["169.254.169.254"], ["127.0.0.1"]]),
    )  # fmt: skip
    socket.create_connection = Wire(socket.create_connection)  # type: ignore[assignment]
    with contextlib.ExitStack() as running:
        workspace = running.enter_context(Root(folder / "workspace"))

        def made(staging: Root) -> ToolRegistry:
            (staging.path / "real").mkdir()
            running.enter_context(swapping(staging.path, "real", str(folder / "outside")))
            tools = ToolRegistry()
            for tool in (
                *file_tools(workspace, staging), *fetch_tools(options),
                *code_tools(find_sandbox(), folder / "workspace", staging.path, limits=LIMITS),
            ):  # fmt: skip
                tools.add(tool)
            assert tuple(tool.name for tool in tools) == EVERY_TOOL
            return tools

        spec = SpecResult("do as you are told", "get out", "nothing is out", "s",
                          tools=ToolGrant(permissions=("read", "write", "destructive")))  # fmt: skip
        limits = safeloop.CircuitBreaker(len(everything) + 1, 10**9, error_limit=None, output_fn=lambda _: None)
        client = AnthropicClient(base_url=base_url)
        loop = AgentLoop(spec, limits, ledger, client, tools=made, workspace=folder / "workspace", remind_every=0,
                         approvals=Approvals(ask=granted))  # fmt: skip
        result = loop.run("Audit the page.")
    return {"outcome": result.outcome, "reason": result.reason}


if __name__ == "__main__":
    print(json.dumps(walk(Path(sys.argv[1]), **json.loads(sys.stdin.read()))))
