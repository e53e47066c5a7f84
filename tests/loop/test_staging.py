"""What a session wrote: collected from its staging folder, committed, judged; and what must not be there."""

import json
import os
from pathlib import Path

import pytest

from safeloop.errors import LedgerError
from safeloop.ledger import Ledger
from safeloop.loop import producing
from safeloop.loop.place import session_folder, staging_path
from safeloop.spec import Criterion
from safeloop.tools import ContainmentError, ToolRegistry, file_tools
from tests.loop.playing import Player, call, content_of, kinds, loop_of, only, reply, rows_of, spec_of


def writes(**files):
    calls = [call("write_file", {"path": name.replace("_", "."), "content": text}) for name, text in files.items()]
    return Player(reply(*calls, stop_reason="tool_use"), reply("done"))


def with_files(workspace=None):
    return {"tools": lambda staging: file_tools(workspace, staging)}


def manifest_of(ledger):
    return json.loads(content_of(ledger, only(ledger, "close").data["files"]))


def meddling(ledger, meddle):
    """Tools of which one does something to the staging folder behind the tools' back."""
    registry = ToolRegistry()
    registry.register(
        name="meddle", description="d", parameters={"type": "object"}, permission="write",
        handler=lambda: meddle(staging_path(ledger.db_path, "s")) or "ok",
    )
    return {"tools": registry}


def meddles():
    return Player(reply(call("meddle"), stop_reason="tool_use"), reply("done"))


def test_what_was_written_is_in_the_manifest_with_what_was_there_before(ledger, tmp_path):
    workspace = tmp_path / "workspace"
    workspace.mkdir()
    (workspace / "old.txt").write_text("before")
    client = writes(old_txt="after", new_txt="hello")
    assert loop_of(ledger, client, workspace=workspace, **with_files()).run("do it").success
    new, old = manifest_of(ledger)
    assert (new["name"], new["before"], content_of(ledger, new["after"])) == ("new.txt", None, b"hello")
    assert [content_of(ledger, old[key]) for key in ("before", "after")] == [b"before", b"after"]
    assert (old["name"], only(ledger, "close").data["file_count"]) == ("old.txt", 2)
    assert (workspace / "old.txt").read_text() == "before"


def test_what_is_no_file_in_the_workspace_is_no_version_of_one_that_was_staged(ledger, tmp_path):
    workspace = tmp_path / "workspace"
    workspace.mkdir()
    (workspace / "a.txt").symlink_to("/etc/passwd")
    (workspace / "b.txt").mkdir()
    client = writes(a_txt="one", b_txt="two")
    assert loop_of(ledger, client, workspace=workspace, **with_files()).run("do it").success
    assert [entry["before"] for entry in manifest_of(ledger)] == [None, None]


def test_a_large_version_in_the_workspace_is_committed_whole_and_the_staged_one_is_not_called_new(ledger, tmp_path):
    workspace = tmp_path / "workspace"
    workspace.mkdir()
    large = b"line\n" * 2_100_000
    (workspace / "a.txt").write_bytes(large)
    assert loop_of(ledger, writes(a_txt="small"), workspace=workspace, **with_files()).run("do it").success
    (entry,) = manifest_of(ledger)
    assert content_of(ledger, entry["before"]) == large


def test_a_version_in_the_workspace_that_cannot_be_compared_fails_the_session_and_is_not_hidden(
    ledger, tmp_path, monkeypatch
):
    workspace = tmp_path / "workspace"
    workspace.mkdir()
    (workspace / "a.txt").write_text("123456")
    monkeypatch.setattr(producing, "MAX_STAGED_BYTES", 5)
    result = loop_of(ledger, writes(a_txt="small"), workspace=workspace, **with_files()).run("do it")
    close = only(ledger, "close").data
    assert (result.success, close["outcome"], close["file_count"]) == (False, "failed", 0)
    assert close["reason"] == (
        "the workspace has a file that this one cannot be compared with: a.txt: it has 6 bytes, and at most 5 are read"
    )


def test_criteria_that_hold_complete_the_session_and_each_is_a_row(ledger):
    spec = spec_of("s", criteria=(Criterion("greets", "a.txt", contains=("hello",)), Criterion("is there", "a.txt")))
    result = loop_of(ledger, writes(a_txt="hello"), spec=spec, **with_files()).run("do it")
    assert (result.success, result.outcome) == (True, "completed")
    assert [row.data["pass_fail"] for row in rows_of(ledger, "check")] == [True, True]
    assert kinds(ledger)[-3:] == ["check", "check", "close"]


def test_one_criterion_that_does_not_hold_leaves_the_session_unmet_with_all_its_files(ledger):
    spec = spec_of("s", criteria=(Criterion("greets", "a.txt", contains=("hello",)), Criterion("log", "b.txt", retries=0)))
    result = loop_of(ledger, writes(a_txt="hello"), spec=spec, **with_files()).run("do it")
    assert (result.success, result.outcome) == (False, "unmet")
    assert [row.data["pass_fail"] for row in rows_of(ledger, "check")] == [True, False]
    assert only(ledger, "close").data["file_count"] == 1


def test_a_breached_session_keeps_its_files_for_the_reviewer(ledger):
    client = Player(reply(call("write_file", {"path": "a.txt", "content": "x"}), stop_reason="tool_use"))
    assert loop_of(ledger, client, turns=1, **with_files()).run("do it").outcome == "breached"
    assert [entry["name"] for entry in manifest_of(ledger)] == ["a.txt"]


def link_elsewhere(staging):
    (staging.parent / "outside").write_text("x")
    os.link(staging.parent / "outside", staging / "report.md")


def fifo(staging):
    os.mkfifo(staging / "report.md")


def name_of_no_text(staging):
    Path(os.fsdecode(os.fsencode(staging) + b"/\xff")).touch()


def symlink(staging):
    (staging / "report.md").symlink_to("/etc/passwd")


@pytest.mark.parametrize(("meddle", "why"), [
    (link_elsewhere, "report.md: it has 2 links, and only 1 is allowed"),
    (fifo, "report.md: it is not a regular file"),
    (symlink, "report.md: it is not a regular file"),
    (name_of_no_text, "\\\\u{dcff}: a name must be UTF-8"),  # made visible twice: by the tools, and for the row
])
def test_what_cannot_be_collected_fails_the_session_with_the_reason_and_no_files(ledger, meddle, why):
    spec = spec_of("s", criteria=(Criterion("report", "report.md"),))
    result = loop_of(ledger, meddles(), spec=spec, **meddling(ledger, meddle)).run("do it")
    assert (result.success, result.outcome) == (False, "failed")
    close = only(ledger, "close").data
    assert close["reason"] == why
    assert (close["file_count"], rows_of(ledger, "check")) == (0, [])
    assert content_of(ledger, close["output"]) == b"done"


def test_what_staging_held_before_the_session_began_is_never_its_product(ledger):
    planted = staging_path(ledger.db_path, "s")
    planted.mkdir(parents=True)
    (planted / "report.md").write_text("I was here first")
    client = Player(reply("done"))
    with pytest.raises(LedgerError, match="not an empty folder") as refused:
        loop_of(ledger, client).run("do it")
    assert (refused.value.hint, client.asked, ledger.rows("s")) == (f"ls -la {planted}", [], ())


def test_a_closed_session_that_left_files_says_that_it_is_closed_and_not_that_its_folder_is_in_use(ledger):
    loop_of(ledger, writes(a_txt="x"), **with_files()).run("do it")
    with pytest.raises(RuntimeError, match="has run and is closed"):
        loop_of(ledger, Player(reply("done"))).run("do it")


@pytest.mark.parametrize("plant", ["link", "file"])
def test_a_staging_folder_that_is_none_is_refused(ledger, tmp_path, plant):
    planted = staging_path(ledger.db_path, "s")
    planted.parent.mkdir(parents=True)
    (tmp_path / "elsewhere").mkdir()
    if plant == "link":
        planted.symlink_to(tmp_path / "elsewhere")
    else:
        planted.touch()
    with pytest.raises(LedgerError, match="not an empty folder"):
        loop_of(ledger, Player(reply("done"))).run("do it")
    assert ledger.rows("s") == ()


def test_an_empty_staging_folder_of_a_start_that_failed_is_used(ledger):
    staging_path(ledger.db_path, "s").mkdir(parents=True)
    assert loop_of(ledger, writes(a_txt="x"), **with_files()).run("do it").success


def test_a_workspace_that_is_not_there_is_refused_before_anything_is_recorded(ledger, tmp_path):
    with pytest.raises(ContainmentError):
        loop_of(ledger, Player(reply("done")), workspace=tmp_path / "missing").run("do it")
    assert ledger.rows("s") == ()


def test_an_id_cannot_choose_its_folder(tmp_path):
    assert session_folder(tmp_path / "l.db", "../../../etc").parent == tmp_path / "l.sessions"
    assert session_folder(tmp_path / "l.db", "a") != session_folder(tmp_path / "l.db", "b")


def test_a_run_in_memory_collects_its_files_too():
    ledger = Ledger(":memory:")
    assert loop_of(ledger, writes(a_txt="hello"), **with_files()).run("do it").success
    assert content_of(ledger, manifest_of(ledger)[0]["after"]) == b"hello"


def test_whatever_else_goes_wrong_while_collecting_closes_the_session_as_failed_and_is_raised(ledger):
    def closes_it(staging):
        registry = ToolRegistry()
        registry.register(name="meddle", description="d", parameters={"type": "object"}, handler=staging.close,
                          permission="write")
        return registry

    with pytest.raises(RuntimeError, match="this folder was closed"):
        loop_of(ledger, meddles(), tools=closes_it).run("do it")
    close = only(ledger, "close").data
    assert (close["outcome"], close["reason"], close["file_count"]) == ("failed", "RuntimeError", 0)
