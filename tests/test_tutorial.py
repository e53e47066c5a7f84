"""The tutorial's way of using the five primitives, with changed imports only.

Its programs must go on working: what they construct, call, read and compare is here, and nothing else of safeloop.
Where the meaning was changed on purpose, the test says so in its name.
"""

import builtins
import contextlib
import dataclasses
import hashlib
import sqlite3
import uuid
from datetime import datetime
from types import SimpleNamespace

import pytest

from safeloop import (
    AgentLoop,
    AttestationResult,
    CircuitBreaker,
    CircuitBreakerError,
    DiffResult,
    Ledger,
    LedgerRow,
    LLMClient,
    LoopResult,
    MessagesEndpoint,
    ReviewFrame,
    ReviewSurface,
    SessionNotFoundError,
    SpecResult,
    SpecWriter,
)


@pytest.fixture(autouse=True)
def a_folder_and_keys_of_its_own(tmp_path, monkeypatch):
    monkeypatch.setenv("SAFELOOP_KEYS", str(tmp_path / "keys"))
    monkeypatch.chdir(tmp_path)


def answering(*answers):
    left = list(answers)
    return lambda _question: left.pop(0)


def asked(*answers, db_path="spec.db"):
    said = []
    spec = SpecWriter(db_path=db_path, input_fn=answering(*answers), output_fn=said.append).run()
    return spec, said


def sql(path, query, *values):
    with contextlib.closing(sqlite3.connect(path)) as connection:
        return connection.execute(query, values).fetchall()


def columns(path, table):
    return {row[1]: row[2] for row in sql(path, f"PRAGMA table_info({table})")}


# --- the spec writer ---------------------------------------------------------------------------------------


def test_three_answers_make_a_spec_with_an_id_of_its_own():
    answers = ("audit one page", "no scripts", "a report")
    spec, _ = asked(*answers)
    assert (spec.what_it_does, spec.what_it_does_not, spec.done_looks_like) == answers
    assert uuid.UUID(spec.session_id).version == 4
    assert asked(*answers)[0].session_id != spec.session_id


@pytest.mark.parametrize("nothing", ["", "   ", "\t\n"])
def test_a_question_without_an_answer_is_asked_again_and_names_itself(nothing):
    spec, said = asked(nothing, "does", nothing, "does not", nothing, nothing, "done")
    assert spec.done_looks_like == "done"
    missing = [line for line in said if "missing answer" in line]
    assert len(missing) == 4
    for words in ("What does this do?", "NOT do", "done look like"):
        assert any(words in line for line in missing)


def test_exactly_three_questions_are_asked_whatever_the_answers_are_like():
    questions = []

    def record(question):
        questions.append(question)
        return ("make it better", "nothing", "it works well")[len(questions) - 1]

    SpecWriter("spec.db", record, lambda _: None).run()
    assert len(questions) == 3


def test_a_spec_can_be_loaded_by_another_writer_and_an_unknown_one_is_none():
    spec, _ = asked("does", "does not", "done")
    assert SpecWriter("spec.db").load(spec.session_id) == spec
    assert SpecWriter(db_path="spec.db").load("nobody-knows-it") is None


def test_the_spec_table_can_be_read_with_sql():
    spec, _ = asked("does", "does not", "done")
    assert columns("spec.db", "spec") == {
        "id": "INTEGER", "session_id": "TEXT", "what_it_does": "TEXT", "what_it_does_not": "TEXT",
        "done_looks_like": "TEXT", "created_at": "TEXT",
    }
    query = "SELECT what_it_does, what_it_does_not, done_looks_like FROM spec WHERE session_id = ?"
    assert sql("spec.db", query, spec.session_id) == [("does", "does not", "done")]


def test_a_writer_in_memory_has_the_usual_input_and_output():
    writer = SpecWriter(db_path=":memory:")
    assert (writer.input_fn, writer.output_fn, writer.db_path) == (builtins.input, builtins.print, ":memory:")


# --- the circuit breaker -----------------------------------------------------------------------------------


def test_the_breaker_has_the_tutorials_limits_and_takes_others():
    assert (CircuitBreaker().turn_limit, CircuitBreaker().token_limit) == (5, 15000)
    assert CircuitBreaker(turn_limit=10, token_limit=50000).token_limit == 50000


@pytest.mark.parametrize(("turn", "tokens"), [(1, 0), (5, 14999), (4, 15000), (5, 15000)])
def test_what_is_within_both_limits_passes_and_returns_nothing(turn, tokens):
    assert CircuitBreaker().check(turn_count=turn, accumulated_tokens=tokens) is None


@pytest.mark.parametrize(
    ("turn", "tokens", "reason"), [(6, 10, "turn_ceiling"), (2, 15001, "token_ceiling"), (6, 20000, "turn_ceiling")]
)
def test_what_is_beyond_a_limit_shows_the_checkpoint_and_raises_turns_first(capsys, turn, tokens, reason):
    with pytest.raises(CircuitBreakerError) as tripped:
        CircuitBreaker().check(turn, tokens)
    assert (tripped.value.reason, tripped.value.turn_count, tripped.value.accumulated_tokens) == (reason, turn, tokens)
    shown = capsys.readouterr().out
    for words in ("CIRCUIT BREAKER CHECKPOINT", reason, "limit 5", "limit 15000", str(tokens)):
        assert words in shown


def test_the_breakers_error_can_be_made_by_hand_and_says_what_it_knows():
    error = CircuitBreakerError(reason="token_ceiling", turn_count=4, accumulated_tokens=15500)
    assert isinstance(error, Exception)
    for words in ("token_ceiling", "turn=4", "tokens=15500"):
        assert words in str(error)


# --- the ledger --------------------------------------------------------------------------------------------


def test_a_row_that_was_written_is_read_back_with_every_field():
    ledger = Ledger(db_path="ledger.db")
    number = ledger.write(
        session_id="s1", turn_count=1, state_origin="planner", input_str="hello", token_delta=120,
        execution_time_ms=350, pass_fail=True,
    )
    (row,) = ledger.get_all()
    assert number == row.id == 1
    assert dataclasses.asdict(row) | {"created_at": None} == {
        "id": 1, "session_id": "s1", "turn_count": 1, "state_origin": "planner", "token_delta": 120,
        "input_hash": hashlib.sha256(b"hello").hexdigest(), "execution_time_ms": 350, "pass_fail": True,
        "breach_reason": None, "created_at": None,
    }
    assert datetime.fromisoformat(row.created_at).tzinfo is not None


def test_rows_come_in_the_order_of_writing_and_by_session():
    ledger = Ledger("ledger.db")
    for turn in range(5):
        ledger.write("even" if turn % 2 == 0 else "odd", turn, "p", "x", 10 * turn, 1, turn != 3)
    assert [(row.id, row.turn_count) for row in ledger.get_all()] == [(1, 0), (2, 1), (3, 2), (4, 3), (5, 4)]
    assert [row.token_delta for row in ledger.get_session("odd")] == [10, 30]
    assert [row.pass_fail for row in ledger.get_session("odd")] == [True, False]
    assert ledger.get_session("missing") == []


def test_a_fresh_ledger_is_empty_and_opening_it_twice_changes_nothing():
    assert Ledger("ledger.db").get_all() == Ledger("ledger.db").get_all() == []
    assert Ledger(":memory:").get_all() == []


def test_a_reason_of_a_breach_is_kept_whoever_wrote_it():
    ledger = Ledger("ledger.db")
    ledger.write("s", 6, "executor", "x", 0, 12, False, "turn_ceiling")
    ledger.write("s", 7, "circuit_breaker", "x", 0, 0, False, breach_reason="token_ceiling")
    assert [row.breach_reason for row in ledger.get_all()] == ["turn_ceiling", "token_ceiling"]


def test_the_ledger_table_can_be_read_with_sql_and_has_no_raw_text():
    ledger = Ledger("ledger.db")
    ledger.write("s", 1, "llm", "the raw task", 5, 1, False)
    types = dict.fromkeys(("session_id", "state_origin", "input_hash", "breach_reason", "created_at"), "TEXT")
    counts = dict.fromkeys(("id", "turn_count", "token_delta", "execution_time_ms", "pass_fail"), "INTEGER")
    assert columns(ledger.db_path, "ledger") == types | counts
    assert sql(ledger.db_path, "SELECT pass_fail, typeof(pass_fail) FROM ledger") == [(0, "integer")]
    assert "the raw task" not in str(sql(ledger.db_path, "SELECT * FROM row"))


def test_results_cannot_be_changed():
    row = LedgerRow(1, "s", 1, "p", "h", 0, 0, True, None, "2026-06-10T00:00:00+00:00")
    for value, name in (
        (row, "turn_count"), (SpecResult("a", "b", "c", "s"), "what_it_does"), (LoopResult(True, 1, 0, "s"), "turns"),
    ):
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(value, name, 99)


# --- the loop ----------------------------------------------------------------------------------------------

SPEC = SpecResult(what_it_does="audit one page", what_it_does_not="run scripts", done_looks_like="a report is there",
                  session_id="spec-1")


class Double:
    """A client as the tutorial's readers write them: it is its own `messages`, and answers with objects."""

    def __init__(self, *answers):
        self.messages = self
        self.calls = []
        self._answers = list(answers)

    def create(self, **request):
        self.calls.append({**request, "messages": list(request["messages"])})
        return self._answers.pop(0)


def answer(text="ok", stop_reason="end_turn", tokens=(10, 20)):
    usage = SimpleNamespace(input_tokens=tokens[0], output_tokens=tokens[1])
    return SimpleNamespace(usage=usage, content=[SimpleNamespace(text=text, type="text")], stop_reason=stop_reason)


def run(*answers, breaker=None, task="the task", **options):
    client, ledger = Double(*answers), Ledger("ledger.db")
    result = AgentLoop(SPEC, breaker or CircuitBreaker(), ledger, client, **options).run(task)
    return result, client, ledger


def test_an_end_turn_ends_the_run_with_a_result_that_compares():
    result, client, _ = run(answer("done", tokens=(50, 50)))
    assert result == LoopResult(success=True, turns=1, total_tokens=100, session_id="spec-1", breach_reason=None)
    assert len(client.calls) == 1


def test_any_other_end_goes_on_and_tokens_add_up():
    result, client, _ = run(answer(stop_reason="tool_use"), answer(stop_reason="max_tokens", tokens=(15, 25)), answer())
    assert result == LoopResult(True, 3, 100, "spec-1")
    assert len(client.calls) == 3


def test_the_conversation_grows_by_the_answer_as_a_string_and_continue():
    _, client, _ = run(answer("first", "tool_use"), answer("second"))
    assert client.calls[0]["messages"] == [{"role": "user", "content": "the task"}]
    assert client.calls[1]["messages"] == [
        {"role": "user", "content": "the task"}, {"role": "assistant", "content": "first"},
        {"role": "user", "content": "continue"},
    ]


def test_each_turn_is_one_row_of_the_model_with_the_hash_of_the_task():
    _, _, ledger = run(answer(stop_reason="tool_use", tokens=(10, 10)), answer(tokens=(20, 20)))
    rows = ledger.get_session("spec-1")
    assert [(row.turn_count, row.token_delta, row.state_origin, row.pass_fail) for row in rows] == [
        (1, 20, "llm", True), (2, 40, "llm", True),
    ]
    assert {row.input_hash for row in rows} == {hashlib.sha256(b"the task").hexdigest()}


def test_a_turn_too_many_is_a_result_a_row_and_the_checkpoint(capsys):
    result, client, ledger = run(*[answer(stop_reason="tool_use")] * 3, breaker=CircuitBreaker(turn_limit=2))
    assert result == LoopResult(False, 3, 60, "spec-1", "turn_ceiling")
    assert len(client.calls) == 2
    last = ledger.get_session("spec-1")[-1]
    assert (last.state_origin, last.breach_reason, last.pass_fail, last.token_delta) == (
        "circuit_breaker", "turn_ceiling", False, 0,
    )
    assert "CIRCUIT BREAKER CHECKPOINT" in capsys.readouterr().out


def test_spent_tokens_stop_the_run_before_the_next_call():
    breaker = CircuitBreaker(turn_limit=10, token_limit=4_000)
    result, client, _ = run(answer(stop_reason="tool_use", tokens=(3_000, 900)), answer(), breaker=breaker)
    assert result == LoopResult(False, 2, 3_900, "spec-1", "token_ceiling")
    assert len(client.calls) == 1


def test_intended_difference_a_ceiling_below_the_worst_case_of_the_first_request_refuses_it_before_it_is_sent():
    result, client, _ = run(answer(), breaker=CircuitBreaker(turn_limit=10, token_limit=100))
    assert (result, client.calls) == (LoopResult(False, 1, 0, "spec-1", "token_ceiling"), [])


def test_intended_difference_the_default_model_is_a_current_one():
    _, client, _ = run(answer())
    assert (client.calls[0]["model"], client.calls[0]["max_tokens"]) == ("claude-sonnet-5-5", 1024)


def test_intended_difference_a_session_that_was_run_cannot_be_run_again():
    _, _, ledger = run(answer())
    with pytest.raises(RuntimeError):
        AgentLoop(SPEC, CircuitBreaker(), ledger, Double(answer())).run("again")


def test_model_and_max_tokens_reach_the_client_and_tools_only_where_there_are_any():
    _, client, _ = run(answer(), model="another-model", max_tokens=2048)
    assert (client.calls[0]["model"], client.calls[0]["max_tokens"]) == ("another-model", 2048)
    assert client.calls[0].keys() == {"model", "max_tokens", "system", "messages"}


def test_all_that_was_promised_is_in_the_system_prompt():
    _, client, _ = run(answer())
    for words in (SPEC.what_it_does, SPEC.what_it_does_not, SPEC.done_looks_like):
        assert words in client.calls[0]["system"]


@pytest.mark.parametrize(
    "content",
    [[], None, [SimpleNamespace(type="image")], [SimpleNamespace(text="no type")], [SimpleNamespace(text=None)]],
)
def test_content_of_any_kind_that_ends_the_turn_is_a_success(content):
    odd = answer()
    odd.content = content
    assert run(odd)[0].success is True


def test_an_answer_without_a_stop_reason_is_the_end():
    plain = answer()
    del plain.stop_reason
    assert run(plain)[0] == LoopResult(True, 1, 30, "spec-1")


def test_what_callers_read_of_a_loop_is_still_there():
    client, ledger, breaker = Double(), Ledger("ledger.db"), CircuitBreaker()
    loop = AgentLoop(spec=SPEC, circuit_breaker=breaker, ledger=ledger, client=client)
    assert (loop.spec, loop.circuit_breaker, loop.ledger, loop.client) == (SPEC, breaker, ledger, client)
    assert ledger.db_path == "ledger.db"
    assert isinstance(client, LLMClient)
    assert isinstance(client.messages, MessagesEndpoint)


def test_a_run_works_in_memory():
    assert AgentLoop(SPEC, CircuitBreaker(), Ledger(":memory:"), Double(answer())).run("x").success


# --- the review surface ------------------------------------------------------------------------------------


def by_hand(*rows, answers=("does", "does not", "done")):
    """A spec in one file and its rows, written by hand, in another."""
    spec, _ = asked(*answers)
    ledger = Ledger("ledger.db")
    for turn, (origin, tokens, passed, breach) in enumerate(rows, start=1):
        ledger.write(spec.session_id, turn, origin, "task", tokens, 50, passed, breach)
    return spec, ReviewSurface("spec.db", "ledger.db")


CLEAN = (("llm", 100, True, None), ("llm", 120, True, None), ("llm", 90, True, None))
BREACHED = (*CLEAN[:2], ("circuit_breaker", 0, False, "turn_ceiling"))
ELEMENTS = ("[1] ORIGINAL PROMISE", "[2] ACCEPTANCE CRITERIA", "[3] DIFF", "[4] EVIDENCE", "[5] UNRESOLVED ASSUMPTIONS")


def test_a_frame_puts_the_promise_beside_what_happened():
    spec, surface = by_hand(*CLEAN)
    frame = surface.load(spec.session_id)
    assert isinstance(frame, ReviewFrame)
    assert isinstance(frame.diff, DiffResult)
    assert (frame.session_id, frame.original_promise, frame.acceptance_criteria) == (spec.session_id, spec, "done")
    assert (frame.diff.turns_completed, frame.diff.total_tokens, frame.diff.breached) == (3, 310, False)
    assert (frame.diff.final_output, frame.diff.first_input) == ("llm", hashlib.sha256(b"task").hexdigest())
    assert len(frame.evidence) == 3
    assert isinstance(frame.evidence, tuple)
    assert frame.created_at


def test_a_rendered_frame_shows_all_five_elements_and_the_figures():
    spec, surface = by_hand(*CLEAN)
    shown = surface.render(spec.session_id)
    for words in ("REVIEW SURFACE", *ELEMENTS, "does", "does not", "done"):
        assert words in shown
    figures = " ".join(shown.split())
    assert "Turns completed: 3" in figures
    assert "Total tokens: 310" in figures


def test_intended_difference_rows_written_by_hand_are_an_assumption_that_a_reviewer_is_told():
    spec, surface = by_hand(*CLEAN)
    (assumption,) = surface.load(spec.session_id).unresolved_assumptions
    assert "ungoverned" in assumption
    assert "No unresolved assumptions detected." not in surface.render(spec.session_id)


def test_a_run_of_the_loop_without_trouble_leaves_nothing_unresolved():
    spec, _ = asked("does", "does not", "done")
    result = AgentLoop(spec, CircuitBreaker(), Ledger("ledger.db"), Double(answer())).run("task")
    surface = ReviewSurface(spec_db_path="spec.db", ledger_db_path="ledger.db")
    assert surface.load(result.session_id).unresolved_assumptions == ()
    assert "No unresolved assumptions detected." in surface.render(result.session_id)


@pytest.mark.parametrize(
    ("rows", "words"), [(BREACHED, "turn_ceiling"), ((*CLEAN, ("llm", 9, False, None)), "pass_fail=False")]
)
def test_what_went_wrong_is_an_unresolved_assumption(rows, words):
    spec, surface = by_hand(*rows)
    frame = surface.load(spec.session_id)
    assert frame.diff.breached is True
    assert len([each for each in frame.unresolved_assumptions if words in each]) == 1
    assert words in surface.render(spec.session_id)


def test_a_session_of_nothing_but_a_breach_has_completed_no_turn():
    spec, surface = by_hand(("circuit_breaker", 0, False, "token_ceiling"))
    diff = surface.load(spec.session_id).diff
    assert (diff.turns_completed, diff.final_output, diff.breached) == (0, "circuit_breaker", True)


def test_a_breach_of_the_loop_is_in_the_frame():
    spec, _ = asked("does", "does not", "done")
    ledger = Ledger("ledger.db")
    breaker = CircuitBreaker(turn_limit=1)
    AgentLoop(spec, breaker, ledger, Double(answer(stop_reason="tool_use"))).run("task")
    frame = ReviewSurface("spec.db", "ledger.db").load(spec.session_id)
    assert (frame.diff.breached, frame.diff.turns_completed, frame.diff.total_tokens) == (True, 1, 30)
    assert any("turn_ceiling" in each for each in frame.unresolved_assumptions)


def test_an_attestation_is_recorded_with_the_hash_of_the_frame():
    spec, surface = by_hand(*CLEAN)
    made = surface.attest(spec.session_id, reviewer="alice", notes="looks right")
    assert isinstance(made, AttestationResult)
    assert (made.session_id, made.reviewer, made.notes) == (spec.session_id, "alice", "looks right")
    assert (len(made.frame_hash), bool(made.attested_at)) == (64, True)
    query = "SELECT session_id, reviewer, notes, frame_hash FROM attestations WHERE id = ?"
    assert sql("ledger.db", query, made.id) == [(spec.session_id, "alice", "looks right", made.frame_hash)]


def test_every_reviewer_of_a_session_attests_the_same_hash_and_another_session_has_another():
    spec, surface = by_hand(*CLEAN)
    first, second = surface.attest(spec.session_id, reviewer="alice"), surface.attest(spec.session_id, "bob", "and why")
    assert first.frame_hash == second.frame_hash
    other, _ = by_hand(*CLEAN)
    assert surface.attest(other.session_id, "alice").frame_hash != first.frame_hash
    broken, _ = by_hand(*BREACHED)
    assert surface.attest(broken.session_id, "alice").frame_hash != first.frame_hash
    assert [each.reviewer for each in surface.get_attestations(spec.session_id)] == ["alice", "bob"]


def test_a_session_that_nobody_attested_has_no_attestations():
    spec, surface = by_hand(*CLEAN)
    assert surface.get_attestations(spec.session_id) == []


def test_a_session_that_lacks_its_spec_or_its_rows_is_not_found():
    spec, surface = by_hand()
    Ledger("ledger.db").write("orphan", 1, "llm", "x", 10, 5, True)
    for session in ("nobody-knows-it", spec.session_id, "orphan"):
        with pytest.raises(SessionNotFoundError):
            surface.load(session)
        with pytest.raises(KeyError):
            surface.render(session)


def test_a_surface_can_be_made_twice_and_by_keyword():
    ReviewSurface("spec.db", "ledger.db")
    ReviewSurface(spec_db_path="spec.db", ledger_db_path="ledger.db")


def test_the_tutorials_whole_walk_runs(capsys):
    answers = answering("triage tickets", "reply to anybody", "each has a queue")
    spec = SpecWriter(db_path="spec.db", input_fn=answers).run()
    ledger = Ledger(db_path="ledger.db")
    loop = AgentLoop(spec=spec, circuit_breaker=CircuitBreaker(5, 15000), ledger=ledger, client=Double(answer("DONE")))
    result = loop.run("three tickets")
    surface = ReviewSurface(spec_db_path="spec.db", ledger_db_path="ledger.db")
    print(surface.render(result.session_id))
    made = surface.attest(session_id=result.session_id, reviewer="alice", notes="")
    assert made.frame_hash == hashlib.sha256(surface.render(result.session_id).encode()).hexdigest()
    assert "each has a queue" in capsys.readouterr().out
