"""The agent loop, to be read in one sitting: governed turns until done, or until a ceiling says stop."""

from __future__ import annotations

import contextlib
import copy
import shutil
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from safeloop.breaker import CircuitBreaker, Demand, Price
from safeloop.breaker.pricing import Entry
from safeloop.errors import LedgerError, SettingError
from safeloop.ledger import Ledger, visible
from safeloop.ledger.guarded import guard
from safeloop.ledger.rows import is_session_id
from safeloop.ledger.site import MEMORY
from safeloop.loop import place
from safeloop.loop.acting import Hands
from safeloop.loop.answering import Answers
from safeloop.loop.approving import Approvals, Approving
from safeloop.loop.asking import Asking
from safeloop.loop.beginning import Start, Unanswered, continued, fresh, resumed
from safeloop.loop.begun import Decision
from safeloop.loop.closing import BREACHED, COMPLETED, FAILED, Ending, Product, close_session
from safeloop.loop.events import Closed, Listener, Started, ToolRan, ToolRuns
from safeloop.loop.goal import EVERY, goal_of
from safeloop.loop.governed import Turns
from safeloop.loop.interruption import GRACE_S, Interruption
from safeloop.loop.judging import Judge
from safeloop.loop.lock import Runner, held
from safeloop.loop.model import Model
from safeloop.loop.opening import Setting
from safeloop.loop.preparing import check_request, endpoint_of, price_of, system_prompt
from safeloop.loop.producing import product_of
from safeloop.loop.repeats import Repeats
from safeloop.loop.result import LoopResult
from safeloop.loop.streaming import Stream, streamed
from safeloop.loop.waiting import MAX_WAIT_S, Pace, check_max_wait
from safeloop.models import adapt
from safeloop.spec import Ceilings, Run, SpecResult, require_checkable
from safeloop.tools import ContainmentError, Root, ToolRegistry

DEFAULT_MODEL = "claude-sonnet-5-5"
_PROBE_S = 0.25  # rides out another process that only asks whether the lock is held

_LATER = Approvals()

MakeTools = Callable[[Root], ToolRegistry]


class AgentLoop:
    """Runs one spec once, inside its ceilings, every step a row.

    Args:
        spec: What done looks like; its session is the run's.
        circuit_breaker: The limits; the spec's own ceilings tighten them.
        ledger: Where every step is recorded.
        client: Anything with `messages.create(...)`; an Anthropic client is adapted.
        model: Asked by this name.
        max_tokens: Wanted of each reply; clamped to what is left.
        tools: A registry, or a function that makes one around the session's staging folder.
        workspace: The folder that those tools read, for the record and for the diff.
        thinking: The request's `thinking` parameter, if any.
        allow_estimates: Bound by an estimate where there is no counter; None allows it where the price is zero.
        on_event: Told of every step.
        grace_s: How long a call in flight may go on after the first signal, in seconds.
        max_wait_s: How long one turn may wait in all, for a server that asks for time or for what others hold; what
            would take longer suspends the session. From 0 to a day.
        sleep_fn: Waits so many seconds; None waits in real time, until a signal ends it.
        parent: The session that this one works for: what it spends, that one and its ancestors spend too.
        prices: The operator's own, before the published ones.
        dry_run: Answer calls that write or destroy with what would have been done, and do nothing; such a session
            ends as `failed` at best, and is never released.
        approvals: Who may approve destructive calls, and who can be asked; by default nobody can, and the session is
            suspended until somebody has decided.
        run_check: Runs the commands of the spec's criteria, in a sandbox: `safeloop.tools.sandbox.check_runner`.
        remind_every: Put the promise before the model again after so many of its replies; 0 is never.

    Raises:
        SettingError: An argument has no meaning; nothing was recorded.
    """

    def __init__(  # noqa: PLR0913 - the public constructor: all but six are keywords with a default
        self,
        spec: SpecResult,
        circuit_breaker: CircuitBreaker,
        ledger: Ledger,
        client: object,
        model: str = DEFAULT_MODEL,
        max_tokens: int = 1024,
        *,
        tools: ToolRegistry | MakeTools | None = None,
        workspace: Path | None = None,
        thinking: Mapping[str, Any] | None = None,
        allow_estimates: bool | None = None,
        on_event: Listener = lambda _: None,
        grace_s: float = GRACE_S,
        max_wait_s: float = MAX_WAIT_S,
        sleep_fn: Callable[[float], object] | None = None,
        parent: str | None = None,
        prices: Iterable[Entry] = (),
        dry_run: bool = False,
        approvals: Approvals = _LATER,
        remind_every: int = EVERY,
        run_check: Run | None = None,
    ) -> None:
        check_request(model, max_tokens, thinking)
        require_checkable(spec.criteria, run_check)
        if workspace is not None:
            place.check_workspace(workspace, ledger)
        self.spec = spec
        self.circuit_breaker = circuit_breaker
        self.ledger = ledger
        self.client = client
        self.model = model
        self.max_tokens = max_tokens
        self._tools = tools
        # Whole: the session may be gone on with from another folder.
        self._workspace = None if workspace is None else Path(workspace).absolute()
        self._thinking = thinking
        self._allow_estimates = allow_estimates
        self._on_event = on_event
        self._grace_s = grace_s
        self._max_wait_s = check_max_wait(max_wait_s)
        self._sleep_fn = sleep_fn
        self._parent = parent
        self._prices = tuple(prices)
        self._dry_run = dry_run
        self._approvals = approvals
        self._goal = goal_of(spec, remind_every)
        self._run_check = run_check

    def run(self, task: str) -> LoopResult:
        """Work on the task until it is done, refused, or a ceiling stops the loop.

        A breach is a result, and so is a session that is suspended because it would have to wait too long. Whatever
        else ends the run is recorded, the session is closed, and it is raised.

        Raises:
            RuntimeError: The session has run already, or was written by hand.
            AttemptFailed: An attempt at the model brought no reply; the session is closed as `failed`. What a
                client that is not ours raised comes through as it is.
            KeyboardInterrupt: A signal; the session is closed as `suspended`.
            SafeloopError: The ledger, a setting or a folder is unusable.
        """
        if not isinstance(task, str):
            raise TypeError(f"a task is a text, not {type(task).__name__}")
        return self._from(lambda: fresh(self.ledger, self.spec.session_id, task, self._goal))

    def stream(self, task: str) -> Stream:
        """Do the same, told as it happens: an iterator of events, of which the last is `Closed`.

        The loop does not run ahead of whoever reads: a step is taken when the next event is asked for. Closing the
        iterator early suspends the session. What `run` returns is the generator's return value.

        Raises:
            Exception: As `run`, while events are asked for.
        """
        def run(listener: Listener) -> LoopResult:
            other = copy.copy(self)
            other._on_event = listener
            return other.run(task)

        return streamed(run, self._on_event)

    def resume(self, *, rerun: str | None = None, skip: str | None = None) -> LoopResult:
        """Go on with a session that was suspended, or whose process is gone, where it stopped.

        What was paid is not paid again, and what ran is not run again. What may have been billed is charged first.

        Args:
            rerun: The id of a call that may have run: run it again.
            skip: The same: tell the model that nobody knows what came of it.

        Raises:
            Suspended: A call may have run, and only a person can say whether it is to run again.
            SettingError: The spec, the model, the tools or the workspace are not those that it was opened with.
            LedgerError: It was never opened or is closed for good, or its content is no longer kept.
            Exception: As `run`.
        """
        if rerun is not None and skip is not None:
            raise SettingError("a call is run again or passed over, not both")
        call = skip if rerun is None else rerun
        decision = None if call is None else Decision(call, again=rerun is not None)
        if self.ledger.db_path == MEMORY:
            raise LedgerError("a ledger in memory keeps no session that could be resumed")
        return self._from(lambda: resumed(self.ledger, self.spec.session_id, decision, self._goal, self._approvals))

    def continue_from(self, session: str) -> LoopResult:
        """Take up the work of a session that a ceiling stopped, in this one: its task, its conversation, its files.

        Raises:
            LedgerError: No ceiling stopped it, or its content is no longer kept.
            Exception: As `run`.
        """
        return self._from(lambda: continued(self.ledger, self.spec.session_id, session, self._goal))

    def _from(self, begin: Callable[[], Start]) -> LoopResult:
        if not is_session_id(self.spec.session_id):
            raise SettingError(f"{visible(str(self.spec.session_id), 60)!r} cannot be a session's id")
        with self._running(begin) as run:
            try:
                return run.close(run.until_done())
            except BaseException as error:
                run.close_after(error)
                raise

    @contextlib.contextmanager
    def _running(self, begin: Callable[[], Start]) -> Iterator[_Run]:
        """Hold the signals and the session's lock, and open the session."""
        interruption = Interruption(self._grace_s)
        session = self.spec.session_id
        with contextlib.ExitStack() as stack:
            stack.enter_context(interruption.handled())
            folder = stack.enter_context(self._folder())
            stack.enter_context(held(folder / "lock", f"session {session}", wait_s=_PROBE_S))
            start = begin()
            (place.make_staging if start.is_new else place.find_staging)(folder / "staging")
            if self.ledger.db_path != MEMORY:
                stack.enter_context(contextlib.nullcontext(guard((place.sessions_folder(self.ledger.db_path),))))
            staging = stack.enter_context(Root(folder / "staging"))
            workspace = None if self._workspace is None else stack.enter_context(Root(self._workspace))
            yield _Run(self, start, self._registry(staging), staging, workspace, interruption)

    @contextlib.contextmanager
    def _folder(self) -> Iterator[Path]:
        if self.ledger.db_path == MEMORY:
            folder, runner = Path(tempfile.mkdtemp(prefix="safeloop-")), Runner()
            try:
                yield folder
            finally:
                if runner.is_here:
                    shutil.rmtree(folder)
        else:
            yield place.session_folder(self.ledger.db_path, self.spec.session_id)

    def _registry(self, staging: Root) -> ToolRegistry:
        tools = self._tools(staging) if callable(self._tools) else self._tools
        return ToolRegistry() if tools is None else tools

    def _setting(self, start: Start, client: object, tools: ToolRegistry) -> Setting:
        ceilings = self.circuit_breaker.ceilings.tightened(self.spec.ceilings).tightened(start.ceilings)
        return Setting(
            self.spec, start.task, ceilings, self.model, endpoint_of(client), tools, self._workspace,
            start.continues, self._parent, price_of(client, self.model, self._prices, ceilings),
            is_dry_run=self._dry_run,
        )


class _Run:
    """One run of a session, from its `open` row to its `close` row."""

    def __init__(
        self,
        loop: AgentLoop,
        start: Start,
        registry: ToolRegistry,
        staging: Root,
        workspace: Root | None,
        interruption: Interruption,
    ) -> None:
        spec, ledger = loop.spec, loop.ledger
        self._spec, self._ledger, self._tell = spec, ledger, loop._on_event
        self._staging, self._workspace, self._interruption = staging, workspace, interruption
        self._started = time.monotonic() - start.elapsed_ms / 1000  # suspended time does not count
        self._output = start.output
        self._unanswered = start.unanswered
        self._is_closed, self._is_dry_run = False, loop._dry_run
        self._run_check = loop._run_check
        self._runner = Runner()
        client = adapt(loop.client)
        granted = registry.granted(spec.tools.permissions, spec.tools.names)
        setting = loop._setting(start, client, granted)
        self._breaker = loop.circuit_breaker.tightened(spec.ceilings).tightened(start.ceilings)
        self._conversation, self._model = start.conversation, setting.model
        self._turns = Turns(
            ledger, spec.session_id, setting.input_hash, self._breaker, _model(loop, client, granted, setting.price),
            interruption, self._elapsed_ms, start.standing,
        )
        self._asking = Asking(
            spec.session_id, self._turns, self._conversation, self._breaker.ceilings, interruption,
            Pace(interruption, loop._sleep_fn), self._elapsed_ms, loop._max_wait_s, self._tell,
        )
        self._hands = Hands(
            ledger, spec.session_id, registry, spec.tools, interruption, self._tool_ran,
            Approving(ledger, spec.session_id, loop._approvals, interruption, self._runner), on_runs=self._tool_runs,
            ceilings=self._breaker.ceilings, repeats=Repeats(self._breaker.ceilings.repeats),
            is_dry_run=loop._dry_run, is_late=self._is_late,
        )
        if start.standing.turns:
            self._hands.recall()
        self._judge = Judge(ledger, spec.session_id, spec.criteria, self._product, interruption, loop._run_check)
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


def _model(loop: AgentLoop, client: Any, granted: ToolRegistry, price: Price | None) -> Model:
    more: dict[str, Any] = {}
    if len(granted):
        more["tools"] = granted.definitions()
    if loop._thinking is not None:
        more["thinking"] = dict(loop._thinking)
    is_free = price is not None and price.is_zero
    estimates = is_free if loop._allow_estimates is None else loop._allow_estimates
    return Model(
        client, loop.model, system_prompt(loop.spec), loop.max_tokens, more, price,
        lambda named: price_of(client, named, loop._prices, Ceilings()), estimates,
    )
