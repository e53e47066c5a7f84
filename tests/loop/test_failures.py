"""Attempts that brought no reply: what each is charged, through the real SDK and through any client."""

import socket

import anthropic
import pytest

from safeloop.errors import AttemptFailed, ExitCode, LedgerError, SettingError
from safeloop.ledger import Ledger
from safeloop.models import ScriptedClient
from safeloop.models.anthropic import AnthropicClient
from tests.loop.playing import Player, kinds, loop_of, only, reply, rows_of, spec_of, usage
from tests.servers.anthropic_server import AnthropicServer, Fault, message, text

NOTHING, IN_FULL = False, True
FINAL = [400, 401, 403, 404, 413, 422]
STATUSES = [(status, NOTHING) for status in (408, 409, 429, 503, 529)] + [
    (status, IN_FULL) for status in (500, 502, 504, 520, 599)
]
BROKEN = [
    (Fault.cut(), "CutStream"), (Fault.half_event(), "CutStream"), (Fault.break_off(), "CutStream"),
    (Fault.bad_json(), "BadStream"), (Fault.error_event("overloaded_error"), "StreamError"),
    (Fault.stream(""), "CutStream"), (Fault.reset(), "APIConnectionError"),
]


def failed(ledger, client, error=AttemptFailed, **more):
    """Run into the failure; return its attempt row, after checking all that holds for every failure."""
    with pytest.raises(error) as raised:
        loop_of(ledger, client, **more).run("do it")
    assert kinds(ledger) == ["spec", "open", "intent", "attempt", "close"]
    intent, attempt, close = only(ledger, "intent"), only(ledger, "attempt").data, only(ledger, "close").data
    assert (attempt["turn"], attempt["attempt"], attempt["intent"]) == (1, 1, intent.n)
    assert attempt["charged_tokens"] == (intent.data["reserved_tokens"] if attempt["in_doubt"] else 0)
    assert (close["outcome"], close["turns"], close["total_tokens"]) == ("failed", 0, attempt["charged_tokens"])
    assert close["reason"] == attempt["error"]["class"] or not isinstance(raised.value, AttemptFailed)
    return attempt


def first(ledger, client):
    """Run past the failure; return its attempt row, after checking that it is the only one."""
    assert loop_of(ledger, client, sleep_fn=lambda _: None).run("do it").outcome == "completed"
    assert kinds(ledger) == ["spec", "open", "intent", "attempt", "intent", "turn", "close"]
    intent, attempt = rows_of(ledger, "intent")[0], only(ledger, "attempt").data
    assert (attempt["turn"], attempt["attempt"], attempt["intent"]) == (1, 1, intent.n)
    assert attempt["charged_tokens"] == (intent.data["reserved_tokens"] if attempt["in_doubt"] else 0)
    return attempt


@pytest.mark.parametrize("status", FINAL)
def test_a_refusal_costs_nothing_and_is_final(ledger, status):
    with AnthropicServer([Fault.status(status), "done"]) as server:
        attempt = failed(ledger, anthropic.Anthropic(api_key="k", base_url=server.url))
        assert len(server.posts) == 1
    assert (attempt["error"]["status"], attempt["in_doubt"]) == (status, False)


def test_a_page_in_place_of_a_reply_is_charged_in_full_and_final(ledger):
    with AnthropicServer([Fault.html(), "done"]) as server:
        attempt = failed(ledger, anthropic.Anthropic(api_key="k", base_url=server.url))
        assert len(server.posts) == 1
    assert (attempt["error"]["class"], attempt["in_doubt"]) == ("NotAStream", True)


@pytest.mark.parametrize(("status", "in_doubt"), STATUSES)
def test_a_status_is_charged_in_full_only_where_it_may_have_been_billed(ledger, status, in_doubt):
    with AnthropicServer([Fault.status(status), "done"]) as server:
        attempt = first(ledger, anthropic.Anthropic(api_key="k", base_url=server.url))
        assert len(server.posts) == 2  # the SDK would have sent three
    assert (attempt["error"]["status"], attempt["in_doubt"]) == (status, in_doubt)
    assert attempt["charged_microusd"] == (None if in_doubt else 0)
    assert b"on purpose" in ledger.read_content(attempt["error"]["detail"])


@pytest.mark.parametrize(("fault", "error_class"), BROKEN, ids=lambda value: getattr(value, "kind", value))
def test_a_reply_that_does_not_come_whole_is_charged_in_full(ledger, fault, error_class):
    with AnthropicServer([fault, "done"]) as server:
        attempt = first(ledger, anthropic.Anthropic(api_key="k", base_url=server.url))
        assert len(server.posts) == 2
    assert (attempt["error"]["class"], attempt["in_doubt"]) == (error_class, True)


@pytest.mark.parametrize("fault", [Fault.stall(), Fault.stall_midway(), Fault.drip(every_s=0.02)], ids=lambda x: x.kind)
def test_a_reply_that_takes_too_long_is_charged_in_full(ledger, fault):
    with AnthropicServer([fault, "done"]) as server:
        attempt = first(ledger, AnthropicClient(api_key="k", base_url=server.url, deadline_s=0.5))
    assert (attempt["error"]["class"], attempt["in_doubt"]) == ("DeadlineExceeded", True)
    assert 450 <= attempt["execution_time_ms"] < 10_000


def test_a_connection_that_is_refused_costs_nothing(ledger):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound, and not listening
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"
        result = loop_of(ledger, anthropic.Anthropic(api_key="k", base_url=url), sleep_fn=lambda _: None).run("do it")
    attempt = rows_of(ledger, "attempt")[0].data
    assert (result.total_tokens, attempt["charged_tokens"]) == (0, 0)
    assert attempt["error"]["class"] == "APIConnectionError"
    assert (attempt["error"]["status"], attempt["in_doubt"]) == (None, False)


def test_a_request_that_cannot_be_put_together_costs_nothing(ledger):
    with AnthropicServer(["done"]) as server:
        client = anthropic.Anthropic(api_key="k", base_url=server.url)
        with pytest.raises(AttemptFailed):
            loop_of(ledger, client).run("lone \ud800")
        assert server.posts == []
    assert only(ledger, "attempt").data["charged_tokens"] == 0


@pytest.mark.parametrize(
    "counts", [None, {}, "a string", {"input_tokens": -5, "output_tokens": 1}, {"input_tokens": 5}]
)
def test_a_usage_of_the_real_wire_that_cannot_be_believed_is_charged_in_full(ledger, counts):
    with AnthropicServer([message(text("done"), usage=counts)]) as server:
        result = loop_of(ledger, anthropic.Anthropic(api_key="k", base_url=server.url)).run("do it")
    turn = only(ledger, "turn").data
    assert (turn["usage"], turn["token_delta"]) == (None, only(ledger, "intent").data["reserved_tokens"])
    assert result.total_tokens == turn["token_delta"]


@pytest.mark.parametrize(
    ("error", "error_class"),
    [
        (ValueError("a key: sk-123"), "ValueError"), (SystemExit(3), "SystemExit"), (GeneratorExit(), "GeneratorExit"),
        (MemoryError(), "MemoryError"), (RecursionError("deep"), "RecursionError"),
        (AssertionError("\ud800"), "AssertionError"),
    ],
)
def test_what_any_client_raises_comes_through_unchanged_and_is_in_doubt(ledger, error, error_class):
    attempt = failed(ledger, Player(error), error=type(error))
    assert (attempt["error"]["class"], attempt["in_doubt"]) == (error_class, True)
    assert rows_of(ledger, "close")[0].data["reason"] == error_class


@pytest.mark.parametrize("error", [TimeoutError("slow"), ConnectionResetError()])
def test_what_the_network_did_to_any_client_is_in_doubt_and_tried_again(ledger, error):
    attempt = first(ledger, Player(error, reply("done")))
    assert (attempt["error"]["class"], attempt["in_doubt"]) == (type(error).__name__, True)


def test_an_error_whose_own_words_fail_still_leaves_a_closed_session_and_a_settled_attempt(ledger):
    class MuteError(Exception):
        def __str__(self):
            raise RuntimeError("no words")

    with pytest.raises(RuntimeError, match="no words"):
        loop_of(ledger, Player(MuteError())).run("do it")
    assert kinds(ledger)[-2:] == ["attempt", "close"]
    assert only(ledger, "attempt").data["charged_tokens"] == only(ledger, "intent").data["reserved_tokens"]


def test_an_attempt_that_no_row_can_describe_is_settled_in_doubt(ledger):
    odd = AttemptFailed("odd", error_class="Odd", status=-5, in_doubt=False)
    with pytest.raises(Exception, match="error is missing, unknown or of another form"):
        loop_of(ledger, Player(odd)).run("do it")
    attempt = only(ledger, "attempt").data
    assert (attempt["error"]["class"], attempt["in_doubt"]) == ("Unrecorded", True)


def test_a_script_that_has_ended_costs_nothing(ledger):
    with pytest.raises(SettingError):
        loop_of(ledger, ScriptedClient([])).run("do it")
    attempt = only(ledger, "attempt").data
    assert (attempt["in_doubt"], attempt["charged_tokens"], attempt["charged_microusd"]) == (False, 0, 0)


def test_a_failure_in_a_later_turn_keeps_what_earlier_turns_cost(ledger):
    client = Player(reply("hm", stop_reason="max_tokens", counts=usage(300, 20)), ValueError())
    with pytest.raises(ValueError):
        loop_of(ledger, client).run("do it")
    attempt, close = only(ledger, "attempt").data, only(ledger, "close").data
    assert (attempt["turn"], close["turns"]) == (2, 1)
    assert close["total_tokens"] == 320 + attempt["charged_tokens"] > 1_344
    assert ledger.read_content(close["output"]) == b"hm"


def test_an_error_names_its_exit_code_and_keeps_its_hint(ledger):
    with AnthropicServer([Fault.status(401)]) as server, pytest.raises(AttemptFailed) as raised:
        loop_of(ledger, anthropic.Anthropic(api_key="k", base_url=server.url)).run("do it")
    assert (raised.value.exit_code, raised.value.status) == (ExitCode.FAILED, 401)
    assert "ANTHROPIC_API_KEY" in raised.value.hint
    assert not hasattr(raised.value, "__notes__")


@pytest.mark.parametrize("client", [object(), None, "a client", anthropic.AsyncAnthropic(api_key="k")])
def test_a_client_that_cannot_be_used_is_refused_before_anything_is_recorded(ledger, client):
    with pytest.raises(SettingError):
        loop_of(ledger, client).run("do it")
    assert ledger.rows("s") == ()


def test_a_session_that_cannot_be_closed_says_so_in_a_note_and_the_error_stays_the_error(tmp_path):
    ledger = Ledger(tmp_path / "l.db")

    def pull_the_ledger_away(_):
        ledger.close()
        raise TimeoutError("the first error")

    with pytest.raises(Exception, match=r".") as raised:  # what a closed ledger raises is its own affair
        loop_of(ledger, Player(pull_the_ledger_away)).run("do it")
    assert isinstance(raised.value.__context__, TimeoutError)
    assert any("safeloop close s" in note for note in raised.value.__notes__)
    left = Ledger(tmp_path / "l.db")
    assert kinds(left) == ["spec", "open", "intent"]
    with pytest.raises(LedgerError):
        loop_of(left, Player(reply("done")), spec=spec_of("s")).run("do it")
