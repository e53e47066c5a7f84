"""Sessions: opened once, on one spec, run once, closed by the loop or by the operator."""

import contextlib
import threading
import time

import pytest

from safeloop.errors import LedgerError, LedgerLocked, SettingError
from safeloop.ledger import Draft, Ledger
from safeloop.loop import abandon_session
from safeloop.loop.place import job_lock_path, session_folder
from safeloop.spec import Ceilings, Criterion, SpecDraft, SpecWriter, ToolGrant, record, to_row
from tests.loop.playing import Counting, Player, content_of, kinds, loop_of, only, reply, rows_of, spec_of, usage

IN_FORCE = {"turns": 5, "tokens": 15_000, "errors": 3, "repeats": 3}


def test_the_open_row_binds_the_spec_the_task_and_the_effective_ceilings(ledger, tmp_path):
    workspace = tmp_path / "workspace"
    workspace.mkdir()
    loop_of(ledger, Player(reply("done")), workspace=workspace).run("do it")
    spec, opened = ledger.rows("s")[:2]
    assert spec.data == to_row(spec_of("s"))
    data = opened.data
    assert (data["spec"], data["ceilings"], data["endpoint"]) == (spec.leaf, IN_FORCE, "Player")
    assert content_of(ledger, data["task"]) == b"do it"
    assert content_of(ledger, data["workspace"]) == str(workspace).encode()
    assert data["software"].startswith("safeloop ")


def test_a_spec_that_is_recorded_already_is_not_recorded_again(ledger):
    spec = record(ledger, SpecDraft("audit", "render", "a report is there"))
    loop_of(ledger, Player(reply("done")), spec=spec).run("do it")
    assert kinds(ledger, spec.session_id).count("spec") == 1


def test_a_spec_of_another_file_is_copied_to_where_the_rows_are(ledger, tmp_path):
    answers = iter(["audit", "render", "a report is there"])
    spec = SpecWriter(tmp_path / "spec.db", lambda _: next(answers), lambda _: None).run()
    loop_of(ledger, Player(reply("done")), spec=spec).run("do it")
    assert only(ledger, "spec", spec.session_id).data["what_it_does"] == "audit"


def test_another_spec_under_the_same_id_is_refused_and_nothing_is_recorded(ledger):
    ledger.append(lambda _: (Draft("s", "spec", to_row(spec_of("s"))),))
    other = type(spec_of("s"))("something else", "render", "a report is there", "s")
    client = Player(reply("done"))
    with pytest.raises(LedgerError, match="promised otherwise"):
        loop_of(ledger, client, spec=other).run("do it")
    assert (kinds(ledger), client.asked) == (["spec"], [])


@pytest.mark.parametrize(
    "change",
    [
        {"criteria": (Criterion("c", "report.md"),)}, {"ceilings": Ceilings(turns=99)},
        {"tools": ToolGrant(permissions=("read",))},
    ],
)
def test_a_promise_that_differs_only_in_its_small_print_is_another_promise(ledger, change):
    ledger.append(lambda _: (Draft("s", "spec", to_row(spec_of("s"))),))
    with pytest.raises(LedgerError, match="promised otherwise"):
        loop_of(ledger, Player(reply("done")), spec=spec_of("s", **change)).run("do it")


@pytest.mark.parametrize("script", [(reply("done"),), (reply("no", stop_reason="refusal"),), (TimeoutError(),)])
def test_a_closed_session_cannot_be_run_again_however_it_ended(ledger, script):
    loop = loop_of(ledger, Player(*script, reply("again")))
    with contextlib.suppress(TimeoutError):
        loop.run("do it")
    before = kinds(ledger)
    with pytest.raises(RuntimeError, match="has run and is closed"):
        loop.run("do it")
    assert kinds(ledger) == before


def test_a_session_written_by_hand_cannot_be_run(ledger):
    ledger.write("s", 1, "llm", "x", 10, 5, True)
    with pytest.raises(RuntimeError, match="by hand"):
        loop_of(ledger, Player(reply("done"))).run("do it")
    assert kinds(ledger) == ["turn"]


def test_a_session_that_was_run_cannot_be_written_to_by_hand(ledger):
    loop_of(ledger, Player(reply("done"))).run("do it")
    with pytest.raises(RuntimeError):
        ledger.write("s", 2, "llm", "x", 10, 5, True)


@pytest.mark.parametrize("client", [Player(reply("done")), Player(reply("no", stop_reason="refusal"))])
def test_a_session_that_is_closed_for_good_cannot_be_closed_again(ledger, client):
    loop_of(ledger, client).run("do it")
    before = kinds(ledger)
    with pytest.raises(LedgerError, match="is closed already") as refused:
        abandon_session(ledger, "s")
    assert (refused.value.hint, kinds(ledger)) == ("safeloop review s", before)


def test_a_suspended_session_can_be_closed_for_good_once(ledger):
    with pytest.raises(KeyboardInterrupt):
        loop_of(ledger, Player(KeyboardInterrupt())).run("do it")
    assert only(ledger, "close").data["outcome"] == "suspended"
    row = abandon_session(ledger, "s")
    assert row.data["outcome"] == "failed"
    assert row.data["total_tokens"] == rows_of(ledger, "close")[0].data["total_tokens"] > 1_024
    with pytest.raises(LedgerError, match="is closed already"):
        abandon_session(ledger, "s")


@pytest.mark.parametrize("session", ["unknown", "s"])
def test_what_was_never_opened_cannot_be_closed(ledger, session):
    ledger.append(lambda _: (Draft("s", "spec", to_row(spec_of("s"))),))
    with pytest.raises(LedgerError, match="never opened"):
        abandon_session(ledger, session)


@pytest.mark.parametrize(
    "session",
    ["", "latest", "ledger", "../../etc", "a b", "é", "x" * 129, "a\0b", "\ud800", 5, None],
)
def test_an_id_that_no_row_can_hold_is_refused_before_anything_is_sent(ledger, tmp_path, session):
    client = Player(reply("done"))
    with pytest.raises(SettingError, match="cannot be a session's id"):
        loop_of(ledger, client, spec=spec_of(session)).run("do it")
    assert client.asked == []
    assert not (tmp_path.parent / "etc").exists()


def test_criteria_of_a_session_that_wrote_nothing_are_unmet(ledger):
    spec = spec_of("s", criteria=(Criterion("report", "report.md"), Criterion("log", "log.txt", retries=0)))
    result = loop_of(ledger, Player(reply("done")), spec=spec).run("do it")
    assert (result.success, result.outcome, result.breach_reason) == (False, "unmet", None)
    assert [(row.data["criterion"], row.data["pass_fail"]) for row in rows_of(ledger, "check")] == [
        ("report", False), ("log", False),
    ]
    assert content_of(ledger, rows_of(ledger, "check")[0].data["detail"]) == b"report.md: missing"


@pytest.mark.parametrize(("stop_reason", "outcome", "judged"), [
    ("refusal", "refused", 0), ("model_context_window_exceeded", "failed", 0), ("max_tokens", "breached", 1),
])
def test_criteria_are_judged_where_there_is_something_to_judge(ledger, stop_reason, outcome, judged):
    spec = spec_of("s", criteria=(Criterion("report", "report.md"),))
    client = Player(reply("x", stop_reason=stop_reason))
    assert loop_of(ledger, client, spec=spec, turns=2).run("do it").outcome == outcome
    assert len(rows_of(ledger, "check")) == judged


def test_threads_of_one_process_run_different_sessions_of_one_ledger_and_never_the_same(ledger):
    ended, together = [], threading.Barrier(2)

    def work(session):
        def step(_):
            time.sleep(0.3)
            return reply("done")

        together.wait()
        try:
            ended.append((session, loop_of(ledger, Player(step), spec=spec_of(session), grace_s=0).run("do it").outcome))
        except (LedgerLocked, RuntimeError) as error:
            ended.append((session, type(error).__name__))

    for sessions in (("a", "b"), ("c", "c")):
        threads = [threading.Thread(target=work, args=(session,)) for session in sessions]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert sorted(ended[:2]) == [("a", "completed"), ("b", "completed")]
    assert sorted(ended[2:]) in ([("c", "LedgerLocked"), ("c", "completed")], [("c", "RuntimeError"), ("c", "completed")])
    assert kinds(ledger, "c") == ["spec", "open", "intent", "turn", "close"]


def test_two_sessions_of_one_ledger_do_not_see_each_others_spend(ledger):
    for session in ("a", "b"):
        client = Player(reply("hm", stop_reason="max_tokens", counts=usage(4_000, 1)), reply("done"))
        assert loop_of(ledger, client, spec=spec_of(session), tokens=8_000).run("do it").success


def test_a_ledger_in_another_folder_keeps_its_sessions_beside_it_for_its_owner_alone(tmp_path):
    (tmp_path / "here").mkdir()
    ledger = Ledger(tmp_path / "here" / "x.db")
    loop_of(ledger, Player(reply("done"))).run("do it")
    folder = session_folder(ledger.db_path, "s")
    assert folder.parent == tmp_path / "here" / "x.sessions"
    for made in (folder.parent, folder, folder / "staging"):
        assert made.stat().st_mode & 0o777 == 0o700
    assert (folder / "lock").stat().st_mode & 0o777 == 0o600


def test_the_lock_of_a_job_is_that_of_its_spec_file_whatever_it_is_called(tmp_path):
    (tmp_path / "spec.toml").touch()
    (tmp_path / "link.toml").symlink_to(tmp_path / "spec.toml")
    lock = job_lock_path(tmp_path / "x.db", tmp_path / "spec.toml")
    assert lock == job_lock_path(tmp_path / "x.db", tmp_path / "link.toml") != job_lock_path(tmp_path / "x.db", "other")
    assert lock.parent == tmp_path / "x.sessions"


def test_an_estimate_is_never_asked_for_where_a_counter_answers(ledger):
    client = Counting(500, reply("done"))
    loop_of(ledger, client, tokens=3_000, allow_estimates=True).run("x" * 4_000)
    assert only(ledger, "intent").data["bound"] == "counted"
