"""The time ceiling ends the call that is in flight: whatever the server does, on every kind of client."""

import os
import signal
import threading
import time

import anthropic
import pytest

from safeloop.breaker import CircuitBreaker
from safeloop.errors import AttemptFailed, LedgerError
from safeloop.loop import AgentLoop, Interrupted
from safeloop.models.anthropic import AnthropicClient
from safeloop.models.deadline import earlier, ending_in
from safeloop.models.openai import OpenAIClient
from safeloop.tools import ToolRegistry
from tests.governing.blocks import audited
from tests.loop.playing import SILENT, Counting, Player, call, kinds, only, reply, rows_of, spec_of
from tests.servers.anthropic_server import AnthropicServer
from tests.servers.faults import Fault
from tests.servers.openai_server import OpenAIServer

FOR_EVER = "a reply that never ends " * 400
FAULTS = {"drip": Fault.drip(FOR_EVER, every_s=0.01), "headers": Fault.drip_headers(every_s=0.01),
          "stall": Fault.stall(), "midway": Fault.stall_midway(FOR_EVER)}  # fmt: skip


def ran(ledger, client, time_s=0.5, tokens=60_000, session="s", **more):
    """The result of a run under a time ceiling, and how long it took, in seconds."""
    breaker = CircuitBreaker(5, tokens, time_limit_s=time_s, **SILENT)
    started = time.monotonic()
    result = AgentLoop(spec_of(session), breaker, ledger, client, **more).run("x")
    return result, time.monotonic() - started


def is_ended(ledger, result, took, time_s=0.5):
    """The call was cut at the ceiling: charged in full, in doubt, and no other one left."""
    assert (result.success, result.outcome, result.breach_reason) == (False, "breached", "time_ceiling")
    assert time_s <= took < time_s + 1.5
    attempt, intent = only(ledger, "attempt").data, only(ledger, "intent").data
    assert (attempt["in_doubt"], attempt["charged_tokens"]) == (True, intent["reserved_tokens"])
    assert kinds(ledger)[-3:] == ["attempt", "breach", "close"]
    assert only(ledger, "close").data["total_tokens"] == intent["reserved_tokens"]
    assert audited(ledger) == []


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
def test_the_time_ceiling_cuts_a_call_of_the_real_sdk_in_flight(ledger, fault):
    with AnthropicServer([fault] * 3) as server, AnthropicClient(api_key="k", base_url=server.url) as client:
        is_ended(ledger, *ran(ledger, client))
        assert len(server.posts) == 1


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
def test_the_time_ceiling_cuts_a_call_of_an_openai_compatible_server_in_flight(ledger, fault):
    with OpenAIServer([fault] * 3) as server, OpenAIClient(server.base_url) as client:
        is_ended(ledger, *ran(ledger, client))
        assert len(server.posts) == 1


def test_the_time_ceiling_cuts_a_call_of_a_client_that_was_passed_in(ledger):
    with AnthropicServer([FAULTS["drip"]] * 3) as server:
        with anthropic.Anthropic(api_key="k", base_url=server.url) as client:
            is_ended(ledger, *ran(ledger, client))


def test_the_time_ceiling_does_not_wait_for_a_client_of_any_other_kind(ledger):
    over = threading.Event()
    try:
        is_ended(ledger, *ran(ledger, Player(lambda _: over.wait(20))))
    finally:
        over.set()


def test_what_a_client_says_after_the_ceiling_is_not_heard(ledger):
    late = threading.Event()

    def answer(_request):
        time.sleep(0.6)
        late.set()
        return reply("too late")

    result, _ = ran(ledger, Player(answer))
    assert late.wait(5)
    assert (result.breach_reason, rows_of(ledger, "turn")) == ("time_ceiling", [])


def test_the_shorter_of_the_two_deadlines_ends_a_call(ledger):
    with AnthropicServer([FAULTS["drip"], "done"]) as server:
        with AnthropicClient(api_key="k", base_url=server.url, deadline_s=0.3) as client:
            result, took = ran(ledger, client, time_s=30)
    assert (result.success, took < 10) == (True, True), "its own deadline came first, and it was tried again"
    assert only(ledger, "attempt").data["in_doubt"] is True


def test_a_reply_within_the_time_that_is_left_is_whole(ledger):
    with AnthropicServer([Fault.drip("slow", every_s=0)]) as server:
        with AnthropicClient(api_key="k", base_url=server.url) as client:
            result, _ = ran(ledger, client, time_s=30)
    assert (result.success, rows_of(ledger, "attempt")) == (True, [])


@pytest.mark.parametrize("permission", ["read", "write"])
def test_no_call_of_a_reply_begins_after_the_ceiling(ledger, permission):
    ran_calls = []
    registry = ToolRegistry()
    registry.register(name="slow", description="d", parameters={"type": "object"}, permission=permission,
                      handler=lambda: ran_calls.append(time.sleep(0.2)) or "ok")
    player = Player(reply(*(call("slow", call_id=f"c{at}") for at in range(50)), stop_reason="tool_use"), reply("done"))
    result, took = ran(ledger, player, tools=registry)
    assert (result.outcome, result.breach_reason, len(player.asked)) == ("breached", "time_ceiling", 1)
    assert took < 1.5
    assert len(ran_calls) == 3
    told = [row.data["error"] and row.data["error"]["class"] for row in rows_of(ledger, "tool")]
    assert told == [None] * 3 + ["OutOfTime"] * 47
    assert audited(ledger) == []


def test_a_child_is_cut_where_the_time_of_its_parent_ends(ledger):
    from_child = []

    def work_for(_request):
        breaker = CircuitBreaker(5, 20_000, time_limit_s=60, **SILENT)
        with AnthropicServer([FAULTS["drip"]] * 3) as server:
            with AnthropicClient(api_key="k", base_url=server.url) as client:
                child = AgentLoop(spec_of("child"), breaker, ledger, client, parent="s")
                try:
                    from_child.append(child.run("x").breach_reason)
                except LedgerError as error:  # it woke up after its parent had been closed: it may not ask again either
                    from_child.append(str(error))
        return reply("done")

    started = time.monotonic()
    ran(ledger, Player(work_for), time_s=1)
    assert time.monotonic() - started < 3
    deadline = time.monotonic() + 5
    while not from_child and time.monotonic() < deadline:
        time.sleep(0.02)
    (closed,) = [row.idx for row in ledger.rows("s") if row.kind == "close"]
    assert all(row.idx < closed for row in ledger.rows("child") if row.kind == "intent")
    if "s is closed already" not in from_child[0]:
        assert (from_child[0], only(ledger, "breach", "child").data["scope"]) == ("time_ceiling", "parent")


def test_a_counter_that_never_answers_is_not_waited_for(ledger):
    over = threading.Event()
    try:
        client = Counting(lambda _: over.wait(20), reply("hi"))
        result, took = ran(ledger, client, tokens=300, max_tokens=100)
    finally:
        over.set()
    assert (result.outcome, took < 2, client.counts) == ("breached", True, 1)


def test_the_counter_of_the_real_sdk_is_not_waited_for_either(ledger):
    with AnthropicServer(["hi"], counted=Fault.drip_headers(every_s=0.01)) as server:
        with AnthropicClient(api_key="k", base_url=server.url) as client:
            result, took = ran(ledger, client, tokens=300, max_tokens=100)
    assert (result.outcome, took < 2, server.posts) == ("breached", True, [])


def test_a_failure_after_the_time_is_over_is_a_breach_and_no_wait(ledger):
    def fail(_request):
        time.sleep(0.3)
        raise AttemptFailed("slow down", error_class="Busy", in_doubt=False, retry_after_s=3600)

    result, _ = ran(ledger, Player(fail), time_s=0.3)
    assert (result.outcome, result.breach_reason) == ("breached", "time_ceiling")


def test_a_signal_still_ends_the_call_at_once_where_there_is_a_time_ceiling_too(ledger):
    over = threading.Event()
    impatient = [threading.Timer(after, os.kill, (os.getpid(), signal.SIGINT)) for after in (0.2, 0.4)]
    for timer in impatient:
        timer.start()
    started = time.monotonic()
    try:
        with pytest.raises(Interrupted):
            ran(ledger, Player(lambda _: over.wait(20)), time_s=60)
    finally:
        over.set()
    assert time.monotonic() - started < 5
    assert only(ledger, "attempt").data["in_doubt"] is True
    assert only(ledger, "close").data["outcome"] == "suspended"


def test_what_any_client_raises_is_the_same_under_a_time_ceiling(ledger):
    class Odd(Exception):
        pass

    def fail(_request):
        raise Odd("no")

    with pytest.raises(Odd, match="no"):
        ran(ledger, Player(fail), time_s=60)
    assert only(ledger, "attempt").data["error"]["class"] == "Odd"


def test_a_client_that_hands_on_to_one_of_ours_is_ended_on_the_network_too(ledger):
    ended = []

    class Wrapper:
        def __init__(self, client):
            self.inner, self.messages = client, self

        def create(self, **request):
            try:
                return self.inner.messages.create(**request)
            except AttemptFailed as failure:
                ended.append(failure.error_class)
                raise

    with AnthropicServer([FAULTS["drip"]] * 3) as server, AnthropicClient(api_key="k", base_url=server.url) as client:
        is_ended(ledger, *ran(ledger, Wrapper(client)))
        deadline = time.monotonic() + 3
        while not ended and time.monotonic() < deadline:
            time.sleep(0.01)
    assert ended == ["DeadlineExceeded"]


def test_of_two_stretches_the_one_that_ends_first_holds():
    with ending_in(5), ending_in(50):
        assert earlier(600) <= 5
    with ending_in(50):
        with ending_in(5):
            assert earlier(600) <= 5
        assert 5 < earlier(600) <= 50
        assert earlier(2) == 2
    assert earlier(600) == 600
