"""Scripts, wrapping, protocols, and what importing costs."""

import json
import subprocess
import sys
from types import SimpleNamespace

import anthropic
import pytest
from hypothesis import given
from hypothesis import strategies as st

from safeloop.errors import SettingError
from safeloop.models import (
    LLMClient,
    MessagesEndpoint,
    ScriptedClient,
    adapt,
    failure_of,
    is_anthropic_client,
    may_retry,
)

ASK = {"model": "m", "max_tokens": 50, "system": "s" * 40, "messages": [{"role": "user", "content": "hello"}]}


class TutorialClient:
    def __init__(self):
        self.messages = self

    def create(self, **kwargs):
        return kwargs


def test_replies_are_played_in_order_and_every_request_is_kept_as_it_was():
    client = ScriptedClient(["one", {"content": [{"type": "tool_use", "id": "c", "name": "t", "input": {}}]}])
    messages = [{"role": "user", "content": "hello"}]
    first = client.messages.create(**{**ASK, "messages": messages})
    messages.append({"role": "assistant", "content": "one"})
    second = client.messages.create(**{**ASK, "messages": messages})
    assert (first.text, first.stop_reason, second.stop_reason) == ("one", "end_turn", "tool_use")
    assert [len(call["messages"]) for call in client.calls] == [1, 2]
    assert (client.endpoint, client.costs_nothing) == ("scripted", True)


def test_a_script_that_has_ended_says_so_and_is_neither_retried_nor_charged():
    client = ScriptedClient(["one"])
    client.create(**ASK)
    with pytest.raises(SettingError, match="has 1 replies, and this is request 2") as caught:
        client.create(**ASK)
    failure = failure_of(caught.value)
    assert (failure.in_doubt, may_retry(failure)) == (False, False)


@pytest.mark.parametrize("error", [TimeoutError("late"), TimeoutError, KeyboardInterrupt()])
def test_an_exception_in_the_script_is_raised_as_it_is(error):
    with pytest.raises(type(error) if isinstance(error, BaseException) else error):
        ScriptedClient([error]).create(**ASK)


def test_a_reply_that_says_it_all_is_not_completed():
    reply = {"content": "x", "stop_reason": None, "usage": {"input_tokens": 1, "output_tokens": 2}, "model": "own"}
    read = ScriptedClient([reply]).create(**ASK)
    assert (read.stop_reason, read.usage.total, read.model) == (None, 3, "own")
    assert ScriptedClient([{"content": "x", "usage": None}]).create(**ASK).usage is None
    assert ScriptedClient([SimpleNamespace(content="x")]).create(**ASK).text == "x"


any_text = st.text(st.characters(exclude_categories=()), max_size=200)  # lone surrogates among them


@given(st.text(max_size=80), any_text, st.text(max_size=200), st.integers(1, 20))
def test_the_usage_of_a_script_never_passes_what_was_allowed(system, content, answer, max_tokens):
    messages = [{"role": "user", "content": content}]
    client = ScriptedClient([answer])
    usage = client.create(model="m" * 90, max_tokens=max_tokens, system=system, messages=messages).usage
    size = len((system + "user" + content).encode("utf-8", "surrogatepass"))
    assert 1 <= usage.input <= size
    assert 1 <= usage.output <= max_tokens


def test_a_script_comes_from_a_file(tmp_path):
    path = tmp_path / "script.json"
    path.write_text(json.dumps(["hé", {"content": "b"}]))
    client = ScriptedClient.from_file(path)
    assert [client.create(**ASK).text, client.create(**ASK).text] == ["hé", "b"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", "not JSON"),
        ("{}", "not a list"),
        ('["a", 5]', "reply 2 is neither"),
        ("[" * 100_000, "not JSON"),
        (None, "cannot be read"),
    ],
)
def test_a_bad_script_is_refused_with_its_name(tmp_path, text, words):
    path = tmp_path / "script.json"
    if text is not None:
        path.write_text(text)
    with pytest.raises(SettingError, match=words) as caught:
        ScriptedClient.from_file(str(path))
    assert str(path) in str(caught.value)


def test_a_script_in_another_encoding_is_refused(tmp_path):
    path = tmp_path / "script.json"
    path.write_bytes(b'["\xff"]')
    with pytest.raises(SettingError, match="not JSON"):
        ScriptedClient.from_file(path)


def test_the_tutorials_client_and_the_script_are_clients_and_are_left_alone():
    for client in (TutorialClient(), ScriptedClient([])):
        assert isinstance(client, LLMClient)
        assert isinstance(client.messages, MessagesEndpoint)
        assert not is_anthropic_client(client)
        assert adapt(client) is client


@pytest.mark.parametrize(
    "thing", [None, "client", SimpleNamespace(), SimpleNamespace(messages=None), SimpleNamespace(create=print)]
)
def test_what_has_no_messages_to_create_is_refused(thing):
    with pytest.raises(SettingError, match=r"needs messages\.create"):
        adapt(thing)


def test_an_async_client_is_refused_with_the_way_out():
    client = anthropic.AsyncAnthropic(api_key="k")
    assert is_anthropic_client(client)
    with pytest.raises(SettingError, match="async") as caught:
        adapt(client)
    assert "anthropic.Anthropic(" in caught.value.hint


def test_a_client_with_a_stream_format_of_its_own_is_refused():
    client = type("AnthropicBedrock", (type("BaseBedrockClient", (), {"__module__": "anthropic.lib.bedrock"}),), {})()
    with pytest.raises(SettingError, match="Bedrock"):
        adapt(client)


def test_a_class_that_only_calls_itself_so_is_no_sdk_client():
    class SyncAPIClient(TutorialClient):
        pass

    assert adapt(SyncAPIClient()).messages is not None
    assert not is_anthropic_client(SyncAPIClient())


def test_importing_the_room_loads_no_sdk():
    code = (
        "import sys, safeloop.models as m; m.adapt(m.ScriptedClient([]));"
        "print([name for name in ('anthropic', 'httpx2', 'pydantic', 'httpcore2') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
