"""Fetching usage reports: what is secret stays so, what may be tried again is, and no longer than is allowed."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
import time
import traceback
from datetime import UTC, datetime, timedelta

import pytest

from safeloop.errors import AttemptFailed, SettingError
from safeloop.models import usage_report
from safeloop.models.usage_report import UsageReports
from tests.servers.faults import Fault
from tests.servers.usage_server import UsageServer

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)


def pages(server, **more):
    waits = []
    reports = UsageReports(server.url, server.admin_key, sleep_fn=waits.append, **more)
    try:
        return list(reports.pages(NOW - timedelta(hours=1), NOW, "1m")), waits
    finally:
        reports.close()


def test_a_server_that_is_busy_is_waited_for_as_it_asks():
    with UsageServer() as server:
        server.answers = [Fault.status(429, headers={"retry-after": "7"}), Fault.status(500), Fault.status(529)]
        (page,), waits = pages(server)
    assert page.startswith(b'{"data"')
    assert len(waits) == 3
    assert waits[0] == 7


def test_and_no_longer_than_is_allowed():
    with UsageServer() as server:
        server.answers = [Fault.status(429, headers={"retry-after": "61"})] * 2
        with pytest.raises(AttemptFailed) as failed:
            pages(server, max_wait_s=60)
        assert len(server.asked) == 1
    assert failed.value.status == 429


def test_no_failure_holds_the_key():
    with UsageServer() as server:
        server.answers = [Fault.status(403, body={"error": {"message": f"{server.admin_key} may not"}})]
        with pytest.raises(AttemptFailed) as failed:
            pages(server)
    assert failed.value.detail.count("[the admin key] may not") == 1
    assert server.admin_key not in repr(vars(failed.value)) + str(failed.value)


def test_a_status_line_that_echoes_the_key_shows_it_in_no_traceback():
    secret = "sk-ant-admin-of-this-test"
    with socket.create_server(("127.0.0.1", 0)) as listening:
        def answer() -> None:
            connection, _ = listening.accept()
            with connection:
                connection.recv(65_536)
                connection.sendall(f"HTTP/1.1 {secret}\r\n\r\n".encode())

        server = threading.Thread(target=answer)
        server.start()
        reports = UsageReports(f"http://127.0.0.1:{listening.getsockname()[1]}", secret, max_wait_s=0)
        with pytest.raises(AttemptFailed) as failed:
            list(reports.pages(NOW - timedelta(hours=1), NOW, "1m"))
        server.join()
        reports.close()
    shown = "".join(traceback.format_exception(failed.value)) + repr(vars(failed.value))
    assert "connection was lost" in shown
    assert secret not in shown


@pytest.mark.parametrize("written", ["sk-ant-admin-of-this-test", r"\u0073k-ant-admin-of-this-test"])
def test_an_answer_that_holds_the_key_is_not_taken_for_a_report(written):
    page = f'{{"data": [{{"model": "{written}"}}], "has_more": false}}'
    with UsageServer() as server:
        server.answers = [Fault.status(200, headers={"content-type": "application/json"}, body=page)]
        with pytest.raises(AttemptFailed, match="holds the admin key"):
            pages(server)
        server.answers = [Fault.status(200, body=page.replace("of-this", "of-another"))]
        assert len(pages(server)[0]) == 1


def test_all_pages_together_have_a_deadline():
    ticks = iter(range(0, 1_000, 10))
    with UsageServer() as server:
        server.page_size = 1
        with pytest.raises(AttemptFailed, match="not complete after 45 seconds"):
            pages(server, whole_s=45, clock_fn=lambda: next(ticks))
        assert len(server.asked) == 4


def test_one_page_takes_no_longer_than_what_is_left_for_all():
    with socket.create_server(("127.0.0.1", 0)) as silent:
        reports = UsageReports(f"http://127.0.0.1:{silent.getsockname()[1]}", "key", whole_s=0.2, max_wait_s=0)
        began = time.monotonic()
        with pytest.raises(AttemptFailed, match="not complete after 0.2"):
            list(reports.pages(NOW - timedelta(hours=1), NOW, "1m"))
        assert time.monotonic() - began < 10
        reports.close()


FULL = """
import resource, sys
from safeloop.models.usage_report import UsageReports
pages = UsageReports("http://127.0.0.1:9", "key")
page = b'{"has_more": false, "data": [' + b"[]," * 8_000_000 + b"[]]}"
used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + 100_000_000,) * 2)
try:
    pages._next(page)
except Exception as error:
    sys.exit(f"{type(error).__name__}: {error}")
"""


@pytest.mark.skipif(not os.path.exists("/proc/self/statm"), reason="only Linux says how much memory is used")
def test_a_page_that_needs_more_memory_than_there_is_is_refused():
    done = subprocess.run([sys.executable, "-c", FULL], capture_output=True, text=True, timeout=100)
    assert done.stderr.startswith("AttemptFailed: ") and "more memory than there is" in done.stderr


def test_a_page_that_is_too_large_is_not_read_to_its_end(monkeypatch):
    monkeypatch.setattr(usage_report, "MOST_PAGE_BYTES", 1_000)
    with UsageServer() as server, pytest.raises(AttemptFailed, match="larger than 1,000 bytes"):
        pages(server)


def test_more_pages_than_there_can_be_are_refused(monkeypatch):
    monkeypatch.setattr(usage_report, "MOST_PAGES", 2)
    with UsageServer() as server:
        server.page_size = 20
        with pytest.raises(AttemptFailed, match="more than 2 pages"):
            pages(server)


def test_a_server_that_is_not_there_is_said_to_be_so():
    with UsageServer() as server:
        pass
    with pytest.raises(AttemptFailed, match="could not be reached") as failed:
        pages(server, max_wait_s=0)
    assert "ANTHROPIC_BASE_URL" in failed.value.hint


@pytest.mark.parametrize("address", ["ftp://x", "http://u:p@x", "http://x/?q=1", "nothing"])
def test_an_address_that_is_none_is_refused(address):
    with pytest.raises(SettingError):
        UsageReports(address, "key")
