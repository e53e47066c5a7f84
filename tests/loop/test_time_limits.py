"""A handler that does not return: the model is told, the row says so, and the run goes on."""

from __future__ import annotations

import json
import signal
import threading
import time
from contextlib import suppress

from safeloop.spec import Ceilings
from safeloop.tools import ToolRegistry
from tests.loop.playing import Player, call, content_of, kinds, loop_of, only, reply, rows_of, spec_of


def never_returning(ends: threading.Event, permission: str = "read") -> ToolRegistry:
    """A tool that swallows whatever is raised in it."""

    def handler() -> None:
        while not ends.is_set():
            with suppress(BaseException):
                ends.wait(0.01)

    registry = ToolRegistry()
    registry.register(name="stuck", description="d", parameters={"type": "object"}, handler=handler,
                      permission=permission, time_limit_s=0.2)  # fmt: skip
    return registry


def test_the_model_is_told_the_row_says_so_and_the_run_goes_on(ledger):
    ends, before = threading.Event(), signal.getsignal(signal.SIGINT)
    client = Player(reply(call("stuck"), stop_reason="tool_use"), reply("done without it"))
    began = time.monotonic()
    try:
        result = loop_of(ledger, client, tools=never_returning(ends)).run("do it")
    finally:
        ends.set()
    assert (result.success, result.turns) == (True, 2)
    assert time.monotonic() - began < 10
    row = only(ledger, "tool").data
    assert (row["pass_fail"], row["error"]["class"]) == (False, "TimedOut")
    assert 200 <= row["execution_time_ms"] < 5_000
    told = json.loads(content_of(ledger, row["result"]))
    assert told == {"tool": "stuck", "error": {
        "class": "TimedOut", "message": "it did not return within 0.2 s and was given up; it may have had its effect",
    }}  # fmt: skip
    (answer,) = client.asked[1]["messages"][-1]["content"]
    assert (answer["is_error"], json.loads(answer["content"])) == (True, told)
    assert signal.getsignal(signal.SIGINT) is before


def test_a_call_that_writes_has_its_row_before_it_and_its_outcome_after_it_was_given_up(ledger):
    ends = threading.Event()
    client = Player(reply(call("stuck"), stop_reason="tool_use"), reply("done"))
    try:
        loop_of(ledger, client, tools=never_returning(ends, "write")).run("do it")
    finally:
        ends.set()
    assert [kind for kind in kinds(ledger) if kind in ("call", "tool", "turn")] == ["turn", "call", "tool", "turn"]


def test_calls_that_are_given_up_count_as_errors(ledger):
    ends = threading.Event()
    client = Player(reply(call("stuck"), stop_reason="tool_use"))
    try:
        spec = spec_of("s", ceilings=Ceilings(errors=2))
        result = loop_of(ledger, client, spec=spec, turns=20, tools=never_returning(ends)).run("do it")
    finally:
        ends.set()
    assert result.outcome == "breached"
    assert len(rows_of(ledger, "tool")) <= 3
