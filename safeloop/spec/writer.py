"""The writer that asks: three questions, three answers, one `spec` row, before anything is spent."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING

from safeloop.errors import SpecError
from safeloop.ledger import Draft, Ledger
from safeloop.ledger.rows import is_session_id
from safeloop.spec.answers import Question, Refusal, refusal_of, refusal_of_repetition, require_answers
from safeloop.spec.ceilings import Ceilings
from safeloop.spec.criteria import require_criteria
from safeloop.spec.grant import ToolGrant
from safeloop.spec.prose import warnings_of
from safeloop.spec.result import SpecDraft, SpecResult, from_row, to_row
from safeloop.spec.wording import quoted

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from safeloop.ledger import View
    from safeloop.spec.criteria import Criterion


class SpecWriter:
    """Asks for the definition of done and records it; nothing is recorded until all three answers stand.

    Args:
        db_path: The ledger; it is created, with its keys, where it is missing. `:memory:` is one of its own.
        input_fn: Shows a prompt and returns the answer; None counts as no answer, exceptions pass through.
        output_fn: Shows one line.
        ledger: An open ledger to write to instead of `db_path`.
        criteria: What a machine will check.
        ceilings: What must not be exceeded; None is no ceiling.
        tools: What tools may do; None is reading and writing.

    Raises:
        SpecError: A ceiling that this version would not enforce, or criteria that do not stand together.
    """

    def __init__(
        self,
        db_path: str | Path = "ledger.db",
        input_fn: Callable[[str], str | None] = input,
        output_fn: Callable[[str], object] = print,
        *,
        ledger: Ledger | None = None,
        criteria: Iterable[Criterion] = (),
        ceilings: Ceilings | None = None,
        tools: ToolGrant | None = None,
    ) -> None:
        self.input_fn = input_fn
        self.output_fn = output_fn
        self.ceilings = Ceilings() if ceilings is None else ceilings
        self.tools = ToolGrant() if tools is None else tools
        self.criteria = require_criteria(criteria)
        self.ledger = Ledger(db_path) if ledger is None else ledger
        self.db_path = db_path if ledger is None else ledger.db_path

    def run(self) -> SpecResult:
        """Ask the three questions, each until its answer stands, print warnings, record the spec.

        Returns:
            The spec, under a fresh session id (UUID version 4).
        """
        return record(self.ledger, self.ask())

    def ask(self) -> SpecDraft:
        """Ask the three questions and print warnings, as `run` does, and record nothing."""
        does = self._ask(Question.DOES)
        does_not = self._ask(Question.DOES_NOT)
        done = self._ask(Question.DONE)
        while refusal := refusal_of_repetition(does, done):
            self._explain(refusal)
            done = self._ask(Question.DONE)
        for warning in warnings_of(done):
            self.output_fn(f"warning: {warning}")
        return SpecDraft(does, does_not, done, criteria=self.criteria, ceilings=self.ceilings, tools=self.tools)

    def load(self, session_id: str) -> SpecResult | None:
        """The newest spec of a session; None where there is none, or the id is not one.

        Raises:
            SpecError: The row is there but says what this version does not know how to keep.
        """
        return load(self.ledger, session_id)

    def _ask(self, question: Question) -> str:
        while True:
            answer = (self.input_fn(f"{question.text} ") or "").strip()
            refusal = refusal_of(question, answer)
            if refusal is None:
                return answer
            self._explain(refusal)

    def _explain(self, refusal: Refusal) -> None:
        if refusal.missing:
            self.output_fn(f"missing answer: {refusal.question.text} Nothing is recorded without it.")
        else:
            self.output_fn(f"this answer {refusal.problem}: {refusal.hint}")  # the question itself is asked again


def record(ledger: Ledger, draft: SpecDraft | SpecResult, session_id: str | None = None) -> SpecResult:
    """Write the `spec` row of a session.

    Args:
        ledger: Where to.
        draft: The definition of done.
        session_id: The session; None is a fresh one (UUID version 4).

    Raises:
        SpecError: The answers cannot stand, it does not fit into one row, or the session id is not one.
        RuntimeError: The session was opened already: its promise cannot change any more.
    """
    require_answers(draft.what_it_does, draft.what_it_does_not, draft.done_looks_like)
    session = str(uuid.uuid4()) if session_id is None else session_id
    if not is_session_id(session):
        raise SpecError(f"{quoted(session)} is no session id", hint="leave it out: a fresh one is generated")
    data = to_row(draft)

    def decide(view: View) -> tuple[Draft, ...]:
        if any(row.kind == "open" for row in view.session(session)):
            raise RuntimeError(f"session {session} was opened already: its spec cannot change")
        return (Draft(session, "spec", data),)

    ledger.append(decide)
    return from_row(session, data)


def load(ledger: Ledger, session_id: str) -> SpecResult | None:
    """The newest spec of a session; None where there is none, or the id is not one.

    Raises:
        SpecError: The row is there but says what this version does not know how to keep.
    """
    if not is_session_id(session_id):
        return None
    rows = [row for row in ledger.rows(session_id) if row.kind == "spec"]
    return from_row(session_id, rows[-1].data) if rows else None
