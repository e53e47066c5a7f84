"""Each ceiling of the table at work in the loop: its reason, its banner, its row, and not one step beyond it."""

import json
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from safeloop.breaker import CircuitBreaker
from safeloop.breaker.pricing import parse_prices
from safeloop.errors import LedgerError, SettingError, Suspended
from safeloop.ledger import Ledger
from safeloop.ledger.keys import KeyFolder
from safeloop.ledger.reader import LedgerReader
from safeloop.ledger.trust import load_trust
from safeloop.ledger.upkeep.limiting import set_limits
from safeloop.loop import AgentLoop
from safeloop.loop.repeats import Repeats
from safeloop.review.auditing.audit import audit
from safeloop.spec import Ceilings
from safeloop.tools import Permission, ToolRegistry
from tests.loop.playing import Player, call, kinds, loop_of, noting, only, reply, rows_of, spec_of, usage

PRICES = parse_prices('[[price]]\nmodel = "m"\ninput_usd = "1"\noutput_usd = "5"\n')


def run(ledger, client, *, shown=None, tools=None, session="s", **limits):
    breaker = CircuitBreaker(**{"turn_limit": 20, "token_limit": 900_000, **limits},
                             output_fn=(lambda _: None) if shown is None else shown.append)
    return AgentLoop(spec_of(session), breaker, ledger, client, model="m", tools=tools, prices=PRICES).run("do it")


def words_of_audit(ledger):
    with LedgerReader(ledger.db_path) as reader:
        trust = load_trust(KeyFolder(reader.path.parent / "keys").self_trust)
        return [each.message for each in audit(reader, trust, state=None).findings]


def breach_of(ledger, session="s"):
    data = only(ledger, "breach", session).data
    return data["breach_reason"], data["scope"], data["limit"], data["spent"], data["next_at_most"]


def counting(made):
    """A tool whose every result is another one."""
    registry = ToolRegistry()

    @registry.tool(permission=Permission.READ)
    def look(what: str = "") -> str:
        made.append(what)
        return f"seen {len(made)}"

    return registry


def calls(number, name="look"):
    return reply(*(call(name, {"what": str(at)}, f"c{at}") for at in range(number)), stop_reason="tool_use")


def test_a_whole_batch_of_calls_is_counted_before_its_first_call_runs(ledger):
    made, shown = [], []
    client = Player(calls(2), calls(3), reply("done"))
    result = run(ledger, client, shown=shown, tools=counting(made), tool_call_limit=4)
    assert (result.outcome, result.breach_reason, len(made)) == ("breached", "tool_ceiling", 2)
    assert breach_of(ledger) == ("tool_ceiling", "session", 4, 2, 3)
    assert "tool_calls   : 2 / limit 4 (the next call could reach 5)" in shown[0]
    assert words_of_audit(ledger) == []


def test_exactly_as_many_calls_as_are_allowed_run(ledger):
    made = []
    result = run(ledger, Player(calls(2), calls(2), reply("done")), tools=counting(made), tool_call_limit=4)
    assert (result.outcome, len(made)) == ("completed", 4)
    assert words_of_audit(ledger) == []


def test_three_errors_in_a_row_are_allowed_and_after_the_fourth_the_loop_stops(ledger):
    shown, failing = [], [reply(call("fail", {}, f"c{at}"), call("nosuch", {"at": at}, f"d{at}"), stop_reason="tool_use")
                          for at in range(9)]
    result = run(ledger, Player(*failing), shown=shown, tools=noting([]), repeat_limit=None)
    assert (result.outcome, result.breach_reason) == ("breached", "error_ceiling")
    assert len(rows_of(ledger, "turn")) == 4
    assert breach_of(ledger) == ("error_ceiling", "session", 3, 4, 0)
    assert "errors       : 4 / limit 3" in shown[0]
    assert words_of_audit(ledger) == []


@pytest.mark.parametrize("saviour", [calls(1), reply(call("look"), call("fail", {}, "c2"), stop_reason="tool_use"),
                                     reply("hm", stop_reason="max_tokens")])
def test_a_reply_that_is_not_wholly_an_error_ends_the_row_of_errors(ledger, saviour):
    bad = [reply(call("fail", {}, f"c{at}"), stop_reason="tool_use") for at in range(3)]
    result = run(ledger, Player(*bad, saviour, *bad, reply("done")), tools=noting([]), repeat_limit=None)
    assert result.outcome == "completed"
    assert words_of_audit(ledger) == []


def test_identical_calls_are_told_at_the_third_and_stopped_after_the_fourth(ledger):
    ran, shown = [], []
    same = [reply(call("look", {"what": "x"}, f"c{at}"), stop_reason="tool_use") for at in range(9)]
    client = Player(*same)
    result = run(ledger, client, shown=shown, tools=noting(ran))
    assert (result.outcome, result.breach_reason, len(ran)) == ("breached", "repeat_ceiling", 4)
    told = [json.dumps(asked["messages"][-1]) for asked in client.asked]
    assert ["3 times in a row" in words for words in told] == [False, False, False, True]
    assert breach_of(ledger) == ("repeat_ceiling", "session", 3, 4, 0)
    assert "repeats      : 4 / limit 3" in shown[0]
    assert words_of_audit(ledger) == []


def test_identical_calls_of_one_batch_are_stopped_after_the_fourth_and_the_rest_is_answered(ledger):
    ran = []
    batch = reply(*(call("note", {"what": "x"}, f"c{at}") for at in range(7)), stop_reason="tool_use")
    result = run(ledger, Player(batch), tools=noting(ran))
    assert (result.breach_reason, len(ran)) == ("repeat_ceiling", 4)
    tools = rows_of(ledger, "tool")
    assert [row.data["pass_fail"] for row in tools] == [True] * 4 + [False] * 3
    assert {row.data["error"]["class"] for row in tools[4:]} == {"Repeated"}
    assert words_of_audit(ledger) == []


@pytest.mark.parametrize(
    "others",
    [[call("look", {"what": "y"})], [call("note", {"what": "x"})], [call("look", {"what": "x", "more": 1})]],
)
def test_another_tool_or_other_arguments_are_another_call(ledger, others):
    same = reply(call("look", {"what": "x"}), stop_reason="tool_use")
    client = Player(same, same, same, reply(*others, stop_reason="tool_use"), same, same, same, reply("done"))
    assert run(ledger, client, tools=noting([])).outcome == "completed"


def test_another_result_is_another_call(ledger):
    client = Player(*[reply(call("look", {"what": "x"}, f"c{at}"), stop_reason="tool_use") for at in range(8)],
                    reply("done"))
    assert run(ledger, client, tools=counting([])).outcome == "completed"


def test_arguments_are_the_same_in_whatever_order_their_keys_come():
    repeats = Repeats(3)
    assert repeats.hear("t", {"a": 1, "b": 2.0}, "r") == "r"
    repeats.hear("t", {"b": 2, "a": 1.0}, "r")
    assert repeats.count == 2


@given(said=st.lists(st.sampled_from("ab"), max_size=12), limit=st.none() | st.integers(0, 4), cut=st.integers(0, 12))
def test_counting_goes_on_after_a_crash_where_it_stopped(said, limit, cut):
    whole, told = Repeats(limit), []
    for word in said:
        told.append(whole.hear("t", {}, word))
    again = Repeats(limit)
    for words in told[:cut]:
        again.recall("t", {}, words)
    assert [again.hear("t", {}, word) for word in said[cut:]] == told[cut:]
    assert (again.count, again.is_beyond) == (whole.count, whole.is_beyond)


def slow(ledger, elapsed):
    """A client whose every request takes so long, by the loop's own clock."""
    import time

    def answer(_):
        time.sleep(elapsed)
        return reply("hm", stop_reason="max_tokens")

    return Player(answer)


def test_time_is_counted_on_a_clock_that_runs_and_the_loop_stops_at_its_ceiling(ledger):
    shown = []
    result = run(ledger, slow(ledger, 0.12), shown=shown, time_limit_s=0.3)
    assert (result.outcome, result.breach_reason) == ("breached", "time_ceiling")
    assert len(rows_of(ledger, "turn")) <= 2, "the third request is still out when the time is over"
    assert len(rows_of(ledger, "turn")) + len(rows_of(ledger, "attempt")) == len(rows_of(ledger, "intent")) <= 3
    reason, scope, limit, spent, more = breach_of(ledger)
    assert (reason, scope, limit, more) == ("time_ceiling", "session", 300, 1)
    assert spent >= 300
    assert f"time_s       : {spent // 1000}.{spent % 1000:03d} / limit 0.300 (the next call could reach " in shown[0]
    assert words_of_audit(ledger) == []


def test_no_time_at_all_starts_nothing(ledger):
    client = Player(reply("done"))
    assert run(ledger, client, time_limit_s=0).breach_reason == "time_ceiling"
    assert client.asked == []


def test_cost_is_reserved_at_its_worst_clamped_and_settled_by_usage(ledger):
    client = Player(reply("hm", stop_reason="max_tokens", counts=usage(100, 20)), reply("done", counts=usage(100, 20)))
    result = run(ledger, client, cost_limit_usd="0.0080")
    intents, turns = rows_of(ledger, "intent"), rows_of(ledger, "turn")
    assert [row.data["cost_microusd"] for row in turns][:1] == [200]
    for intent in intents:
        bound = intent.data["reserved_tokens"] - intent.data["max_tokens"]
        assert intent.data["reserved_microusd"] == bound + 5 * intent.data["max_tokens"] <= 8_000
    assert result.outcome == "completed"
    assert only(ledger, "close").data["cost_microusd"] == 400
    assert words_of_audit(ledger) == []


def test_a_cost_ceiling_stops_before_the_call_that_could_cross_it(ledger):
    shown, client = [], Player(reply("hm", stop_reason="max_tokens", counts=usage(100, 700)))
    result = run(ledger, client, shown=shown, cost_limit_usd=Decimal("0.0080"))
    assert (result.breach_reason, len(client.asked)) == ("cost_ceiling", 1)
    reason, scope, limit, spent, more = breach_of(ledger)
    assert (reason, scope, limit, spent) == ("cost_ceiling", "session", 8_000, 3_600)
    assert spent + more > limit
    assert "cost_usd     : 0.003600 / limit 0.008000 (the next call could reach 0.0" in shown[0]
    assert words_of_audit(ledger) == []


def test_usage_that_cannot_be_believed_costs_the_whole_reservation(ledger):
    run(ledger, Player(reply("done", counts=usage(-5, 5))), cost_limit_usd=1)
    intent, turn = only(ledger, "intent").data, only(ledger, "turn").data
    assert (turn["usage"], turn["token_delta"], turn["cost_microusd"]) == (
        None, intent["reserved_tokens"], intent["reserved_microusd"]
    )


def test_a_search_without_a_published_rate_is_charged_at_the_reservation(ledger):
    counts = usage(10, 5, server_tool_use={"web_search_requests": 2})
    run(ledger, Player(reply("done", counts=counts)), cost_limit_usd=1)
    assert only(ledger, "turn").data["cost_microusd"] == only(ledger, "intent").data["reserved_microusd"]
    assert words_of_audit(ledger) == []


@pytest.mark.parametrize(("answers_as", "cost", "overrun"), [
    ("m", 35, False), ("dear", 35_000, True), ("cheap", 35, False), ("unheard-of", 35, False), (None, 35, False),
])
def test_a_reply_of_a_dearer_model_than_was_asked_is_charged_as_what_it_is(ledger, answers_as, cost, overrun):
    dear = '[[price]]\nmodel = "dear"\ninput_usd = "1000"\noutput_usd = "5000"\n'
    cheap = '[[price]]\nmodel = "cheap"\ninput_usd = "0"\noutput_usd = "0"\n'
    prices = (*PRICES, *parse_prices(dear), *parse_prices(cheap))
    client = Player(reply("done", model=answers_as))
    AgentLoop(spec_of("s"), CircuitBreaker(3), ledger, client, model="m", prices=prices).run("x")
    row = only(ledger, "turn").data
    assert (row["cost_microusd"], row["overrun"]) == (cost, overrun)
    assert words_of_audit(ledger) == []


def test_a_model_without_a_price_costs_an_unknown_sum_and_never_nothing(ledger):
    loop_of(ledger, Player(reply("done"))).run("do it")
    assert only(ledger, "intent").data["reserved_microusd"] is None
    assert only(ledger, "close").data["cost_microusd"] is None


@pytest.mark.parametrize("limit", ["x", "-1", -1, 0.25, True, "NaN", Decimal("Infinity"), 10**12])
def test_what_is_no_money_is_no_ceiling(limit):
    with pytest.raises(SettingError, match="cost_limit_usd must be US dollars"):
        CircuitBreaker(cost_limit_usd=limit)


@pytest.mark.parametrize("limit", [-1, "5", True, float("nan"), float("inf")])
def test_what_is_no_time_is_no_ceiling(limit):
    with pytest.raises(SettingError, match="time_limit_s must be seconds"):
        CircuitBreaker(time_limit_s=limit)


@pytest.mark.parametrize("name", ["tool_call_limit", "error_limit", "repeat_limit"])
@pytest.mark.parametrize("limit", [-1, "5", True, 1.0, 2**53])
def test_what_is_no_count_is_no_ceiling(name, limit):
    with pytest.raises(SettingError, match=f"{name} must be an integer"):
        CircuitBreaker(**{name: limit})


def test_the_spec_tightens_every_ceiling_and_loosens_none():
    mine = CircuitBreaker(5, 100, cost_limit_usd=1, time_limit_s=60, tool_call_limit=9)
    tight = mine.tightened(Ceilings(9, 50, 5, 10**9, 3, 9, 1)).ceilings
    assert tight == Ceilings(5, 50, 5, 60_000, 3, 3, 1)
    assert mine.ceilings == Ceilings(5, 100, 10**6, 60_000, 9, 3, 3)


def test_a_full_window_suspends_the_session_and_is_no_breach(ledger):
    set_limits(ledger, {("hour", "tokens"): 10})
    client = Player(reply("done"))
    result = run(ledger, client)
    assert (result.outcome, client.asked) == ("suspended", [])
    assert result.reason.startswith("window: ")
    assert "breach" not in kinds(ledger)
    assert words_of_audit(ledger) == []


def test_a_window_that_had_all_its_sessions_opens_no_more(ledger):
    set_limits(ledger, {("day", "sessions"): 1})
    assert run(ledger, Player(reply("done")), session="one").success
    with pytest.raises(Suspended, match="the day's limit of 1 sessions"):
        run(ledger, Player(reply("done")), session="two")
    assert kinds(ledger, "two") == ["spec"]
    assert words_of_audit(ledger) == []


def test_a_child_works_within_what_its_parent_has_left(ledger):
    parent = spec_of("parent", ceilings=Ceilings(tokens=9_000))
    spawned = []

    def spawn(what: str) -> str:
        child = AgentLoop(spec_of(f"child-{what}"), CircuitBreaker(20, 900_000, output_fn=lambda _: None), ledger,
                          Player(reply("hm", stop_reason="max_tokens", counts=usage(1_000, 500))), parent="parent")
        spawned.append(child.run("a part of it"))
        return spawned[-1].breach_reason or "done"

    registry = ToolRegistry()
    registry.tool(permission=Permission.READ)(spawn)
    client = Player(reply(call("spawn", {"what": "a"}), stop_reason="tool_use"), reply("done"))
    loop_of(ledger, client, spec=parent, tokens=900_000, turns=50, tools=registry).run("do it")
    assert spawned[0].breach_reason == "token_ceiling"
    assert breach_of(ledger, "child-a")[:3] == ("token_ceiling", "parent", 9_000)
    assert only(ledger, "open", "child-a").data["parent"] == "parent"
    charged = sum(row.data["token_delta"] for name in ("parent", "child-a") for row in rows_of(ledger, "turn", name))
    assert charged <= 9_000
    assert words_of_audit(ledger) == []
    with pytest.raises(LedgerError, match="session parent is closed"):
        AgentLoop(spec_of("late"), CircuitBreaker(output_fn=str), ledger, client, parent="parent").run("more")


steps = st.lists(st.tuples(st.sampled_from(["look", "note", "fail", "nosuch"]), st.sampled_from("xy")), min_size=1, max_size=4)


@given(
    script=st.lists(st.one_of(steps, st.just("continue")), max_size=10),
    limits=st.fixed_dictionaries({}, optional={
        "turn_limit": st.integers(0, 6), "token_limit": st.integers(0, 40_000), "cost_limit_usd": st.sampled_from(
            ["0", "0.001", "0.02", "0.1"]), "tool_call_limit": st.integers(0, 6),
        "error_limit": st.none() | st.integers(0, 3), "repeat_limit": st.none() | st.integers(0, 4),
    }),
    counts=st.tuples(st.integers(0, 60), st.integers(0, 60)),
)
@settings(max_examples=40, deadline=None)
def test_whatever_a_model_replies_no_ceiling_is_passed_and_the_audit_agrees(tmp_path_factory, script, limits, counts):
    folder = tmp_path_factory.mktemp("loop")
    ledger = Ledger(folder / "ledger.db", keys=folder / "keys")
    ran = []
    replies = [
        reply("hm", stop_reason="max_tokens", counts=usage(*counts)) if step == "continue" else
        reply(*(call(name, {"what": what} if name != "fail" else {}, f"c{at}-{n}") for n, (name, what) in enumerate(step)),
              stop_reason="tool_use", counts=usage(*counts))
        for at, step in enumerate(script)
    ]
    run(ledger, Player(*replies, reply("done")), tools=noting(ran), **limits)
    ceilings = CircuitBreaker(**{"turn_limit": 20, "token_limit": 900_000, **limits}).ceilings
    turns = [row.data for row in rows_of(ledger, "turn")]
    assert len(turns) <= ceilings.turns
    assert sum(turn["token_delta"] for turn in turns) <= ceilings.tokens
    if ceilings.microusd is not None:
        assert sum(turn["cost_microusd"] for turn in turns) <= ceilings.microusd
    if ceilings.tool_calls is not None:
        assert len(rows_of(ledger, "tool")) <= ceilings.tool_calls
    assert words_of_audit(ledger) == []
    ledger.close()
