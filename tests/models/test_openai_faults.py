"""Everything an OpenAI-compatible server can do wrong, with the exact verdict on the attempt."""

import contextlib
import json
import os
import re
import signal
import socket
import threading
import time

import httpx2
import pytest

from safeloop.errors import AttemptFailed, SettingError
from safeloop.models.openai import OpenAIClient
from safeloop.models.usage import Usage
from tests.models.test_openai_turns import ASK, answer, talking
from tests.servers.openai_server import Fault, OpenAIServer, call, completion, usage


def failure(*script, **options):
    """The failure of one request; one request is one POST."""
    with talking(*script, **options) as (server, client):
        with pytest.raises(AttemptFailed) as caught:
            client.messages.create(**ASK)
        assert len(server.posts) == 1, "a hidden retry"
        return caught.value


def failure_at(url, **options):
    with OpenAIClient(url, **options) as client:
        with pytest.raises(AttemptFailed) as caught:
            client.messages.create(**ASK)
        return caught.value


def chunk(delta, finish_reason=None, **more):
    return "data: " + json.dumps({"choices": [{"index": 0, "delta": delta, "finish_reason": finish_reason}], **more}) + "\n\n"


END = chunk({}, "stop", usage=usage()) + "data: [DONE]\n\n"


@pytest.mark.parametrize(
    ("status", "in_doubt"),
    [(204, True), (302, True), (400, False), (401, False), (404, False), (408, False), (409, False), (413, False),
     (429, False), (500, True), (502, True), (503, False), (504, True), (529, False)],
)  # fmt: skip
def test_each_status_has_its_doubt_and_is_never_retried(status, in_doubt):
    found = failure(Fault.status(status, body={"error": {"message": "on purpose"}}), "a retry would get this")
    assert (found.error_class, found.status, found.in_doubt) == ("BadStatus", status, in_doubt)
    assert f"(status {status})" in str(found)
    assert "ANTHROPIC" not in found.hint


def test_a_redirect_is_not_followed_not_even_to_the_same_server():
    with OpenAIServer([Fault.status(307, headers={"location": "/v1/chat/completions"}), "stolen"]) as server:
        found = failure_at(server.base_url)
        assert len(server.requests) == 1
    assert (found.status, found.in_doubt) == (307, True)
    assert "none is followed" in found.hint


def test_the_wait_that_the_server_asks_for_is_handed_on():
    assert failure(Fault.status(429, headers={"retry-after": "7"})).retry_after_s == 7.0
    assert failure(Fault.status(503, headers={"retry-after": "7", "retry-after-ms": "1500"})).retry_after_s == 1.5


def test_hints_name_what_the_operator_can_change():
    assert failure(Fault.status(401)).hint == "check OPENAI_API_KEY"
    assert "/v1" in failure(Fault.status(404)).hint
    refused = {"error": {"message": "Unsupported parameter: use 'max_completion_tokens' instead"}}
    assert failure(Fault.status(400, body=refused)).hint == "export SAFELOOP_LIMIT_NAME=max_completion_tokens"
    assert failure(Fault.status(400, body=refused), limit_name="max_completion_tokens").hint == ""


def test_a_key_that_the_server_echoes_is_not_kept():
    secret = "sk-very-secret-indeed"
    for fault in (Fault.status(401, body=f"no such key: {secret}"), Fault.stream(f'data: {{"error": "{secret}"}}\n\n'),
                  Fault.stream(f"data: {secret}\n\n")):  # fmt: skip
        found = failure(fault, api_key=secret)
        assert secret not in f"{found!r} {found} {found.detail} {found.hint}"
        assert "[the API key]" in found.detail


def test_an_error_that_never_ends_is_kept_in_part():
    with served(b"HTTP/1.1 500 Sorry\r\ncontent-length: 1000000000\r\n\r\n" + b"x" * 200_000, stay=True) as url:
        found = failure_at(url, deadline_s=5)
    assert (found.status, len(found.detail)) == (500, 65_536)


def test_an_error_that_breaks_off_keeps_its_status():
    with served(b"HTTP/1.1 503 Sorry\r\ncontent-length: 1000\r\n\r\nonly this") as url:
        found = failure_at(url)
    assert (found.status, found.in_doubt, found.detail) == (503, False, "only this [RemoteProtocolError]")


@pytest.mark.parametrize(
    ("fault", "error_class", "words"),
    [
        (Fault.html(), "NotAStream", "not with a stream of events"),
        (Fault.status(200, body={"choices": []}), "NotAStream", "not with a stream of events"),
        (Fault.cut(), "CutStream", "broke off before its finish_reason and [DONE]"),
        (Fault.break_off(), "CutStream", "connection was lost"),
        (Fault.half_event(), "CutStream", "broke off"),
        (Fault.stream(""), "CutStream", "broke off"),
        (Fault.stream("data: [DONE]\n\n"), "CutStream", "broke off"),
        (Fault.stream(chunk({"content": "x"}) + "data: [DONE]\n\n"), "CutStream", "finish_reason"),
        (Fault.bad_json(), "BadStream", "a chunk is not JSON"),
        (Fault.error_event("\x1b[2J evil"), "StreamError", "broke the reply off with an error"),
        (Fault.stream("data: 5\n\n"), "BadStream", "a chunk is not an object"),
        (Fault.stream("data: " + "[" * 200_000 + "\n\n"), "BadStream", "not JSON"),
        (Fault.stream('data: {"choices": 5}\n\n'), "BadStream", "no list"),
        (Fault.stream('data: {"choices": [5]}\n\n'), "BadStream", "no object"),
        (Fault.stream('data: {"choices": [{}, {}]}\n\n'), "BadStream", "second choice"),
        (completion("x", index=1), "BadStream", "second choice"),
        (Fault.stream('data: {"choices": [{"delta": 5}]}\n\n'), "BadStream", "delta is no object"),
        (Fault.stream(chunk({"content": ["x"]})), "BadStream", "a part is no text"),
        (Fault.stream(chunk({"tool_calls": {}})), "BadStream", "no list"),
        (Fault.stream(chunk({"tool_calls": ["x"]})), "BadStream", "tool call is no object"),
        (Fault.stream(chunk({"tool_calls": [{"index": "0"}]})), "BadStream", "index is no integer"),
        (Fault.stream(chunk({"tool_calls": [{"index": 0, "id": 5}]})), "BadStream", "a part is no text"),
        (Fault.stream(chunk({}, 5)), "BadStream", "finish reasons"),
        (Fault.stream(chunk({}, "length") + END), "BadStream", "two finish reasons"),
    ],
)
def test_what_breaks_after_sending_is_in_doubt_and_said_in_plain_words(fault, error_class, words):
    found = failure(fault)
    assert (found.error_class, found.in_doubt) == (error_class, True)
    assert words in str(found)
    assert "\x1b" not in f"{found}{found.hint}"


def test_a_reset_connection_is_in_doubt():
    found = failure(Fault.reset())
    assert (str(found), found.in_doubt) == ("the connection was lost after the request was sent", True)


def test_the_servers_words_in_a_stream_are_kept_as_detail():
    assert json.loads(failure(Fault.error_event("overloaded_error")).detail)["error"]["type"] == "overloaded_error"


def test_a_reply_that_never_ends_is_given_up(monkeypatch):
    monkeypatch.setattr("safeloop.models.transport.BODY_LIMIT", 1000)
    for script in (completion("x" * 5000), Fault.stream("data: " + "x" * 100_000)):
        assert failure(script).error_class == "BadStream"


def test_a_server_that_answers_twice_in_one_stream_is_charged_in_full():
    """What each of two answers cost is no total; usages that grow with the content are."""
    once = chunk({"content": "a"}, "stop", usage=usage(10, 5))
    more = chunk({"content": "b"}, "stop", usage=usage(10, 6))
    done = "data: [DONE]\n\n"
    for stream, believed in ((once * 2, None), (once + more + once, None), (once + chunk({"content": "b"}), None)):
        assert answer(Fault.stream(stream + done)).usage is believed
    assert answer(Fault.stream(once + more + done)).usage == Usage(input=10, output=6)
    assert answer(Fault.stream(once + END)).usage is not None, "the same, said again after the end"


CALLS = [
    ("gaps in the index", [call("a", {}, "1", 7), call("b", {}, "2", 3)], [("1", "a"), ("2", "b")]),
    ("a negative index", [call("a", {}, "1", -1)], [("1", "a")]),
    ("one index for all", [call("a", {}, "1", 0), call("a", {}, "2", 0), call("b", {}, "3", 0)],
     [("1", "a"), ("2", "a"), ("3", "b")]),
    ("no index", [call("a", {}, "1", None), call("b", {}, "2", None)], [("1", "a"), ("2", "b")]),
    ("no ids", [call("a", {}, None), call("b", {}, "")], [("call_0_of_2", "a"), ("call_1_of_2", "b")]),
    ("neither id nor name", [call(None, {}, None)], [("call_0_of_1", "")]),
    ("one id for all", [call("a", {}, "1", 0), call("b", {}, "1", 1)], [("1", "a"), ("call_1_of_2", "b")]),
    ("no function", [{"id": "1", "index": 0}, {"id": "2", "index": 1, "function": None}], [("1", ""), ("2", "")]),
]  # fmt: skip


@pytest.mark.parametrize(("what", "calls", "expected"), CALLS, ids=[what for what, _, _ in CALLS])
def test_calls_are_told_apart_however_they_are_numbered(what, calls, expected):
    reply = answer(completion(calls=calls))
    assert [(one.id, one.name) for one in reply.tool_calls] == expected
    assert all(one.input == {} for one in reply.tool_calls)


def test_a_call_in_pieces_without_index_a_repeated_name_and_arguments_as_an_object_are_put_together():
    pieces = [{"id": "1", "function": {"name": "look", "arguments": '{"a"'}}, {"function": {"name": "look", "arguments": ": 1}"}}]
    whole = {"index": 0, "id": "9", "function": {"name": "list", "arguments": {"b": 2}}}
    body = "".join(chunk({"tool_calls": [piece]}) for piece in [*pieces, whole])
    reply = answer(Fault.stream(body + chunk(None) + "data: {}\n\n" + END))
    assert [(one.name, one.input) for one in reply.tool_calls] == [("look", {"a": 1}), ("list", {"b": 2})]


def test_thinking_under_two_names_is_kept_once():
    reply = answer(Fault.stream(chunk({"reasoning": "hm", "reasoning_content": "hm"}) + chunk({"content": "x"}) + END))
    assert [block["type"] for block in reply.content] == ["thinking", "text"]


def test_huge_lines_and_deep_arguments_are_read_and_kept():
    deep = '{"a":' * 500 + "1" + "}" * 500
    reply = answer(completion("x" * 3_000_000, calls=[call("look", deep)], usage=usage()))
    assert len(reply.text) == 3_000_000
    assert reply.tool_calls[0].input == deep, "a text, which the tools refuse: what is kept would be cut"
    for levels, kind in ((64, dict), (66, str)):
        arguments = '{"a":[' * (levels // 2) + "1" + "]}" * (levels // 2)
        assert type(answer(completion(calls=[call("look", arguments)])).tool_calls[0].input) is kind


def served(data, *, stay=False):
    """An address where one connection is answered with these bytes, and then closed, or left to the client to close."""

    class Served:
        def __enter__(self):
            self.listener = socket.create_server(("127.0.0.1", 0))
            self.thread = threading.Thread(target=self.serve)
            self.thread.start()
            return f"http://127.0.0.1:{self.listener.getsockname()[1]}/v1"

        def serve(self):
            connection, _ = self.listener.accept()
            with connection:
                self.read_request(connection)
                with contextlib.suppress(ConnectionError):  # of a client that has heard enough
                    connection.sendall(data)
                    if stay:
                        connection.recv(1)

        @staticmethod
        def read_request(connection):
            """Read to the request's end: a close before that would be a reset, which takes the answer with it."""
            with connection.makefile("rb") as request:
                head = b"".join(iter(request.readline, b"\r\n"))
                request.read(int(re.search(rb"(?i)content-length: (\d+)", head)[1]))

        def __exit__(self, *_exc):
            self.thread.join()
            self.listener.close()

    return Served()


def test_bytes_that_are_not_utf8_break_the_stream():
    head = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n"
    with served(head + b"data: \xff\xfe\n\n") as url:
        found = failure_at(url)
    assert (found.error_class, found.in_doubt) == ("BadStream", True)
    assert "not UTF-8" in str(found)


def test_what_is_no_http_is_in_doubt():
    with served(b"SSH-2.0-OpenSSH_9.2\r\n") as url:
        assert failure_at(url).in_doubt is True


def test_nothing_listening_is_not_in_doubt():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    found = failure_at(f"http://127.0.0.1:{port}/v1")
    assert (found.error_class, found.status, found.in_doubt) == ("ConnectError", None, False)
    assert (str(found), found.hint) == ("the server could not be reached", "check the base URL, and that the server runs")


def test_a_name_that_does_not_exist_and_a_server_without_tls_are_not_in_doubt():
    assert failure_at("http://no-such-host.invalid/v1").in_doubt is False
    with OpenAIServer() as server:
        assert failure_at(server.base_url.replace("http:", "https:"), deadline_s=5).in_doubt is False


def test_a_certificate_that_nobody_signed_is_refused_before_anything_is_sent(tmp_path):
    import ssl
    import subprocess

    key, certificate = tmp_path / "key.pem", tmp_path / "cert.pem"
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "1",
                    "-keyout", key, "-out", certificate, "-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1"],
                   check=True, capture_output=True)  # fmt: skip
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate, key)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        received = []

        def serve():
            connection, _ = listener.accept()
            try:
                with context.wrap_socket(connection, server_side=True) as secured:
                    received.append(secured.recv(65_536))
            except OSError:
                return

        thread = threading.Thread(target=serve)
        thread.start()
        found = failure_at(f"https://127.0.0.1:{listener.getsockname()[1]}/v1", api_key="sk-very-secret")
        thread.join()
    assert (found.in_doubt, [data for data in received if data]) == (False, [])


def test_no_proxy_and_no_netrc_of_the_environment_are_used(monkeypatch, tmp_path):
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login me password mine\n")
    with talking("direct") as (server, client):
        assert client.messages.create(**ASK).text == "direct"
        assert "authorization" not in server.posts[0].headers


@pytest.mark.parametrize(
    "fault", [Fault.stall(), Fault.stall_midway(), Fault.drip(every_s=0.01), Fault.drip_headers(every_s=0.01)],
    ids=lambda fault: fault.kind,
)  # fmt: skip
def test_the_deadline_ends_a_server_that_stalls_or_drips_and_the_thread_with_it(fault):
    with talking(fault, deadline_s=0.3) as (server, client):
        before = time.monotonic()
        with pytest.raises(AttemptFailed) as caught:
            client.messages.create(**ASK)
        assert 0.3 <= time.monotonic() - before < 1.3
        assert (caught.value.error_class, caught.value.in_doubt) == ("DeadlineExceeded", True)
        no_thread_is_left()
        assert len(server.posts) == 1


def no_thread_is_left():
    until = time.monotonic() + 2
    while any(thread.name == "safeloop-request" for thread in threading.enumerate()):
        assert time.monotonic() < until, "the thread is still there"
        time.sleep(0.01)


def test_ctrl_c_passes_through_at_once_and_ends_the_request():
    with talking(Fault.stall(), deadline_s=30) as (_, client):
        interrupt = threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGINT))
        interrupt.start()
        before = time.monotonic()
        with pytest.raises(KeyboardInterrupt):
            client.messages.create(**ASK)
        assert time.monotonic() - before < 2
        interrupt.join()
        no_thread_is_left()


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("ftp://127.0.0.1/v1", "does not begin with https://"), ("127.0.0.1:8080/v1", "does not begin with https://"),
        ("", "does not begin"), ("http:///v1", "does not begin"), ("http://127.0.0.1:0/v1", "does not begin"),
        ("http://me:pass-word@127.0.0.1/v1", "holds credentials"), ("http://me@127.0.0.1/v1", "holds credentials"),
        ("http://@127.0.0.1/v1", "holds credentials"), ("http://127.0.0.1/v1?key=pass-word", "has a query"),
        ("http://127.0.0.1/v1#", "fragment"), ("http://127.0.0.1:99999/v1", "host or port"), ("http://[::1/v1", "host or port"),
        ("http://127.0.0.1/v 1", "a space"), ("http://127.0.0.1/\n", "a space"), ("http://exämple.org/v1", "a letter"), (None, "a letter"),
    ],
)  # fmt: skip
def test_an_address_that_cannot_be_used_is_refused_and_not_repeated(url, said):
    with pytest.raises(SettingError, match=said) as caught:
        OpenAIClient(url, api_key="k")
    assert "pass-word" not in f"{caught.value!r}{caught.value.hint}"


@pytest.mark.parametrize("key", [" sk-1", "sk-1\n", "sk-1\u00e9", "sk-1\r\nx-evil: 1"])
def test_a_key_that_no_header_carries_is_refused_without_being_said(key):
    with pytest.raises(SettingError, match="the API key holds") as caught:
        OpenAIClient("http://127.0.0.1:9", api_key=key)
    assert "sk-1" not in f"{caught.value!r}"


def test_arguments_without_a_meaning_are_refused():
    for options in ({"deadline_s": 0}, {"deadline_s": float("nan")}, {"limit_name": "max"}):
        with pytest.raises(SettingError):
            OpenAIClient("http://127.0.0.1:9", **options)
    with pytest.raises(SettingError, match="OPENAI_API_KEY is not set"):
        OpenAIClient("https://api.openai.com/v1")


@pytest.mark.parametrize(
    ("url", "is_private"),
    [("https://example.org/v1", True), ("http://localhost:1/v1", True), ("http://a.localhost/v1", True), ("http://127.9.9.9/v1", True),
     ("http://[::1]:1/v1", True), ("http://[::ffff:127.0.0.1]/v1", True), ("http://example.org/v1", False),
     ("http://192.168.1.5:8080/v1", False), ("http://localhost.example.org/v1", False), ("http://[::ffff:10.0.0.1]/v1", False)],
)  # fmt: skip
def test_only_tls_and_this_machine_are_private(url, is_private):
    with OpenAIClient(url) as client:
        assert client.is_private is is_private


def test_a_client_that_was_passed_in_is_used_and_left_open():
    def lose(_request):
        raise httpx2.LocalProtocolError("somewhere in between")

    with httpx2.Client(transport=httpx2.MockTransport(lose)) as http:
        with OpenAIClient("http://mocked.example/v1/", http_client=http) as client:
            assert client.endpoint == "http://mocked.example/v1"
            with pytest.raises(AttemptFailed) as caught:
                client.messages.create(**ASK)
        assert caught.value.in_doubt is True, "a network that does not tell of its sending proves nothing"
        assert not http.is_closed
