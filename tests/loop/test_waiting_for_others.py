"""A call that would fit but for what others hold in reserve: it is waited for, and then the session is suspended."""

import threading
import time

import pytest

from safeloop.breaker import CircuitBreaker
from safeloop.ledger import Ledger
from safeloop.ledger.upkeep.limiting import set_limits
from safeloop.loop import AgentLoop
from tests.governing.blocks import audited
from tests.loop.playing import SILENT, Player, kinds, loop_of, only, reply, spec_of, usage

HOLDS = 5_000


class Holder:
    """Another session of the ledger, in a thread of its own, whose request is out until it is let go."""

    def __init__(self, ledger, **more):
        self.may_end, self.is_out = threading.Event(), threading.Event()
        self._ledger, self._more = Ledger(ledger.db_path), more
        self._thread = threading.Thread(target=self._run)

    def __enter__(self):
        self._thread.start()
        assert self.is_out.wait(10)
        return self

    def __exit__(self, *_):
        self.may_end.set()
        self._thread.join()

    def _run(self):
        loop_of(self._ledger, Player(self._answer), spec=spec_of("other"), max_tokens=HOLDS, **self._more).run("y")

    def _answer(self, _request):
        self.is_out.set()
        self.may_end.wait(20)
        return reply("done", counts=usage(10, 10))


def asked_beside(ledger, holder, **more):
    """Ask for what only fits once the other session has given back what it holds."""
    told = []

    def listen(event):
        told.append(event)
        if type(event).__name__ == "Waiting" and more.get("max_wait_s", 60):
            holder.may_end.set()

    client = Player(reply("mine"))
    result = loop_of(ledger, client, max_tokens=2_000, on_event=listen, **more).run("x")
    return result, client, [type(event).__name__ for event in told]


def test_what_others_hold_in_a_window_is_waited_for_until_it_is_given_back(ledger):
    set_limits(ledger, {("hour", "tokens"): 6_000})
    with Holder(ledger) as other:
        result, client, told = asked_beside(ledger, other)
    assert (result.outcome, len(client.asked)) == ("completed", 1)
    assert told[:2] == ["Started", "Waiting"]
    assert audited(ledger) == []


def test_where_they_do_not_give_it_back_the_session_is_suspended_and_nothing_is_breached(ledger):
    set_limits(ledger, {("hour", "tokens"): 6_000})
    with Holder(ledger) as other:
        started = time.monotonic()
        result, client, _ = asked_beside(ledger, other, max_wait_s=0)
        assert time.monotonic() - started < 5
        assert (result.outcome, client.asked) == ("suspended", [])
        assert "hold in reserve" in result.reason
        assert "breach" not in kinds(ledger)
    assert loop_of(ledger, client, max_tokens=2_000).resume().outcome == "completed", "by then they had given it back"
    assert audited(ledger) == []


@pytest.mark.parametrize("waits", [True, False])
def test_so_is_what_a_sibling_holds_under_the_ceiling_of_their_parent(ledger, waits):
    found = []

    def work_for(_request):
        with Holder(ledger, parent="family") as other:
            found.append(asked_beside(ledger, other, parent="family", max_wait_s=60 if waits else 0)[0].outcome)
        return reply("done", counts=usage(10, 10))

    tight = CircuitBreaker(9, 6_800, **SILENT)
    AgentLoop(spec_of("family"), tight, ledger, Player(work_for), max_tokens=100).run("z")
    assert found == ["completed" if waits else "suspended"]
    assert audited(ledger) == []


def test_what_is_charged_and_not_only_held_is_never_waited_for(ledger):
    set_limits(ledger, {("hour", "tokens"): 6_000})
    loop_of(ledger, Player(reply("done", counts=usage(10, 4_990))), spec=spec_of("other"), max_tokens=HOLDS).run("y")
    result = loop_of(ledger, Player(reply("mine")), max_tokens=2_000, max_wait_s=86_400).run("x")
    assert (result.outcome, result.reason.partition(":")[0]) == ("suspended", "window")
    assert only(ledger, "close").data["reason"] == result.reason
