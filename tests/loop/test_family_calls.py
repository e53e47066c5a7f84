"""Calls of tools in a family: whoever begins one, and whenever, no ancestor's ceiling is passed, and the audit agrees."""

import json
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from safeloop.breaker import CircuitBreaker
from safeloop.loop import AgentLoop
from safeloop.spec import Ceilings
from safeloop.tools import Permission, ToolRegistry
from tests.breaker.family import House
from tests.loop.playing import Player, breaker, call, kinds, loop_of, only, reply, rows_of, spec_of
from tests.loop.racing import PARENT
from tests.loop.test_resuming import Stop, stop

ROOT = Path(__file__).parents[2]
READ, WRITE = Permission.READ, Permission.WRITE


@pytest.fixture
def house(tmp_path):
    return House(tmp_path)


def batch(*names, of="c"):
    """A reply that calls these tools."""
    return reply(*(call(name, {"what": f"{of}{at}"}, f"{of}{at}") for at, name in enumerate(names)), stop_reason="tool_use")


def child(ledger, name, tools, *script, parent=PARENT):
    loop = AgentLoop(spec_of(name), breaker(9, 900_000), ledger, Player(*script, reply("done")), tools=tools, parent=parent)
    return loop.run("a part of it")


def stopped_by(ledger, session):
    data = only(ledger, "breach", session).data
    return data["breach_reason"], data["scope"], data["limit"], data["spent"], data["next_at_most"]


@pytest.mark.parametrize("permission", [READ, WRITE])
def test_children_that_are_admitted_at_the_same_moment_never_pass_their_parents_ceiling(house, permission):
    """Both batches fit when they are counted; the third call of all is the last that runs."""
    house.open(PARENT, Ceilings(tool_calls=3))
    ran, results, both = [], {}, threading.Barrier(2, timeout=20)
    tools = ToolRegistry()

    def look(what: str) -> str:
        ran.append(what)
        if what.endswith("0"):
            both.wait()  # the other one has been admitted, too
        return what

    tools.tool(permission=permission)(look)

    def run(name):
        results[name] = child(house.ledger, name, tools, batch("look", "look", of=name))

    threads = [threading.Thread(target=run, args=(name,)) for name in "ab"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(ran) == 3
    assert sorted(result.outcome for result in results.values()) == ["breached", "completed"]
    loser = next(name for name, result in results.items() if result.outcome == "breached")
    assert stopped_by(house.ledger, loser) == ("tool_ceiling", "parent", 3, 3, 1)
    assert house.findings() == []


def test_processes_that_race_for_their_parents_calls_never_pass_its_ceiling(house):
    house.open(PARENT, Ceilings(tool_calls=7))
    words = [sys.executable, "-m", "tests.loop.racing", str(house.folder)]
    racers = [subprocess.Popen([*words, name], stdout=subprocess.PIPE, text=True, cwd=ROOT) for name in "abcd"]
    try:
        assert [racer.stdout.readline() for racer in racers] == ["ready\n"] * 4
        (house.folder / "go").touch()
        ends = [json.loads(racer.communicate(timeout=60)[0]) for racer in racers]
    finally:
        for racer in racers:
            racer.kill()
            racer.wait()
            racer.stdout.close()
    ran = (house.folder / "ran").read_text().splitlines()
    assert len(ran) <= 7
    assert len(ran) == sum(len(rows_of(house.ledger, "tool", name)) for name in "abcd")
    assert ["breached", "tool_ceiling"] in ends
    assert house.findings() == []


def test_what_a_child_calls_between_two_calls_of_its_parents_batch_counts_at_once(house):
    ran, tools = [], ToolRegistry()

    @tools.tool(permission=READ)
    def look(what: str) -> str:
        ran.append(what)
        return what

    @tools.tool(permission=READ)
    def spawn(what: str) -> str:
        return child(house.ledger, "child", tools, batch("look", "look", of="child"), parent="s").outcome

    limits = CircuitBreaker(9, 900_000, tool_call_limit=4, output_fn=lambda _: None)
    loop = AgentLoop(spec_of("s"), limits, house.ledger, Player(batch("spawn", "look", "look")), tools=tools)
    result = loop.run("do it")
    assert (result.outcome, result.breach_reason, ran) == ("breached", "tool_ceiling", ["child0", "child1", "c1"])
    assert stopped_by(house.ledger, "s") == ("tool_ceiling", "session", 4, 4, 1)
    assert house.findings() == []


def test_a_read_begins_with_a_row_only_where_calls_are_limited(house):
    tools = ToolRegistry()
    _look(tools)
    house.open(PARENT, Ceilings(tool_calls=9))
    child(house.ledger, "limited", tools, batch("look"))
    assert kinds(house.ledger, "limited")[4:6] == ["call", "tool"]
    loop_of(house.ledger, Player(batch("look"), reply("done")), tools=tools).run("do it")
    assert "call" not in kinds(house.ledger, "s")


def test_a_read_that_may_have_run_runs_again_and_is_counted_once(house):
    limits = CircuitBreaker(9, 900_000, tool_call_limit=2, output_fn=lambda _: None)

    def leads(look, *script):
        tools = ToolRegistry()
        tools.register(name="look", description="d", parameters={"type": "object"}, handler=look, permission="read")
        return AgentLoop(spec_of("s"), limits, house.ledger, Player(*script), tools=tools)

    with pytest.raises(Stop):
        leads(lambda what: stop(), batch("look", "look")).run("do it")
    assert kinds(house.ledger, "s")[-2:] == ["call", "close"]
    result = leads(lambda what: what, reply("done")).resume()
    assert (result.outcome, kinds(house.ledger, "s").count("call")) == ("completed", 2)
    assert house.findings() == []


def test_what_was_cut_off_by_others_is_told_as_not_run_to_the_session_that_goes_on(house):
    ran, tools = [], ToolRegistry()

    @tools.tool(permission=READ)
    def look(what: str) -> str:
        ran.append(what)
        if len(ran) == 1:
            child(house.ledger, "sibling", tools, batch("look", of="sibling"))
        return what

    house.open(PARENT, Ceilings(tool_calls=2))
    assert child(house.ledger, "s", tools, batch("look", "look")).breach_reason == "tool_ceiling"
    client = Player(reply("done"))
    AgentLoop(spec_of("next"), breaker(9, 900_000), house.ledger, client, tools=tools).continue_from("s")
    told = client.asked[0]["messages"][-1]["content"]
    assert [answer.get("is_error", False) for answer in told] == [False, True]
    assert ran == ["c0", "sibling0"]
    assert house.findings() == []


def _look(tools):
    @tools.tool(permission=READ)
    def look(what: str) -> str:
        return what
