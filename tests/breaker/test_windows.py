"""Windows: limits of an hour, a day and a month over all sessions, kept by every process, and by the audit."""

import subprocess
import sys
from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from safeloop.breaker import Full, Granted
from safeloop.spec import Ceilings
from tests.breaker.family import DOLLARS, START, House

NONE = Ceilings()


def test_a_full_window_is_waited_for_until_it_turns_and_is_never_a_breach(house):
    house.limit(hour_tokens=1_000)
    house.open("s", NONE)
    house.reply(house.ask("s", NONE, 500, wanted=500), 900)
    full = house.ask("s", NONE, 60, wanted=50)
    assert (full.scope, full.until) == ("hour", datetime(2026, 11, 21, 8, tzinfo=UTC))
    assert full.words == ("the hour's limit of 1,000 tokens is used up to 900, and this call may need 110: "
                          "wait until 2026-11-21 08:00 UTC")
    assert [row.kind for row in house.ledger.rows("s")] == ["spec", "open", "intent", "turn"]
    assert isinstance(house.ask("s", NONE, 50, wanted=50), Granted), "exactly the limit is allowed"
    house.clock.move(hours=1)
    assert isinstance(house.ask("s", NONE, 500, wanted=500), Granted)
    assert house.findings() == []


@pytest.mark.parametrize(
    ("window", "at", "until"),
    [("day", datetime(2026, 11, 30, 23, 59, 59, tzinfo=UTC), datetime(2026, 12, 1, tzinfo=UTC)),
     ("month", datetime(2026, 12, 31, 5, tzinfo=UTC), datetime(2027, 1, 1, tzinfo=UTC)),
     ("month", datetime(2028, 2, 29, 5, tzinfo=UTC), datetime(2028, 3, 1, tzinfo=UTC)),
     ("month", datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 2, 1, tzinfo=UTC)),
     ("hour", datetime(2026, 12, 31, 23, 0, tzinfo=UTC), datetime(2027, 1, 1, tzinfo=UTC))],
)
def test_windows_turn_by_the_calendar_of_utc(house, window, at, until):
    house.clock.now = at
    house.limit(**{f"{window}_tokens": 10})
    house.open("s", NONE)
    full = house.ask("s", NONE, 10, wanted=1)
    assert (full.scope, full.until) == (window, until)
    house.clock.now = until
    house.limit(**{f"{window}_tokens": 11})
    assert isinstance(house.ask("s", NONE, 10, wanted=1), Granted)
    assert house.findings() == []


def test_the_answer_is_clamped_to_what_every_window_leaves(house):
    house.limit(hour_tokens=5_000, day_tokens=4_000, month_tokens=3_000)
    house.open("s", NONE)
    assert house.ask("s", NONE, 500, wanted=9_000).max_tokens == 2_500


def test_money_of_a_window_is_reserved_at_its_worst_and_given_back_by_what_it_cost(house):
    house.limit(day_microusd=2_000)
    house.open("s", NONE)
    granted = house.ask("s", NONE, 500, wanted=300, price=DOLLARS)
    assert granted.reserved_microusd == 2_000
    full = house.ask("s", NONE, 1, wanted=1, price=DOLLARS, is_live=lambda _: False)
    assert (full.scope, full.words.partition(":")[0]) == (
        "day", "the day's limit of $0.002 is used up to $0.002, and this call may need $0.000006"
    )
    house.reply(granted, 400, price=DOLLARS)
    granted = house.ask("s", NONE, 600, wanted=1_000, price=DOLLARS)
    assert isinstance(granted, Full), "1,000 wanted are at least 1,000 useful: 600 + 5,000 do not fit into 1,600"
    granted = house.ask("s", NONE, 600, wanted=200, price=DOLLARS)
    assert granted.reserved_microusd == 1_600
    assert house.findings() == []


def test_a_clock_that_is_set_back_does_not_open_an_older_window_again(house):
    house.limit(hour_tokens=1_000)
    house.open("s", NONE)
    house.clock.move(hours=1)
    house.ask("s", NONE, 500, wanted=400)
    house.clock.move(hours=-1)
    assert house.ask("s", NONE, 100, wanted=100).until == datetime(2026, 11, 21, 9, tzinfo=UTC)
    assert house.findings() == []


def test_a_clock_that_is_set_back_between_decision_and_row_does_not_either(house):
    house.limit(hour_tokens=1_000)
    house.open("s", NONE)
    house.ask("s", NONE, 500, wanted=400)
    times = [START.replace(hour=8), START, START]
    house.ledger._clock = lambda: times.pop(0) if len(times) > 1 else times[0]
    granted = house.ask("s", NONE, 500, wanted=400)
    assert granted.intent.at.startswith("2026-11-21T08"), "the row is not earlier than what was decided"
    assert house.findings() == []


def test_what_settles_an_intent_is_charged_to_its_hour(house):
    house.limit(hour_tokens=1_000)
    house.open("s", NONE)
    granted = house.ask("s", NONE, 500, wanted=500)
    house.clock.move(hours=1)
    house.reply(granted, 1_000)
    assert isinstance(house.ask("s", NONE, 500, wanted=500), Granted), "the new hour has been charged nothing"
    assert house.findings() == []


def test_what_others_hold_live_in_a_window_is_waited_for(house):
    house.limit(hour_tokens=1_000)
    house.open("one", NONE)
    house.open("two", NONE)
    held = house.ask("one", NONE, 500, wanted=400)
    full = house.ask("two", NONE, 100, wanted=100)
    assert (full.scope, full.until) == ("live", None)
    assert house.ask("two", NONE, 100, wanted=100, is_live=lambda _: False).scope == "hour", "the dead give nothing back"
    assert house.ask("two", NONE, 600, wanted=600).scope == "hour", "it would not fit even then"
    house.reply(held, 10)
    assert isinstance(house.ask("two", NONE, 100, wanted=100), Granted)


def test_the_newest_limits_are_in_force_and_keep_what_they_do_not_change(house):
    house.limit(hour_tokens=1_000, day_tokens=10)
    house.limit(day_tokens=2_000)
    house.open("s", NONE)
    assert house.ask("s", NONE, 900, wanted=200).scope == "hour"
    house.limit(hour_tokens=None)
    assert isinstance(house.ask("s", NONE, 900, wanted=200), Granted)
    assert house.findings() == []


def test_limits_in_another_session_limit_nothing(house):
    from safeloop.ledger import Draft

    house.open("s", NONE)
    data = {"hour": {"tokens": 0}, "day": {}, "month": {}}
    house.ledger.append(lambda _: (Draft("elsewhere", "limits", data),))
    assert isinstance(house.ask("s", NONE), Granted)


@given(
    limits=st.dictionaries(st.sampled_from(["hour_tokens", "day_tokens", "month_tokens", "hour_microusd", "day_microusd"]),
                           st.integers(0, 5_000), min_size=1),
    steps=st.lists(st.tuples(st.integers(0, 2), st.integers(1, 800), st.integers(1, 800), st.none() | st.integers(0, 1_600),
                             st.sampled_from([0, 1, 40, 3_000, 90_000])), max_size=14),
)
@settings(max_examples=50, deadline=None)
def test_no_window_is_ever_granted_beyond_its_limit(tmp_path_factory, limits, steps):
    house = House(tmp_path_factory.mktemp("windows"))
    house.limit(**limits)
    for name in "abc":
        house.open(name, NONE)
    for at, tokens, wanted, used, later in steps:
        decision = house.ask("abc"[at], NONE, tokens, wanted=wanted, price=DOLLARS)
        house.clock.move(seconds=later)
        if isinstance(decision, Granted) and used is not None:
            house.reply(decision, min(used, tokens), price=DOLLARS)
    assert house.findings() == [], "the audit adds up every window, and the tables, by itself"


PROCESS = """
import sys
from pathlib import Path
from safeloop.breaker import Granted
from safeloop.spec import Ceilings
from tests.breaker.family import House

folder, name = Path(sys.argv[1]), sys.argv[2]
house = House(folder, is_new=False)
house.open(name, Ceilings())
for _ in range(12):
    granted = house.ask(name, Ceilings(), 300, wanted=200)
    if isinstance(granted, Granted):
        house.reply(granted, 350)
"""


def test_eight_processes_on_one_window_never_exceed_it(tmp_path):
    house = House(tmp_path)
    house.limit(hour_tokens=10_000)
    started = [
        subprocess.Popen([sys.executable, "-c", PROCESS, str(tmp_path), f"p{at}"], stderr=subprocess.PIPE)
        for at in range(8)
    ]
    for process in started:
        _, complaints = process.communicate(timeout=120)
        assert process.returncode == 0, complaints.decode()
    charged = 0
    for at in range(8):
        charged += sum(row.data["token_delta"] for row in house.ledger.rows(f"p{at}") if row.kind == "turn")
    assert charged <= 10_000
    assert charged > 10_000 - 500, "and what there is, they use"
    assert house.findings() == []
