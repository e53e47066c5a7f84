"""The promise itself: what is billed never passes a ceiling, whatever an honest provider answers."""

import threading

import anthropic
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from safeloop.ledger import Ledger
from safeloop.loop.agent import AgentLoop
from safeloop.tools import ToolRegistry
from tests.breaker.tokenizers import greedy_tokens
from tests.loop.playing import breaker, rows_of, spec_of
from tests.servers.anthropic_server import AnthropicServer, Fault, message, text, thinking, tool_use, usage

STOPS = [
    "end_turn", "max_tokens", "tool_use", "stop_sequence", "pause_turn", "refusal", "model_context_window_exceeded",
]
WORDS = st.text(min_size=1, max_size=400) | st.sampled_from(["\ufdfa" * 50, "é" * 500, "x" * 3_000, " "])
BLOCKS = st.lists(
    st.builds(text, WORDS)
    | st.builds(thinking, WORDS)
    | st.builds(tool_use, st.sampled_from(["look", "unknown", "é"]), st.fixed_dictionaries({"what": WORDS}),
                st.sampled_from(["toolu_1", "toolu_2"])),
    max_size=3,
)
FAULTS = st.sampled_from([
    Fault.status(529), Fault.status(429, headers={"retry-after": "7"}), Fault.status(409), Fault.status(500),
    Fault.status(400), Fault.cut("hm"), Fault.error_event(), Fault.reset(),
])


class Provider:
    """A server whose script is set for each run, and one SDK client that speaks to it."""

    def __init__(self, server):
        self.server = server
        self.client = anthropic.Anthropic(api_key="k", base_url=server.url)
        self.script = []
        self._lock = threading.Lock()

    def answer(self, request):
        with self._lock:
            return self.script.pop(0) if self.script else "done"

    def begin(self, script):
        self.script = list(script)
        self.server.billed.clear()
        self.server.requests.clear()


@pytest.fixture(scope="module")
def provider():
    made = []
    with AnthropicServer(lambda request: made[0].answer(request)) as server:
        made.append(Provider(server))
        yield made[0]


def tools():
    registry = ToolRegistry()
    registry.register(
        name="look", description="d", parameters={"type": "object", "properties": {"what": {"type": "string"}}},
        handler=lambda what="": what * 2, permission="read",
    )
    return registry


def run(provider, task, **options):
    """One run in a ledger of its own; return the ledger, whatever became of the run."""
    ledger = Ledger(":memory:")
    limits = breaker(options.pop("turns"), options.pop("tokens"))
    try:
        AgentLoop(spec_of("s"), limits, ledger, provider.client, tools=tools(), sleep_fn=lambda _: None, **options).run(task)
    except Exception as error:  # noqa: BLE001 - a failed attempt ends a run, and is billed all the same
        assert type(error).__name__ == "AttemptFailed"
    return ledger


def honestly(blocks, stop_reason, bytes_per_token):
    """A reply as a model with this tokenizer would give it: never longer than it was allowed to be.

    At four bytes a token, the server's own usage is honest, and so is its counter.
    """

    def answer(request):
        left, fitting = request["max_tokens"], []
        for block in blocks:
            left -= greedy_tokens(block, bytes_per_token=bytes_per_token)
            if left < 0:
                return answered(fitting, "max_tokens", request)
            fitting.append(block)
        return answered(fitting, stop_reason, request)

    def answered(fitting, stop, request):
        if bytes_per_token == 4:
            return message(*fitting, stop_reason=stop)
        asked = [request[name] for name in ("system", "messages", "tools")]
        framing = 16 * len(request["messages"]) + 64 + 1_024  # exactly what the bound allows for
        counts = usage(
            greedy_tokens(*asked, bytes_per_token=bytes_per_token) + framing,
            greedy_tokens(fitting, bytes_per_token=bytes_per_token),
        )
        return message(*fitting, stop_reason=stop, usage=counts)

    return answer


@settings(max_examples=100, deadline=None)
@given(
    script=st.lists(st.tuples(BLOCKS, st.sampled_from(STOPS)) | FAULTS, min_size=1, max_size=6), task=WORDS,
    bytes_per_token=st.sampled_from([1, 2, 4]), turns=st.integers(0, 2) | st.integers(3, 8),
    tokens=st.integers(0, 4_000) | st.integers(4_000, 9_000) | st.integers(9_000, 60_000),
    max_tokens=st.integers(1, 3_000),
)
def test_an_honest_provider_never_bills_more_than_a_ceiling_allows(
    provider, script, task, bytes_per_token, turns, tokens, max_tokens
):
    provider.server.counted = None if bytes_per_token == 4 else Fault.status(404)
    provider.begin(step if isinstance(step, Fault) else honestly(*step, bytes_per_token) for step in script)
    ledger = run(provider, task, turns=turns, tokens=tokens, max_tokens=max_tokens)
    billed = list(provider.server.billed)
    assert sum(billed) <= tokens
    assert len({row.data["turn"] for row in rows_of(ledger, "intent")}) <= turns
    charged = 0
    intents, outcomes = rows_of(ledger, "intent"), [r for r in ledger.rows("s") if r.kind in ("turn", "attempt")]
    assert len(intents) == len(outcomes) == len(provider.server.posts)
    for intent, outcome, request in zip(intents, outcomes, provider.server.posts, strict=True):
        assert charged + intent.data["reserved_tokens"] <= tokens
        assert request.body["max_tokens"] == intent.data["max_tokens"] <= max_tokens
        charged += outcome.data["token_delta"] if outcome.kind == "turn" else outcome.data["charged_tokens"]
        if outcome.kind == "turn":
            assert outcome.data["usage"]["input"] <= intent.data["reserved_tokens"] - intent.data["max_tokens"]
            assert outcome.data["overrun"] is False
    assert sum(billed) <= charged <= tokens
    assert rows_of(ledger, "close")[0].data["total_tokens"] == charged


@settings(max_examples=30, deadline=None)
@given(task=WORDS, tokens=st.integers(2_500, 40_000), lie=st.integers(0, 200_000), turn=st.integers(1, 3))
def test_a_provider_that_bills_more_is_marked_and_nothing_is_sent_that_does_not_fit(provider, task, tokens, lie, turn):
    honest = [message(text("hm"), stop_reason="max_tokens")] * (turn - 1)
    dear = message(text("hm"), stop_reason="max_tokens", usage=usage(lie, 1))
    provider.server.counted = None
    provider.begin([*honest, dear, *honest, *honest])
    ledger = run(provider, task, turns=6, tokens=tokens, max_tokens=500)
    charged = 0
    for intent, outcome in zip(rows_of(ledger, "intent"), rows_of(ledger, "turn"), strict=True):
        assert charged + intent.data["reserved_tokens"] <= tokens
        assert outcome.data["overrun"] is (outcome.data["token_delta"] > intent.data["reserved_tokens"])
        charged += outcome.data["token_delta"]
    assert charged == sum(provider.server.billed)
    if charged > tokens:
        assert rows_of(ledger, "turn")[-1].data["overrun"]
        assert rows_of(ledger, "breach")[0].data["spent"] == charged
