"""One governed turn: intent before the request, outcome after it."""

import json
import os
import signal
import subprocess
import sys
from dataclasses import replace

import pytest

from safeloop.breaker import CircuitBreaker
from safeloop.errors import CircuitBreakerError, SettingError
from safeloop.ledger import Ledger
from safeloop.loop import DEFAULT_MODEL, AgentLoop, LoopResult
from safeloop.loop.events import Closed, Replied, Reserved, Started, ToolRan, ToolRuns
from safeloop.models import OfflineAuditor, ScriptedClient
from safeloop.spec import Ceilings, spend_of
from tests.loop.playing import (
    SILENT,
    Player,
    call,
    kinds,
    loop_of,
    messages_of,
    noting,
    only,
    reply,
    rows_of,
    spec_of,
    text,
    thinking,
    usage,
)


def test_a_run_leaves_one_row_for_each_thing_that_happened_in_the_order_it_happened(ledger):
    client = Player(reply(call("note", {"what": "x"}), stop_reason="tool_use"), reply("done"))
    result = loop_of(ledger, client, tools=noting([])).run("do it")
    assert result == LoopResult(True, 2, 30, "s")
    assert (result.outcome, result.reason) == ("completed", None)
    assert kinds(ledger) == ["spec", "open", "intent", "turn", "call", "tool", "intent", "turn", "close"]


def test_the_intent_is_committed_for_every_reader_before_the_request_leaves(ledger):
    seen = []

    def look_from_elsewhere(request):
        other = Ledger(ledger.db_path)
        row = other.rows("s")[-1]
        seen.append((row.kind, row.data["max_tokens"] == request["max_tokens"], messages_of(other, row)))
        other.close()
        return reply("done")

    loop_of(ledger, Player(look_from_elsewhere)).run("do it")
    assert seen == [("intent", True, [{"role": "user", "content": "do it"}])]


def test_a_process_that_dies_within_the_request_leaves_the_intent(tmp_path):
    program = """
import os, signal, sys
from tests.loop.playing import Player, loop_of
from safeloop.ledger import Ledger
loop_of(Ledger(sys.argv[1]), Player(lambda _: os.kill(os.getpid(), signal.SIGKILL))).run("do it")
"""
    done = subprocess.run([sys.executable, "-c", program, str(tmp_path / "l.db")], check=False, env=os.environ)
    assert done.returncode == -signal.SIGKILL
    left = Ledger(tmp_path / "l.db")
    assert kinds(left) == ["spec", "open", "intent"]
    assert spend_of(left.rows("s")).tokens == left.rows("s")[-1].data["reserved_tokens"] > 1024


def test_what_is_sent_is_exactly_what_was_reserved(ledger):
    client = Player(reply("hm", stop_reason="max_tokens"), reply("done"))
    loop_of(ledger, client, max_tokens=700, model="some-model").run("do it")
    for asked, intent in zip(client.asked, rows_of(ledger, "intent"), strict=True):
        assert asked.keys() == {"model", "max_tokens", "system", "messages"}
        assert (asked["model"], asked["max_tokens"]) == (intent.data["model"], intent.data["max_tokens"])
        assert asked["messages"] == messages_of(ledger, intent)


def test_tools_and_thinking_are_sent_where_they_were_given_and_only_granted_tools(ledger):
    client = Player(reply("done"))
    spec = spec_of("s", tools=type(spec_of("s").tools)(names=("look",)))
    thinks = {"type": "enabled", "budget_tokens": 1_024}
    loop_of(ledger, client, spec=spec, tools=noting([]), thinking=thinks, max_tokens=3_000).run("do it")
    assert [tool["name"] for tool in client.asked[0]["tools"]] == ["look"]
    assert client.asked[0]["thinking"] == thinks
    assert [tool["name"] for tool in only(ledger, "open").data["tools"]] == ["look"]


def test_the_turn_row_says_what_was_billed_and_what_was_said(ledger):
    counts = usage(7, 5, cache_creation_input_tokens=3, cache_read_input_tokens=2,
                   output_tokens_details={"thinking_tokens": 4}, server_tool_use={"web_search_requests": 1})
    answer = reply("done", counts=counts, model="claude-\u202esonnet", stop_reason="end_turn")
    loop_of(ledger, Player(answer)).run("do it")
    intent, turn = only(ledger, "intent"), dict(only(ledger, "turn").data)
    assert turn["usage"] == {"input": 7, "cache_write": 3, "cache_read": 2, "output": 5, "thinking": 4, "searches": 1}
    assert (turn["token_delta"], turn["overrun"], turn["intent"]) == (17, False, intent.n)
    assert turn["model"] == "claude-\\u{202e}sonnet"
    assert (turn["pass_fail"], turn["breach_reason"], turn["state_origin"]) == (True, None, "llm")
    assert turn["cost_microusd"] is None
    assert json.loads(ledger.read_content(turn["response"]))["content"] == [text("done")]


def test_the_close_row_totals_what_the_rows_say(ledger):
    client = Player(reply("hm", stop_reason="max_tokens", counts=usage(100, 11)), reply("done", counts=usage(200, 22)))
    result = loop_of(ledger, client).run("do it")
    close = only(ledger, "close")
    assert (close.data["turns"], close.data["total_tokens"], result.total_tokens) == (2, 333, 333)
    assert spend_of(ledger.rows("s")).tokens == 333
    assert ledger.read_content(close.data["output"]) == b"done"


def test_a_client_that_is_never_billed_costs_nothing_in_every_row(ledger):
    loop_of(ledger, ScriptedClient([{"content": [call()]}, "done"]), tools=noting([])).run("do it")
    assert [row.data["reserved_microusd"] for row in rows_of(ledger, "intent")] == [0, 0]
    assert [row.data["cost_microusd"] for row in rows_of(ledger, "turn")] == [0, 0]
    assert only(ledger, "close").data["cost_microusd"] == 0


def test_the_offline_auditor_costs_nothing_either_not_even_under_a_ceiling_on_cost(ledger):
    nothing = CircuitBreaker(5, 60_000, cost_limit_usd="0", **SILENT)
    result = AgentLoop(spec_of("s"), nothing, ledger, OfflineAuditor(), model="offline-auditor").run("audit <p>hi</p>")
    assert (result.outcome, only(ledger, "close").data["cost_microusd"]) == ("completed", 0)


def test_a_breach_is_a_row_and_a_result_and_nothing_is_sent(ledger):
    client = Player(reply("hm", stop_reason="max_tokens"))
    result = loop_of(ledger, client, turns=2).run("do it")
    assert result == LoopResult(False, 3, 30, "s", "turn_ceiling")
    assert (result.outcome, result.reason) == ("breached", "turn_ceiling")
    assert len(client.asked) == 2
    assert kinds(ledger)[-2:] == ["breach", "close"]
    assert only(ledger, "close").data["turns"] == 2


def test_a_ceiling_below_the_worst_case_of_the_first_request_refuses_it_before_it_is_sent(ledger):
    client = Player(reply("done"))
    result = loop_of(ledger, client, tokens=1_024).run("do it")
    assert (result.breach_reason, result.turns, result.total_tokens, client.asked) == ("token_ceiling", 1, 0, [])


@pytest.mark.parametrize(("spec_turns", "breaker_turns", "sent"), [(1, 5, 1), (5, 2, 2), (None, 2, 2), (0, 5, 0)])
def test_the_spec_can_tighten_the_breaker_and_never_loosen_it(ledger, spec_turns, breaker_turns, sent):
    spec, client = spec_of("s", ceilings=Ceilings(turns=spec_turns)), Player(reply("hm", stop_reason="max_tokens"))
    loop_of(ledger, client, spec=spec, turns=breaker_turns).run("do it")
    assert len(client.asked) == sent
    assert only(ledger, "open").data["ceilings"] == {"turns": sent, "tokens": 15_000, "errors": 3, "repeats": 3}


def test_a_cost_ceiling_and_a_model_without_a_price_do_not_start_together(ledger):
    client = Player(reply("done"))
    loop = loop_of(ledger, client, spec=spec_of("s", ceilings=Ceilings(microusd=5)))
    with pytest.raises(SettingError, match="a cost ceiling needs a price: there is no price for .* at Player") as caught:
        loop.run("do it")
    assert "--prices FILE" in caught.value.hint
    assert (ledger.rows("s"), client.asked) == ((), [])


def test_a_banner_that_cannot_be_shown_does_not_turn_a_breach_into_a_failure(ledger):
    def closed_pipe(_):
        raise BrokenPipeError

    limits = CircuitBreaker(0, 15_000, output_fn=closed_pipe)
    assert AgentLoop(spec_of("s"), limits, ledger, Player(reply("done"))).run("do it").outcome == "breached"
    assert kinds(ledger)[-2:] == ["breach", "close"]


class Frugal(CircuitBreaker):
    """A breaker of somebody's own, with a rule that ours does not know."""

    def check(self, turn_count, accumulated_tokens):
        super().check(turn_count, accumulated_tokens)
        if accumulated_tokens >= 30:
            raise CircuitBreakerError("pocket_\u202emoney", turn_count, accumulated_tokens)


def test_a_breaker_with_a_check_of_its_own_is_asked_before_every_request_and_its_breach_is_a_row(ledger):
    client = Player(reply("hm", stop_reason="max_tokens"))
    spec = spec_of("s", ceilings=Ceilings(turns=50))
    result = AgentLoop(spec, Frugal(100, 10**6, output_fn=lambda _: None), ledger, client).run("do it")
    assert result == LoopResult(False, 3, 30, "s", "pocket_\u202emoney")
    assert (len(client.asked), kinds(ledger)[-2:]) == (2, ["breach", "close"])
    breach = only(ledger, "breach").data
    assert (breach["breach_reason"], breach["limit"], breach["turn"]) == ("pocket_\\u{202e}money", None, 3)


def test_a_breaker_whose_own_check_says_yes_to_everything_loosens_nothing(ledger):
    careless = type("Careless", (CircuitBreaker,), {"check": lambda *_: None})(1, 10**6, output_fn=lambda _: None)
    result = AgentLoop(spec_of("s"), careless, ledger, Player(reply("hm", stop_reason="max_tokens"))).run("do it")
    assert (result.breach_reason, only(ledger, "breach").data["limit"]) == ("turn_ceiling", 1)


def test_a_client_that_raises_the_breakers_own_error_has_failed_and_nothing_was_breached(ledger):
    with pytest.raises(CircuitBreakerError):
        loop_of(ledger, Player(CircuitBreakerError("turn_ceiling", 1, 0))).run("do it")
    assert kinds(ledger) == ["spec", "open", "intent", "attempt", "close"]
    assert (only(ledger, "close").data["outcome"], only(ledger, "attempt").data["in_doubt"]) == ("failed", True)


def test_a_client_that_changes_what_it_is_given_changes_nothing_here(ledger):
    def vandal(request):
        request["messages"][0]["content"] = "forged"
        for message in request["messages"]:
            if isinstance(message["content"], list):
                message["content"][0].clear()
        request["messages"].append({"role": "user", "content": "more"})
        request["tools"][0]["description"] = "x" * 1_000_000
        request["thinking"]["budget_tokens"] = 10**9
        return reply(thinking("hm"), call("look"), stop_reason="tool_use")

    client, thinks = Player(vandal), {"type": "enabled", "budget_tokens": 100}
    result = loop_of(ledger, client, tools=noting([]), thinking=thinks, turns=3, tokens=100_000).run("do it")
    assert result.breach_reason == "turn_ceiling"
    first, last = client.asked[0], client.asked[-1]
    assert (last["tools"], last["thinking"]) == (first["tools"], {"type": "enabled", "budget_tokens": 100})
    assert last["messages"][0] == {"role": "user", "content": "do it"}
    assert last["messages"][1]["content"] == [thinking("hm"), call("look")]
    assert len(last["messages"]) == 5
    assert messages_of(ledger, rows_of(ledger, "intent")[-1]) == last["messages"]
    assert thinks == {"type": "enabled", "budget_tokens": 100}


def test_every_step_is_told_as_it_happens(ledger):
    told = []
    client = Player(reply(call("fail"), stop_reason="tool_use", counts=usage(40, 2)), reply("done"))
    loop_of(ledger, client, tools=noting([]), on_event=told.append, tokens=20_000).run("do it")
    ceilings = Ceilings(turns=5, tokens=20_000, errors=3, repeats=3)
    assert [replace(each, spend=None) if isinstance(each, Reserved) else each for each in told] == [
        Started("s", "claude-sonnet-5-5", ceilings),
        Reserved("s", 1, 0, 1024, ceilings), Replied("s", 1, 42, "tool_use"), ToolRuns("s", 1, "fail"),
        ToolRan("s", 1, "fail", False),
        Reserved("s", 2, 42, 1024, ceilings), Replied("s", 2, 15, "end_turn"), Closed("s", "completed", None),
    ]
    assert [each.spend.tokens for each in told if isinstance(each, Reserved)] == [0, 42]


@pytest.mark.parametrize("when", [Reserved, Replied, ToolRan, Closed])
def test_a_listener_that_raises_leaves_a_closed_session_with_every_attempt_settled(ledger, when):
    def listener(event):
        if isinstance(event, when):
            raise BrokenPipeError("nobody reads")

    client = Player(reply(call("look"), stop_reason="tool_use"), reply("done"))
    with pytest.raises(BrokenPipeError):
        loop_of(ledger, client, tools=noting([]), on_event=listener).run("do it")
    close = only(ledger, "close")
    assert close.data["outcome"] == ("completed" if when is Closed else "failed")
    settled = {row.data["intent"] for row in ledger.rows("s") if row.kind in ("turn", "attempt")}
    assert settled == {row.n for row in rows_of(ledger, "intent")}
    assert len(client.asked) == {Reserved: 0, Replied: 1, ToolRan: 1, Closed: 2}[when]
    assert [row.data["charged_tokens"] for row in rows_of(ledger, "attempt")] == ([0] if when is Reserved else [])


@pytest.mark.parametrize("max_tokens", [0, -1, 1.5, "1024", None, True, 2**53])
def test_a_max_tokens_that_means_nothing_is_refused_at_once(ledger, max_tokens):
    with pytest.raises(SettingError, match="max_tokens"):
        loop_of(ledger, Player(), max_tokens=max_tokens)


@pytest.mark.parametrize("budget", [0, -1, "many", 1.5, True, 1_024, 5_000])
def test_a_thinking_budget_that_no_request_could_keep_is_refused_at_once(ledger, budget):
    with pytest.raises(SettingError, match="budget_tokens"):
        loop_of(ledger, Player(), thinking={"type": "enabled", "budget_tokens": budget}, max_tokens=1_024)


@pytest.mark.parametrize("model", ["", None, 5])
def test_a_model_without_a_name_is_refused_at_once(ledger, model):
    with pytest.raises(SettingError, match="model"):
        loop_of(ledger, Player(), model=model)


@pytest.mark.parametrize("grace_s", [-1, float("nan"), float("inf"), "10", 86_401])
def test_a_grace_that_means_nothing_is_refused_before_anything_is_recorded(ledger, grace_s):
    with pytest.raises(SettingError, match="grace"):
        loop_of(ledger, Player(reply("done")), grace_s=grace_s).run("do it")
    assert ledger.rows("s") == ()


def test_a_task_that_is_no_text_is_refused_before_anything_is_recorded(ledger):
    with pytest.raises(TypeError):
        loop_of(ledger, Player(reply("done"))).run(b"do it")
    assert ledger.rows("s") == ()


def test_the_default_model_is_a_current_one(ledger):
    client = Player(reply("done"))
    loop_of(ledger, client).run("do it")
    assert client.asked[0]["model"] == DEFAULT_MODEL == "claude-sonnet-5-5"


def test_a_run_in_memory_leaves_nothing_on_disk(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TMPDIR", str(tmp_path / "tmp"))
    (tmp_path / "tmp").mkdir()
    monkeypatch.setattr("tempfile.tempdir", None)
    ledger = Ledger(":memory:")
    assert loop_of(ledger, Player(reply("done"))).run("do it").success
    assert kinds(ledger) == ["spec", "open", "intent", "turn", "close"]
    assert [path.name for path in tmp_path.rglob("*")] == ["tmp"]
