"""The promise is put before the model again every so many of its replies, whoever goes on with the session."""

import pytest

from safeloop.errors import SettingError
from safeloop.loop.goal import EVERY, Goal, goal_of
from safeloop.spec import Criterion
from tests.loop.playing import (
    Player,
    call,
    kinds,
    loop_of,
    messages_of,
    noting,
    reply,
    rows_of,
    spec_of,
    thinking,
    usage,
)
from tests.loop.test_resuming import Busy, audited

__all__ = ["audited"]  # the fixture: an audit has nothing to say against any of this

PROMISE = goal_of(spec_of("s"), 1).text


def looks(count, first=0):
    """So many replies that each call a tool, of different arguments."""
    return [reply(call("look", {"what": str(number)}, f"c{number}"), stop_reason="tool_use")
            for number in range(first, first + count)]


def reminded(messages):
    """The places of the messages that end in the promise."""
    return [at for at, message in enumerate(messages)
            if isinstance(message["content"], list) and message["content"][-1] == {"type": "text", "text": PROMISE}]


def asked_of(ledger, *script, **more):
    client = Player(*script)
    loop_of(ledger, client, tools=noting([]), turns=40, tokens=400_000, **more).run("do it")
    return client.asked


def test_the_promise_has_all_three_answers():
    for words in ("audit one page", "render scripts", "a report is printed"):
        assert words in PROMISE


@pytest.mark.parametrize(("every", "places"), [
    (1, [2, 4, 6, 8, 10, 12]), (2, [4, 8, 12]), (5, [10]), (6, [12]), (7, []), (0, []),
])
def test_it_is_told_after_so_many_replies_and_after_as_many_again(ledger, every, places):
    asked = asked_of(ledger, *looks(6), reply("done"), remind_every=every)
    assert reminded(asked[-1]["messages"]) == places


def test_five_replies_are_the_default(ledger):
    assert EVERY == 5
    asked = asked_of(ledger, *looks(11), reply("done"))
    assert reminded(asked[-1]["messages"]) == [10, 20]


def test_it_follows_the_results_of_the_calls_and_does_not_stand_before_them(ledger):
    """The Messages API takes the results of calls first."""
    asked = asked_of(ledger, *looks(1), reply("done"), remind_every=1)
    assert [block["type"] for block in asked[1]["messages"][-1]["content"]] == ["tool_result", "text"]


def test_it_follows_the_word_continue_and_what_checks_found_too(ledger):
    spec = spec_of("s", criteria=(Criterion("r", "r.md", retries=1),))
    asked = asked_of(ledger, reply("hm", stop_reason="max_tokens"), reply("done"), spec=spec, remind_every=1)
    first, second = asked[1]["messages"][-1]["content"], asked[2]["messages"][-1]["content"]
    assert [block["text"] for block in first] == ["continue", PROMISE]
    assert second[0]["text"].startswith("The work was checked")
    assert second[1]["text"] == PROMISE


def test_a_turn_that_goes_back_as_it_is_is_not_broken_and_the_next_one_is_reminded(ledger):
    paused = reply("hm", stop_reason="pause_turn")
    asked = asked_of(ledger, paused, *looks(1), reply("done"), remind_every=1)
    assert asked[1]["messages"][-1]["role"] == "assistant"
    assert reminded(asked[2]["messages"]) == [3]


def test_it_is_reserved_like_all_the_rest_of_a_request(ledger):
    """Whether or not the last turn's real cost is the base of the bound."""
    asked_of(ledger, *looks(2), reply("done"), remind_every=2)
    asked_of(ledger, *looks(2), reply("done"), spec=spec_of("t"), remind_every=0)
    told, untold = rows_of(ledger, "intent")[2].data, rows_of(ledger, "intent", "t")[2].data
    held = [each["reserved_tokens"] - each["max_tokens"] for each in (told, untold)]
    assert held[0] - held[1] >= len(PROMISE.encode())


def test_a_promise_that_does_not_fit_any_more_is_a_breach_and_is_not_left_out(ledger):
    script = (reply(call("look"), stop_reason="tool_use", counts=usage(1_800, 50)), reply("done"))
    asked_of(ledger, *script, spec=spec_of("t"), remind_every=0, max_tokens=100)
    first, second = rows_of(ledger, "intent", "t")
    exactly = rows_of(ledger, "turn", "t")[0].data["token_delta"] + second.data["reserved_tokens"]
    assert first.data["reserved_tokens"] < exactly
    same = {"tools": noting([]), "tokens": exactly, "max_tokens": 100}
    assert loop_of(ledger, Player(*script), spec=spec_of("u"), remind_every=0, **same).run("do it").success
    result = loop_of(ledger, Player(*script), spec=spec_of("s"), remind_every=1, **same).run("do it")
    assert (result.breach_reason, result.turns) == ("token_ceiling", 2)


def test_what_was_told_is_in_the_content_of_its_request(ledger):
    asked = asked_of(ledger, *looks(5), reply("done"))
    last = rows_of(ledger, "intent")[-1]
    assert messages_of(ledger, last) == asked[-1]["messages"]
    assert set(kinds(ledger)) == {"spec", "open", "intent", "turn", "tool", "close"}, "and no row says more"


@pytest.mark.parametrize("stops_after", range(1, 8))
def test_a_session_that_is_resumed_is_told_the_same_as_one_that_never_stopped(ledger, stops_after):
    straight = asked_of(ledger, *looks(8), reply("done"), spec=spec_of("t"), remind_every=3)[-1]["messages"]
    asked_of(ledger, *looks(stops_after), Busy(), max_wait_s=0, remind_every=3)
    client = Player(*looks(8 - stops_after, stops_after), reply("done"))
    loop_of(ledger, client, tools=noting([]), turns=40, tokens=400_000, remind_every=3).resume()
    assert client.asked[-1]["messages"] == straight


@pytest.mark.parametrize("stops_after", range(1, 8))
def test_a_session_that_continues_another_is_told_the_same_too(ledger, stops_after):
    straight = asked_of(ledger, *looks(8), reply("done"), spec=spec_of("t"), remind_every=3)[-1]["messages"]
    loop_of(ledger, Player(*looks(stops_after)), tools=noting([]), turns=stops_after, tokens=400_000, remind_every=3).run(
        "do it"
    )
    client = Player(*looks(8 - stops_after, stops_after), reply("done"))
    loop = loop_of(ledger, client, spec=spec_of("u"), tools=noting([]), turns=40, tokens=400_000, remind_every=3)
    loop.continue_from("s")
    assert client.asked[-1]["messages"] == straight


def test_words_of_a_tool_or_of_a_task_are_not_taken_for_the_reminder(ledger):
    """A page that quotes the promise must not keep the model from hearing it."""
    quoting = reply(call("look", {"what": PROMISE}), stop_reason="tool_use")
    client = Player(quoting, *looks(1), reply("done"))
    loop_of(ledger, client, tools=noting([]), turns=9, tokens=400_000, remind_every=2).run(PROMISE)
    assert reminded(client.asked[-1]["messages"]) == [4]


def test_a_reply_of_thinking_alone_does_not_go_back_and_so_does_not_count(ledger):
    silent = reply(thinking("hm"), stop_reason="max_tokens")
    asked = asked_of(ledger, silent, *looks(2), reply("done"), remind_every=2)
    assert reminded(asked[-1]["messages"]) == [4]


def test_the_first_message_is_the_task_alone():
    assert Goal("promise", 1).added("task", ()) == "task"


@pytest.mark.parametrize("every", [-1, 1.0, True, "5", None, 2**53])
def test_a_number_without_meaning_is_refused(ledger, every):
    with pytest.raises(SettingError, match="remind_every"):
        loop_of(ledger, Player(reply("done")), remind_every=every)
