"""kill -9 between rounds of checks, then resume: the round is told of and counted once, and no reply is paid twice."""

import random
import signal

import pytest

from safeloop.ledger import Ledger
from safeloop.spec import Criterion
from tests.loop.crashing import TASK, loop_at
from tests.loop.playing import messages_of, rows_of
from tests.loop.test_crash_resume import Left, assert_billed_is_charged, graveyard
from tests.servers.anthropic_server import AnthropicServer, message, tool_use

__all__ = ["graveyard"]
WANTED = ("a.txt", "b.txt")
FEWEST_STEPS, MOST_STEPS = 30, 90
CHANCE = random.Random(5)


def model(request):
    """A model that says that it is done, and after each round that failed makes one of the files that are missing."""
    answers = sum(each["role"] == "assistant" for each in request["messages"])
    writes = [message(tool_use("write_file", {"path": name, "content": "x"}, name)) for name in WANTED]
    return ["done", writes[0], "done now", writes[1], "really done"][answers]


class Rounds(Left):
    """The same, of a session with two criteria."""

    def end(self):
        loop = loop_at(self.ledger, self.server.url, self.effects, criteria=tuple(Criterion(name, name) for name in WANTED))
        rows = self.ledger.rows("s")
        if not any(row.kind == "open" for row in rows):
            return loop.run(TASK)
        if any(row.kind == "close" and row.data["outcome"] != "suspended" for row in rows):
            return None
        begun = [row for row in rows if row.kind == "call"]
        told = {row.data["call"] for row in rows if row.kind == "tool"}
        waits = [row.data["call"] for row in begun if row.data["call"] not in told]
        return loop.resume(rerun=waits[0]) if waits else loop.resume()


@pytest.fixture
def lives(graveyard, tmp_path, keys):
    with AnthropicServer(model) as server:

        def live(*kills, name="l"):
            path, effects = tmp_path / f"{name}.db", tmp_path / f"{name}.effects"
            effects.touch()
            server.billed.clear()
            server.requests.clear()
            statuses = graveyard.live(
                url=server.url, path=str(path), keys=str(keys), effects=str(effects), kills=kills, wanted=WANTED
            )
            return statuses, Rounds(path, effects, server)

        yield live


def assert_each_round_was_made_once(left, keys):
    left.end()
    ledger: Ledger = left.ledger
    close = rows_of(ledger, "close")[-1].data
    assert (close["outcome"], close["turns"]) == ("completed", 5)
    checks = [(row.data["criterion"], row.data["pass_fail"]) for row in rows_of(ledger, "check")]
    assert checks == [("a.txt", False), ("b.txt", False), ("a.txt", True), ("b.txt", False), ("a.txt", True), ("b.txt", True)]
    assert [row.data["turn"] for row in rows_of(ledger, "turn")] == [1, 2, 3, 4, 5], "each was paid for once"
    last = messages_of(ledger, rows_of(ledger, "intent")[-1])
    told = [each["content"] for each in last if str(each["content"]).startswith("The work was checked")]
    assert [("a.txt: missing" in each, "b.txt: missing" in each) for each in told] == [(True, True), (False, True)]
    assert_billed_is_charged(left, keys)


def test_a_session_killed_between_any_two_steps_makes_each_round_once(lives, keys):
    """Before and after every append and every request, until a life comes to its own end."""
    for step in range(1, MOST_STEPS):
        statuses, left = lives(step, name=f"l{step}")
        if statuses == [0]:
            break
        assert statuses == [-signal.SIGKILL]
        assert_each_round_was_made_once(left, keys)
    assert FEWEST_STEPS < step < MOST_STEPS - 1


@pytest.mark.parametrize("kills", [[CHANCE.randint(2, FEWEST_STEPS), *(CHANCE.randint(2, 20) for _ in range(3))] for _ in range(6)])
def test_lives_that_are_killed_again_make_each_round_once(lives, keys, kills):
    statuses, left = lives(*kills)
    assert statuses[0] == -signal.SIGKILL
    assert set(statuses) <= {-signal.SIGKILL, 0, 1}
    assert_each_round_was_made_once(left, keys)
