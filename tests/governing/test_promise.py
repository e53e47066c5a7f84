"""The promise: what the server billed never exceeds a ceiling, whatever it answers and however it is asked."""

import contextlib
import functools
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from tempfile import TemporaryDirectory

import anthropic
import httpx2
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import safeloop
from safeloop.errors import CircuitBreakerError, Suspended
from safeloop.ledger import Ledger
from tests.governing.blocks import ASKED, asking, audited, client_of, kinds, limits, only, rows
from tests.loop.playing import spec_of
from tests.servers.anthropic_server import AnthropicServer, message, text, tool_use, usage
from tests.servers.faults import Fault

# The last three are the SDK's own, where it puts together what no server should send.
WANTED = (anthropic.APIError, httpx2.HTTPError, CircuitBreakerError, Suspended, ValueError, AttributeError, TypeError)


def to_the_limit(request):
    """As dear as an honest server can be: every byte a token, and every token of the answer used."""
    size = len(str(request["messages"])) // 2
    return message(text("x"), usage=usage(min(size, 40), request["max_tokens"]))


def soon(status):
    return Fault.status(status, headers={"retry-after": "0.01"})


HONEST = st.sampled_from([
    "hi", "x" * 9000, to_the_limit, message(text("a"), tool_use("look")), message(text("cut"), stop_reason="max_tokens"),
    Fault.cut("y" * 4000), Fault.break_off(), Fault.half_event(), Fault.reset(), Fault.error_event(), Fault.bad_json(),
    soon(429), soon(529), soon(500), soon(400), soon(408), Fault.html(),
])  # fmt: skip
LIES = st.sampled_from([
    message(text("x"), usage=lie) for lie in (None, usage(0, 0), usage(-9, 5), usage("9", 9), usage(10**12, 1), {})
])
LIARS = st.sampled_from([message(text("x"), usage=usage(50_000, 9)), message(text("x"), usage=usage(5, 10**8))])


def plain(client, asked):
    client.messages.create(**asked)


def streamed(client, asked):
    with client.messages.stream(**asked) as stream:
        stream.until_done()


def half_read(client, asked):
    with client.messages.stream(**asked) as stream:
        next(iter(stream), None)


def raw_lines(client, asked):
    with client.messages.with_streaming_response.create(**asked, stream=True) as response:
        list(response.iter_lines())


WAYS = st.sampled_from([plain, streamed, half_read, raw_lines])
SIZES = st.sampled_from([1, 100, 1024, 5000, 100_000])
ASKS = st.lists(st.tuples(WAYS, SIZES, st.sampled_from(["hello", "é" * 300, "x" * 3000])), min_size=1, max_size=7)


@functools.cache
def sdk():
    return anthropic.Anthropic(api_key="k", base_url="http://127.0.0.1:1")


def play(folder, script, asks, *, tokens, turns, clamp, workers):
    ledger = Ledger(folder / "ledger.db")

    def ask(way, size, words):
        with contextlib.suppress(*WANTED):
            way(client, asking(words, max_tokens=size, timeout=20))

    with AnthropicServer(script) as server:
        block = safeloop.govern(
            sdk().with_options(base_url=server.url), spec=spec_of("s"), breaker=limits(turns, tokens), ledger=ledger,
            clamp=clamp, max_wait_s=0.2,
        )
        with block as client, ThreadPoolExecutor(workers) as pool:
            for future in [pool.submit(ask, *one) for one in asks]:
                future.result()
    return ledger, server


COMMON = {
    "asks": ASKS, "tokens": st.sampled_from([0, 500, 1500, 4000, 9000, 30_000]), "turns": st.integers(0, 8),
    "clamp": st.booleans(), "workers": st.sampled_from([1, 1, 3]),
}  # fmt: skip
FEW = settings(max_examples=20, deadline=None, suppress_health_check=list(HealthCheck))


@FEW
@given(script=st.lists(HONEST | LIES, max_size=9), **COMMON)
def test_the_sum_of_what_was_billed_never_exceeds_a_ceiling(keys, script, asks, tokens, turns, clamp, workers):
    with TemporaryDirectory() as folder:
        ledger, server = play(
            Path(folder), [*script, *["hi"] * 30], asks, tokens=tokens, turns=turns, clamp=clamp, workers=workers
        )
        honest = [billed for billed, said in zip(server.billed, server.usages, strict=True) if is_honest(said)]
        close = only(ledger, "close")
        assert sum(honest) <= close["total_tokens"] <= tokens
        assert len({row.data["turn"] for row in rows(ledger, "intent")}) <= turns
        assert len(rows(ledger, "intent")) >= len(server.posts), "nothing left without its intent"
        for sent, intent in zip(server.posts, rows(ledger, "intent"), strict=False) if workers == 1 else ():
            assert sent.body["max_tokens"] <= intent.data["max_tokens"]
        assert (close["outcome"] == "breached") is ("breach" in kinds(ledger))
        assert audited(ledger) == []
        ledger.close()


@FEW
@given(script=st.lists(HONEST | LIARS, max_size=9), **COMMON)
def test_where_a_server_lies_the_overrun_is_marked(keys, script, asks, tokens, turns, clamp, workers):
    with TemporaryDirectory() as folder:
        ledger, _ = play(
            Path(folder), [*script, *["hi"] * 30], asks, tokens=tokens, turns=turns, clamp=clamp, workers=workers
        )
        reserved = {row.n: row.data["reserved_tokens"] for row in rows(ledger, "intent")}
        for turn in rows(ledger, "turn"):
            assert turn.data["overrun"] is (turn.data["token_delta"] > reserved[turn.data["intent"]])
        if only(ledger, "close")["total_tokens"] > tokens:
            assert any(turn.data["overrun"] for turn in rows(ledger, "turn"))
        assert audited(ledger) == []
        ledger.close()


def is_honest(said):
    return isinstance(said, dict) and all(
        type(said.get(name)) is int and 0 <= said[name] < 10**6 for name in ("input_tokens", "output_tokens")
    ) and sum(said[name] for name in ("input_tokens", "output_tokens")) > 0


def test_the_strategies_reach_what_they_are_about(ledger):
    """A property that never meets a clamp, a breach and a doubt would prove nothing."""
    with AnthropicServer([to_the_limit, Fault.cut(), *["hi"] * 9]) as server, client_of(server) as mine:
        block = safeloop.govern(mine, spec=spec_of("s"), breaker=limits(8, 4000), ledger=ledger, max_wait_s=0.2)
        with block as client:
            plain(client, asking(max_tokens=1024))
            try:
                raw_lines(client, asking(max_tokens=100_000))
                plain(client, ASKED)
            except CircuitBreakerError:
                pass
    assert server.billed[0] > 1000
    assert {"breach", "attempt", "turn"} <= set(kinds(ledger))
    assert rows(ledger, "intent")[1].data["max_tokens"] < 100_000
