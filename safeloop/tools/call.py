"""What happens to a call, as steps, each a small function: known, fitting, allowed, approved; run, clean.

`plan_call` decides and runs nothing, so that the loop can write the `call` row before anything happens;
`run_planned` runs what was decided. Whatever goes wrong comes back as an outcome: see `outcome`.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from safeloop.ledger.visible import visible
from safeloop.tools.arguments import Problem, plain_object
from safeloop.tools.clean import clean, label
from safeloop.tools.limiting import TIME_LIMIT_S, within
from safeloop.tools.outcome import NeedsApproval, Planned, Refusal, ToolOutcome, failed, refused
from safeloop.tools.permission import Permission, is_granted

if TYPE_CHECKING:
    from collections.abc import Callable

    from safeloop.spec import ToolGrant
    from safeloop.tools.registry import Tool, ToolRegistry

MAX_NAMES = 50  # of the tools that exist, told to a model that invented one


def run_call(registry: ToolRegistry, grant: ToolGrant, name: object, arguments: object) -> ToolOutcome:
    """Take one call through all its steps, outside of any session; the arguments are those of `plan_call`."""
    plan = plan_call(registry, grant, name, arguments)
    if isinstance(plan, NeedsApproval):
        plan = unapproved(plan.tool, "ApprovalUnavailable", "needs a person's approval, and here nobody can be asked")
    return plan.outcome if isinstance(plan, Refusal) else run_planned(plan)


def plan_call(
    registry: ToolRegistry, grant: ToolGrant, name: object, arguments: object
) -> Planned | NeedsApproval | Refusal:
    """Decide whether a call may run; nothing runs, and nothing that a model can write raises.

    Args:
        registry: Every tool there is.
        grant: What the spec allows.
        name: As the model wrote it; may be anything.
        arguments: As the model wrote them; may be anything.
    """
    tool = _known(registry, grant, name)
    if isinstance(tool, Refusal):
        return tool
    keywords = _fitting(tool, arguments)
    if isinstance(keywords, Refusal):
        return keywords
    barred = _not_allowed(tool, grant)
    if barred is not None:
        return barred
    return (NeedsApproval if tool.permission is Permission.DESTRUCTIVE else Planned)(tool, keywords)


def run_planned(planned: Planned, *, clock: Callable[[], float] = time.monotonic) -> ToolOutcome:
    """Run a planned call, once, within its time limit, and clean what it returns.

    KeyboardInterrupt, SystemExit and their like are not the tool's to report: they pass through.

    Args:
        planned: From `plan_call`.
        clock: Seconds, monotonic.
    """
    tool = planned.tool
    limit = TIME_LIMIT_S if tool.time_limit_s is None else tool.time_limit_s
    before = clock()
    try:
        # Cleaned within the limit too: what was returned is foreign code, and its methods may never end.
        returned = within(limit, lambda: clean(tool.handler(**planned.keywords)))
    except Exception as error:  # noqa: BLE001 (a tool may raise anything; the model is told, the loop goes on)
        return failed(tool, error, _milliseconds(clock() - before))
    elapsed = _milliseconds(clock() - before)
    return ToolOutcome(
        tool.name, tool.permission, label(tool.name, returned), passed=True, error=None, execution_time_ms=elapsed
    )


def unapproved(tool: Tool, class_: str, why: str) -> Refusal:
    """Say that nobody approved a call of a destructive tool; `why` goes on from its name."""
    return refused(tool.name, tool.permission, class_, f"{tool.name} {why}")


def _known(registry: ToolRegistry, grant: ToolGrant, name: object) -> Tool | Refusal:
    tool = registry.get(name)
    if tool is not None:
        return tool
    asked = visible(name) if isinstance(name, str) else visible(f"[{type(name).__name__}]")
    exist = [each.name for each in registry if _is_allowed(each, grant)]
    left_out = {"more_tools": len(exist) - MAX_NAMES} if len(exist) > MAX_NAMES else {}
    return refused(
        asked,
        Permission.DESTRUCTIVE,
        "UnknownTool",
        f"there is no tool named {asked}",
        tools=exist[:MAX_NAMES],
        **left_out,
    )


def _fitting(tool: Tool, arguments: object) -> dict[str, Any] | Refusal:
    plain = plain_object(arguments)
    if isinstance(plain, Problem):
        return _misfit(tool, (plain,))
    try:
        read = tool.fit(plain)
    except Exception as error:  # noqa: BLE001 (a hint's own validator may raise anything at what a model wrote)
        return Refusal(failed(tool, error, 0))
    return _misfit(tool, read) if isinstance(read, tuple) else read


def _not_allowed(tool: Tool, grant: ToolGrant) -> Refusal | None:
    if _is_allowed(tool, grant):
        return None
    message = f"the spec does not allow {tool.name} ({tool.permission.value}) in this session"
    return refused(tool.name, tool.permission, "NotGranted", message, permissions=list(grant.permissions))


def _is_allowed(tool: Tool, grant: ToolGrant) -> bool:
    return is_granted(tool.name, tool.permission, grant.permissions, grant.only)


def _misfit(tool: Tool, problems: tuple[Problem, ...]) -> Refusal:
    said = "; ".join(f"{each.at}: {each.problem}" if each.at else each.problem for each in problems)
    return refused(
        tool.name,
        tool.permission,
        "BadArguments",
        f"the arguments do not fit: {said}",
        parameters=list(tool.parameters.get("properties", ())),
    )


def _milliseconds(seconds: float) -> int:
    return max(0, round(seconds * 1000))
