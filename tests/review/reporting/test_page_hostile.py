"""What a model, a tool or a file says cannot get out of the text that it is, nor call anybody."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from safeloop.ledger import Ledger
from safeloop.ledger.trust import load_trust
from safeloop.spec import Criterion
from tests.review.reporting.browser import Browser
from tests.review.reporting.conftest import Seen
from tests.review.reporting.made import page_of_ledger, page_of_session
from tests.review.sessions import SessionBuilder


class Canary:
    """A server on loopback that remembers whoever called."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        asked = self.asked

        class Answer(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                asked.append(self.path)
                self.send_response(204)
                self.end_headers()

            do_POST = do_HEAD = do_OPTIONS = do_GET  # noqa: N815 - as the base class calls them

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Answer)
        self.server.daemon_threads = True  # a browser opens connections that it may never use
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        self.thread = threading.Thread(target=self.server.serve_forever)
        self.thread.start()

    def close(self) -> None:
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()


@pytest.fixture(scope="module")
def canary() -> Iterator[Canary]:
    found = Canary()
    yield found
    found.close()


def hostile(url: str) -> str:
    """Everything that would leave its place in a page that forgot to escape it."""
    return (
        f"</script></pre></style></textarea></title>--><img src={url}/img onerror=\"document.title='gone'\">"
        f"<script src={url}/js></script><script>fetch('{url}/fetch');document.title='gone';alert(1)</script>"
        f"<link rel=stylesheet href={url}/css><iframe src={url}/frame></iframe><meta http-equiv=refresh "
        f"content='0;url={url}/refresh'><svg onload=alert(2)><base href={url}/>'\"&lt;\u202e\u2028]]>"
    )


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory, canary: Canary) -> tuple[str, str]:
    """The pages of a session, and of its ledger, in which everything from outside is hostile."""
    folder = tmp_path_factory.mktemp("planted")
    ledger = Ledger(folder / "ledger.db", keys=folder / "keys")
    text, short = hostile(canary.url), f"</pre><img src={canary.url}/x onerror=alert(3)>"
    made = SessionBuilder(ledger).spec(text, text, text, criteria=(Criterion(short[:90], "a", contains=(text,)),))
    made.open(text, model=short[:90]).turn(text, stop_reason=short[:90], cost_microusd=5, intent={"reserved_microusd": 9})
    made.tool(short[:90], result=text).check(short[:90], detail=text).breach(short[:90])
    made.close("breached", reason=short[:90], output=text, files={f"a{short}": (None, text.encode())})
    ledger.close()
    trust = load_trust(folder / "keys" / "self")
    return page_of_session(folder / "ledger.db", trust, made.session), page_of_ledger(folder / "ledger.db", trust)


@pytest.mark.parametrize("which", [0, 1])
def test_hostile_text_stays_text_and_calls_nobody(
    browser: Browser, canary: Canary, planted: tuple[str, str], tmp_path: Path, which: int
) -> None:
    file = tmp_path / "page.html"
    file.write_text(planted[which], encoding="utf-8")
    page = browser.open(file.as_uri())
    seen = Seen.of(page)
    assert (seen.state, seen.bad) == ("own", []), seen  # what is shown escaped is verified as it is stored
    for tag in ("img", "iframe", "link", "base", "object", "embed", "form"):
        assert page.value(f"document.getElementsByTagName('{tag}').length") == 0, tag
    assert page.value("[...document.scripts].map((each) => each.id || each.type)") == ["safeloop-data", ""]
    assert page.value("document.querySelectorAll('meta[http-equiv=refresh], svg[onload], [style], [onerror]').length") == 0
    assert page.value("document.title").startswith("safeloop report of")
    assert page.events("Page.javascriptDialogOpening") == []
    assert canary.asked == []
    asked = [each["request"]["url"] for each in page.events("Network.requestWillBeSent")]
    assert asked == [file.as_uri()]
    assert page.events("Log.entryAdded") == []  # the policy had nothing to refuse
    page.close()


def test_the_policy_stops_what_would_have_escaped(browser: Browser, canary: Canary, planted: tuple[str, str], tmp_path: Path) -> None:
    """As if something had not been escaped: the same words as markup, in the same page.

    But for the refresh at once, which no policy stops: against that there is only the escaping.
    """
    file = tmp_path / "page.html"
    file.write_text(planted[0].replace("<main id", f"{hostile(canary.url).replace('http-equiv=refresh', '')}<main id", 1),
                    encoding="utf-8")
    page = browser.open(file.as_uri())
    seen = Seen.of(page)
    assert (seen.state, seen.title) == ("bad", "Not verified")
    assert page.value("document.getElementsByTagName('img').length") == 0  # the page was made anew without it
    assert page.value("document.title").startswith("safeloop report of")
    assert page.events("Page.javascriptDialogOpening") == []
    assert canary.asked == []
    assert len(page.events("Log.entryAdded")) >= 4  # each refused by the policy
    page.close()


def test_the_page_itself_can_be_called_by_the_canary(browser: Browser, canary: Canary, tmp_path: Path) -> None:
    """The canary sings: without a policy the same text calls it."""
    file = tmp_path / "open.html"
    file.write_text(f"<img src={canary.url}/sings>", encoding="utf-8")
    page = browser.open(file.as_uri())
    assert canary.asked == ["/sings"]
    canary.asked.clear()
    page.close()


def test_the_frame_is_in_the_page_byte_for_byte(browser: Browser, planted: tuple[str, str], tmp_path: Path) -> None:
    file = tmp_path / "page.html"
    file.write_text(planted[0], encoding="utf-8")
    page = browser.open(file.as_uri())
    frame = page.value("document.getElementById('frame').textContent")
    assert frame.startswith("safeloop frame v1\n") and frame.endswith("\n")
    stated = page.value("document.getElementById('frame-sha256').textContent")
    assert hashlib.sha256(frame.encode()).hexdigest() == stated
    page.close()
