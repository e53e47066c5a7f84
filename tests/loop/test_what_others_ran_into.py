"""What users of other systems ran into and paid for; each entry that is about spending is a test under its own name.

All through the real SDK, against a server that says what it billed.
"""

import signal
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import anthropic
import httpx2
import pytest

import safeloop
from safeloop.breaker import CircuitBreaker
from safeloop.breaker.pricing import parse_prices
from safeloop.errors import SettingError
from safeloop.ledger import Ledger
from safeloop.ledger.upkeep.limiting import set_limits
from safeloop.loop import AgentLoop, abandon_session
from safeloop.models.anthropic import AnthropicClient
from safeloop.spec import Criterion
from safeloop.tools import Permission, ToolRegistry, file_tools
from tests.governing.blocks import ASKED, audited, client_of, limits
from tests.loop.playing import SILENT, kinds, only, rows_of, spec_of
from tests.servers.anthropic_server import AnthropicServer, message, text, tool_use, usage
from tests.servers.faults import Fault

ROOT = Path(__file__).resolve().parents[2]
LATER = Fault.status(429, headers={"retry-after": "3600"})


def goes_on(request):
    """A reply that was cut, billed to the last token that its request allows."""
    return message(text("and so on"), stop_reason="max_tokens", usage=usage(30, request["max_tokens"]))


def loop_of(ledger, url, *, session="s", tokens=20_000, breaker=None, spec=None, **more):
    client = AnthropicClient(api_key="k", base_url=url)
    stop = breaker or CircuitBreaker(50, tokens, **SILENT)
    return AgentLoop(spec or spec_of(session), stop, ledger, client, **{"sleep_fn": lambda _: None, **more})


def noting(ran):
    registry = ToolRegistry()

    @registry.tool(permission=Permission.WRITE)
    def note() -> str:
        ran.append(len(ran))
        return f"noted {len(ran)}"

    return registry


class OneALife:
    """A server that answers one request of each life of a session, and asks to come back later at the next."""

    def __init__(self, reply):
        self.reply, self.asked = reply, 0

    def __call__(self, request):
        self.asked += 1
        return LATER if self.asked % 2 == 0 else self.reply(request)


# -- Counters that restart on resume ---------------------------------------------------------------------------------


@pytest.mark.parametrize(("ceiling", "reason", "turns"), [
    ({"token_limit": 5_000}, "token_ceiling", 4), ({"turn_limit": 3}, "turn_ceiling", 3),
    ({"tool_call_limit": 2}, "tool_ceiling", 3), ({"cost_limit_usd": "0.02"}, "cost_ceiling", None),
])  # fmt: skip
def test_counters_that_restart_on_resume(ledger, ceiling, reason, turns):
    """A session that is suspended after every reply, and goes on in a new process each time, gets no ceiling twice."""

    def calls(request):
        return message(tool_use("note", {}), usage=usage(30, min(1_000, request["max_tokens"])))

    stop = CircuitBreaker(**{"turn_limit": 50, "token_limit": 90_000, **ceiling}, error_limit=None, **SILENT)
    price = parse_prices('[[price]]\nmodel = "claude-sonnet-5-5"\ninput_usd = "1"\noutput_usd = "5"\n')
    with AnthropicServer(OneALife(calls)) as server:
        for life in range(30):
            loop = loop_of(Ledger(ledger.db_path), server.url, breaker=stop, tools=noting([]), max_wait_s=0,
                           prices=price)
            result = loop.run("x") if life == 0 else loop.resume()
            if result.outcome != "suspended":
                break
    assert (result.outcome, result.breach_reason) == ("breached", reason)
    assert turns in (None, len(server.billed))
    assert life >= 1, "the ceiling was met in a later life"
    assert result.total_tokens == sum(server.billed) <= stop.token_limit
    assert audited(ledger) == []


# -- A last forced answer that skips validation ----------------------------------------------------------------------


def test_a_last_forced_answer_that_skips_validation(ledger):
    """At a ceiling nobody asks once more for a last answer, and what is there by then is checked, and no success."""
    wrote = message(tool_use("write_file", {"path": "report.md", "content": "half of it"}))
    criteria = (Criterion("whole", "report.md", min_chars=1_000), Criterion("there", "report.md", min_chars=5))
    with AnthropicServer([wrote, wrote, "Here is my final answer."]) as server:
        result = loop_of(
            ledger, server.url, spec=spec_of("s", criteria=criteria), breaker=CircuitBreaker(2, 60_000, **SILENT),
            tools=lambda staging: registry_of(file_tools(None, staging)),
        ).run("x")
        assert len(server.posts) == 2, "the third request is the one that was refused"
    assert all(post.body.get("tools") for post in server.posts), "no request took the tools away to force an answer"
    assert (result.success, result.outcome, result.breach_reason) == (False, "breached", "turn_ceiling")
    assert [(row.data["criterion"], row.data["pass_fail"]) for row in rows_of(ledger, "check")] == [
        ("whole", False), ("there", True)
    ]
    assert kinds(ledger)[-4:] == ["breach", "check", "check", "close"]


def registry_of(tools):
    registry = ToolRegistry()
    for tool in tools:
        registry.add(tool)
    return registry


def test_an_answer_that_says_it_is_done_is_checked_all_the_same(ledger):
    criteria = (Criterion("there", "report.md", min_chars=5, retries=0),)
    with AnthropicServer(["Everything is done. The report is complete."]) as server:
        result = loop_of(ledger, server.url, spec=spec_of("s", criteria=criteria)).run("x")
    assert (result.success, result.outcome) == (False, "unmet")


# -- Unknown models that cost nothing --------------------------------------------------------------------------------


def test_unknown_models_that_cost_nothing(ledger):
    """Under a limit on cost, a model without a price is not asked at all: by no loop, no block, no child, no window."""
    with AnthropicServer(["hi"] * 9) as server, client_of(server) as client:
        dollars = CircuitBreaker(5, 60_000, cost_limit_usd="1", **SILENT)
        with pytest.raises(SettingError, match="price"):
            loop_of(ledger, server.url, session="a", breaker=dollars, model="no-such-model").run("x")
        with pytest.raises(SettingError, match="price"):
            with safeloop.govern(client, spec=spec_of("b"), breaker=dollars, ledger=ledger) as governed:
                governed.messages.create(**{**ASKED, "model": "no-such-model"})
        loop_of(ledger, server.url, session="c").run("x")
        assert len(server.posts) == 1, "only the last one was asked: nothing limits what it costs"
        set_limits(ledger, {("day", "microusd"): 1_000_000})
        with pytest.raises(SettingError, match="price"):
            loop_of(ledger, server.url, session="d", model="no-such-model").run("x")
        assert len(server.posts) == 1


def test_without_a_limit_on_cost_an_unknown_model_costs_an_unknown_sum(ledger):
    with AnthropicServer(["hi"]) as server:
        loop_of(ledger, server.url, model="no-such-model").run("x")
    figures = [only(ledger, "intent").data["reserved_microusd"], only(ledger, "turn").data["cost_microusd"],
               only(ledger, "close").data["cost_microusd"]]  # fmt: skip
    assert figures == [None, None, None], "never 0"


# -- Reservations that leak after a crash and lock everybody out ------------------------------------------------------

CRASHES = """
import sys
from safeloop.ledger import Ledger
from tests.loop.test_what_others_ran_into import loop_of
loop_of(Ledger(sys.argv[1]), sys.argv[2], session=sys.argv[3], max_tokens=4_000).run("x")
"""


@pytest.fixture
def server():
    """One that never answers the first request."""
    asked = []

    def script(request):
        asked.append(request)
        return Fault.stall() if len(asked) == 1 else goes_on(request)

    with AnthropicServer(script) as made:
        yield made


def killed_in_a_call(ledger, server):
    """Let a process be killed while the request of its session `dead` is out; return what it holds."""
    process = subprocess.Popen(
        [sys.executable, "-c", CRASHES, ledger.db_path, server.url, "dead"], cwd=ROOT, stdin=subprocess.DEVNULL,
    )
    deadline = time.monotonic() + 30
    while not server.posts and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait(10)
    return only(ledger, "intent", "dead").data["reserved_tokens"]


def test_reservations_that_leak_after_a_crash_and_lock_everybody_out(ledger, server):
    """What a dead process held stays charged, but nobody waits for it, and what is beside it can be used at once."""
    set_limits(ledger, {("hour", "tokens"): 10_000})
    held = killed_in_a_call(ledger, server)
    assert 4_000 < held < 6_000
    started = time.monotonic()
    result = loop_of(ledger, server.url, session="next", sleep_fn=None, max_wait_s=60, max_tokens=900).run("x")
    assert time.monotonic() - started < 20, "nobody waited for what nobody will give back"
    assert result.outcome == "suspended", "until the hour turns, and not for ever"
    assert 3 * 900 < sum(server.billed) <= 10_000 - held
    assert only(ledger, "close", "next").data["reason"].startswith("window")

    later = Ledger(ledger.db_path, clock=in_an_hour)  # it holds nobody's lock either, and resuming charges it once
    assert loop_of(later, server.url, session="dead", tokens=9_000).resume().breach_reason == "token_ceiling"
    lost = [row.data for row in rows_of(ledger, "attempt", "dead")]
    assert [(row["in_doubt"], row["charged_tokens"]) for row in lost] == [(True, held)]
    assert kinds(ledger, "dead").count("turn") >= 1
    assert audited(ledger) == []


def in_an_hour():
    return datetime.now(UTC) + timedelta(hours=1)


def test_after_a_crash_the_session_can_be_closed_and_its_window_opens_with_the_hour(ledger, server):
    held = killed_in_a_call(ledger, server)
    set_limits(ledger, {("hour", "tokens"): held + 1_000})
    assert abandon_session(ledger, "dead").data["total_tokens"] == held
    assert loop_of(ledger, server.url, session="now", max_tokens=2_000).run("x").outcome == "suspended"
    assert len(server.posts) == 1
    later = loop_of(Ledger(ledger.db_path, clock=in_an_hour), server.url, session="later", max_tokens=2_000)
    assert (later.run("x").outcome, len(server.billed) >= 1) == ("suspended", True)


def test_nothing_that_was_held_expires_by_time_alone(ledger, server):
    """However long ago a process died: in its session its reservation counts until somebody says what came of it."""
    held = killed_in_a_call(ledger, server)
    later = Ledger(ledger.db_path, clock=lambda: datetime.now(UTC) + timedelta(days=800))
    tight = CircuitBreaker(50, held + 1_500, **SILENT)
    result = loop_of(later, server.url, session="dead", breaker=tight, max_tokens=1_000).resume()
    assert (result.outcome, result.breach_reason) == ("breached", "token_ceiling")
    assert len(server.billed) <= 1
    assert result.total_tokens == held + sum(server.billed)


# -- Budgets that hold per process only -------------------------------------------------------------------------------

RACES = """
import os, sys
import anthropic
from safeloop.errors import Suspended
from safeloop.ledger import Ledger
from tests.loop.test_what_others_ran_into import loop_of
path, url, number = sys.argv[1], sys.argv[2], int(sys.argv[3])
children = []
for each in range(number):
    child = os.fork()
    if child == 0:
        try:
            loop_of(Ledger(path), url, session=f"p{each}", max_tokens=500, max_wait_s=5, sleep_fn=None).run("x")
        finally:
            os._exit(0)
    children.append(child)
for child in children:
    os.waitpid(child, 0)
"""


def test_budgets_that_hold_per_process_only(ledger):
    """Six processes with a budget each of their own never get more out of the ledger's than one would."""
    limit = 9_000
    set_limits(ledger, {("day", "tokens"): limit})
    with AnthropicServer(goes_on) as server:
        subprocess.run(
            [sys.executable, "-c", RACES, ledger.db_path, server.url, "6"], cwd=ROOT, timeout=120, check=True,
            stdin=subprocess.DEVNULL,
        )
        assert sum(server.billed) <= limit
        assert sum(server.billed) > limit - 1_500, "and they do get what there is"
    ends = {only(ledger, "close", f"p{each}").data["outcome"] for each in range(6)}
    assert ends == {"suspended"}
    assert audited(ledger) == []


# -- Retries hidden in three layers -----------------------------------------------------------------------------------


@pytest.mark.parametrize("fault", [Fault.status(500), Fault.status(529), Fault.status(408), Fault.reset(), Fault.cut()],
                         ids=["500", "529", "408", "reset", "cut"])  # fmt: skip
def test_retries_hidden_in_three_layers(ledger, fault):
    """HTTP transport, SDK and loop: each may be told to retry, and every request that leaves was reserved by itself."""
    with AnthropicServer([fault, fault, fault, "hi"]) as server:
        transport = httpx2.HTTPTransport(retries=5)
        with httpx2.Client(transport=transport) as http:
            client = anthropic.Anthropic(api_key="k", base_url=server.url, max_retries=5, http_client=http)
            stop = CircuitBreaker(5, 60_000, **SILENT)
            result = AgentLoop(spec_of("s"), stop, ledger, client, sleep_fn=lambda _: None).run("x")
    assert result.success
    is_counted(ledger, server, fault)


@pytest.mark.parametrize("fault", [Fault.status(500), Fault.status(529), Fault.reset()], ids=["500", "529", "reset"])
def test_retries_hidden_in_three_layers_of_code_that_somebody_has(ledger, fault):
    with AnthropicServer([fault, fault, fault, "hi"]) as server, client_of(server, max_retries=5) as client:
        with safeloop.govern(client, spec=spec_of("s"), breaker=limits(), ledger=ledger) as governed:
            governed.with_options(max_retries=9).messages.create(**ASKED)
    is_counted(ledger, server, fault)


def is_counted(ledger, server, fault):
    """Each of four requests has an intent of its own from before it left, and an outcome."""
    assert len(server.posts) == len(rows_of(ledger, "intent")) == 4
    assert [row.data["attempt"] for row in rows_of(ledger, "intent")] == [1, 2, 3, 4]
    assert len(rows_of(ledger, "attempt")) == 3
    assert {post.headers.get("x-stainless-retry-count", "0") for post in server.posts} == {"0"}
    in_doubt = {row.data["in_doubt"] for row in rows_of(ledger, "attempt")}
    assert in_doubt == {fault.code not in (529, 408)}
    assert audited(ledger) == []


def test_an_error_after_the_last_retry_has_cost_what_its_rows_say_and_no_more(ledger):
    with AnthropicServer([Fault.status(500)] * 99) as server:
        result = loop_of(ledger, server.url, tokens=60_000).run("x")
    assert result.breach_reason == "error_ceiling"
    assert len(server.posts) == len(rows_of(ledger, "attempt")) == 4
    charged = sum(row.data["charged_tokens"] for row in rows_of(ledger, "attempt"))
    assert result.total_tokens == charged == sum(row.data["reserved_tokens"] for row in rows_of(ledger, "intent"))
