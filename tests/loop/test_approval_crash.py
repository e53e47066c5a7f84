"""kill -9 between any two steps of an approved call: it runs once, on a grant of its own, or not at all."""

import signal
import threading
import time
from datetime import timedelta
from pathlib import Path

import pytest

from safeloop.errors import LedgerError, LedgerLocked, NotAttested, Suspended
from safeloop.ledger import Draft, Ledger
from safeloop.ledger.approval import parse_statement
from safeloop.ledger.trust import load_trust
from safeloop.tools.approvals import Signed, record
from tests.loop.dying import loop_at
from tests.loop.graveyard import opened
from tests.loop.playing import kinds, only, rows_of
from tests.loop.reviewing import ALICE, BOB, decide, found, pin

ROOT = Path(__file__).parents[2]
MOST_STEPS = 60


@pytest.fixture(scope="module")
def graveyard():
    with opened("tests.loop.dying") as process:
        yield process


@pytest.fixture
def lives(graveyard, tmp_path, keys):
    def live(*deeds, name):
        path, effects = tmp_path / f"{name}.db", tmp_path / f"{name}.effects"
        effects.touch()
        Ledger(path, keys=keys).close()
        pin(keys, ALICE, BOB)
        statuses = graveyard.live(path=str(path), keys=str(keys), effects=str(effects), lives=deeds)
        return statuses, Ledger(path), effects

    return live


def ended(ledger, effects, keys):
    """Go on as people do: approve what waits, and find out about what may have run; return how often it was approved."""
    loop = loop_at(ledger, effects)
    if not any(row.kind == "open" for row in ledger.rows("s")):
        with pytest.raises(LedgerError, match="has not begun"):
            loop.resume()
        return loop.run("do it")
    for _ in range(5):
        last = ledger.rows("s")[-1]
        if last.kind == "close" and last.data["outcome"] != "suspended":
            return None
        try:
            result = loop.resume()
        except Suspended as waits:
            result = None
            if "--rerun" in waits.hint:
                result = loop.resume(**{"skip" if effects.read_text() else "rerun": "toolu_1"})
            else:
                decide(ledger, keys)
        if result is not None and result.outcome == "suspended":
            decide(ledger, keys)
    raise AssertionError(f"it never ended: {kinds(ledger)}")


def assert_it_ran_once_on_a_grant_of_its_own(ledger, effects, keys):
    ended_at_once = ended(ledger, effects, keys)
    if ended_at_once is not None:  # the first life left nothing
        decide(ledger, keys)
        ended(ledger, effects, keys)
    assert effects.read_text() == "page\n"
    assert only(ledger, "call").data["tool"] == "burn"
    only(ledger, "tool")
    assert found(ledger, keys) == []
    assert rows_of(ledger, "close")[-1].data["outcome"] == "completed"


@pytest.mark.parametrize(("before", "deed", "fewest"), [
    ((), "run", 12), ((), "asked", 16), ((["run", 0],), "approve", 2), ((["run", 0], ["approve", 0]), "resume", 10),
])
def test_killed_at_any_step_it_runs_once_and_never_without_its_approval(lives, keys, before, deed, fewest):
    steps = 0
    for steps in range(1, MOST_STEPS):
        statuses, ledger, effects = lives(*before, [deed, steps], name=f"{deed}{steps}")
        if statuses[-1] == 0:
            break
        assert statuses[-1] == -signal.SIGKILL
        assert_it_ran_once_on_a_grant_of_its_own(ledger, effects, keys)
        ledger.close()
    assert fewest < steps < MOST_STEPS


@pytest.mark.parametrize("second", [1, 3, 5, 8])
def test_killed_again_while_it_goes_on_it_still_runs_once(lives, keys, second):
    for first in (6, 8, 9):
        deeds = (["run", 0], ["approve", 0], ["resume", first], ["resume", second])
        _, ledger, effects = lives(*deeds, name=f"{first}-{second}")
        assert_it_ran_once_on_a_grant_of_its_own(ledger, effects, keys)
        ledger.close()


def test_a_used_grant_is_not_used_again_by_rerun_and_a_new_one_is_asked_for(lives, keys):
    statuses, ledger, effects = lives(["run", 0], ["approve", 0], ["resume", 5], name="used")
    assert statuses[-1] == -signal.SIGKILL
    assert kinds(ledger)[-2:] == ["approval", "resume"]
    with pytest.raises(Suspended, match="toolu_1 of burn may have run already"):
        loop_at(ledger, effects).resume()
    with pytest.raises(LedgerError, match="was granted in row .* and may have run"):
        decide(ledger, keys)
    used = only(ledger, "approval")
    result = loop_at(ledger, effects).resume(rerun="toolu_1")
    assert (result.outcome, effects.read_text()) == ("suspended", "")
    again = Signed(parse_statement(used.data["statement"].encode()), used.data["signature"])
    with pytest.raises(NotAttested, match=f"its statement stands in row {used.id} already, and is good for one run"):
        record(ledger, again, load_trust(keys / "self"))
    assert loop_at(ledger, effects, ask=lambda _: again).resume().outcome == "suspended"
    assert f"its statement stands in row {used.id} already" in rows_of(ledger, "close")[-1].data["reason"]
    ledger.append(lambda _: (Draft("s", "approval", used.data),))
    with pytest.raises(Suspended, match="nobody has decided about it"):
        loop_at(ledger, effects).resume()
    assert effects.read_text() == ""
    decide(ledger, keys, by=BOB)
    assert loop_at(ledger, effects).resume().outcome == "completed"
    assert effects.read_text() == "page\n"
    assert [row.data["by"] for row in rows_of(ledger, "approval")] == [ALICE, ALICE, BOB]
    assert found(ledger, keys) == []


def test_passing_over_a_call_whose_grant_has_expired_since_is_no_fault(lives, keys):
    statuses, ledger, effects = lives(["run", 0], name="late")
    decide(ledger, keys, hold=timedelta(seconds=3))
    statuses, ledger, effects = lives(["resume", 5], name="late")
    assert statuses == [-signal.SIGKILL]
    time.sleep(3)
    assert loop_at(ledger, effects).resume(skip="toolu_1").outcome == "completed"
    assert [row.data["decision"] for row in rows_of(ledger, "approval")] == ["granted", "expired"]
    assert only(ledger, "tool").data["error"]["class"] == "PassedOver"
    assert found(ledger, keys) == []


def at_once(*deeds):
    """Do these in threads that begin together; return what each returned or raised."""
    ready, came = threading.Barrier(len(deeds)), []

    def one(deed):
        ready.wait()
        try:
            came.append(deed())
        except Exception as error:  # noqa: BLE001 - the test is told
            came.append(error)

    threads = [threading.Thread(target=one, args=(deed,)) for deed in deeds]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return came


def test_of_many_approvers_at_once_one_is_first(lives, keys):
    for round_ in range(3):
        _, ledger, _ = lives(["run", 0], name=f"round{round_}")
        others = [Ledger(ledger.db_path) for _ in range(4)]
        came = at_once(*[lambda other=other: decide(other, keys) for other in others])
        assert sum(isinstance(each, NotAttested) for each in came) == 3
        only(ledger, "approval")


def test_of_many_resumes_at_once_one_runs_the_call(lives, keys):
    for round_ in range(3):
        _, ledger, effects = lives(["run", 0], ["approve", 0], name=f"round{round_}")
        others = [Ledger(ledger.db_path) for _ in range(4)]
        came = at_once(*[loop_at(other, effects).resume for other in others])
        assert [each.outcome for each in came if not isinstance(each, Exception)] == ["completed"]
        assert all(isinstance(each, LedgerError | LedgerLocked) for each in came if isinstance(each, Exception))
        assert effects.read_text() == "page\n"
        assert found(ledger, keys) == []
