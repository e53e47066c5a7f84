"""Answers: what is refused, what only draws a warning, and what passes in silence."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from safeloop.errors import SpecError
from safeloop.spec import Question, warnings_of
from safeloop.spec.answers import is_blank, refusal_of, refusal_of_repetition, refusal_of_spec, require_answers

DONE = "report.md lists every fault of title, meta description and headings with a fix for each, and the loop stops"


@pytest.mark.parametrize("nothing", ["", " ", "\t\n", "\u00a0\u3000", "\u200b", "\ufeff \u2060", "\x1b", "\x00"])
@pytest.mark.parametrize("question", Question)
def test_an_answer_that_shows_nothing_is_missing(question, nothing):
    assert is_blank(nothing)
    refusal = refusal_of(question, nothing)
    assert refusal.missing
    assert refusal.question is question


@pytest.mark.parametrize("answer", [None, 7, True, ["a"], {"a": "b"}, b"bytes"])
def test_an_answer_that_is_no_text_is_refused(answer):
    assert refusal_of(Question.DOES, answer).problem == "must be a text"


@pytest.mark.parametrize(
    ("answer", "problem"), [("a\x00b", "U+0000"), ("a\ud800b", "lone surrogate"), ("a" * 8_001, "8001 bytes")]
)
def test_an_answer_that_no_row_can_hold_is_refused(answer, problem):
    refusal = refusal_of(Question.DOES, answer)
    assert problem in refusal.problem
    assert not refusal.missing
    assert refusal.hint


def test_the_bound_of_an_answer_is_inclusive_and_counts_bytes():
    assert refusal_of(Question.DOES, "a" * 8_000) is None
    assert refusal_of(Question.DOES, "é" * 4_000) is None
    assert "8002 bytes" in refusal_of(Question.DOES, "é" * 4_001).problem


@pytest.mark.parametrize("answer", ["a", "\\", "0", "!", "\U0001f600", "é"])
def test_one_visible_character_is_an_answer(answer):
    assert refusal_of(Question.DOES, answer) is None


@pytest.mark.parametrize(
    ("does", "done"),
    [
        ("Audit one page", "Audit one page"),
        ("Audit one page", "  audit ONE page!!! "),
        ("Audit one page", "“Audit — one, page.”"),
        ("Audit one page", "Audit one\npage"),
        ("Audit one page", "Audit\u200b one page"),
        ("Straße fegen", "STRASSE FEGEN."),
        ("caf\u00e9 report", "cafe\u0301 report"),
        ("re-run tests", "rerun tests"),
        ("???", "???"),
        ("Audit it", "\uff21\uff55\uff44\uff49\uff54 it"),
    ],
)
def test_done_that_repeats_the_task_is_refused(does, done):
    assert refusal_of_repetition(does, done).question is Question.DONE
    with pytest.raises(SpecError, match="done_looks_like only repeats what it does"):
        require_answers(does, "anything else", done)


@pytest.mark.parametrize(
    ("does", "done"), [("Audit one page", "One page is audited"), ("a", "c"), ("???", "!!!"), ("x + 1", "x - 1 is 0")]
)
def test_done_that_says_something_else_is_not_a_repetition(does, done):
    assert refusal_of_spec(does, "b", done) is None


@given(st.text(min_size=1), st.sampled_from([str.upper, str.lower, str.title, lambda t: f" {t} ...\n"]))
def test_no_change_of_case_or_punctuation_hides_a_repetition(does, change):
    # Case mappings of a few letters do not come back (ı, ŉ): compare those that do.
    if change(does).casefold().strip(" .\n") == does.casefold().strip(" .\n"):
        assert refusal_of_repetition(does, change(does)) is not None or not any(map(str.isalnum, does))


def test_the_first_answer_that_cannot_stand_is_the_one_that_is_named():
    assert refusal_of_spec("", "", "").question is Question.DOES
    assert refusal_of_spec("a", " ", "").question is Question.DOES_NOT
    assert refusal_of_spec("a", "b", 3).question is Question.DONE
    with pytest.raises(SpecError, match="what_it_does_not is empty") as caught:
        require_answers("a", "", "c")
    assert "NOT do" in caught.value.hint


def test_the_tutorial_s_answers_are_accepted():
    require_answers("a", "b", "c")
    require_answers("x", "y", "z")
    assert warnings_of("c")


@pytest.mark.parametrize(
    "done",
    [
        DONE,
        "report printed to stdout",
        "all tests pass",
        "the summary is emailed",
        "exit code 0",
        'the page says "Thank you"',
        "Es steht ‘fertig’ da",
        "「完了」と出る。",
        "prints a list (e.g. of faults)",
        "src/app is clean",
        "notes.txt is there",
        "nothing is left in the queue",
        "copies are made",
        "the loop stopped",
        "uses v1.2 of the format, e.g. the list, and prints it",
        "a list by J. Smith and others etc. is printed",
        "report.md ends in 'ok.'",
        "the report is sent!",
        "The log is empty. —",
    ],
)
def test_one_sentence_about_something_to_be_seen_draws_no_warning(done):
    assert warnings_of(done) == ()


@pytest.mark.parametrize("done", ["c", "it works well", "everybody is happy", "good quality", "alles ist gut", "..."])
def test_a_sentence_that_names_nothing_to_be_seen_draws_one_warning(done):
    (warning,) = warnings_of(done)
    assert "nothing to be seen" in warning


@pytest.mark.parametrize(
    "done",
    [
        "The report is written. It is short.",
        "The report is written! it is short",
        "Is there a report? Yes",
        "The report is written…  Then it stops",
        "(The report is written.) Then it stops",
        "“The report is written.” And it stops",
        "The report is written\n\nand it stops",
        "報告書。終わり。",
        "The answer is no. The report says so.",
    ],
)
def test_more_than_one_sentence_draws_one_warning(done):
    (warning,) = warnings_of(done) if "報" not in done else warnings_of(done)[:1]
    assert "more than one sentence" in warning


def test_both_warnings_can_be_drawn_at_once():
    assert len(warnings_of("It is good. It is nice.")) == 2


@given(st.text())
def test_any_text_can_be_judged(text):
    warnings_of(text)
    is_blank(text)
    refusal_of_spec(text, text, text)
