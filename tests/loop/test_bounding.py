"""Which bound decides: bytes, the provider's counter, an estimate where it is allowed; and what a clamp does."""

import anthropic
import pytest

from safeloop.breaker.pricing import parse_prices
from safeloop.errors import RunFailed
from safeloop.models import ScriptedClient
from safeloop.models.anthropic import AnthropicClient
from safeloop.models.openai import OpenAIClient
from safeloop.tools import ToolRegistry
from tests.loop.playing import Counting, Player, call, kinds, loop_of, noting, only, reply, rows_of, spec_of, usage
from tests.servers.anthropic_server import AnthropicServer, Fault
from tests.servers.openai_server import OpenAIServer

LONG = "x" * 4_000  # at most 4,000 tokens by its bytes, a thousand by an honest count
ELSEWHERE = {"type": "document", "source": {"type": "url", "url": "https://example.com/book.pdf"}}


def sdk(server):
    return anthropic.Anthropic(api_key="k", base_url=server.url)


def test_the_answer_is_clamped_to_what_is_left_and_the_row_says_what_was_wanted(ledger):
    client = Player(reply("hm", stop_reason="max_tokens", counts=usage(100, 2_400)), reply("done"))
    loop_of(ledger, client, max_tokens=5_000, tokens=6_000).run("do it")
    first, second = rows_of(ledger, "intent")
    assert first.data["wanted_max_tokens"] == second.data["wanted_max_tokens"] == 5_000
    assert first.data["reserved_tokens"] <= 6_000
    assert second.data["max_tokens"] < 5_000
    assert 2_500 + second.data["reserved_tokens"] == 6_000
    assert client.asked[1]["max_tokens"] == second.data["max_tokens"]


def test_too_little_room_for_a_useful_answer_is_a_breach_and_not_a_tiny_answer(ledger):
    client = Player(reply("hm", stop_reason="max_tokens", counts=usage(100, 3_200)))
    result = loop_of(ledger, client, max_tokens=5_000, tokens=4_600).run("do it")
    assert (result.breach_reason, len(client.asked)) == ("token_ceiling", 1)
    breach = only(ledger, "breach").data
    assert breach["spent"] == 3_300
    assert 1_300 < breach["next_at_most"] < 1_800


def test_a_thinking_budget_is_sent_whole_or_not_at_all(ledger):
    client = Player(reply("hm", stop_reason="max_tokens", counts=usage(100, 2_000)))
    thinks = {"type": "enabled", "budget_tokens": 3_000}
    result = loop_of(ledger, client, max_tokens=5_000, tokens=6_400, thinking=thinks).run("do it")
    assert [asked["thinking"]["budget_tokens"] for asked in client.asked] == [3_000]
    assert [asked["max_tokens"] for asked in client.asked] == [5_000]
    assert result.breach_reason == "token_ceiling"


@pytest.mark.parametrize(("thinks", "sent"), [({"type": "adaptive"}, 0), ({"type": "disabled"}, 1), (None, 1)])
def test_a_model_that_may_think_needs_room_for_its_thoughts(ledger, thinks, sent):
    client = Player(reply("done"))
    loop_of(ledger, client, max_tokens=8_000, tokens=4_000, thinking=thinks).run("do it")
    assert len(client.asked) == sent


def test_where_bytes_do_not_fit_the_providers_own_count_decides(ledger):
    with AnthropicServer(["done"]) as server:
        result = loop_of(ledger, sdk(server), tokens=3_000).run(LONG)
        assert (result.success, [result.total_tokens]) == (True, server.billed)
        asked = [request.path.partition("?")[0] for request in server.requests]
        assert asked == ["/v1/messages/count_tokens", "/v1/messages"]
        counted, sent = (request.body for request in server.requests)
        assert counted == {name: sent[name] for name in ("model", "system", "messages")}
    intent = only(ledger, "intent")
    assert intent.data["bound"] == "counted"
    assert intent.data["reserved_tokens"] <= 3_000


def test_where_bytes_fit_nobody_is_asked_for_a_count(ledger):
    client = Counting(1, reply("done"))
    loop_of(ledger, client).run("do it")
    assert (client.counts, only(ledger, "intent").data["bound"]) == (0, "bound")


def test_a_count_that_does_not_fit_either_is_a_breach_and_one_row(ledger):
    with AnthropicServer(["done"]) as server:
        result = loop_of(ledger, sdk(server), tokens=2_000).run(LONG)
        assert (result.breach_reason, server.posts) == ("token_ceiling", [])
    assert kinds(ledger) == ["spec", "open", "breach", "close"]
    counted = 1_080
    assert counted + 1_024 < only(ledger, "breach").data["next_at_most"] < counted * 1.15 + 1_024


@pytest.mark.parametrize("counted", [Fault.status(500), Fault.status(404), Fault.html(), Fault.reset(), -1, 10**10])
def test_a_counter_that_fails_or_answers_nonsense_leaves_the_bytes_to_decide(ledger, counted):
    with AnthropicServer(["done"], counted=counted) as server:
        result = loop_of(ledger, sdk(server), tokens=3_000).run(LONG)
        assert (result.breach_reason, server.posts) == ("token_ceiling", [])
    assert only(ledger, "breach").data["next_at_most"] > len(LONG) + 1_024
    assert rows_of(ledger, "attempt") == []


@pytest.mark.parametrize(
    "counted", [None, "12", 12.0, True, -5, 10**9 + 1, [], {}, ValueError("no"), RecursionError(), lambda _: object()]
)
def test_a_count_of_any_other_client_is_believed_only_if_it_is_one(ledger, counted):
    client = Counting(counted, reply("done"))
    result = loop_of(ledger, client, tokens=3_000).run(LONG)
    assert (result.breach_reason, client.asked, client.counts) == ("token_ceiling", [], 1)


def test_a_counter_that_changes_the_request_changes_nothing(ledger):
    def vandal(request):
        request["messages"].clear()
        request["tools"].clear()
        return 1_500

    client = Counting(vandal, reply("done"))
    loop_of(ledger, client, tokens=4_000, tools=noting([])).run(LONG)
    assert (client.asked[0]["messages"][0]["content"], len(client.asked[0]["tools"])) == (LONG, 3)
    assert only(ledger, "intent").data["reserved_tokens"] > 1_500 + 1_024


def test_a_count_above_the_bytes_never_makes_the_bound_larger(ledger):
    client = Counting(10**9, reply("done"))
    loop_of(ledger, client, tokens=3_000).run(LONG)
    assert only(ledger, "breach").data["next_at_most"] < 10**5


def test_a_counter_that_lies_low_is_marked_and_the_real_figure_stops_the_loop(ledger):
    client = Counting(1, reply("hm", stop_reason="max_tokens", counts=usage(5_000, 500)))
    result = loop_of(ledger, client, tokens=3_000).run(LONG)
    intent, turn = only(ledger, "intent"), only(ledger, "turn")
    assert (intent.data["bound"], intent.data["reserved_tokens"]) == ("counted", 2 + 1_024)
    assert (turn.data["overrun"], turn.data["token_delta"]) == (True, 5_500)
    assert (result.breach_reason, result.total_tokens, len(client.asked)) == ("token_ceiling", 5_500, 1)


def test_an_interrupt_while_counting_is_not_taken_for_a_counter_that_fails(ledger):
    client = Counting(KeyboardInterrupt(), reply("done"))
    with pytest.raises(KeyboardInterrupt):
        loop_of(ledger, client, tokens=3_000).run(LONG)
    assert kinds(ledger) == ["spec", "open", "close"]
    assert only(ledger, "close").data["outcome"] == "suspended"


def test_no_estimate_is_made_for_a_client_that_may_be_billed_unless_the_operator_allows_it(ledger):
    assert loop_of(ledger, Player(reply("done")), tokens=3_000).run(LONG).breach_reason == "token_ceiling"


@pytest.mark.parametrize(("client", "more"), [
    (Player(reply("done")), {"allow_estimates": True}), (ScriptedClient(["done"]), {}),
])
def test_an_estimate_where_it_is_allowed_is_named_as_one(ledger, client, more):
    assert loop_of(ledger, client, tokens=3_000, **more).run(LONG).success
    assert only(ledger, "intent").data["bound"] == "estimate"


@pytest.mark.parametrize("counted", [Fault.status(500), Fault.status(529), Fault.drip_headers()])
def test_a_counter_that_fails_is_no_reason_for_an_estimate_even_where_one_is_allowed(ledger, counted):
    with AnthropicServer(["done"], counted=counted) as server:
        with AnthropicClient(api_key="k", base_url=server.url, deadline_s=0.5) as client:
            result = loop_of(ledger, client, tokens=3_000, allow_estimates=True).run(LONG)
        assert (result.breach_reason, server.posts) == ("token_ceiling", [])


@pytest.mark.parametrize("status", [404, 405, 501])
def test_a_server_that_says_it_has_no_counter_has_none(ledger, status):
    with AnthropicServer(["done"], counted=Fault.status(status)) as server:
        assert loop_of(ledger, sdk(server), tokens=3_000, allow_estimates=True).run(LONG).success
    assert only(ledger, "intent").data["bound"] == "estimate"


def test_estimates_are_allowed_by_default_only_where_the_operators_price_is_zero(ledger):
    for session, rate, bound in (("a", "0", "estimate"), ("b", "0.000001", None)):
        price = parse_prices(f'[[price]]\nmodel = "local"\ninput_usd = "{rate}"\noutput_usd = "0"\n')
        with OpenAIServer(["done"]) as server, OpenAIClient(server.base_url) as client:
            result = loop_of(
                ledger, client, spec=spec_of(session), model="local", tokens=3_000, prices=price
            ).run(LONG)
        found = [row.data["bound"] for row in rows_of(ledger, "intent", session)]
        assert (result.success, found) == (bound is not None, [bound] if bound else [])


def test_estimates_can_be_forbidden_for_a_client_that_costs_nothing(ledger):
    result = loop_of(ledger, ScriptedClient(["done"]), tokens=3_000, allow_estimates=False).run(LONG)
    assert result.breach_reason == "token_ceiling"


def test_a_request_that_nothing_bounds_is_not_sent(ledger):
    client = Player(reply(ELSEWHERE, stop_reason="max_tokens"), reply("done"))
    with pytest.raises(RunFailed, match="no bound covers"):
        loop_of(ledger, client).run("do it")
    assert (len(client.asked), kinds(ledger)[-2:]) == (1, ["turn", "close"])
    assert only(ledger, "close").data["outcome"] == "failed"


def test_a_request_that_only_the_counter_bounds_is_sent_on_its_word(ledger):
    client = Counting(700, reply(ELSEWHERE, stop_reason="max_tokens"), reply("done"))
    assert loop_of(ledger, client).run("do it").success
    assert [row.data["bound"] for row in rows_of(ledger, "intent")] == ["bound", "counted"]


def test_from_the_second_turn_on_the_real_cost_replaces_the_bytes(ledger):
    client = Player(reply("y" * 5_000, stop_reason="max_tokens", counts=usage(1_000, 1_200)), reply("done"))
    assert loop_of(ledger, client, tokens=12_000).run(LONG).success
    first, second = rows_of(ledger, "intent")
    assert first.data["reserved_tokens"] > 5_000
    assert second.data["reserved_tokens"] < 2_200 + 1_024 + 200


@pytest.mark.parametrize("counts", [{}, usage(-1, 5), usage(0, 0), usage("9", 5), usage(10**9 + 1, 0), usage(5, True)])
def test_a_turn_whose_usage_cannot_be_believed_is_charged_in_full_and_is_no_base_for_the_next(ledger, counts):
    client = Player(reply("y" * 2_000, stop_reason="max_tokens", counts=counts), reply("done"))
    result = loop_of(ledger, client).run(LONG)
    first, second = rows_of(ledger, "intent")
    turn = rows_of(ledger, "turn")[0]
    assert (turn.data["usage"], turn.data["token_delta"]) == (None, first.data["reserved_tokens"])
    assert turn.data["overrun"] is False
    assert second.data["reserved_tokens"] > len(LONG) + 2_000 + 1_024
    assert result.total_tokens == first.data["reserved_tokens"] + 15


def test_a_reply_without_any_usage_is_charged_in_full(ledger):
    result = loop_of(ledger, Player({"content": [], "stop_reason": "end_turn"})).run("do it")
    assert result.total_tokens == only(ledger, "intent").data["reserved_tokens"]


def test_more_billed_than_reserved_is_written_as_it_is_and_marked(ledger):
    result = loop_of(ledger, Player(reply("done", counts=usage(900_000, 100)))).run("do it")
    assert (only(ledger, "turn").data["overrun"], result.total_tokens) == (True, 900_100)
    assert only(ledger, "close").data["total_tokens"] == 900_100


def test_a_hostile_tool_result_is_bounded_by_what_a_tokenizer_may_make_of_it(ledger):
    # Thirty-three bytes, of which each may be a token, for three bytes of a page.
    registry = ToolRegistry()
    registry.register(
        name="look", description="d", parameters={"type": "object"}, handler=lambda: "\ufdfa" * 300, permission="read"
    )
    client = Player(reply(call("look"), stop_reason="tool_use", counts=usage(100, 10)), reply("done"))
    loop_of(ledger, client, tools=registry).run("do it")
    assert rows_of(ledger, "intent")[1].data["reserved_tokens"] >= 110 + 300 * 33 + 1_024
