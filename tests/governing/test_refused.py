"""What does not fit, or cannot be bounded, is refused before anything is sent, and refused like the loop."""

import contextlib
import json

import anthropic
import pytest

import safeloop
from safeloop.breaker.pricing import parse_prices
from safeloop.errors import CircuitBreakerError, RunFailed, SettingError
from safeloop.spec import Ceilings
from tests.governing.blocks import (
    ASKED,
    MODEL,
    asking,
    audited,
    client_of,
    governed,
    kinds,
    limits,
    only,
    rows,
    run_async,
)
from tests.loop.playing import spec_of
from tests.servers.anthropic_server import AnthropicServer, message, text, usage
from tests.servers.faults import Fault

LONG = "x" * 4000
PRICES = parse_prices(f'[[price]]\nmodel = "{MODEL}"\ninput_usd = "1"\noutput_usd = "10"\n')


def test_max_tokens_is_clamped_to_what_is_left(ledger):
    with governed(ledger, [LONG, LONG], breaker=limits(tokens=3000)) as (server, client):
        client.messages.create(**asking(max_tokens=100_000, timeout=9))
    sent, intent = server.posts[0].body["max_tokens"], only(ledger, "intent")
    assert 1024 < sent < 3000
    assert (intent["wanted_max_tokens"], intent["max_tokens"]) == (100_000, sent)
    assert intent["reserved_tokens"] == 3000


def test_without_clamp_the_same_request_is_refused(ledger):
    with pytest.raises(CircuitBreakerError, match="token_ceiling"):
        with governed(ledger, [LONG], breaker=limits(tokens=3000), clamp=False) as (server, client):
            client.messages.create(**asking(max_tokens=100_000, timeout=9))
    assert server.posts == []
    assert kinds(ledger) == ["spec", "open", "breach", "close"]


def test_without_clamp_what_fits_is_sent_as_it_is(ledger):
    with governed(ledger, ["hi"], breaker=limits(tokens=3000), clamp=False) as (server, client):
        client.messages.create(**asking(max_tokens=2000))
    assert server.posts[0].body["max_tokens"] == 2000


def test_a_refusal_is_a_row_a_banner_and_an_error_and_closes_the_session_as_breached(ledger):
    shown = []
    with pytest.raises(CircuitBreakerError) as refused:
        with governed(ledger, ["hi", "hi"], breaker=limits(turns=1, output_fn=shown.append)) as (server, client):
            client.messages.create(**ASKED)
            client.messages.create(**ASKED)
    assert (refused.value.reason, refused.value.turn_count) == ("turn_ceiling", 2)
    assert len(server.posts) == 1
    assert shown[0].startswith("=== CIRCUIT BREAKER CHECKPOINT ===")
    assert only(ledger, "breach")["breach_reason"] == "turn_ceiling"
    assert (only(ledger, "close")["outcome"], only(ledger, "close")["reason"]) == ("breached", "turn_ceiling")
    assert audited(ledger) == []


def test_a_breach_that_the_code_swallows_is_still_one_and_ends_the_asking(ledger):
    shown = []
    with governed(ledger, ["hi"] * 9, breaker=limits(turns=1, output_fn=shown.append)) as (server, client):
        for _ in range(5):
            try:
                client.messages.create(**ASKED)
            except CircuitBreakerError as error:
                assert error.reason == "turn_ceiling"
    assert len(server.posts) == len(shown) == 1
    assert only(ledger, "close")["outcome"] == "breached"
    assert audited(ledger) == []


@pytest.mark.parametrize("retries", [0, 5])
def test_a_refusal_is_never_retried_by_the_sdk(ledger, retries):
    """Raised `from` an error of the SDK it would be: the ceiling is met after a failed attempt, within one call."""
    script = [Fault.status(500)] * 9
    with pytest.raises(CircuitBreakerError) as refused:
        with governed(ledger, script, breaker=limits(tokens=2500), max_wait_s=5) as (server, client):
            client.with_options(max_retries=retries).messages.create(**asking(max_tokens=1000))
    assert refused.value.__cause__ is None
    assert len(server.posts) == 2
    assert kinds(ledger).count("breach") == 1
    assert audited(ledger) == []


def test_the_sdks_own_retries_are_off_even_where_the_code_turns_them_on(ledger):
    with pytest.raises(anthropic.BadRequestError):
        with governed(ledger, [Fault.status(400, headers={"x-should-retry": "true"})] * 9) as (server, client):
            client.with_options(max_retries=5).messages.create(**ASKED)
    assert len(server.posts) == len(rows(ledger, "intent")) == 1


@pytest.mark.parametrize("retries", [0, 3])
def test_an_error_that_asks_the_sdk_for_a_retry_gets_none(ledger, retries):
    def broken(request, call_next):
        raise anthropic.RetryableError("mine")

    with pytest.raises(anthropic.RetryableError, match="mine"):
        with governed(ledger, ["hi"] * 9) as (server, client):
            client.with_middleware(broken).with_options(max_retries=retries).messages.create(**ASKED)
    assert server.posts == []
    assert kinds(ledger).count("intent") == 0, "what middleware does not send is not reserved"
    assert audited(ledger) == []


def test_what_counts_tokens_is_not_governed_and_costs_nothing(ledger):
    with governed(ledger, ["hi"], breaker=limits(tokens=1300), counted=10) as (server, client):
        assert client.messages.count_tokens(model=MODEL, messages=ASKED["messages"]).input_tokens == 10
        client.messages.create(**asking("y" * 1000))
    assert only(ledger, "intent")["bound"] == "counted"
    assert [request.path.partition("?")[0] for request in server.requests].count("/v1/messages/count_tokens") == 2


POSTS = {
    "batches": lambda client: client.messages.batches.create(requests=[{"custom_id": "a", "params": ASKED}]),
    "beta batches": lambda client: client.beta.messages.batches.create(requests=[{"custom_id": "a", "params": ASKED}]),
    "files": lambda client: client.beta.files.upload(file=("a.txt", b"words", "text/plain")),
    "completions": lambda client: client.post("/v1/complete", body={"prompt": "x"}, cast_to=object),
    "a slash more": lambda client: client.post("/v1/messages/", body=ASKED, cast_to=object),
    "another host": lambda client: client.post("http://127.0.0.1:1/v1/messages", body=ASKED, cast_to=object),
    "raw bytes": lambda client: client.post("/v1/messages", content=json.dumps(ASKED).encode(), cast_to=object),
    "put": lambda client: client.put("/v1/messages", body=ASKED, cast_to=object),
    "patch": lambda client: client.patch("/v1/messages", body=ASKED, cast_to=object),
}


@pytest.mark.parametrize("post", POSTS.values(), ids=POSTS)
def test_what_cannot_be_governed_is_refused_and_the_escape_is_named(ledger, post):
    with pytest.raises(SettingError) as refused:
        with governed(ledger, ["hi"]) as (server, client):
            post(client)
    assert "with_options(middleware=[])" in refused.value.hint
    assert server.requests == []
    assert only(ledger, "close")["outcome"] == "failed"


def test_what_only_reads_passes(ledger):
    with governed(ledger, []) as (server, client):
        with pytest.raises(anthropic.NotFoundError):
            client.models.list()
    assert [request.method for request in server.requests] == ["GET"]


BOUNDLESS = {
    "web_search_20250305": {"tools": [{"type": "web_search_20250305", "name": "web_search"}]},
    "context_management": {"extra_body": {"context_management": {"edits": []}}},
    "fallbacks": {"extra_body": {"fallbacks": [{"model": "claude-opus-5-5"}]}},
    "mcp_servers": {"extra_body": {"mcp_servers": [{"type": "url", "url": "https://x", "name": "x"}]}},
    "what_comes_next": {"extra_body": {"what_comes_next": True}},
    "thread": {"extra_body": {"thread": {"type": "continue", "previous_message_id": "msg_of_somebody_else"}}},
}


@pytest.mark.parametrize("name", BOUNDLESS)
def test_what_nothing_bounds_is_refused_unless_it_is_allowed_by_name(ledger, name):
    with pytest.raises(RunFailed, match=f"nothing bounds what {name} can cost") as refused:
        with governed(ledger, ["hi"]) as (server, client):
            client.messages.create(**ASKED, **BOUNDLESS[name])
    assert server.requests == []
    assert f"allow=['{name}']" in refused.value.hint
    with governed(ledger, ["hi"], session="t", allow=[name]) as (server, client):
        client.messages.create(**ASKED, **BOUNDLESS[name])
    assert len(server.posts) == 1
    assert only(ledger, "intent", session="t")["bound"] == "estimate", "the reviewer sees that it is no bound"
    assert audited(ledger) == []


def test_a_document_that_bytes_do_not_bound_is_counted(ledger):
    source = {"type": "base64", "media_type": "application/pdf", "data": "JVBERi0="}
    content = [{"type": "document", "source": source}, {"type": "text", "text": "read"}]
    asked = {**ASKED, "messages": [{"role": "user", "content": content}]}
    with governed(ledger, ["hi"], counted=4000) as (_, client):
        client.messages.create(**asked)
    intent = only(ledger, "intent")
    assert (intent["bound"], intent["reserved_tokens"] - intent["max_tokens"]) == ("counted", 4200)


def test_a_document_that_cannot_be_counted_is_refused(ledger):
    content = [{"type": "document", "source": {"type": "url", "url": "https://x/y.pdf"}}]
    with pytest.raises(RunFailed, match="no bound covers"):
        with governed(ledger, ["hi"], counted=Fault.status(404)) as (server, client):
            client.messages.create(**{**ASKED, "messages": [{"role": "user", "content": content}]})
    assert server.posts == []


@pytest.mark.parametrize(("status", "allowed", "bound"), [
    (404, True, "estimate"), (404, False, None), (500, True, None), (529, True, None),
])  # fmt: skip
def test_an_estimate_is_made_only_where_the_server_has_no_counter_and_it_is_allowed(ledger, status, allowed, bound):
    asked = asking("x" * 4_000, max_tokens=1_000)
    with contextlib.ExitStack() as stack:
        if bound is None:
            stack.enter_context(pytest.raises(CircuitBreakerError, match="token_ceiling"))
        with governed(ledger, ["hi"], counted=Fault.status(status), breaker=limits(tokens=3_000),
                      allow_estimates=allowed) as (server, client):  # fmt: skip
            client.messages.create(**asked)
    assert [row.data["bound"] for row in rows(ledger, "intent")] == ([bound] if bound else [])
    assert len(server.posts) == len(rows(ledger, "intent"))


def test_an_async_estimate_is_the_same(ledger):
    async def work(client, _server):
        await client.messages.create(**asking("x" * 4_000, max_tokens=1_000))

    run_async(ledger, ["hi"], work, counted=Fault.status(404), breaker=limits(tokens=3_000), allow_estimates=True)
    assert only(ledger, "intent")["bound"] == "estimate"


def test_the_thinking_budget_is_never_changed_to_fit(ledger):
    thinking = {"type": "enabled", "budget_tokens": 4000}
    with pytest.raises(CircuitBreakerError):
        with governed(ledger, ["hi"], breaker=limits(tokens=5000)) as (server, client):
            client.messages.create(**asking(max_tokens=6000, thinking=thinking))
    assert server.posts == []


@pytest.mark.parametrize("body", [
    {"max_tokens": 10}, {"max_tokens": True, "messages": []}, {"max_tokens": -1, "messages": []},
    {"messages": []}, {"max_tokens": 10, "messages": "hello"}, {"max_tokens": 10, "messages": [1]},
])  # fmt: skip
def test_a_request_that_sets_no_limits_of_its_own_is_refused(ledger, body):
    with pytest.raises(SettingError):
        with governed(ledger, ["hi"]) as (server, client):
            client.post("/v1/messages", body={"model": MODEL, **body}, cast_to=object)
    assert server.posts == []


def test_one_session_has_one_model(ledger):
    with pytest.raises(SettingError, match="was opened for claude-sonnet-5-5, not claude-haiku-5-5"):
        with governed(ledger, ["hi", "hi"]) as (server, client):
            client.messages.create(**ASKED)
            client.messages.create(**asking(model="claude-haiku-5-5"))
    assert len(server.posts) == 1
    assert audited(ledger) == []


def test_a_cost_ceiling_and_a_model_without_a_price_do_not_start_together(ledger):
    with pytest.raises(SettingError, match="price"):
        with governed(ledger, ["hi"], breaker=limits(cost_limit_usd="1")) as (server, client):
            client.messages.create(**asking(model="nobody-knows-it"))
    assert server.posts == []


def test_a_cost_ceiling_clamps_and_then_refuses(ledger):
    breaker, big = limits(cost_limit_usd="0.02"), message(text("hi"), usage=usage(10, 900))
    with pytest.raises(CircuitBreakerError, match="cost_ceiling"):
        with governed(ledger, [big] * 9, breaker=breaker, prices=PRICES) as (server, client):
            for _ in range(9):
                client.messages.create(**asking(max_tokens=4000))
    assert 1 <= len(server.posts) <= 2
    assert only(ledger, "close")["cost_microusd"] == sum(10 + 9000 for _ in server.posts) <= 20_000
    assert audited(ledger) == []


def test_a_reply_of_a_dearer_model_than_was_asked_is_charged_as_what_it_is(ledger):
    dear = parse_prices('[[price]]\nmodel = "dear"\ninput_usd = "1000"\noutput_usd = "5000"\n')
    substituted = message(text("hi"), usage=usage(10, 5), model="dear")
    with governed(ledger, [substituted], prices=(*PRICES, *dear)) as (_, client):
        client.messages.create(**ASKED)
    turn = only(ledger, "turn")
    assert (turn["model"], turn["cost_microusd"], turn["overrun"]) == ("dear", 35_000, True)
    assert audited(ledger) == []


def test_a_dearer_speed_is_refused_only_where_the_cost_is_limited(ledger):
    with governed(ledger, ["hi"]) as (_, client):
        client.messages.create(**asking(extra_body={"speed": "fast"}))
    with pytest.raises(RunFailed, match="speed"):
        with governed(ledger, ["hi"], session="t", breaker=limits(cost_limit_usd="9"), prices=PRICES) as (_, client):
            client.messages.create(**asking(extra_body={"speed": "fast"}))


def test_a_spec_tightens_the_breaker(ledger):
    spec = spec_of("s", ceilings=Ceilings(turns=1))
    with pytest.raises(CircuitBreakerError, match="turn_ceiling"):
        with governed(ledger, ["hi", "hi"], spec=spec) as (_, client):
            client.messages.create(**ASKED)
            client.messages.create(**ASKED)


def test_a_breaker_with_a_check_of_its_own_is_asked(ledger):
    from safeloop.breaker import CircuitBreaker

    class Never(CircuitBreaker):
        def check(self, turn_count, accumulated_tokens):
            raise CircuitBreakerError("not_on_sundays", turn_count, accumulated_tokens)

    with pytest.raises(CircuitBreakerError, match="not_on_sundays"):
        with governed(ledger, ["hi"], breaker=Never(5, 5000)) as (server, client):
            client.messages.create(**ASKED)
    assert server.posts == []
    assert only(ledger, "breach")["breach_reason"] == "not_on_sundays"


def test_an_async_refusal_is_the_same(ledger):
    async def work(client, server):
        await client.messages.create(**ASKED)
        with pytest.raises(CircuitBreakerError, match="turn_ceiling"):
            await client.messages.create(**ASKED)
        with pytest.raises(SettingError):
            await client.messages.batches.create(requests=[{"custom_id": "a", "params": ASKED}])
        return len(server.posts)

    assert run_async(ledger, ["hi", "hi"], work, breaker=limits(turns=1)) == 1
    assert only(ledger, "close")["outcome"] == "breached"
    assert audited(ledger) == []


def test_a_wrong_argument_records_nothing(ledger):
    with AnthropicServer([]) as server, client_of(server) as client:
        for wrong in ({"max_wait_s": -1}, {"spec": spec_of("not a session's id")}):
            with pytest.raises(SettingError):
                safeloop.govern(client, **{"spec": spec_of("s"), "breaker": limits(), "ledger": ledger, **wrong})
    assert kinds(ledger) == []
