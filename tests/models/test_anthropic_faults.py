"""Everything a server can do wrong, through the real SDK, with the exact verdict on the attempt."""

import json
import os
import signal
import socket
import threading
import time
from types import SimpleNamespace

import anthropic
import httpx2
import pytest

from safeloop.errors import AttemptFailed
from safeloop.models import adapt
from safeloop.models.anthropic import AnthropicClient
from safeloop.models.deadline import Abandoned, Lifeline
from safeloop.models.transport import hook
from tests.models.test_anthropic_turns import ASK, talking
from tests.servers.anthropic_server import AnthropicServer, Fault, message, stream_events, text, tool_use, usage


def failure(*script, ask=ASK, **options):
    """The failure of one request, and the server that saw it; one request is one POST."""
    with talking(*script, **options) as (server, client):
        with pytest.raises(AttemptFailed) as caught:
            client.messages.create(**ask)
        assert len(server.posts) == 1, "a hidden retry"
        return caught.value


def failure_at(url, **options):
    """The failure of one request to an address."""
    with AnthropicClient(api_key="k", base_url=url, **options) as client:
        with pytest.raises(AttemptFailed) as caught:
            client.messages.create(**ASK)
        return caught.value


CLIENTS = {
    "ours": lambda url: AnthropicClient(api_key="k", base_url=url),
    "given": lambda url: AnthropicClient(anthropic.Anthropic(api_key="k", base_url=url)),
    "given HTTP client": lambda url: AnthropicClient(
        api_key="k", base_url=url, http_client=httpx2.Client(follow_redirects=True)
    ),
}


@pytest.mark.parametrize("made", CLIENTS)
@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_not_followed_not_even_to_the_same_server(made, status):
    with AnthropicServer([Fault.status(status, headers={"location": "/v1/messages"}), "stolen"]) as server:
        with CLIENTS[made](server.url) as client, pytest.raises(AttemptFailed) as caught:
            client.messages.create(**ASK)
        assert len(server.posts) == 1
    assert (caught.value.status, caught.value.in_doubt) == (status, True)
    assert "none is followed" in caught.value.hint


@pytest.mark.parametrize(
    ("status", "error_class", "in_doubt"),
    [
        (400, "BadRequestError", False),
        (401, "AuthenticationError", False),
        (403, "PermissionDeniedError", False),
        (404, "NotFoundError", False),
        (408, "RequestTimeoutError", False),
        (409, "ConflictError", False),
        (413, "ContentTooLargeError", False),
        (429, "RateLimitError", False),
        (500, "InternalServerError", True),
        (502, "InternalServerError", True),
        (503, "ServiceUnavailableError", False),
        (504, "GatewayTimeoutError", True),
        (529, "OverloadedError", False),
    ],
)
def test_each_status_has_its_class_and_its_doubt_and_is_never_retried(status, error_class, in_doubt):
    found = failure(Fault.status(status, headers={"x-should-retry": "true"}), "a retry would get this")
    assert (found.error_class, found.status, found.in_doubt) == (error_class, status, in_doubt)
    assert f"(status {status})" in str(found)
    assert json.loads(found.detail)["error"]["message"] == f"status {status} on purpose"
    assert found.retry_after_s is None


def test_the_wait_that_the_server_asks_for_is_handed_on():
    assert failure(Fault.status(429, headers={"retry-after": "7"})).retry_after_s == 7.0
    assert failure(Fault.status(529, headers={"retry-after": "7", "retry-after-ms": "1500"})).retry_after_s == 1.5


def test_a_wrong_key_says_which_variable_to_check():
    assert failure(Fault.status(401)).hint == "check ANTHROPIC_API_KEY"


@pytest.mark.parametrize(
    ("fault", "error_class", "words"),
    [
        (Fault.html(), "NotAStream", "not with a stream of events"),
        (Fault.cut(), "CutStream", "broke off before message_stop"),
        (Fault.break_off(), "CutStream", "broke off before message_stop"),
        (Fault.half_event(), "CutStream", "broke off before message_stop"),
        (Fault.stream(""), "CutStream", "broke off before message_stop"),
        (Fault.reset(), "APIConnectionError", "connection was lost after the request was sent"),
        (Fault.bad_json(), "BadStream", "an event is not JSON"),
        (Fault.error_event("overloaded_error"), "StreamError", "broke the reply off with overloaded_error"),
        (Fault.error_event("\x1b[2J evil"), "StreamError", "broke the reply off with an error"),
        (Fault.stream('data: {"type":"message_stop"}\n\n'), "BadStream", "did not begin with message_start"),
    ],
)
def test_what_breaks_after_sending_is_in_doubt_and_said_in_plain_words(fault, error_class, words):
    found = failure(fault)
    assert (found.error_class, found.in_doubt) == (error_class, True)
    assert words in str(found)
    assert "\x1b" not in str(found)


def test_the_servers_words_in_a_stream_are_kept_as_detail():
    assert json.loads(failure(Fault.error_event("overloaded_error")).detail)["error"]["type"] == "overloaded_error"


def test_a_finished_call_whose_arguments_are_no_json_is_not_run_as_something_else():
    found = failure(message(tool_use("rm", '{"path": "/tmp')))
    assert (found.error_class, found.detail) == ("BadStream", '{"path": "/tmp')


def test_a_reply_that_never_ends_is_given_up(monkeypatch):
    monkeypatch.setattr("safeloop.models.transport.BODY_LIMIT", 1000)
    found = failure(text_of(5000))
    assert (found.error_class, found.in_doubt) == ("BadStream", True)


def text_of(size):
    return message(text("x" * size), usage=usage())


def test_bytes_that_are_not_utf8_break_the_stream():
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve():
            connection, _ = listener.accept()
            with connection:
                connection.recv(65536)
                head = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n"
                connection.sendall(head + b"data: \xff\xfe\n\n")

        thread = threading.Thread(target=serve)
        thread.start()
        found = failure_at(f"http://127.0.0.1:{listener.getsockname()[1]}")
        thread.join()
    assert (found.error_class, found.in_doubt) == ("BadStream", True)
    assert "not UTF-8" in str(found)


def test_nothing_listening_is_not_in_doubt():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    found = failure_at(f"http://127.0.0.1:{port}")
    assert (found.error_class, found.status, found.in_doubt) == ("APIConnectionError", None, False)
    assert str(found) == "the server could not be reached"
    assert "Connection refused" in found.detail


def test_a_name_that_does_not_exist_is_not_in_doubt():
    assert failure_at("http://no-such-host.invalid").in_doubt is False


def test_a_server_that_does_not_speak_tls_is_not_in_doubt():
    with AnthropicServer() as server:
        assert failure_at(server.url.replace("http:", "https:"), deadline_s=5).in_doubt is False


def stopped_after(call, deadline_s):
    before = time.monotonic()
    with pytest.raises(AttemptFailed) as caught:
        call()
    took = time.monotonic() - before
    assert deadline_s <= took < deadline_s + 1, f"freed after {took:.2f} s"
    assert caught.value.error_class == "DeadlineExceeded"
    return caught.value


def no_thread_is_left():
    until = time.monotonic() + 2
    while any(thread.name == "safeloop-request" for thread in threading.enumerate()):
        assert time.monotonic() < until, "the thread is still there"
        time.sleep(0.01)


@pytest.mark.parametrize(
    "fault",
    [Fault.stall(), Fault.stall_midway(), Fault.drip(every_s=0.01), Fault.drip_headers(every_s=0.01)],
    ids=lambda fault: fault.kind,
)
def test_the_deadline_ends_a_server_that_stalls_or_drips_and_the_thread_with_it(fault):
    with talking(fault, deadline_s=0.3) as (server, client):
        found = stopped_after(lambda: client.messages.create(**ASK), 0.3)
        assert (found.in_doubt, str(found)) == (True, "the reply was not complete after 0.3 seconds")
        no_thread_is_left()
        assert len(server.posts) == 1


@pytest.mark.parametrize(
    "fault", [Fault.stall(), Fault.stall_midway(), Fault.drip(every_s=0.01), Fault.drip_headers(every_s=0.01)],
    ids=lambda fault: fault.kind,
)  # fmt: skip
def test_the_deadline_holds_for_a_client_that_was_passed_in_too(fault):
    with AnthropicServer([fault]) as server, anthropic.Anthropic(api_key="k", base_url=server.url) as own:
        client = AnthropicClient(own, deadline_s=0.3)
        assert stopped_after(lambda: client.messages.create(**ASK), 0.3).in_doubt is True
        no_thread_is_left()


def test_the_deadline_holds_for_counting_too_and_leaves_no_doubt():
    with talking(deadline_s=0.3) as (server, client):
        server.counted = Fault.stall()
        found = stopped_after(lambda: client.messages.count_tokens(model="m", messages=ASK["messages"]), 0.3)
    assert found.in_doubt is False


def test_a_server_that_drips_its_tls_handshake_is_ended_and_was_never_sent_anything():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        received = []

        def serve():
            connection, _ = listener.accept()
            with connection:
                received.append(connection.recv(65536))
                try:
                    for byte in b"\x16\x03\x03\x3f\xff" + bytes(1000):
                        connection.sendall(bytes([byte]))
                        time.sleep(0.01)
                except OSError:
                    return

        thread = threading.Thread(target=serve)
        thread.start()
        url = f"https://127.0.0.1:{listener.getsockname()[1]}"
        with AnthropicClient(api_key="k", base_url=url, deadline_s=0.3) as client:
            found = stopped_after(lambda: client.messages.create(**ASK), 0.3)
        no_thread_is_left()
        thread.join()
    assert found.in_doubt is False
    assert received[0][:1] == b"\x16", "only the handshake left"


def test_a_name_lookup_that_hangs_is_left_behind_and_sends_nothing_later(monkeypatch):
    go_on = threading.Event()
    lookup = socket.getaddrinfo

    def hanging(*args, **options):
        if threading.current_thread().name == "safeloop-request":
            go_on.wait(10)
        return lookup(*args, **options)

    monkeypatch.setattr(socket, "getaddrinfo", hanging)
    with talking("never asked for", deadline_s=0.2) as (server, client):
        found = stopped_after(lambda: client.messages.create(**ASK), 0.2)
        assert found.in_doubt is False
        go_on.set()
        no_thread_is_left()
        assert server.requests == []


def test_a_slow_reply_within_the_deadline_is_whole():
    with talking(Fault.drip("slow", every_s=0), deadline_s=20) as (_, client):
        assert client.messages.create(**ASK).text == "slow"


def test_ctrl_c_passes_through_at_once_and_ends_the_request():
    with talking(Fault.stall(), deadline_s=30) as (server, client):
        interrupt = threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGINT))
        interrupt.start()
        before = time.monotonic()
        with pytest.raises(KeyboardInterrupt):
            client.messages.create(**ASK)
        assert time.monotonic() - before < 2
        interrupt.join()
        no_thread_is_left()
        assert len(server.posts) == 1


def test_what_a_signal_handler_raises_passes_through_at_once():
    class Stop(Exception):
        pass

    def stop(*_args):
        raise Stop

    before = signal.signal(signal.SIGALRM, stop)
    try:
        with talking(Fault.drip(every_s=0.01), deadline_s=30) as (_, client):
            signal.setitimer(signal.ITIMER_REAL, 0.2)
            with pytest.raises(Stop):
                client.messages.create(**ASK)
        no_thread_is_left()
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def test_an_attempt_that_fails_within_a_middleware_keeps_its_verdict():
    refused = AttemptFailed("no", error_class="Mine", in_doubt=False)

    def refuse(_request, _call_next):
        raise refused

    with anthropic.Anthropic(api_key="k", base_url="http://127.0.0.1:9", middleware=[refuse]) as own:
        client = adapt(own)
        with pytest.raises(AttemptFailed) as caught:
            client.messages.create(**ASK)
    assert caught.value is refused
    assert refused.__cause__ is None


def test_a_network_that_does_not_tell_of_its_sending_proves_nothing():
    def lose(_request):
        raise httpx2.LocalProtocolError("somewhere in between")

    with httpx2.Client(transport=httpx2.MockTransport(lose)) as http:
        assert failure_at("http://mocked.example", http_client=http).in_doubt is True


def test_a_transport_without_sockets_is_read_like_any_other():
    body = "".join(stream_events({**message(text("mocked")), "usage": usage()}))
    answer = httpx2.Response(200, headers={"content-type": "text/event-stream"}, content=body.encode())
    with httpx2.Client(transport=httpx2.MockTransport(lambda _request: answer)) as http:
        client = AnthropicClient(api_key="k", base_url="http://mocked.example", http_client=http)
        assert client.messages.create(**ASK).text == "mocked"


def test_what_cannot_be_hooked_is_never_called_unsent():
    assert hook(None) is False


def test_a_stream_without_a_socket_gives_the_lifeline_nothing_to_hold():
    lifeline = Lifeline()
    lifeline.hold(SimpleNamespace(get_extra_info=lambda _name: None))
    lifeline.cut()
    for go_on in (lifeline.reach, lambda: lifeline.trace("http11.send_request_headers.started", {})):
        with pytest.raises(Abandoned):
            go_on()
    assert (lifeline.reached, lifeline.sent) == (False, False)
