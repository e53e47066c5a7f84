"""`safeloop reconcile`, as a script sees it: a saved report, or the provider asked; findings, rows, and exit codes."""

from __future__ import annotations

from datetime import timedelta

import pytest

from tests.cli.billing import BEGAN, Billing
from tests.cli.program import Done, Program
from tests.servers.faults import Fault
from tests.servers.usage_server import UsageServer


def test_a_bill_that_agrees_is_one_row_without_findings_and_the_same_report_makes_no_second(billing: Billing) -> None:
    billing.reply()
    billing.reply(250)
    done = billing.fetch()
    assert (done.code, done.err) == (0, "")
    assert "2 replies compared; no findings; row 7" in done.out
    assert "cannot show: whether a recorded reply says what the model said" in done.out
    again = billing.fetch()
    assert (again.code, len(billing.rows())) == (0, 1)
    assert "nothing new since row 7" in again.out
    (row,) = billing.rows()
    assert row["data"]["source"].startswith("anthropic usage_report/messages 1m sha256:")
    assert row["data"]["settled"] == []
    assert billing.house.findings() == []


def test_the_request_is_the_apis_own_and_the_key_is_shown_nowhere(billing: Billing) -> None:
    billing.reply()
    assert billing.fetch("--bucket", "1h").code == 0
    (seen,) = billing.server.asked
    assert seen.headers["x-api-key"] == billing.server.admin_key
    assert seen.headers["anthropic-version"] == "2023-06-01"
    assert "group_by%5B%5D=api_key_id&group_by%5B%5D=workspace_id&group_by%5B%5D=model" in seen.path
    assert "bucket_width=1h" in seen.path and "limit=168" in seen.path
    billing.server.answers = [Fault.status(401, body={"error": {"message": f"not {billing.server.admin_key}"}})] * 3
    for more in ((), ("--debug",), ("--json",)):
        done = billing.fetch(*more)
        assert done.code == 17
        assert "ANTHROPIC_ADMIN_KEY" in done.out + done.err
        assert billing.server.admin_key not in done.out + done.err


def test_what_was_billed_and_not_recorded_is_told_and_enforced_only_when_that_is_asked(billing: Billing) -> None:
    billing.reply()
    billing.bill(500)
    done = billing.fetch()
    assert done.code == 0
    assert "ghost_call" in done.out and "shadow mode" in done.out
    (row,) = billing.rows()
    assert billing.fetch("--enforce").code == 11, "told before, and still so"
    assert len(billing.rows()) == 1
    facts = billing.fetch("--enforce", "--json").json
    assert (facts["exit_code"], facts["counts"]["ghost_call"], facts["findings"][0]["new"]) == (11, 1, False)
    assert row["session"] == "ledger"


def test_quiet_is_silent_until_there_is_something_new_to_look_at(billing: Billing) -> None:
    billing.reply()
    assert billing.fetch("--quiet") == Done(0, "", "")
    billing.reply(100, billed=90)
    done = billing.fetch("--quiet")
    assert (done.code, done.out) == (0, "")
    assert "token_mismatch" in done.err
    assert billing.fetch("--quiet") == Done(0, "", "")


def test_an_overlapping_report_tells_only_what_is_new(billing: Billing) -> None:
    billing.reply(billed=None)
    assert billing.fetch().code == 0
    billing.reply(billed=None)
    hour = (BEGAN - timedelta(hours=3)).isoformat()
    done = billing("reconcile", "--from", hour, "--to", (BEGAN + timedelta(hours=5)).isoformat())
    assert done.out.count("missing_record") == 2
    assert done.out.count("(told before)") == 1
    assert len(billing.rows()) == 2


def test_pages_are_put_together_and_busy_or_broken_answers_are_asked_for_again(billing: Billing) -> None:
    billing.server.page_size = 100
    billing.reply()
    billing.bill(77)
    billing.server.answers = [Fault.status(429, headers={"retry-after": "0"}), Fault.status(503)]
    done = billing.fetch("--json")
    assert done.code == 0
    assert done.json["counts"]["ghost_call"] == 1
    assert len(billing.server.asked) == 2 + 5


@pytest.mark.parametrize(("answer", "code", "words"), [
    (Fault.status(302, headers={"location": "http://127.0.0.1:9/"}), 17, "sends requests elsewhere"),
    (Fault.status(403), 17, "only an admin key"),
    (Fault.html(), 17, "not JSON"),
    ({"data": []}, 17, "not a page"),
    ({"data": [], "has_more": True, "next_page": None}, 17, "not how to ask for them"),
    ({"data": [], "has_more": False}, 2, "no bucket"),
    ({"data": [{"results": 5}], "has_more": False}, 2, "a bucket has no results"),
])  # fmt: skip
def test_an_answer_that_is_no_report_is_refused_and_nothing_is_recorded(billing: Billing, answer, code, words) -> None:
    billing.server.answers = [answer]
    done = billing.fetch(SAFELOOP_MAX_WAIT="0")
    assert (done.code, done.out) == (code, "")
    assert words in done.err
    assert "Traceback" not in done.err
    assert billing.rows() == []


def test_pages_that_lead_in_a_circle_end(billing: Billing) -> None:
    billing.server.answers = [{"data": [], "has_more": True, "next_page": "again"}] * 9
    done = billing.fetch()
    assert done.code == 17
    assert "leads back" in done.err
    assert len(billing.server.asked) == 2


@pytest.mark.parametrize("arguments", [
    (), ("u.json", "--from", "today"), ("u.json", "--to", "today"), ("--from", "today", "--as-of", "today"),
    ("--from", "sometime"), ("--from", "2026-11-21T07:00:00"), ("--from", "2100-01-01"), ("nowhere.json",),
])  # fmt: skip
def test_arguments_without_a_meaning_are_refused(billing: Billing, arguments: tuple[str, ...]) -> None:
    done = billing("reconcile", *arguments)
    assert (done.code, done.out) == (2, "")
    assert done.err.startswith("error: ")
    assert billing.server.asked == []


def test_the_admin_key_comes_from_a_file_or_a_command_and_from_nowhere_else(billing: Billing) -> None:
    billing.reply()
    key = billing.program.folder / "admin.key"
    key.write_text(f"{billing.server.admin_key}\n")
    key.chmod(0o600)
    assert billing.fetch(ANTHROPIC_ADMIN_KEY="", SAFELOOP_ADMIN_KEY_FILE=str(key)).code == 0
    assert billing.fetch(ANTHROPIC_ADMIN_KEY="", SAFELOOP_ADMIN_KEY_COMMAND=f"cat {key}").code == 0
    both = billing.fetch(SAFELOOP_ADMIN_KEY_FILE=str(key), SAFELOOP_ADMIN_KEY_COMMAND=f"cat {key}")
    assert (both.code, "both set" in both.err) == (2, True)
    none = billing.fetch(ANTHROPIC_ADMIN_KEY="")
    assert (none.code, "no admin key" in none.err) == (2, True)
    key.chmod(0o644)
    assert billing.fetch(SAFELOOP_ADMIN_KEY_FILE=str(key)).code == 14
    odd = billing.fetch(ANTHROPIC_ADMIN_KEY="of two words ")
    assert (odd.code, "two words" in odd.err) == (2, False)


def test_a_run_states_who_pays_by_the_settings_unless_nobody_bills_it(program: Program) -> None:
    env = {"SAFELOOP_API_KEY_ID": "apikey_9", "SAFELOOP_BILLING_WORKSPACE": "wrkspc_9", "ANTHROPIC_API_KEY": "k"}
    with UsageServer(lambda _: "The report is written.") as server:
        done = program("run", "--spec-file", "job.toml", "--task", "x", env={**env, "ANTHROPIC_BASE_URL": server.url})
    assert done.code == 16, done.err
    assert program.job(env=env).code == 0
    opened = [row["data"] for row in program.rows() if row["kind"] == "open"]
    assert [(each["api_key_id"], each["billing_workspace"]) for each in opened] == [("apikey_9", "wrkspc_9"), (None, None)]
    refused = program("run", "--spec-file", "job.toml", "--task", "x", env={**env, "SAFELOOP_API_KEY_ID": "sk-ant-123"})
    assert (refused.code, "sk-ant-123" in refused.err + refused.out) == (2, False)
    assert len([kind for kind in program.kinds() if kind == "open"]) == 2
