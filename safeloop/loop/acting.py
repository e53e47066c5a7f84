"""Tool calls of one reply: decided, recorded, run and recorded again, in order."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from safeloop.breaker import Batch, Place, admit_calls, begin_call, check_running
from safeloop.ledger import Content, Draft, Ledger, Row, View, visible
from safeloop.ledger.content import JSON, TEXT
from safeloop.loop.approving import Approving, Grant, Waits
from safeloop.loop.conversation import answer_of
from safeloop.loop.interruption import Interruption
from safeloop.loop.lock import Runner
from safeloop.loop.repeats import STOPPED, Repeats
from safeloop.models.reply import ToolCall
from safeloop.models.shapes import compact_json
from safeloop.spec import Breach, Ceilings, ToolGrant
from safeloop.spec.dry_run import NOT_RUN as NOT_RUN_DRY
from safeloop.tools import (
    NeedsApproval,
    Permission,
    Planned,
    Refusal,
    ToolOutcome,
    ToolRegistry,
    plan_call,
    run_planned,
)
from safeloop.tools.dry import rehearsed
from safeloop.tools.registry import Tool

NOT_RUN = "the reply was cut before it was complete, so no call of it was run: a cut call can be another call"
PASSED_OVER = "this call was begun and its process died: it may have had its effect, and it was not run again"
LATE = "the session's time was up before this call, so it was not run"

Fitted = Callable[[View, tuple[Draft, ...]], tuple[Draft, ...]]
"""Makes drafts fit what the ledger shows under its lock."""


def _as_they_are(_view: View, drafts: tuple[Draft, ...]) -> tuple[Draft, ...]:
    return drafts


@dataclass(frozen=True, slots=True)
class Hands:
    """What tool calls of a session may touch, and where they are recorded.

    Attributes:
        tools: Every tool there is; the grant says which may be used.
        is_dry_run: Calls that write or destroy are answered with what would have been done, and are not run.
        is_late: Says whether the time ceiling is reached: no call begins then, and the next request is refused.
    """

    ledger: Ledger
    session: str
    tools: ToolRegistry
    grant: ToolGrant
    interruption: Interruption
    on_ran: Callable[[str, bool], object]
    approving: Approving
    runner: Runner = field(default_factory=Runner)
    on_runs: Callable[[str, Any], object] = lambda _tool, _arguments: None
    ceilings: Ceilings = field(default_factory=Ceilings)
    repeats: Repeats = field(default_factory=lambda: Repeats(None))
    is_dry_run: bool = False
    is_late: Callable[[], bool] = lambda: False

    def admit(self, place: Place, calls: tuple[ToolCall, ...]) -> Batch:
        """Count a whole batch before its first call runs; where it goes beyond a ceiling, that becomes a row.

        Args:
            place: The turn whose reply asks for them.
            calls: Those that were not answered yet.
        """
        self.runner.check()
        return admit_calls(self.ledger.append, place, tuple(visible(call.id) for call in calls), self.ceilings)

    def recall(self) -> None:
        """Count on where an earlier process of this session stopped counting identical calls."""
        for row in self.ledger.rows(self.session):
            if row.kind == "tool":
                arguments, told = (self.ledger.read_content(row.data[name]) for name in ("arguments", "result"))
                if arguments is not None and told is not None:
                    self.repeats.recall(row.data["tool"], json.loads(arguments), told.decode("utf-8", "surrogatepass"))

    def run(
        self, place: Place, calls: tuple[ToolCall, ...], *, is_limited: bool
    ) -> list[dict[str, Any]] | Breach | Waits:
        """Take each call through its steps; return the results as the next user message.

        Once calls were identical too often, or the time ceiling is reached, no more of them is run. Where others of the
        family have used up what was left for a call since the batch was admitted, that is a row, and none is run from
        there on. Where one waits for a person's decision, the others after it wait too.

        Args:
            place: The turn whose reply asks for them.
            calls: Those that were admitted.
            is_limited: See `Batch`.
        """
        answers: list[dict[str, Any]] = []
        for at, call in enumerate(calls):
            if self.repeats.is_beyond:
                return answers + self._refuse(place.turn, calls[at:], "Repeated", STOPPED)
            if self.is_late():
                return answers + self._refuse(place.turn, calls[at:], "OutOfTime", LATE)
            answer = self._one(place, call, is_limited=is_limited)
            if isinstance(answer, Breach | Waits):
                return answer
            answers.append(answer)
        return answers

    def run_again(self, turn: int, call: ToolCall, begun: Row) -> dict[str, Any] | Waits:
        """Run a call that may have run already, or that waited for a decision; its `call` row stands."""
        self.interruption.check()
        self.runner.check()
        plan = plan_call(self.tools, self.grant, call.name, call.input)
        if isinstance(plan, NeedsApproval):
            return self._decided(turn, call, plan, begun, self.approving.decide_again(plan.tool, begun))
        outcome = plan.outcome if isinstance(plan, Refusal) else self._run(call, plan)
        return self._record_again(turn, call, outcome, begun)

    def pass_over(self, turn: int, call: ToolCall, begun: Row) -> dict[str, Any]:
        """Give a call that may have run no second chance: the model is told that nobody knows its outcome."""
        def after_its_grant(view: View, drafts: tuple[Draft, ...]) -> tuple[Draft, ...]:
            return (*self.approving.ended_grant(begun, view), *drafts)

        outcome = _not_run(self.tools, call, "PassedOver", PASSED_OVER)
        return self._record_again(turn, call, outcome, begun, after_its_grant)

    def refuse(self, turn: int, calls: tuple[ToolCall, ...]) -> list[dict[str, Any]]:
        """Run none of these calls; record and return an error result for each."""
        return self._refuse(turn, calls, "CutReply", NOT_RUN)

    def _refuse(self, turn: int, calls: tuple[ToolCall, ...], error_class: str, message: str) -> list[dict[str, Any]]:
        outcomes = [self._compared(call, _not_run(self.tools, call, error_class, message)) for call in calls]
        pairs = list(zip(calls, outcomes, strict=True))
        drafts = [self._draft(turn, call, outcome, self._arguments(call)) for call, outcome in pairs]
        self._append(*drafts)
        return [self._answer(call, outcome) for call, outcome in pairs]

    def _one(self, place: Place, call: ToolCall, *, is_limited: bool) -> dict[str, Any] | Breach | Waits:
        self.interruption.check()
        self.runner.check()
        turn = place.turn
        arguments = self._arguments(call)
        plan = plan_call(self.tools, self.grant, call.name, call.input)
        if isinstance(plan, Refusal):
            return self._record(turn, call, plan.outcome, arguments)
        if self.is_dry_run and plan.tool.permission is not Permission.READ:
            return self._record(turn, call, rehearsed(plan.tool, call.input), arguments)
        if isinstance(plan, NeedsApproval) or is_limited or plan.tool.permission is not Permission.READ:
            # The call comes before the deed: a crash in between leaves proof that it may have been done.
            begun = self._begin(place, call, plan.tool, arguments, is_limited=is_limited)
            if isinstance(begun, Breach):
                return begun
            if isinstance(plan, NeedsApproval):
                return self._decided(turn, call, plan, begun, self.approving.decide(plan.tool, begun))
        return self._record(turn, call, self._run(call, plan), arguments)

    def _begin(
        self, place: Place, call: ToolCall, tool: Tool, arguments: Content, *, is_limited: bool
    ) -> Row | Breach:
        """Write the row of a call that is about to run, unless one more goes beyond a ceiling by now."""
        rows: list[Row] = []

        def append(decide: Callable[[View], tuple[Draft, ...]]) -> tuple[Row, ...]:
            rows.extend(self.ledger.append(decide))
            return tuple(rows)

        data = _facts(place.turn, call, tool.name, tool.permission, arguments)
        draft = Draft(self.session, "call", data, (arguments,))
        return begin_call(append, place, draft, self.ceilings, is_limited=is_limited) or rows[0]

    def _decided(
        self, turn: int, call: ToolCall, plan: NeedsApproval, begun: Row, decided: Grant | Refusal | Waits
    ) -> dict[str, Any] | Waits:
        """Do what was decided about a call that has begun; the row of a run shows that its grant held."""
        if isinstance(decided, Waits):
            return decided
        if isinstance(decided, Refusal):
            return self._record_again(turn, call, decided.outcome, begun)
        grant = decided

        def covered(view: View, drafts: tuple[Draft, ...]) -> tuple[Draft, ...]:
            return tuple(grant.covering(draft, view.now) for draft in drafts)

        return self._record_again(turn, call, self._run(call, plan.approved()), begun, covered)

    def _run(self, call: ToolCall, plan: Planned) -> ToolOutcome:
        self.on_runs(plan.tool.name, call.input)
        with self.interruption.in_flight():
            return run_planned(plan)

    def _record(self, turn: int, call: ToolCall, outcome: ToolOutcome, arguments: Content) -> dict[str, Any]:
        outcome = self._compared(call, outcome)
        self._append(self._draft(turn, call, outcome, arguments))
        return self._answer(call, outcome)

    def _record_again(
        self, turn: int, call: ToolCall, outcome: ToolOutcome, begun: Row, fitted: Fitted = _as_they_are
    ) -> dict[str, Any]:
        """Record a call whose `call` row is there, with the commitment that it has."""
        outcome = self._compared(call, outcome)
        draft = self._draft(turn, call, outcome, self._arguments(call))
        data = dict(draft.data) | {"arguments": begun.data["arguments"]}  # one call, one commitment
        self._append(dataclasses.replace(draft, data=data, contents=draft.contents[1:]), fitted=fitted)
        return self._answer(call, outcome)

    def _compared(self, call: ToolCall, outcome: ToolOutcome) -> ToolOutcome:
        """Compare a call with those before it; the model is told where it makes the same one again and again."""
        return dataclasses.replace(outcome, result=self.repeats.hear(visible(call.name), call.input, outcome.result))

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
        is_fine = outcome.passed or (outcome.error or {}).get("class") == NOT_RUN_DRY
        self.on_ran(outcome.tool, is_fine)
        return answer_of(call, outcome.result, is_fine)

    def _arguments(self, call: ToolCall) -> Content:
        return self.ledger.content(compact_json(call.input), JSON)

    def _append(self, *drafts: Draft, fitted: Fitted = _as_they_are) -> None:
        self.runner.check()

        def decide(view: View) -> tuple[Draft, ...]:
            check_running(view, self.session)
            return fitted(view, drafts)

        self.ledger.append(decide)


def _not_run(tools: ToolRegistry, call: ToolCall, error_class: str, message: str) -> ToolOutcome:
    tool, name = tools.get(call.name), visible(call.name)
    permission = Permission.DESTRUCTIVE if tool is None else tool.permission
    error = {"class": error_class, "message": message}
    text = compact_json({"error": error, "tool": name}).decode()
    return ToolOutcome(name, permission, text, passed=False, error=error, execution_time_ms=0)


def _facts(turn: int, call: ToolCall, tool: str, permission: Permission, arguments: Content) -> dict[str, Any]:
    """Return what `call` and `tool` rows share; `tool` went through `visible` already."""
    return {
        "turn": turn, "call": visible(call.id), "tool": tool, "permission": permission.value,
        "arguments": arguments.commitment,
    }
