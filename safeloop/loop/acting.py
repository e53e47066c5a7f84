"""Tool calls of one reply: decided, recorded, run and recorded again, in order."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from safeloop.breaker import check_open
from safeloop.ledger import Content, Draft, Ledger, View, visible
from safeloop.ledger.content import JSON, TEXT
from safeloop.loop.interruption import Interruption
from safeloop.loop.lock import Runner
from safeloop.models.reply import ToolCall
from safeloop.models.shapes import compact_json
from safeloop.spec import ToolGrant
from safeloop.tools import Permission, Refusal, ToolOutcome, ToolRegistry, plan_call, run_planned

NOT_RUN = "the reply was cut before it was complete, so no call of it was run: a cut call can be another call"


@dataclass(frozen=True, slots=True)
class Hands:
    """What tool calls of a session may touch, and where they are recorded.

    Attributes:
        tools: Every tool there is; the grant says which may be used.
    """

    ledger: Ledger
    session: str
    tools: ToolRegistry
    grant: ToolGrant
    interruption: Interruption
    on_ran: Callable[[str, bool], object]
    runner: Runner = field(default_factory=Runner)

    def run(self, turn: int, calls: tuple[ToolCall, ...]) -> list[dict[str, Any]]:
        """Take each call through its steps; return the results as the next user message."""
        return [self._one(turn, call) for call in calls]

    def refuse(self, turn: int, calls: tuple[ToolCall, ...]) -> list[dict[str, Any]]:
        """Run none of these calls; record and return an error result for each."""
        outcomes = [_not_run(self.tools, call) for call in calls]
        pairs = list(zip(calls, outcomes, strict=True))
        drafts = [self._draft(turn, call, outcome, self._arguments(call)) for call, outcome in pairs]
        self._append(*drafts)
        return [self._answer(call, outcome) for call, outcome in pairs]

    def _one(self, turn: int, call: ToolCall) -> dict[str, Any]:
        self.interruption.check()
        self.runner.check()
        arguments = self._arguments(call)
        plan = plan_call(self.tools, self.grant, call.name, call.input)
        if isinstance(plan, Refusal):
            return self._record(turn, call, plan.outcome, arguments)
        if plan.tool.permission is not Permission.READ:
            # The call comes before the deed: a crash in between leaves proof that it may have been done.
            data = _facts(turn, call, plan.tool.name, plan.tool.permission, arguments)
            self._append(Draft(self.session, "call", data, (arguments,)))
        with self.interruption.in_flight():
            outcome = run_planned(plan)
        return self._record(turn, call, outcome, arguments)

    def _record(self, turn: int, call: ToolCall, outcome: ToolOutcome, arguments: Content) -> dict[str, Any]:
        self._append(self._draft(turn, call, outcome, arguments))
        return self._answer(call, outcome)

    def _draft(self, turn: int, call: ToolCall, outcome: ToolOutcome, arguments: Content) -> Draft:
        result = self.ledger.content(outcome.result.encode("utf-8", "surrogatepass"), TEXT)
        contents = [arguments, result]
        error = None
        if outcome.error is not None:
            detail = self.ledger.content(outcome.error["message"].encode("utf-8", "surrogatepass"), TEXT)
            error = {"class": outcome.error["class"], "status": None, "detail": detail.commitment}
            contents.append(detail)
        data = _facts(turn, call, outcome.tool, outcome.permission, arguments) | {
            "result": result.commitment, "execution_time_ms": outcome.execution_time_ms,
            "pass_fail": outcome.passed, "error": error,
        }
        return Draft(self.session, "tool", data, tuple(contents))

    def _answer(self, call: ToolCall, outcome: ToolOutcome) -> dict[str, Any]:
        self.on_ran(outcome.tool, outcome.passed)
        answer = {"type": "tool_result", "tool_use_id": call.id, "content": outcome.result}
        return answer if outcome.passed else answer | {"is_error": True}

    def _arguments(self, call: ToolCall) -> Content:
        return self.ledger.content(compact_json(call.input), JSON)

    def _append(self, *drafts: Draft) -> None:
        self.runner.check()

        def decide(view: View) -> tuple[Draft, ...]:
            check_open(view, self.session)
            return drafts

        self.ledger.append(decide)


def _not_run(tools: ToolRegistry, call: ToolCall) -> ToolOutcome:
    tool, name = tools.get(call.name), visible(call.name)
    permission = Permission.DESTRUCTIVE if tool is None else tool.permission
    error = {"class": "CutReply", "message": NOT_RUN}
    text = compact_json({"error": error, "tool": name}).decode()
    return ToolOutcome(name, permission, text, passed=False, error=error, execution_time_ms=0)


def _facts(turn: int, call: ToolCall, tool: str, permission: Permission, arguments: Content) -> dict[str, Any]:
    """Return what `call` and `tool` rows share; `tool` went through `visible` already."""
    return {
        "turn": turn, "call": visible(call.id), "tool": tool, "permission": permission.value,
        "arguments": arguments.commitment,
    }
