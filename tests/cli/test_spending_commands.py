"""`ledger limits`, `config prices`, and the ceilings as flags: what an operator sets, and what a script reads."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from tests.cli.program import Program

PRICES = '[[price]]\nmodel = "m"\ninput_usd = "2.5"\ncache_read_usd = "0.25"\noutput_usd = "9"\n'


def test_every_ceiling_has_a_flag_and_is_in_force(program: Program) -> None:
    flags = ("--turns", "4", "--tokens", "9000", "--cost-usd", "0.25", "--time-s", "60", "--tool-calls", "7",
             "--errors", "2", "--repeats", "5")
    assert program.job(*flags).code == 0
    opened = next(row for row in program.rows() if row["kind"] == "open")
    assert opened["data"]["ceilings"] == {
        "turns": 4, "tokens": 9000, "microusd": 250_000, "elapsed_ms": 60_000, "tool_calls": 7, "errors": 2, "repeats": 5,
    }
    assert program("audit").code == 0


def test_the_spec_says_all_its_ceilings(program: Program) -> None:
    done = program("spec", "--file", "job.toml", "--cost-usd", "1.5", "--time-s", "90", "--tool-calls", "1", "--errors", "1")
    assert "ceilings 5 turns, 15,000 tokens, $1.50, 90 s, 1 tool call, 1 error in a row\n" in done.out


@pytest.mark.parametrize(
    ("flags", "reason"),
    [(("--turns", "0"), "turn_ceiling"), (("--tokens", "10"), "token_ceiling"), (("--time-s", "0"), "time_ceiling"),
     (("--tool-calls", "0"), "tool_ceiling")],
)
def test_a_breach_of_any_ceiling_is_exit_code_10_with_its_banner_and_row(
    program: Program, flags: tuple[str, ...], reason: str
) -> None:
    done = program.job(*flags)
    assert done.code == 10
    assert f"reason       : {reason}\n" in done.err
    assert [row["data"]["breach_reason"] for row in program.rows() if row["kind"] == "breach"] == [reason]
    assert program("audit").code == 0


@pytest.mark.parametrize("text", ["five", "-1", "0,25", "1e99", "", "nan"])
def test_what_is_no_money_is_refused_by_its_flag(program: Program, text: str) -> None:
    done = program.job("--cost-usd", text)
    assert (done.code, program.kinds()) == (2, [])
    assert "flag --cost-usd must be US dollars from 0" in done.err


def test_limits_are_a_signed_row_that_keeps_what_it_does_not_change(program: Program) -> None:
    assert program("ledger", "limits").out == "no limits: what sessions spend together is not limited\n"
    done = program("ledger", "limits", "--day-usd", "25", "--hour-tokens", "3000")
    assert (done.code, program.kinds()) == (0, ["limits"])
    assert "0 tokens of 3,000 tokens" in done.out
    assert "$0.00 of $25.00" in done.out
    program("ledger", "limits", "--day-usd", "none", "--month-sessions", "7")
    rows = program.rows()
    assert (rows[-1]["session"], rows[-1]["data"]) == (
        "ledger", {"hour": {"tokens": 3000}, "day": {}, "month": {"sessions": 7}}
    )
    told = json.loads(program("ledger", "limits", "--json").out)
    assert told["limits"] == rows[-1]["data"]
    assert [(each["window"], each["unit"], each["limit"], each["charged"]) for each in told["used"]] == [
        ("hour", "tokens", 3000, 0), ("month", "sessions", 7, 0)
    ]
    assert program.kinds() == ["limits", "limits"], "to look is no row"
    assert program("audit").code == 0


@pytest.mark.parametrize(
    ("flag", "text"), [("--hour-tokens", "x"), ("--day-sessions", "-1"), ("--month-tokens", "1" * 20), ("--day-usd", "x"),
                       ("--month-usd", "-3"), ("--hour-tokens", "9" * 30)],
)
def test_a_limit_that_is_none_is_refused_before_anything_is_written(program: Program, flag: str, text: str) -> None:
    done = program("ledger", "limits", flag, text)
    assert (done.code, program.kinds()) == (2, [])
    if flag.endswith("-usd"):
        assert f"hint: such as {flag} 0.25\n" in done.err


def test_a_full_window_is_exit_code_15_and_no_breach(program: Program) -> None:
    program("ledger", "limits", "--hour-tokens", "20")
    done = program.job()
    assert done.code == 15, done.err
    assert "more than the hour's whole limit of 20 tokens: no hour is long enough, safeloop ledger limits raises it" in done.err
    assert "breach" not in program.kinds()
    assert program("audit").code == 0


def test_limits_that_were_raised_let_cron_go_on_before_the_window_turns(program: Program) -> None:
    program("ledger", "limits", "--hour-tokens", "20")
    assert program.job().code == 15
    waits = program("resume", "--all", "--json").json["sessions"][0]
    assert (waits["action"], waits["exit_code"]) == ("waiting", 0)
    program("ledger", "limits", "--hour-tokens", "none")
    done = program("resume", "--all", "--script", "writes.json")
    assert done.code == 0, done.err
    assert program.kinds()[-1] == "close"
    assert program.rows()[-1]["data"]["outcome"] == "completed"


def test_a_window_that_had_all_its_sessions_is_exit_code_15_and_records_nothing(program: Program) -> None:
    program("ledger", "limits", "--day-sessions", "1")
    assert program.job().code == 0
    before = program.kinds()
    done = program.job()
    assert (done.code, program.kinds()) == (15, before)
    assert "the day's limit of 1 sessions is used up to 1" in done.err


def test_a_child_is_recorded_with_its_parent_and_only_of_one_that_is_open(program: Program) -> None:
    assert program.job().code == 0
    done = program.job("--parent", "latest")
    assert done.code == 14
    assert "is closed already: completed" in done.err
    assert program.kinds().count("spec") == 1, "a session is recorded only if it is then run"


def test_prices_come_from_the_operators_file_first_and_say_so(program: Program) -> None:
    (program.folder / "prices.toml").write_text(PRICES)
    done = program("config", "prices", "m", "--prices", "prices.toml")
    assert done.out == (
        "model        m at https://api.anthropic.com\n"
        "source       prices.toml, entry 1\n"
        "input        $2.5 for a million tokens\n"
        "cache write  $2.5 for a million tokens\n"
        "cache read   $0.25 for a million tokens\n"
        "output       $9 for a million tokens\n"
        "searches     no price\n"
        "reserved at  $2.5 for input and $9 for output: the dearest that can apply\n"
    )
    told = json.loads(program("config", "prices", "m", "--json", env={"SAFELOOP_PRICES": "prices.toml"}).out)
    assert (told["source"], told["usd_per_million"]["output"], told["usd_per_thousand_searches"]) == (
        "prices.toml, entry 1", "9", None
    )


def test_published_prices_say_which_package_and_entry_they_are_from(program: Program) -> None:
    told = json.loads(program("config", "prices", "claude-sonnet-5-5", "--json").out)
    assert told["source"].startswith("genai-prices ")
    assert told["source"].endswith("anthropic/claude-sonnet-5-5")
    assert json.loads(program("config", "prices", "offline-auditor", "--json").out)["source"] == "never billed"


def test_a_model_without_a_price_is_refused_with_what_to_do(program: Program) -> None:
    done = program("config", "prices", "no-such-model")
    assert done.code == 2
    assert "there is no price for no-such-model at https://api.anthropic.com in genai-prices" in done.err
    assert "hint: give one with --prices FILE" in done.err


def test_a_price_file_that_cannot_be_used_is_refused_by_its_name(program: Program) -> None:
    done = program("config", "prices", "m", "--prices", "nowhere.toml")
    assert (done.code, "price file nowhere.toml cannot be read" in done.err) == (2, True)
    (program.folder / "prices.toml").write_text('[[price]]\nmodel = "m"\n')
    assert "prices.toml, entry 1 lacks input_usd" in program("config", "prices", "m", "--prices", "prices.toml").err


def test_a_cost_ceiling_without_a_price_records_nothing(program: Program) -> None:
    done = program(
        "run", "--spec-file", "job.toml", "--task", "x", "--base-url", "http://127.0.0.1:9/v1", "--model", "m",
        "--cost-usd", "1",
    )
    assert (done.code, program.kinds()) == (2, [])
    assert "a cost ceiling needs a price: there is no price for m" in done.err


def test_without_the_extra_the_error_says_what_to_install() -> None:
    code = (
        "import sys; sys.modules['genai_prices'] = None\n"
        "from safeloop.breaker.pricing import find_price\n"
        "from safeloop.errors import SettingError\n"
        "try: find_price('m', 'e')\n"
        "except SettingError as error: print(error, '|', error.hint)\n"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60).stdout
    assert "genai-prices is not installed | pip install 'safeloop[cost]'" in said
