"""kill -9 between every two steps, then resume: each request is billed once, or is in doubt and charged."""

import random
import signal
from pathlib import Path

import pytest

from safeloop.errors import LedgerError, Suspended
from safeloop.ledger import Ledger
from safeloop.ledger.reader import LedgerReader
from safeloop.ledger.trust import load_trust
from safeloop.review.auditing.audit import audit
from tests.ledger.making import state_of
from tests.loop.crashing import TASK, loop_at
from tests.loop.graveyard import opened
from tests.loop.playing import kinds, rows_of
from tests.servers.anthropic_server import AnthropicServer, Fault, message, text, tool_use

ROOT = Path(__file__).parents[2]
CEILING = 60_000
FEWEST_STEPS, MOST_STEPS = 40, 100
CHANCE = random.Random(4)


def model(request):
    """A model that calls three tools at once, then one more, and then is done."""
    answers = sum(each["role"] == "assistant" for each in request["messages"])
    calls = [tool_use("read_file", {"path": "missing"}, "r1"), tool_use("send", {"what": "one"}, "s1"),
             tool_use("write_file", {"path": "f.txt", "content": "x"}, "w1")]
    return [message(text("working"), *calls), message(tool_use("send", {"what": "two"}, "s2")), "done"][answers]


class Flaky:
    """The same model behind a server that is busy, breaks off or fails now and then."""

    faults = (Fault.status(529), Fault.status(429, headers={"retry-after": "1"}), Fault.status(500), Fault.cut("half"),
              Fault.reset())  # fmt: skip

    def __init__(self, seed):
        self.chance = random.Random(seed)

    def __call__(self, request):
        return self.chance.choice(self.faults) if self.chance.random() < 0.3 else model(request)


@pytest.fixture(scope="module")
def graveyard():
    with opened("tests.loop.crashing") as process:
        yield process


@pytest.fixture
def lives(request, graveyard, tmp_path, keys):
    """Live a session through these deaths; return the exit status of each life, and what is left."""
    seed = getattr(request, "param", None)
    with AnthropicServer(model if seed is None else Flaky(seed)) as server:

        def live(*kills, name="l"):
            path, effects = tmp_path / f"{name}.db", tmp_path / f"{name}.effects"
            effects.touch()
            server.billed.clear()
            server.requests.clear()
            statuses = graveyard.live(
                url=server.url, path=str(path), keys=str(keys), effects=str(effects), kills=kills
            )
            return statuses, Left(path, effects, server)

        yield live


class Left:
    """What dead processes left of a session."""

    def __init__(self, path, effects, server):
        self.ledger, self.effects, self.server = Ledger(path), effects, server

    @property
    def sent(self):
        return self.effects.read_text().splitlines()

    def end(self):
        """Resume until the end, as a person does who finds out what a call did."""
        loop = loop_at(self.ledger, self.server.url, self.effects)
        if not any(row.kind == "open" for row in self.ledger.rows("s")):
            with pytest.raises(LedgerError, match="has not begun"):
                loop.resume()
            return loop.run(TASK)
        if any(row.kind == "close" and row.data["outcome"] != "suspended" for row in self.ledger.rows("s")):
            return None
        try:
            return loop.resume()
        except Suspended as waits:
            call = rows_of(self.ledger, "call")[-1].data["call"]
            assert f"--rerun {call}" in waits.hint
            assert kinds(self.ledger)[-1] == "close"
            what = {"s1": "one", "s2": "two"}[call]
            return loop.resume(**{"skip" if what in self.sent else "rerun": call})


def assert_nothing_was_lost_or_paid_twice(left, keys):
    left.end()
    ledger = left.ledger
    close = rows_of(ledger, "close")[-1].data
    assert (close["outcome"], close["turns"]) == ("completed", 3)
    assert left.sent == ["one", "two"]
    turns, attempts = rows_of(ledger, "turn"), rows_of(ledger, "attempt")
    assert all(row.data["in_doubt"] and row.data["charged_tokens"] for row in attempts)
    assert [row.data["turn"] for row in turns] == [1, 2, 3]
    if not attempts:
        assert sum(left.server.billed) == close["total_tokens"] == sum(row.data["token_delta"] for row in turns)
    assert [row.data["call"] for row in rows_of(ledger, "tool")] == ["r1", "s1", "w1", "s2"]
    assert_billed_is_charged(left, keys)


def assert_billed_is_charged(left, keys):
    """Whatever became of it: one outcome for each intent, never less charged than billed, never above the ceiling."""
    ledger = left.ledger
    intents, turns, attempts = (rows_of(ledger, kind) for kind in ("intent", "turn", "attempt"))
    assert sorted(row.data["intent"] for row in (*turns, *attempts)) == [row.n for row in intents]
    assert len({row.data["turn"] for row in turns}) == len(turns) <= len(left.server.posts) <= len(intents)
    total = rows_of(ledger, "close")[-1].data["total_tokens"]
    assert sum(left.server.billed) <= total <= CEILING
    ledger.close()
    state = state_of(ledger.db_path, keys)
    with LedgerReader(ledger.db_path) as reader:
        report = audit(reader, load_trust(keys / "self"), state=state)
    assert report.findings == ()


def test_a_session_killed_between_any_two_steps_goes_on_and_pays_once(lives, keys):
    """Before and after every append, every request and every effect, until a life comes to its own end."""
    for step in range(1, MOST_STEPS):
        statuses, left = lives(step, name=f"l{step}")
        if statuses == [0]:
            break
        assert statuses == [-signal.SIGKILL]
        assert_nothing_was_lost_or_paid_twice(left, keys)
    assert FEWEST_STEPS < step < MOST_STEPS - 1


@pytest.mark.parametrize("kills", [[CHANCE.randint(2, FEWEST_STEPS), *(CHANCE.randint(1, 24) for _ in range(4))] for _ in range(12)])
def test_a_session_whose_resumed_lives_are_killed_too_pays_once_for_each_reply(lives, keys, kills):
    statuses, left = lives(*kills)
    assert statuses[0] == -signal.SIGKILL
    assert set(statuses) <= {-signal.SIGKILL, 0, 1}
    assert_nothing_was_lost_or_paid_twice(left, keys)


@pytest.mark.parametrize("lives", range(12), indirect=True)
def test_billed_never_exceeds_charged_or_the_ceiling_whatever_server_and_deaths_do(lives, keys):
    kills = [CHANCE.randint(1, 60) for _ in range(CHANCE.randint(1, 6))]
    _, left = lives(*kills)
    for _ in range(20):
        result = left.end()
        if result is None or result.outcome != "suspended":
            break
    assert rows_of(left.ledger, "close")[-1].data["outcome"] in ("completed", "breached")
    assert left.sent in ([], ["one"], ["one", "two"])
    assert_billed_is_charged(left, keys)
