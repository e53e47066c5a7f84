"""One run of a session, from its `open` row to its `close` row."""

from __future__ import annotations

import time
from typing import Any

from safeloop.breaker import Demand, Price
from safeloop.ledger import visible
from safeloop.loop.acting import Hands
from safeloop.loop.answering import Answers
from safeloop.loop.approving import Approving
from safeloop.loop.asking import Asking
from safeloop.loop.beginning import Start, Unanswered
from safeloop.loop.closing import BREACHED, COMPLETED, FAILED, Ending, Product, close_session
from safeloop.loop.events import Closed, Started, ToolRan, ToolRuns
from safeloop.loop.governed import Turns
from safeloop.loop.interruption import Interruption
from safeloop.loop.job import Job
from safeloop.loop.judging import Judge
from safeloop.loop.lock import Runner
from safeloop.loop.model import Model
from safeloop.loop.opening import Setting
from safeloop.loop.preparing import endpoint_of, price_of, system_prompt
from safeloop.loop.producing import product_of
from safeloop.loop.repeats import Repeats
from safeloop.loop.result import LoopResult
from safeloop.loop.waiting import Pace
from safeloop.models import adapt
from safeloop.spec import Ceilings
from safeloop.tools import ContainmentError, Root, ToolRegistry


class Running:
    """One run of a session, from its `open` row to its `close` row."""

    def __init__(
        self,
        job: Job,
        start: Start,
        registry: ToolRegistry,
        staging: Root,
        workspace: Root | None,
        interruption: Interruption,
    ) -> None:
        spec, ledger = job.spec, job.ledger
        self._spec, self._ledger, self._tell = spec, ledger, job.tell
        self._staging, self._workspace, self._interruption = staging, workspace, interruption
        self._started = time.monotonic() - start.elapsed_ms / 1000  # suspended time does not count
        self._output = start.output
        self._unanswered = start.unanswered
        self._is_closed, self._is_dry_run = False, job.is_dry_run
        self._run_check = job.run_check
        self._runner = Runner()
        client = adapt(job.client)
        granted = registry.granted(spec.tools.permissions, spec.tools.only)
        setting = _setting(job, start, client, granted)
        self._breaker = job.circuit_breaker.tightened(spec.ceilings).tightened(start.ceilings)
        self._conversation, self._model = start.conversation, setting.model
        self._turns = Turns(
            ledger, spec.session_id, setting.input_hash, self._breaker, _model(job, client, granted, setting.price),
            interruption, self._elapsed_ms, start.standing,
        )
        self._asking = Asking(
            spec.session_id, self._turns, self._conversation, self._breaker.ceilings, interruption,
            Pace(interruption, job.sleep_fn), self._elapsed_ms, job.max_wait_s, self._tell,
        )
        self._hands = Hands(
            ledger, spec.session_id, registry, spec.tools, interruption, self._tool_ran,
            Approving(ledger, spec.session_id, job.approvals, interruption, self._runner), on_runs=self._tool_runs,
            ceilings=self._breaker.ceilings, repeats=Repeats(self._breaker.ceilings.repeats),
            is_dry_run=job.is_dry_run, is_late=self._is_late,
        )
        if start.standing.turns:
            self._hands.recall()
        self._judge = Judge(ledger, spec.session_id, spec.criteria, self._product, interruption, job.run_check)
        self._answers = Answers(
            spec.session_id, self._turns, self._conversation, self._hands,
            None if self._is_dry_run else self._judge, self._breaker, self._tell,
        )
        self._entered = start.enter(setting, staging)  # last: from here on the session must be closed

    def until_done(self) -> Ending:
        """Finish what was begun, then take turns until a reply, or a ceiling, ends the session."""
        self._tell(Started(self._spec.session_id, self._model, self._breaker.ceilings))
        ending = self._entered
        if ending is None and self._unanswered is not None:
            ending = self._answers.answer(self._unanswered)
        while ending is None:
            reply = self._asking.ask(Demand(self._hands.repeats.count))
            if isinstance(reply, Ending):
                return reply
            self._output = reply.text or self._output
            self._interruption.check()
            ending = self._answers.answer(Unanswered(reply))
        return ending

    def close(self, ending: Ending) -> LoopResult:
        """Commit what the session leaves, close it, and say how it ended."""
        self._runner.check()
        breach = ending.reason if ending.outcome == BREACHED else None
        if self._is_dry_run:
            ending = ending.of_dry_run()
        found = self._judge.final if ending.outcome == COMPLETED else None
        product = Product(output=self._output) if found is None else found.product
        try:
            if found is None and ending.outcome != FAILED:
                product = self._product()
        except ContainmentError as error:
            ending = Ending(FAILED, str(error))
        row = close_session(
            self._ledger, self._spec.session_id, ending, product, self._spec.criteria, elapsed_ms=self._elapsed_ms(),
            verdicts=None if found is None else found.verdicts, run_check=self._run_check,
        )
        self._is_closed = True
        outcome, reason = row.data["outcome"], row.data["reason"]
        self._tell(Closed(self._spec.session_id, outcome, reason))
        turns = row.data["turns"] if breach is None else self._turns.number
        return LoopResult(
            outcome == COMPLETED, turns, row.data["total_tokens"], self._spec.session_id, breach, outcome, reason,
            answered=row.data["turns"], cost_microusd=row.data["cost_microusd"], overruns=self._overruns(),
            is_dry_run=self._is_dry_run,
        )

    def _overruns(self) -> int:
        rows = self._ledger.rows(self._spec.session_id)
        return sum(row.kind == "turn" and row.data["overrun"] is True for row in rows)

    def close_after(self, error: BaseException) -> None:
        """Close the session because of an error, which stays the error even if closing fails too."""
        session, ending = self._spec.session_id, Ending.of(error)
        if self._is_closed or not self._runner.is_here:
            return
        try:
            close_session(
                self._ledger, session, ending, Product(output=self._output), (), elapsed_ms=self._elapsed_ms()
            )
            self._tell(Closed(session, ending.outcome, ending.reason))
        except Exception as second:  # noqa: BLE001 - told with the error that came first
            error.add_note(f"and closing failed: {second or type(second).__name__}; then: safeloop close {session}")

    def _product(self) -> Product:
        return product_of(self._staging, self._workspace, self._output)

    def _is_late(self) -> bool:
        return self._breaker.ceilings.left_s(self._elapsed_ms()) == 0

    def _tool_runs(self, tool: str, arguments: Any) -> None:
        path = arguments.get("path", "") if isinstance(arguments, dict) else ""
        self._tell(ToolRuns(self._spec.session_id, self._turns.number, tool, visible(str(path), 60)))

    def _tool_ran(self, tool: str, passed: bool) -> None:
        self._tell(ToolRan(self._spec.session_id, self._turns.number, tool, passed))

    def _elapsed_ms(self) -> int:
        return round((time.monotonic() - self._started) * 1000)


def _setting(job: Job, start: Start, client: object, tools: ToolRegistry) -> Setting:
    ceilings = job.circuit_breaker.ceilings.tightened(job.spec.ceilings).tightened(start.ceilings)
    return Setting(
        job.spec, start.task, ceilings, job.model, endpoint_of(client), tools, job.workspace,
        start.continues, job.parent, price_of(client, job.model, job.prices, ceilings), is_dry_run=job.is_dry_run,
        billing=job.billing,
    )


def _model(job: Job, client: Any, granted: ToolRegistry, price: Price | None) -> Model:
    more: dict[str, Any] = {}
    if len(granted):
        more["tools"] = granted.definitions()
    if job.thinking is not None:
        more["thinking"] = dict(job.thinking)
    is_free = price is not None and price.is_zero
    estimates = is_free if job.allow_estimates is None else job.allow_estimates
    return Model(
        client, job.model, system_prompt(job.spec), job.max_tokens, more, price,
        lambda named: price_of(client, named, job.prices, Ceilings()), estimates,
    )
