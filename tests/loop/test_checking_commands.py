"""Criteria that run commands, over a whole session: refused before anything is spent, judged on what is committed."""

import pytest

from safeloop.errors import SpecError
from safeloop.spec import Criterion
from safeloop.tools import ToolRegistry, file_tools
from safeloop.tools.sandbox import Bubblewrap, SandboxMissing, bwrap, check_runner, fault_of, finding, runner_in
from tests.loop.playing import Player, call, loop_of, reply, spec_of

TESTED = Criterion("tested", kind="command", command=("sh", "-c", "grep -q good report.md || { echo not good >&2; exit 1; }"))
FITS = Criterion("fits", "report.md", kind="json_schema", schema='{"type": "string"}', retries=0)


def wrote(data, call_id):
    return reply(call("write_file", {"path": "report.md", "content": data}, call_id), stop_reason="tool_use")


def sandboxed():
    fault = fault_of(Bubblewrap())
    if fault is not None:
        pytest.skip(f"no bwrap here: {fault}")
    return runner_in(Bubblewrap(), None)


def checks(ledger):
    return [row.data["pass_fail"] for row in ledger.rows("s") if row.kind == "check"]


def test_a_spec_that_cannot_be_checked_is_refused_and_nothing_is_recorded_or_asked(ledger):
    client = Player(reply("done"))
    with pytest.raises(SpecError, match="no sandbox was given to run it in"):
        loop_of(ledger, client, spec=spec_of("s", criteria=(TESTED,)))
    assert client.asked == []
    assert ledger.rows("s") == ()


def test_a_command_that_fails_sends_the_model_back_to_work_and_then_passes(ledger):
    client = Player(wrote("bad", "t1"), reply("done"), wrote("good", "t2"), reply("now it is"))
    spec = spec_of("s", criteria=(TESTED,))
    result = loop_of(
        ledger, client, spec=spec, tools=lambda staging: file_tools(None, staging), run_check=sandboxed(),
    ).run("t")  # fmt: skip
    assert result.outcome == "completed"
    assert checks(ledger) == [False, True]
    assert "exit status 1: not good" in str(client.asked[2]["messages"][-1])


def test_a_document_that_does_not_fit_closes_the_session_as_unmet(ledger):
    client = Player(wrote("[1]", "t1"), reply("done"))
    result = loop_of(
        ledger, client, spec=spec_of("s", criteria=(FITS,)), tools=lambda staging: file_tools(None, staging)
    ).run("t")
    assert result.outcome == "unmet"
    assert checks(ledger) == [False]


def test_a_runner_is_looked_for_only_where_a_criterion_has_a_command(monkeypatch, tmp_path):
    monkeypatch.setattr(bwrap, "SEARCHED", str(tmp_path))
    monkeypatch.setattr(finding, "SEARCHED", str(tmp_path))
    assert check_runner((FITS,), None) is None
    with pytest.raises(SandboxMissing, match="code cannot be run here"):
        check_runner((FITS, TESTED), None)


def test_a_session_without_tools_can_still_be_checked(ledger):
    result = loop_of(
        ledger, Player(reply("done")), spec=spec_of("s", criteria=(TESTED,)), tools=ToolRegistry(), run_check=sandboxed()
    ).run("t")
    assert result.outcome == "unmet", "nothing was staged, and a command passes nothing on nothing"
