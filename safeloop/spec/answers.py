"""The three answers, and when one of them is refused.

A refusal is mechanical and certain: nothing was said, what was said cannot be stored, or "done" repeats the
task. What is only doubtful draws a warning (`prose`).
"""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass
from enum import Enum

from safeloop.errors import SpecError
from safeloop.spec.wording import has_unseen

LONGEST_ANSWER = 8_000
"""UTF-8 bytes of one answer, so that three of them fit into one row of 60,000."""


class Question(Enum):
    """The three questions, in the order in which they are asked; the value is the key in files and rows."""

    DOES = "what_it_does"
    DOES_NOT = "what_it_does_not"
    DONE = "done_looks_like"

    @property
    def text(self) -> str:
        """The question as a person reads it."""
        return _TEXTS[self]


_TEXTS = {
    Question.DOES: "What does this do?",
    Question.DOES_NOT: "What does this NOT do?",
    Question.DONE: "What does done look like in one sentence?",
}


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why an answer cannot stand.

    Args:
        question: The question to answer again.
        problem: What is wrong, as a clause that follows the name of the answer.
        hint: What would be accepted.
        missing: True if there is no answer at all.
    """

    question: Question
    problem: str
    hint: str
    missing: bool = False


def is_blank(text: str) -> bool:
    """Whether a text shows nothing: only spaces, control characters and characters drawn as nothing."""
    return not any(_is_drawn(character) for character in text)


def refusal_of(question: Question, answer: object) -> Refusal | None:
    """Judge one answer by itself: there must be one, and a row must be able to hold it."""
    if not isinstance(answer, str):
        return Refusal(question, "must be a text", f'write {question.value} = "..."')
    if is_blank(answer):
        return Refusal(question, "is empty", f"answer in words: {question.text}", missing=True)
    if "\0" in answer:
        return Refusal(question, "holds the character U+0000", "take it out: no row can hold it")
    try:
        size = len(answer.encode("utf-8"))
    except UnicodeEncodeError:
        return Refusal(question, "is not valid Unicode (a lone surrogate)", "type or save it as UTF-8")
    if size > LONGEST_ANSWER:
        hint = "say the rest in the task or in criteria"
        return Refusal(question, f"has {size} bytes, more than {LONGEST_ANSWER}", hint)
    return None


def refusal_of_spec(
    what_it_does: object, what_it_does_not: object, done_looks_like: object
) -> Refusal | None:
    """Judge all three answers, in the order of the questions, and then whether done repeats the task."""
    answers = (what_it_does, what_it_does_not, done_looks_like)
    for question, answer in zip(Question, answers, strict=True):
        refusal = refusal_of(question, answer)
        if refusal is not None:
            return refusal
    return refusal_of_repetition(str(what_it_does), str(done_looks_like))


def refusal_of_repetition(what_it_does: str, done_looks_like: str) -> Refusal | None:
    """Refuse a `done_looks_like` that equals `what_it_does` but for case, punctuation and spacing."""
    if _essence(what_it_does) != _essence(done_looks_like):
        return None
    return Refusal(
        Question.DONE,
        "only repeats what it does",
        "say what can be seen once it is done: a file, a count, a result, a stop",
    )


def require_answers(what_it_does: object, what_it_does_not: object, done_looks_like: object) -> None:
    """Refuse a spec whose answers cannot stand.

    Raises:
        SpecError: The first refusal of `refusal_of_spec`.
    """
    refusal = refusal_of_spec(what_it_does, what_it_does_not, done_looks_like)
    if refusal is not None:
        raise SpecError(f"{refusal.question.value} {refusal.problem}", hint=refusal.hint)


def _is_drawn(character: str) -> bool:
    return not character.isspace() and not has_unseen(character)


def _essence(text: str) -> str:
    """The text without case, punctuation, spacing and invisible characters; as it is if nothing is left."""
    folded = unicodedata.normalize("NFKC", text).casefold()
    kept = (
        character
        for character in unicodedata.normalize("NFKC", folded)
        if _is_drawn(character) and not unicodedata.category(character).startswith("P")
    )
    return "".join(kept) or "".join(text.split())
