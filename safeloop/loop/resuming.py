"""Where a session stopped, read from its rows, and the row that lets it go on.

A settled turn is not paid for twice: its reply is read back from content, byte by byte as it came. A request without
outcome is charged in full before the next one leaves. Nothing here asks a model or runs a tool.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safeloop.breaker import SUSPENDED, Settled, check_open
from safeloop.errors import LedgerError, NotALoop, SessionClosed, VerificationError
from safeloop.ledger import Draft, Ledger, Row, View
from safeloop.ledger.content import manifest_entries
from safeloop.loop.closing import doubtful, open_intents
from safeloop.loop.conversation import Conversation
from safeloop.loop.goal import Goal
from safeloop.loop.opening import is_led_by_program, software
from safeloop.models.reply import Reply, replay
from safeloop.spec import Ceilings, SpecResult, from_row
from safeloop.spec.dry_run import is_dry_run, is_not_run


@dataclass(frozen=True, slots=True)
class Stop:
    """Where a session stopped.

    Attributes:
        rows: All of its rows, in order.
        opened: The `open` row.
        asked: The last `intent` row; None if nothing was asked for.
        answered: The `turn` row of that intent; None if it brought no reply.
        results: The `tool` rows of that turn, in the order of its calls.
        checks: The `check` rows of that turn's reply, after which the work was to go on.
        begun: A `call` row without its `tool` row: it may have run.
        breach: The `breach` row, after which nothing runs.
        suspended: The `close` row that suspended the session; None if its process is gone.
    """

    rows: tuple[Row, ...]
    opened: Row
    asked: Row | None
    answered: Row | None
    results: tuple[Row, ...]
    checks: tuple[Row, ...]
    begun: Row | None
    breach: Row | None
    suspended: Row | None

    @property
    def turns(self) -> int:
        """The last turn that got its reply."""
        return max((row.data["turn"] for row in self.rows if row.kind == "turn"), default=0)

    @property
    def attempts(self) -> int:
        """How many attempts were made at the turn after it."""
        following = self.turns + 1
        return max((row.data["attempt"] for row in self.rows if _asks(row, following)), default=0)

    @property
    def elapsed_ms(self) -> int:
        """The most that a row says the session had used."""
        return max((row.data["elapsed_ms"] or 0 for row in self.rows if "elapsed_ms" in row.data), default=0)


def stop_of(rows: tuple[Row, ...], session: str) -> Stop:
    """Say where a session stopped. Pure.

    Raises:
        LedgerError: It was never opened.
        SessionClosed: It is closed for good.
    """
    if not any(row.kind == "open" for row in rows):
        raise LedgerError(f"session {session} has not begun, so there is nothing to resume",
                          hint=f"safeloop run {session} --task-file FILE")
    ended = next((row for row in rows if row.kind == "close" and row.data["outcome"] != SUSPENDED), None)
    if ended is not None:
        raise SessionClosed(f"session {session} is closed already: {ended.data['outcome']}, in row {ended.id}",
                            hint=f"safeloop review {session}")
    return left_by(rows)


def left_by(rows: tuple[Row, ...]) -> Stop:
    """Say what the rows of a session that was opened, closed or not, leave. Pure.

    Raises:
        NotALoop: No loop led it.
    """
    opened = next(row for row in rows if row.kind == "open")
    if is_led_by_program(opened):
        is_over = any(row.kind == "close" and row.data["outcome"] != SUSPENDED for row in rows)
        raise NotALoop(
            f"session {opened.session} was led by a program of its own, and no loop can go on with it",
            hint="run that program again" + ("" if is_over else f", or end it: safeloop close {opened.session}"),
        )
    last = next(row for row in reversed(rows) if row.kind in ("open", "close", "resume"))
    asked = next((row for row in reversed(rows) if row.kind == "intent"), None)
    answered = None if asked is None else next(
        (row for row in rows if row.kind == "turn" and row.data["intent"] == asked.n), None
    )
    results = _of_turn(rows, "tool", answered)
    begun = _of_turn(rows, "call", answered)
    breach = next((row for row in rows if row.kind == "breach"), None)
    return Stop(
        rows, opened, asked, answered, results,
        checks=tuple(row for row in _of_turn(rows, "check", answered) if breach is None or row.n < breach.n),
        begun=begun[-1] if begun and (not results or results[-1].n < begun[-1].n) else None,
        breach=breach,
        suspended=last if last.kind == "close" else None,
    )


def _asks(row: Row, turn: int) -> bool:
    return row.kind == "intent" and row.data["turn"] == turn


def _of_turn(rows: tuple[Row, ...], kind: str, answered: Row | None) -> tuple[Row, ...]:
    if answered is None:
        return ()
    return tuple(row for row in rows if row.kind == kind and row.n > answered.n)


def resume_session(ledger: Ledger, session: str) -> None:
    """Charge what is in doubt and write the `resume` row, in one transaction. The caller holds the session's lock.

    Raises:
        LedgerError: The session cannot go on.
    """

    def decide(view: View) -> tuple[Draft, ...]:
        rows = view.session(session)
        check_open(view, session)
        lost = [intent.n for intent in open_intents(rows)]
        opened = next(row for row in rows if row.kind == "open")
        data = {"after": rows[-1].n, "in_doubt": lost, "software": software(is_dry_run=is_dry_run(opened.data))}
        return (*doubtful(session, rows, "ProcessGone"), Draft(session, "resume", data))

    ledger.append(decide)


@dataclass(frozen=True, slots=True)
class LeftBehind:
    """What a session was opened with, for whoever makes a loop that goes on with it.

    Attributes:
        model: As it was asked for; one that a row could not hold whole is refused when the session goes on.
        endpoint: Where it was asked, as its row says.
        ceilings: Those in force.
        workspace: The folder that its tools read, if any.
        requests: How many were made.
        is_dry_run: Calls that write or destroy are not run.
        tools: The names of the tools that it had.
    """

    spec: SpecResult
    model: str
    endpoint: str
    ceilings: Ceilings
    workspace: Path | None
    requests: int
    is_dry_run: bool
    tools: tuple[str, ...]


def left_behind(ledger: Ledger, session: str) -> LeftBehind:
    """Return what a session was opened with.

    Raises:
        LedgerError: It was never opened, is closed for good, or its content is no longer kept.
    """
    return opened_with(ledger, stop_of(ledger.rows(session), session))


def opened_with(ledger: Ledger, stop: Stop) -> LeftBehind:
    """Return the same of a session that may be closed."""
    workspace, session = Memory(ledger, stop).workspace, stop.opened.session
    spec = next(row for row in stop.rows if row.kind == "spec" and row.leaf == stop.opened.data["spec"])
    data = stop.opened.data
    return LeftBehind(
        from_row(session, spec.data), data["model"], data["endpoint"], Ceilings.of_row(data["ceilings"]),
        None if workspace is None else Path(workspace), sum(row.kind == "intent" for row in stop.rows),
        is_dry_run(data), tuple(tool["name"] for tool in data["tools"]),
    )


class Memory:
    """A session's past as its content tells it.

    Args:
        ledger: Where the content is kept.
        stop: Where the session stopped.
    """

    def __init__(self, ledger: Ledger, stop: Stop) -> None:
        self._ledger = ledger
        self._stop = stop

    @property
    def task(self) -> str:
        """The task, as it was given."""
        return self.read(self._stop.opened, self._stop.opened.data["task"], "its task").decode("utf-8", "surrogatepass")

    @property
    def workspace(self) -> str | None:
        """The folder that its tools read, if any."""
        committed = self._stop.opened.data["workspace"]
        if committed is None:
            return None
        return self.read(self._stop.opened, committed, "its workspace").decode("utf-8", "surrogateescape")

    @property
    def reply(self) -> Reply | None:
        """The reply to the last request, as it came; None if that brought none."""
        row = self._stop.answered
        if row is None:
            return None
        return replay(self.read(row, row.data["response"], "a reply"))

    @property
    def output(self) -> str | None:
        """The text of the last reply that had any."""
        for row in reversed(self._stop.rows):
            text = "" if row.kind != "turn" else replay(self.read(row, row.data["response"], "a reply")).text
            if text:
                return text
        return None

    def messages(self) -> tuple[tuple[dict[str, Any], Mapping[str, Any]], ...]:
        """Return the messages of the last request, each with its commitment; none if nothing was asked."""
        row = self._stop.asked
        if row is None:
            return ()
        listed = manifest_entries(self.read(row, row.data["request"], "a request"))
        return tuple((self._message(row, commitment), commitment) for commitment in listed)

    def results(self) -> tuple[tuple[str, bool], ...]:
        """Return what the last reply's calls have returned so far, in order: the text, and whether the call passed."""
        return tuple(
            (self.read(row, row.data["result"], "a tool's result").decode("utf-8", "surrogatepass"),
             row.data["pass_fail"] or is_not_run(row.data))
            for row in self._stop.results
        )

    def failures(self) -> tuple[str, ...]:
        """Return what the model was to be told of checks that failed after the last reply."""
        return tuple(
            self.read(row, row.data["detail"], "what came of a check").decode("utf-8", "surrogatepass")
            for row in self._stop.checks if not row.data["pass_fail"]
        )

    def settled(self) -> Settled | None:
        """Return the last reply whose cost is believed, as a base for the next bound."""
        turn = next((row for row in reversed(self._stop.rows) if row.kind == "turn"), None)
        if turn is None or turn.data["usage"] is None:
            return None
        asked = next(row for row in self._stop.rows if row.n == turn.data["intent"])
        listed = manifest_entries(self.read(asked, asked.data["request"], "a request"))
        return Settled(len(listed), turn.data["token_delta"])

    def conversation(self, goal: Goal) -> Conversation:
        """Return the conversation up to the last request; only the task if nothing was asked."""
        conversation = Conversation(self._ledger.content, goal)
        for message, commitment in self.messages():
            conversation.recall(message, commitment)
        if not len(conversation):
            conversation.say(self.task)
        if self._stop.opened.data["continues"] is None and conversation.messages[0].get("content") != self.task:
            session = self._stop.opened.session
            raise NotALoop(
                f"session {session} was not led by a loop: only its own program can go on with it",
                hint=f"start that again, or end the session: safeloop close {session}",
            )
        return conversation

    def _message(self, row: Row, commitment: Mapping[str, Any]) -> dict[str, Any]:
        message = json.loads(self.read(row, commitment, "a message"))
        if not isinstance(message, dict):
            raise VerificationError(f"row {row.id}: a message of its request is none", hint="safeloop audit")
        return message

    def read(self, row: Row, commitment: Mapping[str, Any], what: str) -> bytes:
        """Return what a row committed to.

        Raises:
            LedgerError: It was erased, or lost; `what` it was is said.
        """
        data = self._ledger.read_content(commitment)
        if data is None:
            raise LedgerError(
                f"session {row.session} cannot go on: {what}, which row {row.id} commits to, is no longer kept",
                hint=f"safeloop close {row.session}",
            )
        return data
