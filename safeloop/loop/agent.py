"""The agent loop as its users call it: a spec run once, inside its ceilings, from the task or from where it stopped."""

from __future__ import annotations

import contextlib
import copy
import dataclasses
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from safeloop.breaker import CircuitBreaker
from safeloop.breaker.pricing import Entry
from safeloop.errors import LedgerError, SettingError
from safeloop.ledger import Ledger, visible
from safeloop.ledger.guarded import guard
from safeloop.ledger.rows import is_session_id
from safeloop.ledger.site import MEMORY
from safeloop.loop import place
from safeloop.loop.approving import Approvals
from safeloop.loop.beginning import Start, continued, fresh, resumed
from safeloop.loop.begun import Decision
from safeloop.loop.events import Listener
from safeloop.loop.goal import EVERY, goal_of
from safeloop.loop.interruption import GRACE_S, Interruption
from safeloop.loop.job import Job, MakeTools
from safeloop.loop.lock import Runner, held
from safeloop.loop.opening import NOBODY, Billing
from safeloop.loop.preparing import check_request
from safeloop.loop.result import LoopResult
from safeloop.loop.running import Running
from safeloop.loop.streaming import Stream, streamed
from safeloop.loop.waiting import MAX_WAIT_S, check_max_wait
from safeloop.spec import Run, SpecResult, require_checkable
from safeloop.tools import Root, ToolRegistry
from safeloop.tools.removing import remove_tree

DEFAULT_MODEL = "claude-sonnet-5-5"
_PROBE_S = 0.25  # rides out another process that only asks whether the lock is held

_LATER = Approvals()


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
        billing: Who pays, as the provider's usage report names it: recorded, so that a bill can be compared.

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
        billing: Billing = NOBODY,
    ) -> None:
        check_request(model, max_tokens, thinking)
        require_checkable(spec.criteria, run_check)
        if workspace is not None:
            place.check_workspace(workspace, ledger)
        # Its folder whole: the session may be gone on with from another one.
        self._job = Job(
            spec=spec, circuit_breaker=circuit_breaker, ledger=ledger, client=client, model=model,
            max_tokens=max_tokens, tools=tools, thinking=thinking, allow_estimates=allow_estimates, tell=on_event,
            workspace=None if workspace is None else Path(workspace).absolute(), grace_s=grace_s,
            max_wait_s=check_max_wait(max_wait_s), sleep_fn=sleep_fn, parent=parent, prices=tuple(prices),
            is_dry_run=dry_run, approvals=approvals, goal=goal_of(spec, remind_every), run_check=run_check,
            billing=billing,
        )

    @property
    def spec(self) -> SpecResult:
        """What done looks like."""
        return self._job.spec

    @property
    def circuit_breaker(self) -> CircuitBreaker:
        """The limits."""
        return self._job.circuit_breaker

    @property
    def ledger(self) -> Ledger:
        """Where every step is recorded."""
        return self._job.ledger

    @property
    def client(self) -> object:
        """What is asked."""
        return self._job.client

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
        return self._from(lambda: fresh(self._job.ledger, self._session, task, self._job.goal))

    def stream(self, task: str) -> Stream:
        """Do the same, told as it happens: an iterator of events, of which the last is `Closed`.

        The loop does not run ahead of whoever reads: a step is taken when the next event is asked for. Closing the
        iterator early suspends the session. What `run` returns is the generator's return value.

        Raises:
            Exception: As `run`, while events are asked for.
        """
        def run(listener: Listener) -> LoopResult:
            other = copy.copy(self)
            other._job = dataclasses.replace(self._job, tell=listener)
            return other.run(task)

        return streamed(run, self._job.tell)

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
        job = self._job
        if job.ledger.db_path == MEMORY:
            raise LedgerError("a ledger in memory keeps no session that could be resumed")
        return self._from(lambda: resumed(job.ledger, self._session, decision, job.goal, job.approvals))

    def continue_from(self, session: str) -> LoopResult:
        """Take up the work of a session that a ceiling stopped, in this one: its task, its conversation, its files.

        Raises:
            LedgerError: No ceiling stopped it, or its content is no longer kept.
            Exception: As `run`.
        """
        return self._from(lambda: continued(self._job.ledger, self._session, session, self._job.goal))

    @property
    def _session(self) -> str:
        return self._job.spec.session_id

    def _from(self, begin: Callable[[], Start]) -> LoopResult:
        if not is_session_id(self._session):
            raise SettingError(f"{visible(str(self._session), 60)!r} cannot be a session's id")
        with self._running(begin) as running:
            try:
                return running.close(running.until_done())
            except BaseException as error:
                running.close_after(error)
                raise

    @contextlib.contextmanager
    def _running(self, begin: Callable[[], Start]) -> Iterator[Running]:
        """Hold the signals and the session's lock, and open the session."""
        job = self._job
        interruption = Interruption(job.grace_s)
        with contextlib.ExitStack() as stack:
            stack.enter_context(interruption.handled())
            folder = stack.enter_context(self._folder())
            stack.enter_context(held(folder / "lock", f"session {self._session}", wait_s=_PROBE_S))
            start = begin()
            (place.make_staging if start.is_new else place.find_staging)(folder / "staging")
            if job.ledger.db_path != MEMORY:
                stack.enter_context(contextlib.nullcontext(guard((place.sessions_folder(job.ledger.db_path),))))
            staging = stack.enter_context(Root(folder / "staging"))
            workspace = None if job.workspace is None else stack.enter_context(Root(job.workspace))
            yield Running(job, start, job.registry(staging), staging, workspace, interruption)

    @contextlib.contextmanager
    def _folder(self) -> Iterator[Path]:
        if self._job.ledger.db_path == MEMORY:
            folder, runner = Path(tempfile.mkdtemp(prefix="safeloop-")), Runner()
            try:
                yield folder
            finally:
                if runner.is_here:
                    remove_tree(folder)
        else:
            yield place.session_folder(self._job.ledger.db_path, self._session)
