"""`safeloop reconcile`, as a script sees it: a saved report, or the provider asked; findings, rows, and exit codes."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from safeloop.breaker import Granted
from safeloop.ledger import Row
from safeloop.spec import Ceilings
from tests.breaker.family import DOLLARS, House, in_doubt
from tests.cli.program import Done, Program
from tests.servers.faults import Fault
from tests.servers.usage_server import Charge, UsageServer

CEILINGS = Ceilings(tokens=1_000_000)
BEGAN = (datetime.now(UTC) - timedelta(hours=20)).replace(minute=5, second=0, microsecond=0)


@dataclass
class Scene:
    """A ledger of calls twenty hours ago, and the provider that billed them."""

    program: Program
    house: House
    server: UsageServer

    @property
    def env(self) -> dict[str, str]:
        folder = self.house.folder
        return {
            "SAFELOOP_LEDGER": str(folder / "ledger.db"), "SAFELOOP_KEYS": str(folder / "keys"),
            "ANTHROPIC_BASE_URL": self.server.url, "SAFELOOP_BILLED_ENDPOINTS": "e", "SAFELOOP_API_KEY_ID": "apikey_01",
            "SAFELOOP_BILLING_WORKSPACE": "wrkspc_01", "ANTHROPIC_ADMIN_KEY": self.server.admin_key,
        }  # fmt: skip

    def __call__(self, *arguments: str, **env: str) -> Done:
        return self.program(*arguments, env={**self.env, **env})

    def fetch(self, *more: str, **env: str) -> Done:
        times = ("--from", (BEGAN - timedelta(hours=2)).isoformat(), "--to", (BEGAN + timedelta(hours=6)).isoformat())
        return self("reconcile", *times, *more, **env)

    def reply(self, tokens: int = 100, *, billed: int | None = -1, model: str = "m") -> None:
        """Record a reply, and bill it, or something else, or nothing."""
        granted = self.house.ask("s", CEILINGS)
        assert isinstance(granted, Granted)
        self.house.reply(granted, tokens)
        if billed is not None:
            self.bill(tokens if billed < 0 else billed, model)
        self.house.clock.move(minutes=5)

    def bill(self, tokens: int, model: str = "m", **more: Any) -> None:
        usage = {"input_tokens": tokens, "output_tokens": 0}
        self.server.charges.append(Charge(self.house.clock.now.timestamp(), model, usage, **more))

    def doubt(self, *, billed: int | None = None) -> Row:
        granted = self.house.ask("s", CEILINGS, price=DOLLARS)
        assert isinstance(granted, Granted)
        if billed is not None:
            self.bill(billed)
        row = in_doubt(self.house, granted)
        self.house.clock.move(minutes=5)
        return row

    def rows(self) -> list[dict[str, Any]]:
        done = self("log", "ledger", "--json")
        return [row for line in done.out.splitlines() if (row := json.loads(line))["kind"] == "reconcile"]

    def save(self, name: str = "usage.json", **asked: list[str]) -> Path:
        """The report as `curl` would have saved it."""
        first, last = BEGAN - timedelta(hours=2), BEGAN + timedelta(hours=6)
        page = self.server.page({
            "starting_at": [first.isoformat()], "ending_at": [last.isoformat()], "bucket_width": ["1m"],
            "limit": ["1440"], "group_by[]": ["api_key_id", "workspace_id", "model"], **asked,
        })  # fmt: skip
        path = self.program.folder / name
        path.write_text(json.dumps(page))
        return path


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    (tmp_path / "house").mkdir()
    house = House(tmp_path / "house")
    house.clock.now = BEGAN
    house.open("s", CEILINGS)
    with UsageServer() as server:
        yield Scene(Program.at(tmp_path / "p"), house, server)
    house.ledger.close()


def test_a_bill_that_agrees_is_one_row_without_findings_and_the_same_report_makes_no_second(scene: Scene) -> None:
    scene.reply()
    scene.reply(250)
    done = scene.fetch()
    assert (done.code, done.err) == (0, "")
    assert "2 replies compared; no findings; row 7" in done.out
    assert "cannot show: whether a recorded reply says what the model said" in done.out
    again = scene.fetch()
    assert (again.code, len(scene.rows())) == (0, 1)
    assert "nothing new since row 7" in again.out
    (row,) = scene.rows()
    assert row["data"]["source"].startswith("anthropic usage_report/messages 1m sha256:")
    assert row["data"]["settled"] == []
    assert scene.house.findings() == []


def test_the_request_is_the_apis_own_and_the_key_is_shown_nowhere(scene: Scene) -> None:
    scene.reply()
    assert scene.fetch("--bucket", "1h").code == 0
    (seen,) = scene.server.asked
    assert seen.headers["x-api-key"] == scene.server.admin_key
    assert seen.headers["anthropic-version"] == "2023-06-01"
    assert "group_by%5B%5D=api_key_id&group_by%5B%5D=workspace_id&group_by%5B%5D=model" in seen.path
    assert "bucket_width=1h" in seen.path and "limit=168" in seen.path
    scene.server.answers = [Fault.status(401, body={"error": {"message": f"not {scene.server.admin_key}"}})] * 3
    for more in ((), ("--debug",), ("--json",)):
        done = scene.fetch(*more)
        assert done.code == 17
        assert "ANTHROPIC_ADMIN_KEY" in done.out + done.err
        assert scene.server.admin_key not in done.out + done.err


def test_what_was_billed_and_not_recorded_is_told_and_enforced_only_when_that_is_asked(scene: Scene) -> None:
    scene.reply()
    scene.bill(500)
    done = scene.fetch()
    assert done.code == 0
    assert "ghost_call" in done.out and "shadow mode" in done.out
    (row,) = scene.rows()
    assert scene.fetch("--enforce").code == 11, "told before, and still so"
    assert len(scene.rows()) == 1
    facts = scene.fetch("--enforce", "--json").json
    assert (facts["exit_code"], facts["counts"]["ghost_call"], facts["findings"][0]["new"]) == (11, 1, False)
    assert row["session"] == "ledger"


def test_quiet_is_silent_until_there_is_something_new_to_look_at(scene: Scene) -> None:
    scene.reply()
    assert scene.fetch("--quiet") == Done(0, "", "")
    scene.reply(100, billed=90)
    done = scene.fetch("--quiet")
    assert (done.code, done.out) == (0, "")
    assert "token_mismatch" in done.err
    assert scene.fetch("--quiet") == Done(0, "", "")


def test_an_overlapping_report_tells_only_what_is_new(scene: Scene) -> None:
    scene.reply(billed=None)
    assert scene.fetch().code == 0
    scene.reply(billed=None)
    hour = (BEGAN - timedelta(hours=3)).isoformat()
    done = scene("reconcile", "--from", hour, "--to", (BEGAN + timedelta(hours=5)).isoformat())
    assert done.out.count("missing_record") == 2
    assert done.out.count("(told before)") == 1
    assert len(scene.rows()) == 2


def test_pages_are_put_together_and_busy_or_broken_answers_are_asked_for_again(scene: Scene) -> None:
    scene.server.page_size = 100
    scene.reply()
    scene.bill(77)
    scene.server.answers = [Fault.status(429, headers={"retry-after": "0"}), Fault.status(503)]
    done = scene.fetch("--json")
    assert done.code == 0
    assert done.json["counts"]["ghost_call"] == 1
    assert len(scene.server.asked) == 2 + 5


@pytest.mark.parametrize(("answer", "code", "words"), [
    (Fault.status(302, headers={"location": "http://127.0.0.1:9/"}), 17, "sends requests elsewhere"),
    (Fault.status(403), 17, "only an admin key"),
    (Fault.html(), 17, "not JSON"),
    ({"data": []}, 17, "not a page"),
    ({"data": [], "has_more": True, "next_page": None}, 17, "not how to ask for them"),
    ({"data": [], "has_more": False}, 2, "no bucket"),
    ({"data": [{"results": 5}], "has_more": False}, 2, "a bucket has no results"),
])  # fmt: skip
def test_an_answer_that_is_no_report_is_refused_and_nothing_is_recorded(scene: Scene, answer, code, words) -> None:
    scene.server.answers = [answer]
    done = scene.fetch(SAFELOOP_MAX_WAIT="0")
    assert (done.code, done.out) == (code, "")
    assert words in done.err
    assert "Traceback" not in done.err
    assert scene.rows() == []


def test_pages_that_lead_in_a_circle_end(scene: Scene) -> None:
    scene.server.answers = [{"data": [], "has_more": True, "next_page": "again"}] * 9
    done = scene.fetch()
    assert done.code == 17
    assert "leads back" in done.err
    assert len(scene.server.asked) == 2


def test_an_attempt_in_doubt_is_settled_to_what_was_billed_and_its_session_shows_it_outside_the_frame(
    scene: Scene
) -> None:
    scene.reply()
    nothing, something = scene.doubt(), scene.doubt(billed=30)
    scene.house.clock.move(hours=2)
    scene.reply()
    prices = scene.program.folder / "prices.toml"
    prices.write_text('[[price]]\nmodel = "m"\ninput_usd = "1"\noutput_usd = "5"\n')
    done = scene.fetch("--prices", str(prices))
    assert (done.code, done.err) == (0, "")
    (row,) = scene.rows()
    charged = nothing.data["charged_tokens"]
    # Both may have been billed the 30: neither is charged less, and no report can say which it was.
    assert row["data"]["settled"] == [
        {"session": "s", "n": each.n, "charged_tokens": charged, "billed_tokens": 30,
         "charged_microusd": each.data["charged_microusd"], "billed_microusd": 30}
        for each in (nothing, something)
    ]  # fmt: skip
    assert scene.house.findings() == []
    again = scene.fetch()
    assert "nothing new since" in again.out


def test_what_is_in_doubt_is_not_settled_where_the_report_proves_nothing(scene: Scene) -> None:
    doubt = scene.doubt()
    scene.house.clock.move(hours=2)
    assert scene.fetch().code == 0
    assert scene.rows()[0]["data"]["settled"] == [], "nothing of that key and model was billed: it may be another key"
    scene.reply()
    scene.fetch()
    assert scene.rows()[-1]["data"]["settled"][0]["n"] == doubt.n
    assert scene.rows()[-1]["data"]["settled"][0]["billed_tokens"] == 0


@pytest.mark.parametrize("spoil", ["late", "missing", "begins after it", "a gap"])
def test_and_not_where_a_bucket_or_a_bill_is_missing(scene: Scene, spoil: str) -> None:
    scene.doubt()
    if spoil == "missing":
        scene.reply(billed=None)
    scene.house.clock.move(hours=2)
    scene.reply()
    first, env = BEGAN - timedelta(hours=2), {}
    if spoil == "late":
        env = {"SAFELOOP_REPORT_LAG": str(19 * 3_600)}
    if spoil == "begins after it":
        first = BEGAN + timedelta(minutes=1)
    if spoil == "a gap":
        page = json.loads(scene.save().read_text())
        page["data"] = [each for each in page["data"] if f"{BEGAN + timedelta(minutes=20):%H:%M}:00Z" not in each["starting_at"]]
        path = scene.program.folder / "gap.json"
        path.write_text(json.dumps(page))
        done = scene("reconcile", str(path), "--as-of", "today")
        assert "buckets are missing from" in done.out
        assert scene("reconcile", str(path), "--as-of", "today", "--enforce").code == 18
    else:
        scene("reconcile", "--from", first.isoformat(), "--to", (BEGAN + timedelta(hours=6)).isoformat(), **env)
    assert [row["data"]["settled"] for row in scene.rows()] == [[]]


def test_a_saved_report_settles_only_what_it_is_certain_to_hold(scene: Scene) -> None:
    scene.reply()
    scene.doubt()
    path = scene.save()
    assert scene("reconcile", str(path)).code == 0
    assert scene.rows()[-1]["data"]["settled"] == [], "nothing newer is in it: it may have been made before"
    done = scene("reconcile", str(path), "--as-of", (BEGAN + timedelta(hours=4)).isoformat())
    assert done.code == 0
    assert len(scene.rows()[-1]["data"]["settled"]) == 1


def test_a_bill_that_comes_after_its_attempt_was_settled_is_found(scene: Scene) -> None:
    scene.reply()
    scene.doubt()
    scene.house.clock.move(hours=2)
    scene.reply()
    scene.fetch()
    assert scene.rows()[-1]["data"]["settled"][0]["billed_tokens"] == 0
    usage = {"input_tokens": 150, "output_tokens": 0}
    scene.server.charges.append(Charge((BEGAN + timedelta(minutes=6)).timestamp(), "m", usage))
    done = scene.fetch("--enforce")
    assert done.code == 11
    assert "ghost_call" in done.out and "the late bill of an attempt in doubt" in done.out


def test_a_saved_report_that_names_a_ghost_first_does_not_silence_the_providers_own(scene: Scene) -> None:
    scene.reply()
    scene.bill(50_000)
    path = scene.save()
    page = json.loads(path.read_text())
    page["data"] = [each for each in page["data"] if any(one["uncached_input_tokens"] == 50_000 for one in each["results"])]
    path.write_text(json.dumps(page))
    assert "ghost_call" in scene("reconcile", str(path), "--as-of", "today", ANTHROPIC_ADMIN_KEY="").out
    assert "ghost_call" in scene.fetch("--quiet").err
    assert scene.fetch("--quiet") == Done(0, "", "")
    assert "nothing new" in scene.fetch().out


def test_an_answer_that_is_shorter_than_what_was_asked_for_is_told_once_and_enforced(scene: Scene) -> None:
    scene.reply()
    page = json.loads(scene.save().read_text())
    page["data"] = page["data"][:60]
    scene.server.answers = [page] * 4
    done = scene.fetch("--quiet")
    assert (done.code, "buckets are missing from" in done.err) == (0, True)
    assert scene.fetch("--quiet") == Done(0, "", "")
    assert scene.fetch("--enforce", "--quiet").code == 18
    assert len(scene.fetch("--json").json["missing"]) == 1


def test_quiet_tells_once_that_buckets_are_missing_or_that_keys_are_not_compared(scene: Scene) -> None:
    scene.reply()
    path = scene.save()
    page = json.loads(path.read_text())
    path.write_text(json.dumps({**page, "data": page["data"][:200] + page["data"][201:]}))
    saved = ("reconcile", str(path), "--as-of", "today", "--quiet")
    assert "buckets are missing" in scene(*saved).err
    assert scene(*saved) == Done(0, "", "")
    unnamed = {"SAFELOOP_API_KEY_ID": "", "SAFELOOP_BILLING_WORKSPACE": ""}
    assert "API keys are not compared" in scene.fetch("--quiet", **unnamed).err
    assert scene.fetch("--quiet", **unnamed) == Done(0, "", "")


def test_figures_of_the_future_make_nothing_certain(scene: Scene) -> None:
    scene.reply()
    scene.doubt()
    path = scene.save()
    page = json.loads(path.read_text())
    result = {**page["data"][120]["results"][0], "api_key_id": "apikey_zz"}
    page["data"].append({"starting_at": "2099-01-01T00:00:00Z", "ending_at": "2099-01-01T00:01:00Z", "results": [result]})
    path.write_text(json.dumps(page))
    assert "attempt in doubt not settled: it is not certain" in scene("reconcile", str(path)).out
    assert scene("reconcile", str(path), "--as-of", "today").code == 0
    assert [row["data"]["settled"] for row in scene.rows()] == [[]]


def test_a_report_that_may_be_of_another_key_settles_nothing_and_says_what_would_help(scene: Scene) -> None:
    scene.reply()
    scene.doubt()
    scene.house.clock.move(hours=2)
    scene.reply()
    for group, words in ((["model"], "group it by api_key_id"), (["api_key_id", "workspace_id"], "not grouped by model")):
        done = scene("reconcile", str(scene.save(**{"group_by[]": group})), "--as-of", "today")
        assert f"1 attempt in doubt not settled: {'API keys' if 'model' in group else 'the report'}" in done.out
        assert words in done.out
    assert [row["data"]["settled"] for row in scene.rows()] == [[], []]


def test_a_report_with_pages_missing_says_so(scene: Scene) -> None:
    scene.reply()
    scene.server.page_size = 200
    path = scene.save()
    done = scene("reconcile", str(path))
    assert "pages are missing after" in done.out
    assert scene("reconcile", str(path), "--enforce").code == 18


def test_more_than_a_hundred_settlements_are_several_rows(scene: Scene) -> None:
    scene.reply()
    for _ in range(205):
        granted = scene.house.ask("s", Ceilings(tokens=10**9))
        assert isinstance(granted, Granted)
        in_doubt(scene.house, granted)
    scene.house.clock.move(hours=2)
    scene.reply()
    assert scene.fetch().code == 0
    assert [len(row["data"]["settled"]) for row in scene.rows()] == [100, 100, 5]
    assert scene.house.findings() == []


@pytest.mark.parametrize("arguments", [
    (), ("u.json", "--from", "today"), ("u.json", "--to", "today"), ("--from", "today", "--as-of", "today"),
    ("--from", "sometime"), ("--from", "2026-11-21T07:00:00"), ("--from", "2100-01-01"), ("nowhere.json",),
])  # fmt: skip
def test_arguments_without_a_meaning_are_refused(scene: Scene, arguments: tuple[str, ...]) -> None:
    done = scene("reconcile", *arguments)
    assert (done.code, done.out) == (2, "")
    assert done.err.startswith("error: ")
    assert scene.server.asked == []


def test_the_admin_key_comes_from_a_file_or_a_command_and_from_nowhere_else(scene: Scene) -> None:
    scene.reply()
    key = scene.program.folder / "admin.key"
    key.write_text(f"{scene.server.admin_key}\n")
    key.chmod(0o600)
    assert scene.fetch(ANTHROPIC_ADMIN_KEY="", SAFELOOP_ADMIN_KEY_FILE=str(key)).code == 0
    assert scene.fetch(ANTHROPIC_ADMIN_KEY="", SAFELOOP_ADMIN_KEY_COMMAND=f"cat {key}").code == 0
    both = scene.fetch(SAFELOOP_ADMIN_KEY_FILE=str(key), SAFELOOP_ADMIN_KEY_COMMAND=f"cat {key}")
    assert (both.code, "both set" in both.err) == (2, True)
    none = scene.fetch(ANTHROPIC_ADMIN_KEY="")
    assert (none.code, "no admin key" in none.err) == (2, True)
    key.chmod(0o644)
    assert scene.fetch(SAFELOOP_ADMIN_KEY_FILE=str(key)).code == 14
    odd = scene.fetch(ANTHROPIC_ADMIN_KEY="of two words ")
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
