"""Fetching usage reports: what is secret stays so, what may be tried again is, and no longer than is allowed."""

from __future__ import annotations

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
