"""What an exception of any client means: in doubt unless something proves otherwise."""

import socket
import ssl
from datetime import UTC, datetime
from types import SimpleNamespace

import httpx2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from safeloop.errors import AttemptFailed, SettingError, SpecError
from safeloop.models import failure_of, may_retry


class StatusError(Exception):
    def __init__(self, status_code, headers=None, body=None):
        super().__init__(f"status {status_code}")
        self.status_code = status_code
        self.response = SimpleNamespace(headers=headers or {})
        self.body = body


def named(name, *bases):
    return type(name, bases or (Exception,), {})


def caused(outer, *causes):
    link = outer
    for cause in causes:
        link.__cause__ = cause
        link = cause
    return outer


@given(st.integers(100, 999))
def test_a_status_is_charged_by_the_table_of_retries(status):
    failure = failure_of(StatusError(status))
    free = status in (429, 503, 529) or 400 <= status < 500
    assert (failure.status, failure.in_doubt, failure.error_class) == (status, not free, "StatusError")
    assert may_retry(failure) is (status in (408, 409, 429) or 500 <= status < 600)


def test_a_status_is_found_on_the_response_too_and_a_boolean_is_none():
    exc = Exception("no")
    exc.response = SimpleNamespace(status_code=429, headers={"Retry-After": "3"})
    assert (failure_of(exc).status, failure_of(exc).retry_after_s) == (429, 3.0)
    assert failure_of(StatusError(True)).status is None
    assert failure_of(StatusError("500")).in_doubt is True


NEVER_SENT = [
    ConnectionRefusedError(111, "refused"),
    socket.gaierror(-2, "no such name"),
    ssl.SSLCertVerificationError(1, "self-signed"),
    httpx2.ConnectError("x"),
    httpx2.ConnectTimeout("x"),
    httpx2.PoolTimeout("x"),
    httpx2.UnsupportedProtocol("x"),
    named("NewConnectionError")("x"),
    caused(named("APIConnectionError")("x"), httpx2.ConnectError("x")),
    caused(named("APITimeoutError", named("APIConnectionError"))("x"), httpx2.ConnectTimeout("x"), TimeoutError()),
    caused(httpx2.ConnectError("x"), ConnectionResetError()),
]
PERHAPS_SENT = [
    TimeoutError("x"),
    ConnectionResetError(104, "reset"),
    BrokenPipeError(),
    ssl.SSLError(1, "bad record"),
    httpx2.ReadTimeout("x"),
    httpx2.WriteError("x"),
    httpx2.RemoteProtocolError("x"),
    named("APITimeoutError", named("APIConnectionError"))("x"),
    named("APIConnectionError")("x"),
    caused(named("APIConnectionError")("x"), httpx2.ReadError("x"), ConnectionRefusedError()),
]
UNKNOWN = [ValueError("unknown"), RuntimeError(), KeyboardInterrupt(), named("APIError")("x")]


@pytest.mark.parametrize("exc", NEVER_SENT, ids=repr)
def test_what_failed_before_anything_was_sent_is_not_in_doubt(exc):
    failure = failure_of(exc)
    assert (failure.in_doubt, failure.status, str(failure)) == (False, None, "the server could not be reached")
    assert may_retry(failure)


@pytest.mark.parametrize("exc", PERHAPS_SENT, ids=repr)
def test_what_the_network_did_afterwards_is_in_doubt_and_could_go_better(exc):
    failure = failure_of(exc)
    assert failure.in_doubt is True
    assert may_retry(failure)


@pytest.mark.parametrize("exc", UNKNOWN, ids=repr)
def test_what_nobody_knows_is_in_doubt_and_not_charged_again_and_again(exc):
    failure = failure_of(exc)
    assert failure.in_doubt is True
    assert not may_retry(failure)


def test_a_context_proves_nothing_only_a_cause_does():
    exc = RuntimeError("after the fallback")
    exc.__context__ = ConnectionRefusedError()
    assert failure_of(exc).in_doubt is True


def test_a_ring_of_causes_comes_to_an_end():
    one, other = RuntimeError("one"), RuntimeError("other")
    one.__cause__, other.__cause__ = other, one
    assert failure_of(one).in_doubt is True


@pytest.mark.parametrize(
    ("exc", "words"),
    [
        (TimeoutError(), "did not answer in time"),
        (httpx2.ReadTimeout("x"), "did not answer in time"),
        (ConnectionResetError(), "connection was lost after the request was sent"),
        (httpx2.RemoteProtocolError("x"), "connection was lost after the request was sent"),
        (ZeroDivisionError(), "the client failed with ZeroDivisionError"),
        (StatusError(529), r"the server is overloaded \(status 529\)"),
        (StatusError(418), r"answered with an error \(status 418\)"),
        (StatusError(200), r"could not be used \(status 200\)"),
    ],
)
def test_each_failure_is_told_in_plain_words(exc, words):
    with pytest.raises(AttemptFailed, match=words):
        raise failure_of(exc)


def test_a_failed_attempt_passes_unchanged_and_our_own_refusals_are_final():
    known = AttemptFailed("x", error_class="X", in_doubt=True)
    assert failure_of(known) is known
    for ours in (SettingError("no key", hint="set it"), SpecError("no key", hint="set it")):
        failure = failure_of(ours)
        assert (failure.in_doubt, str(failure), failure.hint, may_retry(failure)) == (False, "no key", "set it", False)
    assert not may_retry(AttemptFailed("x", error_class="UnsendableRequest", in_doubt=False))


@pytest.mark.parametrize("name", ["Ev il\n", "x" * 65, "Ключ", "1st"])
def test_a_class_name_that_is_no_plain_word_never_reaches_a_row(name):
    assert failure_of(named(name)("x")).error_class == "UnknownError"


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry-after": "0"}, 0.0),
        ({"Retry-After": " 2.5 "}, 2.5),
        ({"retry-after-ms": "250", "retry-after": "9"}, 0.25),
        ({"retry-after-ms": "soon", "retry-after": "9"}, 9.0),
        ({"retry-after": "Sat, 21 Nov 2026 12:00:30 GMT"}, 30.0),
        ({"retry-after": "Sat, 21 Nov 2026 12:00:30 -0000"}, 30.0),
        ({"retry-after": "Sat, 21 Nov 2026 11:00:00 GMT"}, 0.0),
        ({"retry-after": "-5"}, None),
        ({"retry-after": "nan"}, None),
        ({"retry-after": "inf"}, None),
        ({"retry-after": ""}, None),
        ({"retry-after": "tomorrow"}, None),
        ({"retry-after": "Sat, 99 Nov 2026 12:00:30 GMT"}, None),
        ({}, None),
    ],
)
def test_a_wait_is_read_as_seconds_milliseconds_or_a_date(headers, seconds):
    noon = datetime(2026, 11, 21, 12, tzinfo=UTC)
    assert failure_of(StatusError(429, headers), clock=lambda: noon).retry_after_s == seconds


def test_headers_that_are_no_mapping_ask_for_nothing_and_the_real_clock_is_used_by_default():
    assert failure_of(StatusError(429, ["retry-after"])).retry_after_s is None
    assert failure_of(StatusError(429, {"retry-after": "Sat, 21 Nov 2020 11:00:00 GMT"})).retry_after_s == 0.0


def test_the_servers_words_are_kept_short_and_a_key_is_not_quoted():
    assert failure_of(StatusError(400, body={"error": "ü"})).detail == '{"error":"ü"}'
    assert failure_of(StatusError(400, body="x" * 100_000)).detail == "x" * 65_536
    quoting = caused(Exception("outer"), named("LocalProtocolError")("Illegal header value b'sk-secret'"))
    assert failure_of(quoting).detail == "outer"
    assert failure_of(caused(Exception("outer"), OSError(113, "no route"))).detail == "outer: [Errno 113] no route"
