"""The work of a session that a ceiling stopped, as another takes it up: a ceiling stops, it does not destroy."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from safeloop.errors import LedgerError
from safeloop.ledger import Ledger
from safeloop.ledger.content import manifest_entries
from safeloop.loop.closing import BREACHED
from safeloop.loop.conversation import Conversation, answer_of
from safeloop.loop.goal import Goal
from safeloop.loop.judging import told_of
from safeloop.loop.resuming import LeftBehind, Memory, left_by, opened_with
from safeloop.tools import Root

NOT_RUN = "a ceiling stopped the work before this call was run"


class Past:
    """What a session that a ceiling stopped leaves to the one that continues it.

    Args:
        session: The one that was stopped.

    Raises:
        LedgerError: It was not stopped by a ceiling.
    """

    def __init__(self, ledger: Ledger, session: str) -> None:
        rows = ledger.rows(session)
        close = next((row for row in rows if row.kind == "close" and row.data["outcome"] == BREACHED), None)
        if close is None:
            raise LedgerError(
                f"session {session} was not stopped by a ceiling, and only such a session is continued in another",
                hint=f"safeloop log {session}",
            )
        self.session = session
        self._ledger, self._close = ledger, close
        self._stop = left_by(rows)
        self._memory = Memory(ledger, self._stop)

    @property
    def opened_with(self) -> LeftBehind:
        """What it was opened with."""
        return opened_with(self._ledger, self._stop)

    @property
    def task(self) -> str:
        """Its task."""
        return self._memory.task

    def conversation(self, goal: Goal) -> Conversation:
        """Return what it was going to send when it was stopped, committed to anew."""
        conversation, reply = Conversation(self._ledger.content, goal), self._memory.reply
        failures = self._memory.failures()
        for message in self._messages(goal):
            conversation.repeat(message)
        if reply is not None:
            went_back = conversation.hear(reply)
            if reply.tool_calls:
                results = list(self._memory.results())
                results += [(NOT_RUN, False)] * (len(reply.tool_calls) - len(results))
                pairs = zip(reply.tool_calls, results, strict=False)
                conversation.say([answer_of(call, text, passed) for call, (text, passed) in pairs])
            elif failures:
                conversation.say(told_of(failures))
            elif went_back:
                conversation.go_on(reply)
        return conversation

    def restore(self, staging: Root) -> None:
        """Put the files that it left, as they were committed to, into another staging folder."""
        for entry in manifest_entries(self._kept(self._close.data["files"])):
            staging.write(entry["name"], self._kept(entry["after"]))

    def _messages(self, goal: Goal) -> Iterator[Mapping[str, Any]]:
        before = self._stop.opened.data["continues"]
        if self._stop.asked is not None:
            yield from (message for message, _ in self._memory.messages())
        elif before is not None:
            yield from Past(self._ledger, before).conversation(goal).messages
        else:
            yield {"role": "user", "content": self.task}

    def _kept(self, commitment: Mapping[str, Any]) -> bytes:
        return self._memory.read(self._close, commitment, "a file that it left")
