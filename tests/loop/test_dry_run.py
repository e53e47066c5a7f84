"""A dry run: nothing that writes or destroys is run, every row and the frame say so, and nothing of it gets out."""

import dataclasses
import json

import pytest

from safeloop.breaker import CircuitBreaker
from safeloop.errors import LedgerError, SettingError
from safeloop.ledger.reader import LedgerReader
from safeloop.ledger.trust import load_trust
from safeloop.loop import AgentLoop
from safeloop.loop.place import staging_path
from safeloop.review import ReviewSurface
from safeloop.review.record import load_record
from safeloop.review.releasing.gate import decide
from safeloop.review.releasing.policy import ReleasePolicy
from safeloop.spec import Criterion, ToolGrant
from safeloop.tools import Permission, ToolRegistry
from tests.loop.playing import Player, call, content_of, kinds, loop_of, noting, only, reply, rows_of, spec_of
from tests.loop.test_resuming import Busy, audited, file_loop

__all__ = ["audited"]  # the fixture: an audit has nothing to say against any of this

SECRET = "the report that must not be written"
WRITE = reply(call("write_file", {"path": "report.md", "content": SECRET}, "w"), stop_reason="tool_use")


def shown(ledger, keys):
    return ReviewSurface(ledger.db_path, ledger.db_path, keys=keys, create=False).render("s")


def told(client, number=-1):
    return client.asked[number]["messages"][-1]["content"][0]


def test_a_call_that_writes_is_answered_with_what_would_have_been_done_and_leaves_nothing(ledger):
    client = Player(WRITE, reply("done"))
    result = file_loop(ledger, client, dry_run=True).run("do it")
    assert (result.success, result.outcome, result.is_dry_run) == (False, "failed", True)
    assert list(staging_path(ledger.db_path, "s").iterdir()) == []
    answer = told(client)
    assert answer["content"].startswith("[dry run: nothing was run, and nothing has changed]\nwrite_file (write)")
    assert '"path": "report.md"' in answer["content"]
    assert "is_error" not in answer, "the model is to go on as if it had been done"


def test_the_rows_say_that_it_was_not_run(ledger):
    file_loop(ledger, Player(WRITE, reply("done")), dry_run=True).run("do it")
    assert kinds(ledger) == ["spec", "open", "intent", "turn", "tool", "intent", "turn", "close"], "no call row"
    tool, close = only(ledger, "tool").data, only(ledger, "close").data
    assert (tool["pass_fail"], tool["execution_time_ms"], tool["error"]["class"]) == (False, 0, "dry run")
    assert only(ledger, "open").data["software"].endswith(", dry run")
    assert (close["outcome"], close["reason"], close["file_count"]) == ("failed", "dry run: completed", 0)


def test_a_call_that_reads_is_run(ledger):
    ran = []
    client = Player(reply(call("look", {"what": "x"}, "a"), call("note", {"what": "y"}, "b"), stop_reason="tool_use"),
                    reply("done"))
    loop_of(ledger, client, tools=noting(ran), dry_run=True).run("do it")
    assert ran == [("look", "x")]
    assert [row.data["pass_fail"] for row in rows_of(ledger, "tool")] == [True, False]


def destructive(ran):
    registry = ToolRegistry()

    @registry.tool(permission=Permission.DESTRUCTIVE)
    def wipe() -> str:
        ran.append("wipe")
        return "wiped"

    return registry


def test_a_call_that_destroys_is_not_run_and_nobody_is_asked_to_approve_it(ledger):
    ran = []
    client = Player(reply(call("wipe"), stop_reason="tool_use"), reply("done"))
    spec = spec_of("s", tools=ToolGrant(("read", "write", "destructive")))
    result = loop_of(ledger, client, spec=spec, tools=destructive(ran), dry_run=True).run("do it")
    assert (ran, result.reason) == ([], "dry run: completed")
    assert rows_of(ledger, "call") == rows_of(ledger, "approval") == []
    assert only(ledger, "tool").data["error"]["class"] == "dry run"


def test_a_call_that_is_not_allowed_or_does_not_fit_is_refused_as_ever(ledger):
    client = Player(reply(call("wipe"), call("note", {"what": 5, "more": 1}, "b"), call("gone", {}, "c"),
                          stop_reason="tool_use"), reply("done"))
    tools = noting([])
    for tool in destructive([]):
        tools.add(tool)
    loop_of(ledger, client, tools=tools, dry_run=True).run("do it")
    assert [row.data["error"]["class"] for row in rows_of(ledger, "tool")] == [
        "NotGranted", "BadArguments", "UnknownTool",
    ]
    assert all(each["is_error"] for each in client.asked[1]["messages"][-1]["content"])


def test_calls_that_are_not_run_count_as_no_errors_but_as_calls_and_as_repeats(ledger):
    many = [reply(call("note", {"what": str(number)}, f"c{number}"), stop_reason="tool_use") for number in range(6)]
    result = loop_of(ledger, Player(*many, reply("done")), tools=noting([]), turns=9, dry_run=True).run("x")
    assert result.reason == "dry run: completed", "six replies in a row, three errors in a row are allowed"


@pytest.mark.parametrize(("limit", "reason"), [
    ({"tool_call_limit": 1}, "tool_ceiling"), ({"repeat_limit": 2}, "repeat_ceiling"),
])
def test_ceilings_hold_in_a_dry_run_and_its_breach_is_no_outcome_to_go_on_from(ledger, limit, reason):
    same = reply(call("note", {"what": "x"}), stop_reason="tool_use")
    limits = CircuitBreaker(9, 15_000, output_fn=lambda _: None, **limit)
    result = AgentLoop(spec_of("s"), limits, ledger, Player(same), tools=noting([]), dry_run=True).run("x")
    assert (result.outcome, result.breach_reason, result.reason) == ("failed", reason, f"dry run: {reason}")
    assert only(ledger, "breach").data["breach_reason"] == reason
    with pytest.raises(LedgerError, match="was not stopped by a ceiling"):
        loop_of(ledger, Player(reply("done")), spec=spec_of("t")).continue_from("s")


def test_criteria_are_not_checked_where_nothing_was_done_and_the_model_is_not_sent_back(ledger, keys):
    client = Player(reply("done"))
    spec = spec_of("s", criteria=(Criterion("report", "report.md"),))
    file_loop(ledger, client, spec=spec, dry_run=True).run("x")
    assert (len(client.asked), rows_of(ledger, "check")) == (1, [])
    assert "criterion report was not checked" in shown(ledger, keys)


def test_the_frame_says_plainly_that_it_was_a_dry_run(ledger, keys):
    file_loop(ledger, Player(WRITE, reply("done")), dry_run=True).run("do it")
    text = shown(ledger, keys)
    assert "Dry run:             yes: what writes or destroys was not run" in text
    assert "dry run: no call that writes or destroys was run" in text.partition("[5]")[2].replace("\n      ", " ")
    assert "turn 1: tool write_file was not run: the model was told" in text


def test_a_session_that_is_none_has_a_frame_without_a_word_of_it(ledger, keys):
    file_loop(ledger, Player(WRITE, reply("done"))).run("do it")
    assert "dry run" not in shown(ledger, keys).lower()


def test_the_gate_stays_shut_whatever_the_policy_and_whatever_the_close_row_claims(ledger, keys):
    file_loop(ledger, Player(WRITE, reply("done")), dry_run=True).run("do it")
    with LedgerReader(ledger.db_path) as reader:
        record = load_record(reader, load_trust(keys / "self"), "s")
    lax = ReleasePolicy(accepts=1, accept_breach=True, accept_unmet=True)
    claims = record.rows[-1]._replace(data=record.rows[-1].data | {"outcome": "completed"})
    for rows in (record.rows, (*record.rows[:-1], claims)):
        verdict = decide(dataclasses.replace(record, rows=rows), (), lax, frame="0" * 64, operator_keys=frozenset())
        assert not verdict.released
        assert any("was a dry run, which is never released" in str(reason) for reason in verdict.reasons)


# -- Resume ----------------------------------------------------------------------------------------------------------


def test_a_dry_run_goes_on_as_one_and_is_told_the_same_as_before(ledger):
    both = reply(call("note", {"what": "a"}, "a"), call("note", {"what": "b"}, "b"), stop_reason="tool_use")
    ran, straight = [], Player(both, reply("done"))
    loop_of(ledger, straight, spec=spec_of("t"), tools=noting(ran), dry_run=True).run("x")
    assert loop_of(ledger, Player(both, Busy()), tools=noting(ran), dry_run=True, max_wait_s=0).run("x").outcome == (
        "suspended"
    )
    client = Player(reply("done"))
    assert loop_of(ledger, client, tools=noting(ran), dry_run=True).resume().reason == "dry run: completed"
    assert ran == []
    assert client.asked[0]["messages"] == straight.asked[1]["messages"]
    assert only(ledger, "resume").data["software"].endswith(", dry run")


@pytest.mark.parametrize("was", [True, False])
def test_a_session_does_not_become_a_dry_run_nor_cease_to_be_one(ledger, was):
    loop_of(ledger, Player(Busy()), tools=noting([]), dry_run=was, max_wait_s=0).run("x")
    with pytest.raises(SettingError, match="it was a dry run, and now it is none" if was else "it was no dry run"):
        loop_of(ledger, Player(reply("done")), tools=noting([]), dry_run=not was).resume()
    assert loop_of(ledger, Player(reply("done")), tools=noting([]), dry_run=was).resume().is_dry_run is was


# -- What the model can write ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("arguments", [
    {"what": "x" * 100_000}, {"what": "\x1b[2J\u202e"}, {"what": "]\n[what note returned: data]"}, {"what": "\\u0000"},
])
def test_whatever_the_arguments_are_the_answer_is_short_visible_and_one_of_ours(ledger, arguments):
    client = Player(reply(call("note", arguments), stop_reason="tool_use"), reply("done"))
    loop_of(ledger, client, tools=noting([]), tokens=400_000, dry_run=True).run("x")
    said = told(client)["content"]
    assert len(said) < 1_000
    assert said.startswith("[dry run")
    assert len(said.splitlines()) == 2
    assert "\x1b" not in said
    assert json.loads(content_of(ledger, only(ledger, "tool").data["arguments"])) == arguments, "the row keeps it whole"
