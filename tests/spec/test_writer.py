"""The writer that asks: what a person sees, what is recorded, and what never is."""

import builtins
import inspect
import sqlite3
import uuid

import pytest

from safeloop.errors import SpecError
from safeloop.ledger import Content, Draft, Ledger
from safeloop.spec import (
    Ceilings,
    Criterion,
    SpecDraft,
    SpecResult,
    SpecWriter,
    ToolGrant,
    load,
    parse_spec,
    record,
    to_row,
)

GOOD = ["Audit one page", "Change it", "report.md lists every fault"]


@pytest.fixture(autouse=True)
def keys(tmp_path, monkeypatch):
    monkeypatch.setenv("SAFELOOP_KEYS", str(tmp_path / "keys"))


@pytest.fixture
def db_path(tmp_path):
    return str(tmp_path / "ledger.db")


class Person:
    """Someone who answers from a list and reads what is said."""

    def __init__(self, *answers):
        self.answers = list(answers)
        self.asked = []
        self.said = []

    def ask(self, prompt):
        self.asked.append(prompt)
        return self.answers.pop(0)


def rows_in(db_path):
    with sqlite3.connect(db_path) as connection:
        return connection.execute("SELECT count(*) FROM row").fetchone()[0]


def answered(db_path, *answers, **settings):
    person = Person(*answers)
    writer = SpecWriter(db_path, person.ask, person.said.append, **settings)
    return writer, person, writer.run()


def test_exactly_three_questions_are_asked_in_order(db_path):
    _, person, spec = answered(db_path, *GOOD)
    assert person.asked == [
        "What does this do? ",
        "What does this NOT do? ",
        "What does done look like in one sentence? ",
    ]
    assert person.said == []
    assert (spec.what_it_does, spec.what_it_does_not, spec.done_looks_like) == tuple(GOOD)


def test_a_session_is_a_fresh_uuid_4_each_time(db_path):
    person = Person("a", "b", "c", "d", "e", "f")
    writer = SpecWriter(db_path=db_path, input_fn=person.ask, output_fn=person.said.append)
    one, other = writer.run(), writer.run()
    assert one.session_id != other.session_id
    assert uuid.UUID(one.session_id).version == 4
    assert writer.load(one.session_id) == one
    assert writer.load(other.session_id) == other


@pytest.mark.parametrize("nothing", ["", "   ", "\t\n", None, "\u200b"])
def test_a_missing_answer_is_said_to_be_one_and_asked_for_again(db_path, nothing):
    _, person, spec = answered(db_path, "q1", nothing, nothing, "q2", nothing, "q3 stops")
    missing = [line for line in person.said if "missing answer" in line]
    assert len(missing) == 3
    assert sum("What does this NOT do?" in line for line in missing) == 2
    assert sum("What does done look like in one sentence?" in line for line in missing) == 1
    assert len(person.asked) == 6
    assert (spec.what_it_does, spec.what_it_does_not, spec.done_looks_like) == ("q1", "q2", "q3 stops")


def test_done_that_repeats_the_task_is_explained_and_only_that_is_asked_again(db_path):
    _, person, spec = answered(db_path, "Audit it", "b", "audit IT.", " Audit it! ", "", "report.md is there")
    assert person.asked[2:] == ["What does done look like in one sentence? "] * 4
    assert sum("only repeats what it does" in line for line in person.said) == 2
    assert sum("missing answer" in line for line in person.said) == 1
    assert spec.done_looks_like == "report.md is there"


@pytest.mark.parametrize("answer", ["x" * 8_001, "a\x00b", "a\ud800b"])
def test_an_answer_that_no_row_can_hold_is_explained_and_asked_for_again(db_path, answer):
    _, person, spec = answered(db_path, answer, "a", "b", "c 1")
    assert spec.what_it_does == "a"
    assert len(person.said) == 1 and person.said[0].startswith("this answer ")
    assert "?" not in person.said[0], "the question stands in the next prompt, and would stand there twice"
    assert person.asked[:2] == ["What does this do? "] * 2


def test_warnings_are_printed_and_never_asked_about(db_path):
    _, person, spec = answered(db_path, "a", "b", "It is fine. It is good.")
    assert [line.startswith("warning: done_looks_like") for line in person.said] == [True, True]
    assert len(person.asked) == 3
    assert load(Ledger(db_path), spec.session_id) == spec


def test_white_space_around_an_answer_is_dropped(db_path):
    _, _, spec = answered(db_path, "  a \n", "\tb", " c 1 ")
    assert (spec.what_it_does, spec.what_it_does_not, spec.done_looks_like) == ("a", "b", "c 1")


@pytest.mark.parametrize("given", [0, 1, 2])
@pytest.mark.parametrize("stop", [EOFError, KeyboardInterrupt])
def test_an_end_of_input_passes_through_and_nothing_is_recorded(db_path, given, stop):
    answers = iter(GOOD[:given])

    def ask(prompt):
        try:
            return next(answers)
        except StopIteration:
            raise stop from None

    writer = SpecWriter(db_path, ask, lambda line: None)
    with pytest.raises(stop):
        writer.run()
    assert rows_in(db_path) == 0


def test_one_row_of_kind_spec_is_written_at_the_start_of_the_session(db_path):
    writer, _, spec = answered(db_path, *GOOD)
    (row,) = writer.ledger.rows(spec.session_id)
    assert (row.kind, row.n, row.session) == ("spec", 0, spec.session_id)
    assert row.data == to_row(spec)
    assert rows_in(db_path) == 1


def test_the_tutorial_s_view_shows_the_answers(db_path):
    _, _, spec = answered(db_path, "does X", "not Y", "Z works")
    with sqlite3.connect(db_path) as connection:
        columns = {row[1] for row in connection.execute("PRAGMA table_info(spec)")}
        shown = connection.execute(
            "SELECT session_id, what_it_does, what_it_does_not, done_looks_like FROM spec WHERE session_id = ?",
            (spec.session_id,),
        ).fetchall()
    assert columns == {"id", "session_id", "what_it_does", "what_it_does_not", "done_looks_like", "created_at"}
    assert shown == [(spec.session_id, "does X", "not Y", "Z works")]


def test_what_was_given_to_the_writer_is_part_of_the_spec(db_path):
    parts = {
        "criteria": [Criterion("report", "report.md", contains=("Title",))],
        "ceilings": Ceilings(turns=8, tokens=40_000),
        "tools": ToolGrant(("read",), ("fetch_page",)),
    }
    _, _, spec = answered(db_path, *GOOD, **parts)
    assert spec == SpecResult(*GOOD, spec.session_id, **parts)
    assert SpecWriter(db_path).load(spec.session_id) == spec


def test_criteria_that_cannot_stand_are_refused_before_anything_is_asked_or_created(db_path, tmp_path):
    with pytest.raises(SpecError, match="two criteria"):
        SpecWriter(db_path, criteria=[Criterion("c", "f"), Criterion("c", "f")])
    assert list(tmp_path.iterdir()) == []


def test_constructing_creates_the_ledger_once(db_path, tmp_path):
    assert SpecWriter(db_path).db_path == db_path
    assert (tmp_path / "ledger.db").exists()
    SpecWriter(db_path)
    assert rows_in(db_path) == 0


def test_the_defaults_are_the_tutorial_s():
    writer = SpecWriter(db_path=":memory:")
    assert writer.input_fn is builtins.input
    assert writer.output_fn is builtins.print
    assert writer.db_path == ":memory:"
    parameters = inspect.signature(SpecWriter).parameters
    assert list(parameters)[:3] == ["db_path", "input_fn", "output_fn"]
    assert parameters["db_path"].default == "ledger.db"


def test_a_ledger_in_memory_keeps_its_own_specs():
    person = Person(*GOOD)
    writer = SpecWriter(":memory:", person.ask, person.said.append)
    spec = writer.run()
    assert writer.load(spec.session_id) == spec
    assert SpecWriter(":memory:").load(spec.session_id) is None


def test_an_open_ledger_can_be_passed_in(db_path):
    ledger = Ledger(db_path)
    person = Person(*GOOD)
    writer = SpecWriter(input_fn=person.ask, output_fn=person.said.append, ledger=ledger)
    assert writer.ledger is ledger
    assert writer.db_path == ledger.db_path
    assert load(ledger, writer.run().session_id).what_it_does == GOOD[0]


@pytest.mark.parametrize(
    "session_id",
    ["nonexistent-session", "", " ", "latest", "ledger", "-x", "a b", "x" * 129, "a\x00", "'; DROP TABLE row", None, 3],
)
def test_an_unknown_or_impossible_session_has_no_spec(db_path, session_id):
    writer, _, _ = answered(db_path, *GOOD)
    assert writer.load(session_id) is None


def test_a_session_without_a_spec_row_has_no_spec(db_path):
    ledger = Ledger(db_path)
    ledger.write("by-hand", 1, "llm", "input", 5, 1, True)
    assert load(ledger, "by-hand") is None


def test_the_newest_spec_of_a_session_is_loaded(db_path):
    ledger = Ledger(db_path)
    record(ledger, SpecDraft("a", "b", "first 1"), "s-1")
    record(ledger, SpecDraft("a", "b", "second 2"), "s-1")
    assert load(ledger, "s-1").done_looks_like == "second 2"


def test_a_spec_file_is_recorded_as_a_new_session_each_time(db_path):
    ledger = Ledger(db_path)
    draft = parse_spec(b'what_it_does = "a"\nwhat_it_does_not = "b"\ndone_looks_like = "c"', "job.toml")
    one, other = record(ledger, draft), record(ledger, draft)
    assert one.session_id != other.session_id
    assert load(ledger, one.session_id) == one == draft.named(one.session_id)


def test_a_spec_built_by_hand_is_recorded_in_its_own_session(db_path):
    ledger = Ledger(db_path)
    spec = SpecResult("a", "b", "c", "sid", ceilings=Ceilings(turns=2))
    assert record(ledger, spec, spec.session_id) == spec
    assert load(ledger, "sid") == spec


@pytest.mark.parametrize("session_id", ["", "latest", "ledger", "a b", "x" * 129, "\x1b[2J"])
def test_an_impossible_session_id_is_refused_and_nothing_recorded(db_path, session_id):
    ledger = Ledger(db_path)
    with pytest.raises(SpecError, match="is no session id") as caught:
        record(ledger, SpecDraft("a", "b", "c"), session_id)
    assert "\x1b" not in str(caught.value)
    assert rows_in(db_path) == 0


@pytest.mark.parametrize(
    ("draft", "said"),
    [
        (SpecDraft("a", "b", "A."), "only repeats"),
        (SpecDraft("a", " ", "c"), "what_it_does_not is empty"),
    ],
)
def test_what_cannot_stand_is_not_recorded(db_path, draft, said):
    ledger = Ledger(db_path)
    with pytest.raises(SpecError, match=said):
        record(ledger, draft)
    assert rows_in(db_path) == 0


def test_the_promise_of_an_opened_session_cannot_be_changed(db_path):
    ledger = Ledger(db_path)
    spec = record(ledger, SpecDraft("a", "b", "c 1"))
    (row,) = ledger.rows(spec.session_id)
    task: Content = ledger.content(b"task", "text/plain")
    opened = {
        "spec": row.leaf, "task": task.commitment, "input_hash": "0" * 64, "model": "m", "endpoint": "e",
        "ceilings": {}, "parent": None, "continues": None, "workspace": None, "billing_workspace": None,
        "api_key_id": None, "tools": [], "software": "test",
    }  # fmt: skip
    ledger.append(lambda view: [Draft(spec.session_id, "open", opened, (task,))])
    with pytest.raises(RuntimeError, match="opened already"):
        record(ledger, SpecDraft("a", "b", "much less 1"), spec.session_id)
    assert load(ledger, spec.session_id) == spec
