"""Pages as `report` makes them, and hands that alter a copy of one."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from safeloop.ledger.reader import LedgerReader
from safeloop.ledger.trust import Trust
from safeloop.review.reporting.report import ledger_report, session_report

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
DATA = re.compile(r'(<script type="application/json" id="safeloop-data">)(.*?)(</script>)', re.S)
ROW = re.compile(r'<details class="row" id="row-(\d+)".*?</details>\n', re.S)


def page_of_session(path: Path, trust: Trust, session: str) -> str:
    with LedgerReader(path) as reader:
        return b"".join(session_report(reader, trust, session, path, NOW).pieces()).decode()


def page_of_ledger(path: Path, trust: Trust) -> str:
    with LedgerReader(path) as reader:
        with ledger_report(reader, trust, None, NOW) as done:
            return b"".join(done.pieces()).decode()


def data_of(page: str) -> Any:
    found = DATA.search(page)
    assert found is not None
    return json.loads(found[2])


def with_data(page: str, change: Callable[[Any], object]) -> str:
    """A copy of a page whose data was changed."""
    value = data_of(page)
    change(value)
    text = json.dumps(value).replace("<", "\\u003c")
    return DATA.sub(lambda match: match[1] + text + match[3], page)


def row_html(page: str, number: int) -> str:
    return next(match[0] for match in ROW.finditer(page) if int(match[1]) == number)


def with_row(page: str, number: int, change: Callable[[str], str]) -> str:
    """A copy of a page in which one row's markup was changed."""
    before = row_html(page, number)
    after = change(before)
    assert after != before
    return page.replace(before, after)


def body_of(page: str, number: int) -> str:
    found = re.search(r"<pre[^>]*>(.*)</pre>", row_html(page, number), re.S)
    assert found is not None
    return found[1]
