"""What `safeloop reconcile` settles: an attempt in doubt, to what was billed, and only where a report proves it."""

from __future__ import annotations

import json
from datetime import timedelta

import pytest

from safeloop.breaker import Granted
from safeloop.spec import Ceilings
from tests.breaker.family import in_doubt
from tests.cli.billing import BEGAN, Billing
from tests.cli.program import Done
from tests.servers.usage_server import Charge


def test_an_attempt_in_doubt_is_settled_to_what_was_billed_and_its_session_shows_it_outside_the_frame(
    billing: Billing
) -> None:
    billing.reply()
    nothing, something = billing.doubt(), billing.doubt(billed=30)
    billing.house.clock.move(hours=2)
    billing.reply()
    prices = billing.program.folder / "prices.toml"
    prices.write_text('[[price]]\nmodel = "m"\ninput_usd = "1"\noutput_usd = "5"\n')
    done = billing.fetch("--prices", str(prices))
    assert (done.code, done.err) == (0, "")
    (row,) = billing.rows()
    charged = nothing.data["charged_tokens"]
    # Both may have been billed the 30: neither is charged less, and no report can say which it was.
    assert row["data"]["settled"] == [
        {"session": "s", "n": each.n, "charged_tokens": charged, "billed_tokens": 30,
         "charged_microusd": each.data["charged_microusd"], "billed_microusd": 30}
        for each in (nothing, something)
    ]  # fmt: skip
    assert billing.house.findings() == []
    again = billing.fetch()
    assert "nothing new since" in again.out


def test_what_is_in_doubt_is_not_settled_where_the_report_proves_nothing(billing: Billing) -> None:
    doubt = billing.doubt()
    billing.house.clock.move(hours=2)
    assert billing.fetch().code == 0
    assert billing.rows()[0]["data"]["settled"] == [], "nothing of that key and model was billed: it may be another key"
    billing.reply()
    billing.fetch()
    assert billing.rows()[-1]["data"]["settled"][0]["n"] == doubt.n
    assert billing.rows()[-1]["data"]["settled"][0]["billed_tokens"] == 0


@pytest.mark.parametrize("spoil", ["late", "missing", "begins after it", "a gap"])
def test_and_not_where_a_bucket_or_a_bill_is_missing(billing: Billing, spoil: str) -> None:
    billing.doubt()
    if spoil == "missing":
        billing.reply(billed=None)
    billing.house.clock.move(hours=2)
    billing.reply()
    first, env = BEGAN - timedelta(hours=2), {}
    if spoil == "late":
        env = {"SAFELOOP_REPORT_LAG": str(19 * 3_600)}
    if spoil == "begins after it":
        first = BEGAN + timedelta(minutes=1)
    if spoil == "a gap":
        page = json.loads(billing.save().read_text())
        page["data"] = [each for each in page["data"] if f"{BEGAN + timedelta(minutes=20):%H:%M}:00Z" not in each["starting_at"]]
        path = billing.program.folder / "gap.json"
        path.write_text(json.dumps(page))
        done = billing("reconcile", str(path), "--as-of", "today")
        assert "buckets are missing from" in done.out
        assert billing("reconcile", str(path), "--as-of", "today", "--enforce").code == 18
    else:
        billing("reconcile", "--from", first.isoformat(), "--to", (BEGAN + timedelta(hours=6)).isoformat(), **env)
    assert [row["data"]["settled"] for row in billing.rows()] == [[]]


def test_a_saved_report_settles_only_what_it_is_certain_to_hold(billing: Billing) -> None:
    billing.reply()
    billing.doubt()
    path = billing.save()
    assert billing("reconcile", str(path)).code == 0
    assert billing.rows()[-1]["data"]["settled"] == [], "nothing newer is in it: it may have been made before"
    done = billing("reconcile", str(path), "--as-of", (BEGAN + timedelta(hours=4)).isoformat())
    assert done.code == 0
    assert len(billing.rows()[-1]["data"]["settled"]) == 1


def test_a_bill_that_comes_after_its_attempt_was_settled_is_found(billing: Billing) -> None:
    billing.reply()
    billing.doubt()
    billing.house.clock.move(hours=2)
    billing.reply()
    billing.fetch()
    assert billing.rows()[-1]["data"]["settled"][0]["billed_tokens"] == 0
    usage = {"input_tokens": 150, "output_tokens": 0}
    billing.server.charges.append(Charge((BEGAN + timedelta(minutes=6)).timestamp(), "m", usage))
    done = billing.fetch("--enforce")
    assert done.code == 11
    assert "ghost_call" in done.out and "the late bill of an attempt in doubt" in done.out


def test_a_saved_report_that_names_a_ghost_first_does_not_silence_the_providers_own(billing: Billing) -> None:
    billing.reply()
    billing.bill(50_000)
    path = billing.save()
    page = json.loads(path.read_text())
    page["data"] = [each for each in page["data"] if any(one["uncached_input_tokens"] == 50_000 for one in each["results"])]
    path.write_text(json.dumps(page))
    assert "ghost_call" in billing("reconcile", str(path), "--as-of", "today", ANTHROPIC_ADMIN_KEY="").out
    assert "ghost_call" in billing.fetch("--quiet").err
    assert billing.fetch("--quiet") == Done(0, "", "")
    assert "nothing new" in billing.fetch().out


def test_an_answer_that_is_shorter_than_what_was_asked_for_is_told_once_and_enforced(billing: Billing) -> None:
    billing.reply()
    page = json.loads(billing.save().read_text())
    page["data"] = page["data"][:60]
    billing.server.answers = [page] * 4
    done = billing.fetch("--quiet")
    assert (done.code, "buckets are missing from" in done.err) == (0, True)
    assert billing.fetch("--quiet") == Done(0, "", "")
    assert billing.fetch("--enforce", "--quiet").code == 18
    assert len(billing.fetch("--json").json["missing"]) == 1


def test_quiet_tells_once_that_buckets_are_missing_or_that_keys_are_not_compared(billing: Billing) -> None:
    billing.reply()
    path = billing.save()
    page = json.loads(path.read_text())
    path.write_text(json.dumps({**page, "data": page["data"][:200] + page["data"][201:]}))
    saved = ("reconcile", str(path), "--as-of", "today", "--quiet")
    assert "buckets are missing" in billing(*saved).err
    assert billing(*saved) == Done(0, "", "")
    unnamed = {"SAFELOOP_API_KEY_ID": "", "SAFELOOP_BILLING_WORKSPACE": ""}
    assert "API keys are not compared" in billing.fetch("--quiet", **unnamed).err
    assert billing.fetch("--quiet", **unnamed) == Done(0, "", "")


def test_figures_of_the_future_make_nothing_certain(billing: Billing) -> None:
    billing.reply()
    billing.doubt()
    path = billing.save()
    page = json.loads(path.read_text())
    result = {**page["data"][120]["results"][0], "api_key_id": "apikey_zz"}
    page["data"].append({"starting_at": "2099-01-01T00:00:00Z", "ending_at": "2099-01-01T00:01:00Z", "results": [result]})
    path.write_text(json.dumps(page))
    assert "attempt in doubt not settled: it is not certain" in billing("reconcile", str(path)).out
    assert billing("reconcile", str(path), "--as-of", "today").code == 0
    assert [row["data"]["settled"] for row in billing.rows()] == [[]]


def test_a_report_that_may_be_of_another_key_settles_nothing_and_says_what_would_help(billing: Billing) -> None:
    billing.reply()
    billing.doubt()
    billing.house.clock.move(hours=2)
    billing.reply()
    for group, words in ((["model"], "group it by api_key_id"), (["api_key_id", "workspace_id"], "not grouped by model")):
        done = billing("reconcile", str(billing.save(**{"group_by[]": group})), "--as-of", "today")
        assert f"1 attempt in doubt not settled: {'API keys' if 'model' in group else 'the report'}" in done.out
        assert words in done.out
    assert [row["data"]["settled"] for row in billing.rows()] == [[], []]


def test_a_report_with_pages_missing_says_so(billing: Billing) -> None:
    billing.reply()
    billing.server.page_size = 200
    path = billing.save()
    done = billing("reconcile", str(path))
    assert "pages are missing after" in done.out
    assert billing("reconcile", str(path), "--enforce").code == 18


def test_more_than_a_hundred_settlements_are_several_rows(billing: Billing) -> None:
    billing.reply()
    for _ in range(205):
        granted = billing.house.ask("s", Ceilings(tokens=10**9))
        assert isinstance(granted, Granted)
        in_doubt(billing.house, granted)
    billing.house.clock.move(hours=2)
    billing.reply()
    assert billing.fetch().code == 0
    assert [len(row["data"]["settled"]) for row in billing.rows()] == [100, 100, 5]
    assert billing.house.findings() == []
