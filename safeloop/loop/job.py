"""What is to be run, how, and by whom it may be stopped: the same from the first row of a session to the last."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safeloop.breaker import CircuitBreaker
from safeloop.breaker.pricing import Entry
from safeloop.ledger import Ledger
from safeloop.loop.approving import Approvals
from safeloop.loop.events import Listener
from safeloop.loop.goal import Goal
from safeloop.loop.opening import Billing
from safeloop.spec import Run, SpecResult
from safeloop.tools import Root, ToolRegistry

MakeTools = Callable[[Root], ToolRegistry]


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """The arguments of an `AgentLoop`, checked; see there."""

    spec: SpecResult
    circuit_breaker: CircuitBreaker
    ledger: Ledger
    client: object
    model: str
    max_tokens: int
    tools: ToolRegistry | MakeTools | None
    workspace: Path | None
    thinking: Mapping[str, Any] | None
    allow_estimates: bool | None
    tell: Listener
    grace_s: float
    max_wait_s: float
    sleep_fn: Callable[[float], object] | None
    parent: str | None
    prices: tuple[Entry, ...]
    is_dry_run: bool
    approvals: Approvals
    goal: Goal
    run_check: Run | None
    billing: Billing

    def registry(self, staging: Root) -> ToolRegistry:
        """Return its tools, around the session's staging folder where they are made anew."""
        tools = self.tools(staging) if callable(self.tools) else self.tools
        return ToolRegistry() if tools is None else tools
