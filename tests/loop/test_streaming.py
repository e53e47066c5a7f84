"""`loop.stream(task)`: the events of a run, one step at a time, and suspended where nobody reads on."""

import threading

import pytest

from safeloop.breaker import CircuitBreaker
from safeloop.errors import AttemptFailed, CircuitBreakerError
from safeloop.loop import AgentLoop, events
from safeloop.spec import Breach, Reason
from safeloop.tools import Permission, ToolRegistry
from tests.loop.playing import SILENT, Player, call, kinds, loop_of, noting, only, reply, rows_of, spec_of


def a_writer():
    registry = ToolRegistry()

    @registry.tool(permission=Permission.WRITE)
    def note(path: str) -> str:
        return f"noted {path}"

    return registry


def names(told):
    return [type(event).__name__ for event in told]


def drained(stream):
    """Every event, and what the generator returned."""
    told = []
    while True:
        try:
            told.append(next(stream))
        except StopIteration as end:
            return told, end.value


def writing(ledger, told=None, **more):
    script = (reply(call("note", {"path": "a.md"}), stop_reason="tool_use"), reply("done"))
    listener = {} if told is None else {"on_event": told.append}
    return loop_of(ledger, Player(*script), tools=a_writer(), **listener, **more)


def test_every_step_is_told_in_order_and_the_result_is_that_of_run(ledger):
    told, result = drained(writing(ledger).stream("x"))
    assert names(told) == ["Started", "Reserved", "Replied", "ToolRuns", "ToolRan", "Reserved", "Replied", "Closed"]
    assert (result.success, result.turns, result.session_id) == (True, 2, "s")
    assert told[3] == events.ToolRuns("s", 1, "note", "a.md")
    assert told[-1] == events.Closed("s", "completed", None)
    assert told[0].ceilings.turns == 5


def test_on_event_is_told_the_same(ledger):
    heard = []
    told, _ = drained(writing(ledger, heard).stream("x"))
    assert heard == told


def test_nothing_runs_ahead_of_the_reader(ledger):
    stream = writing(ledger).stream("x")
    assert kinds(ledger) == []
    assert type(next(stream)) is events.Started
    assert kinds(ledger) == ["spec", "open"]
    assert type(next(stream)) is events.Reserved
    assert kinds(ledger)[-1] == "intent"
    stream.close()


@pytest.mark.parametrize("read", range(1, 8))
def test_closing_it_early_suspends_the_session_wherever_it_is(ledger, read):
    stream = writing(ledger).stream("x")
    told = [next(stream) for _ in range(read)]
    stream.close()
    assert (only(ledger, "close").data["outcome"], kinds(ledger)[-1]) == ("suspended", "close")
    assert only(ledger, "close").data["reason"].startswith("interrupted")
    left = [row.data["charged_tokens"] for row in rows_of(ledger, "attempt")]
    assert left == ([0] if type(told[-1]) is events.Reserved else []), "what never left costs nothing"
    assert "safeloop-run" not in {thread.name for thread in threading.enumerate()}


def test_leaving_a_for_loop_early_suspends_too(ledger):
    for event in writing(ledger).stream("x"):
        if type(event) is events.Replied:
            break
    del event
    assert only(ledger, "close").data["outcome"] == "suspended"


def test_after_closed_there_is_nothing_to_suspend(ledger):
    stream = writing(ledger).stream("x")
    while type(next(stream)) is not events.Closed:
        pass
    stream.close()
    assert only(ledger, "close").data["outcome"] == "completed"


def test_a_stream_that_was_never_begun_runs_nothing(ledger):
    writing(ledger).stream("x").close()
    assert kinds(ledger) == []


def test_what_ends_a_run_is_raised_where_it_is_read(ledger):
    error = AttemptFailed("no", error_class="NoReply", status=400, in_doubt=False)
    stream = loop_of(ledger, Player(error)).stream("x")
    told = []
    with pytest.raises(AttemptFailed, match="no"):
        for event in stream:
            told.append(event)
    assert names(told) == ["Started", "Reserved", "Closed"]
    assert only(ledger, "close").data["outcome"] == "failed"


def test_a_breach_is_told_before_the_session_is_closed(ledger):
    loop = loop_of(ledger, Player(reply(call("note"), stop_reason="tool_use")), tools=noting([]), turns=1)
    told, result = drained(loop.stream("x"))
    assert names(told)[-2:] == ["Breached", "Closed"]
    assert (told[-2].reason, told[-2].turn) == ("turn_ceiling", 2)
    assert told[-2].breach == Breach(Reason.TURNS, 1, 1, 1), "by how much, as the row says"
    assert result.breach_reason == "turn_ceiling"


def test_a_batch_beyond_the_ceiling_on_calls_is_told_as_a_breach_too(ledger):
    client = Player(reply(call("note"), call("note", call_id="t2"), stop_reason="tool_use"))
    limits = CircuitBreaker(5, 15_000, tool_call_limit=1, **SILENT)
    told, result = drained(AgentLoop(spec_of("s"), limits, ledger, client, tools=noting([])).stream("x"))
    assert names(told)[-2:] == ["Breached", "Closed"]
    assert told[-2].breach == Breach(Reason.TOOL_CALLS, 1, 0, 2)
    assert told[-2].reason == result.breach_reason == "tool_ceiling"


def test_of_a_check_of_the_breakers_own_only_the_reason_is_known(ledger):
    class Strict(CircuitBreaker):
        def check(self, turn_count, accumulated_tokens):
            raise CircuitBreakerError("no_more", turn_count, accumulated_tokens)

    told, _ = drained(AgentLoop(spec_of("s"), Strict(**SILENT), ledger, Player(reply("hi"))).stream("x"))
    assert (told[-2].reason, told[-2].breach) == ("no_more", None)


def test_a_wait_is_told(ledger):
    busy = AttemptFailed("the server asks to slow down", error_class="RateLimitError", status=429, in_doubt=False)
    told, _ = drained(loop_of(ledger, Player(busy, reply("done")), sleep_fn=lambda _: None).stream("x"))
    assert names(told) == ["Started", "Reserved", "Waiting", "Reserved", "Replied", "Closed"]
    assert told[2].reason == "the server asks to slow down"
    assert [event.attempt for event in told if type(event) is events.Reserved] == [1, 2]


def test_an_event_says_what_was_charged_before_it(ledger):
    told, _ = drained(writing(ledger).stream("x"))
    first, second = (event for event in told if type(event) is events.Reserved)
    assert (first.tokens, first.spend.tokens) == (0, 0)
    assert second.tokens == second.spend.tokens == 15


def test_a_session_that_cannot_begin_says_so_at_the_first_event(ledger):
    drained(writing(ledger).stream("x"))
    with pytest.raises(RuntimeError, match="has run"):
        next(writing(ledger, spec=spec_of("s")).stream("x"))
