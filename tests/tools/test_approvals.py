"""What waits for a reviewer, and what the reviewer is shown."""

import dataclasses
import json
from datetime import UTC, datetime, timedelta

import pytest

from safeloop.errors import SettingError
from safeloop.ledger import Ledger
from safeloop.ledger.reader import LedgerReader
from safeloop.ledger.trust import load_trust
from safeloop.tools.approvals import Request, expiry_of, pending
from tests.loop.playing import Player, call, reply
from tests.loop.reviewing import ALICE, asks, decide, loop_with, pin, request_of

NOW = datetime(2026, 11, 22, tzinfo=UTC)


@pytest.fixture
def keys(tmp_path, monkeypatch):
    monkeypatch.setenv("SAFELOOP_KEYS", str(tmp_path / "keys"))
    return tmp_path / "keys"


@pytest.fixture
def ledger(tmp_path, keys):
    made = Ledger(tmp_path / "ledger.db")
    pin(keys, ALICE)
    return made


def listed(ledger, keys, now=None):
    with LedgerReader(ledger.db_path) as reader:
        found = pending(reader, load_trust(keys / "self"), now or datetime.now(UTC))
        return [(each.call.session, str(each.state), each.value) for each in found]


def test_what_waits_is_listed_the_oldest_first_until_it_has_run_or_was_refused(ledger, keys):
    for session, what in (("b", "1"), ("a", "2"), ("c", "3")):
        loop_with(ledger, [], asks(call("burn", {"what": what})), session=session).run("do it")
    loop_with(ledger, [], asks(call("look")), session="d").run("do it")
    assert listed(ledger, keys) == [("b", "waits", {"what": "1"}), ("a", "waits", {"what": "2"}), ("c", "waits", {"what": "3"})]
    decide(ledger, keys, session="b")
    decide(ledger, keys, "refused", session="a")
    assert [each[:2] for each in listed(ledger, keys)] == [("b", "granted"), ("c", "waits")]
    loop_with(ledger, [], Player(reply("done")), session="b").resume()
    assert [each[:2] for each in listed(ledger, keys)] == [("c", "waits")]


def test_a_grant_that_counts_for_nothing_by_now_or_has_expired_is_not_listed_as_one(ledger, keys):
    loop_with(ledger, []).run("do it")
    decide(ledger, keys)
    now = datetime.now(UTC)
    assert listed(ledger, keys, now + timedelta(hours=2))[0][1] == "expired"
    assert listed(ledger, keys, now - timedelta(hours=2))[0][1] == "waits"
    assert listed(ledger, keys)[0][1] == "granted"
    (keys / "self" / "reviewers").write_text("")
    assert listed(ledger, keys)[0][1] == "waits"


@pytest.fixture
def request_(ledger):
    loop_with(ledger, [], asks(call("burn", {"what": "é\u202e\t\"\\u{202e}"}))).run("do it")
    return request_of(ledger)


def shown(request: Request) -> str:
    return request.text.split("arguments\n")[1].partition("\na parameter that is left out ")[0]


def unfolded(text: str) -> str:
    return text.replace("\n  \\ ", "")


def test_arguments_are_shown_in_full_with_what_is_unseen_made_visible_and_nothing_that_could_be_mistaken(request_):
    assert shown(request_) == '  | {\n  |   "what": "é\\u{202e}\\t\\"\\\\u{202e}"\n  | }'
    long = dataclasses.replace(request_, arguments=b'{"what":"' + b"x" * 200_000 + b'"}')
    assert "x" * 200_000 in unfolded(long.text)


@pytest.mark.parametrize("forged", [
    "permission read", "  | }", "arguments", "tool       look", "approve as alice, refuse, or leave? Type the word in full: ",
])
@pytest.mark.parametrize("width", [80, 78, 77, 73])
def test_no_padding_makes_a_terminal_of_80_columns_show_a_line_without_its_margin(request_, forged, width):
    shift = len('  |   "what": "')
    for start in range(width - shift - 2, width - shift + 3):
        what = " " * start + "".join(f"{forged:<{width}}" for _ in range(3))
        other = dataclasses.replace(request_, arguments=json.dumps({"what": what}).encode())
        assert max(map(len, other.text.split("\n"))) <= 78
        assert all(line.startswith(("  | ", "  \\ ")) for line in shown(other).split("\n"))
        assert what in unfolded(shown(other))


def test_what_a_terminal_draws_wide_is_broken_before_it_is_full(request_):
    other = dataclasses.replace(request_, arguments=json.dumps({"what": "\u3000" * 90}, ensure_ascii=False).encode())
    assert max(len(line) + line.count("\u3000") for line in other.text.split("\n")) <= 78


def test_what_is_decided_about_stands_after_the_arguments_too_for_these_may_be_long(request_):
    other = dataclasses.replace(request_, arguments=json.dumps({"what": ["tool       look"] * 500}).encode())
    said = ["tool       burn", "permission destructive", f"call       {request_.call.leaf}"]
    lines = other.text.split("\n")
    assert (lines[:2], lines[-3:]) == (said[:2], said)


@pytest.mark.parametrize(("arguments", "text", "value"), [
    (None, "  | (no longer kept)", None), (b"no json\x1b\n]", "  | no json\\u{1b}\n  | ]", None), (b"[" * 99_999, "  | " + "[" * 99_999, None),
])
def test_what_is_no_json_or_is_gone_is_shown_as_such(request_, arguments, text, value):
    other = dataclasses.replace(request_, arguments=arguments)
    assert (unfolded(shown(other)), other.value) == (text, value)


@pytest.mark.parametrize("hold", [timedelta(0), timedelta(seconds=2), timedelta(days=30, seconds=1), timedelta(days=-1)])
def test_a_grant_holds_for_a_while_and_not_for_ever(hold):
    with pytest.raises(SettingError, match="a grant holds for more than 2 seconds and at most 30 days"):
        expiry_of(NOW, hold)
    assert expiry_of(NOW, timedelta(days=30)) == NOW + timedelta(days=30)
