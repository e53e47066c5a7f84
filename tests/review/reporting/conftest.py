from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from safeloop.ledger import Ledger
from safeloop.ledger.trust import Trust, load_trust
from tests.review.reporting.browser import Browser, Page, chromium
from tests.review.reporting.made import page_of_ledger, page_of_session
from tests.review.sessions import completed

SETTLED = "!['none', 'running'].includes(document.getElementById('verdict').dataset.state)"


class Seen(NamedTuple):
    """What a reader of a page sees, once the page has judged itself."""

    state: str
    title: str
    text: str
    bad: list[int]
    good: int

    @classmethod
    def of(cls, page: Page) -> Seen:
        page.until(SETTLED)
        return cls(*page.value(
            "(() => { const rows = [...document.querySelectorAll('details.row')];"
            "const marked = (state) => rows.filter((row) => row.dataset.state === state);"
            "return [document.getElementById('verdict').dataset.state,"
            "document.getElementById('verdict-title').textContent,"
            "document.getElementById('verdict-text').textContent,"
            "marked('bad').map((row) => Number(row.dataset.index) + 1), marked('good').length]; })()"
        ))


class Made(NamedTuple):
    """Two sessions of twelve rows each, and the pages of the first and of both."""

    path: Path
    trust: Trust
    sessions: tuple[str, str]
    session: str
    ledger: str


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """One browser for all tests of a process: to start it takes a second."""
    if chromium() is None:
        pytest.skip("chromium is not installed: apt-get install chromium")
    with Browser() as found:
        yield found


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    folder = tmp_path_factory.mktemp("made")
    path, keys = folder / "ledger.db", folder / "keys"
    ledger = Ledger(path, keys=keys)
    sessions = completed(ledger).session, completed(ledger).session
    ledger.close()
    trust = load_trust(keys / "self")
    return Made(path, trust, sessions, page_of_session(path, trust, sessions[0]), page_of_ledger(path, trust))


@pytest.fixture
def look(browser: Browser, tmp_path: Path) -> Iterator[Callable[[str], Seen]]:
    """Opens a page from a file, and says what is seen of it."""
    pages: list[Page] = []

    def see(text: str) -> Seen:
        file = tmp_path / f"{len(pages)}.html"
        file.write_text(text, encoding="utf-8")
        if pages:
            pages[0].go(file.as_uri())
            pages.append(pages[0])
        else:
            pages.append(browser.open(file.as_uri()))
        return Seen.of(pages[0])

    yield see
    if pages:
        pages[0].close()
