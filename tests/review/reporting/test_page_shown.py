"""What is shown is what was verified: whatever else a page is made to show turns it red, with the true keys pasted."""

from __future__ import annotations

import json
import re
from base64 import b64decode, b64encode
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from safeloop.ledger import Ledger, merkle
from safeloop.ledger.ed25519 import key_id
from safeloop.ledger.trust import load_trust
from tests.review.attacks import unguarded
from tests.review.reporting.browser import Browser, Page
from tests.review.reporting.conftest import SETTLED, Made, Seen
from tests.review.reporting.made import data_of, page_of_ledger, row_html, with_data, with_row
from tests.review.sessions import SessionBuilder

SETTLED_NOW = "document.getElementById('verify').disabled === false && " + SETTLED


class Reader:
    """A person who opens pages and pastes."""

    def __init__(self, page: Page, file: Path) -> None:
        self.page, self._file = page, file

    def load(self, text: str) -> None:
        self._file.write_text(text, encoding="utf-8")
        self.page.go(self._file.as_uri())

    def open(self, text: str) -> Seen:
        self.load(text)
        return Seen.of(self.page)

    def paste(self, text: str) -> Seen:
        self.page.value(f"document.getElementById('pins').value = {json.dumps(text)};"
                        "document.getElementById('verify').click()")
        self.page.until(SETTLED_NOW)
        return Seen.of(self.page)

    def text(self) -> str:
        found = self.page.value("document.body.innerText")
        assert isinstance(found, str)
        return found


@pytest.fixture(scope="module")
def reader(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Reader]:
    page = browser.open("about:blank#")
    yield Reader(page, tmp_path_factory.mktemp("reader") / "page.html")
    page.close()


def vkey(made: Made) -> str:
    (logs,) = made.trust.policy.logs.values()
    return logs[0].vkey


def changed(old: str, new: str) -> Callable[[str], str]:
    def change(page: str) -> str:
        assert old in page
        return page.replace(old, new, 1)

    return change


def in_row(number: int, pattern: str, new: str) -> Callable[[str], str]:
    return lambda page: with_row(page, number, lambda text: re.sub(pattern, new, text, count=1, flags=re.S))


def beside(mark: str, more: str) -> Callable[[str], str]:
    """Put something right before a mark."""
    return changed(mark, more + mark)


def other_frame(page: str) -> str:
    return changed('<pre id="frame"', '<pre id="frane"')(page).replace("All is well.\n", "FORGED\n", 1)


SHADOW = '<template shadowrootmode="closed">FORGED</template>'
OF_SESSION: dict[str, Callable[[str], str]] = {
    "the frame has another id, and another text": other_frame,
    "the digest of the frame has another id": changed('id="frame-sha256"', 'id="other"'),
    "the frame is hidden, and another is beside it": changed(
        '<pre id="frame" ', '<pre tabindex="0">FORGED</pre><pre hidden id="frame" '),
    "the part with the frame is hidden": changed(
        '<section aria-labelledby="frame-heading">', '<section hidden aria-labelledby="frame-heading">'),
    "the frame is gone": lambda page: re.sub(r'<section aria-labelledby="frame-heading">.*?</section>', "", page, flags=re.S),
    "a second frame comes first": beside(
        '<section aria-labelledby="frame-heading">',
        '<section aria-labelledby="frame-heading"><h2>The frame</h2><pre>FORGED</pre></section>'),
    "a frame is drawn elsewhere": beside("<p>It is not part of the frame", "<pre>FORGED</pre>"),
    "another name in the heading": lambda page: re.sub(r"<h1>.*?</h1>", "<h1>safeloop report of session FORGED</h1>", page),
    "another name in the title": lambda page: re.sub(r"<title>.*?</title>", "<title>FORGED</title>", page),
    "another session in the first part": lambda page: re.sub(r"<dd><code>[^<]*", "<dd><code>FORGED", page, count=1),
    "something more in the first part": changed("</dd></div></dl>", "</dd></div></dl><p>FORGED</p>"),
    "a part does not say that it is not covered": lambda page: re.sub(r'<p class="unsigned">[^<]*</p>', "", page, count=1),
    "the foot says more": changed("<footer>", "<footer><p>FORGED</p>"),
    "the verdict says more": beside('<p id="progress"', "<p>FORGED</p>"),
    "the verdict is hidden, and another is beside it": changed(
        '<section id="verdict"', '<section hidden id="verdict" data-state="pinned">FORGED</section><section id="verdict"'),
    "everything is hidden, and something is beside it": changed('<main id="main">', '<p>FORGED</p><main hidden id="main">'),
    "a refresh is to come": beside('<main id="main">', '<meta http-equiv="refresh" content="9999;url=about:blank">'),
    "words after the end of the program": changed("</body>\n</html>", "</body>\n<p>FORGED</p></html>"),
    "another style, which the policy allows": lambda page: re.sub(
        r"style-src '[^']*'", "style-src 'unsafe-inline'", page, count=1).replace("</head>", "<style>#frame{}</style></head>", 1),
}  # fmt: skip
OF_LEDGER: dict[str, Callable[[str], str]] = {
    "the gist of a row is hidden, and another beside it": in_row(
        12, '<span class="cell gist">(.*?)</span>',
        r'<span class="cell gist" hidden>\1</span><span class="cell gist">FORGED</span>'),
    "a body is hidden, and another is beside it": in_row(12, "<pre (.*?)</pre>", r"<pre hidden \1</pre><pre>FORGED</pre>"),
    "a row has its mark already": in_row(3, "○ not checked", "✓ good, FORGED"),
    "a row has its state already": in_row(3, 'class="row"', 'class="row" data-state="good"'),
    "a cell has a class that hides it": in_row(3, 'class="cell kind"', 'class="cell kind skip"'),
    "a cell has a picture of another text": in_row(3, '(<span class="cell kind">)(.*?)(</span>)', r"\1<i>\2</i>\3"),
    "a cell turns the order of its characters": in_row(3, '<span class="cell kind">', '<span class="cell kind">\u202e'),
    "a form is named that no program knows": in_row(3, 'data-form="exact"', 'data-form="plain"'),
    "something is drawn over the page": beside("<h2 id=\"rows\">", '<div class="skip">FORGED</div>'),
    "a drawing changes by itself": beside("</svg>", '<text>a<set attributeName="x" to="9"/></text>'),
    "the count of rows in the first part": changed("<dd>24</dd>", "<dd>25</dd>"),
    "a part is another than it is called": changed('<h2 id="audit">The audit</h2>', '<h2 id="audit">The verdict</h2>'),
}  # fmt: skip


@pytest.mark.parametrize("of", ["session", "ledger"])
def test_what_is_hidden_added_left_out_or_renamed_is_a_finding(made: Made, reader: Reader, of: str) -> None:
    page = getattr(made, of)
    reader.open(page)
    assert reader.paste(f"log {vkey(made)}").state == "pinned"
    for name, change in (OF_SESSION if of == "session" else OF_LEDGER).items():
        altered = change(page)
        assert altered != page, name
        reader.open(altered)
        seen = reader.paste(f"log {vkey(made)}")
        assert seen.state == "bad" and seen.title.startswith("Not verified"), (name, seen)
        assert reader.page.value("document.getElementById('verdict').checkVisibility()"), name
        assert seen.bad == [number for number in (3, 12) if row_html(page, number) not in altered], (name, seen)


def test_a_tree_that_is_drawn_in_place_of_an_element_is_taken_away(made: Made, reader: Reader) -> None:
    """A program sees nothing of it, so that the page is made anew without."""
    reader.open(made.session)
    honest = reader.text()
    places = ('<section aria-labelledby="frame-heading">', '<main id="main">', "<header>", '<span class="cell gist">',
              '<section id="verdict" data-state="none" aria-labelledby="verdict-heading">', "<h1>", '<div class="rows">')
    for place in places:
        assert reader.open(changed(place, place + SHADOW)(made.session)).state == "own", place
        assert reader.text() == honest, place
    bare = made.session.replace("<script>", "<script>/*", 1)  # without the program it would be drawn
    reader.load(changed("<h1>", "<h1>" + SHADOW)(bare))
    assert "safeloop report of" not in reader.text()


def test_what_the_file_put_into_the_box_was_pasted_by_nobody(made: Made, reader: Reader) -> None:
    full = f'aria-describedby="pins-error">log {vkey(made)}</textarea>'
    prefilled = changed('aria-describedby="pins-error"></textarea>', full)(made.ledger)
    assert reader.open(prefilled).state == "bad"
    twice = changed('<p><textarea id="pins"', f'<p><textarea id="pins" hidden>log {vkey(made)}</textarea><textarea id="pins"')
    assert reader.open(twice(made.ledger)).state == "bad"


def as_a_session(made: Made, session: str | None) -> str:
    """The page of the ledger says that it is a session's, with true proofs, and ten rows are gone."""
    leaves = [b64decode(leaf) for leaf in data_of(made.ledger)["leaves"]]
    kept = [*range(1, 7), *range(13, 21)]

    def node(level: int, idx: int) -> bytes:
        return leaves[idx] if level == 0 else merkle.parent(node(level - 1, 2 * idx), node(level - 1, 2 * idx + 1))

    def change(data: Any) -> None:
        proofs = {at: [b64encode(step).decode() for step in merkle.inclusion_proof(at, len(leaves), node)] for at in range(24)}
        rows = [[at, signature, proofs[at]] for at, signature, _ in data["rows"] if at + 1 in kept]
        data.update(scope="session", session=session, count=len(kept), leaves=[], rows=rows)

    page = with_data(made.ledger, change)
    for number in set(range(1, 25)) - set(kept):
        page = page.replace(row_html(page, number), "")
    return page


def test_a_ledger_with_rows_left_out_does_not_pass_as_a_session(made: Made, reader: Reader) -> None:
    for session in (None, made.sessions[0]):
        reader.open(as_a_session(made, session))
        assert reader.paste(vkey(made)).state == "bad"
    assert reader.open(with_data(made.session, lambda data: data.update(session=None))).state == "bad"
    assert reader.open(with_data(made.ledger, lambda data: data.update(session=made.sessions[0]))).state == "bad"


def test_the_verdict_names_what_it_is_about_whose_keys_counted_and_what_it_does_not_cover(made: Made, reader: Reader) -> None:
    reader.open(made.session)
    seen = reader.paste(vkey(made))
    origin = vkey(made).partition("+")[0]
    assert seen.title == "Verified under the log key that you pasted: the rows, not the frame"
    assert seen.text.startswith(f"Session {made.sessions[0]} of ledger {origin}, 12 rows of the 24 that its head signs.")
    assert "Not covered: the glance, what came later" in seen.text and "You pasted no revocation" in seen.text
    reader.open(made.ledger)
    writers = (made.trust.path / "writers").read_text()
    seen = reader.paste(writers)
    assert seen.state == "own" and "the rows under the writers that you pasted, the head under a log key" in seen.text
    assert seen.text.startswith(f"Ledger {origin}, 24 rows: all that its head signs.")
    assert "Not covered: what an audit is said to have found" in seen.text
    assert reader.text().count("Not covered by the verdict: ") == 3


def test_revocations_that_a_reader_pastes_count_whatever_the_page_carries(made: Made, reader: Reader) -> None:
    (log,) = (keys[0] for keys in made.trust.policy.logs.values())
    (writer,) = made.trust.writers
    reader.open(made.ledger)
    seen = reader.paste(f"log {log.vkey}\n{writer} {log.name} 20\n")
    assert (seen.title, seen.bad) == ("Not verified: row 21", [21, 22, 23, 24])
    seen = reader.paste(f"log {log.vkey}\n{key_id(log.public)} {log.name} 23")
    assert seen.state == "bad" and "revoked for more than 23" in seen.text
    seen = reader.paste(f"log {log.vkey}\n{writer} {log.name} 24\n{key_id(log.public)} another.example/log 1")
    assert seen.state == "pinned" and "2 revocations that you pasted" in seen.text
    assert reader.paste(f"log {log.vkey}\n{writer} {log.name} -1").state == "bad"


@pytest.mark.parametrize("change", [
    lambda note: note.replace("\n", "\r\n"), lambda note: note.replace("\n", "\r"), lambda note: "\n" + note,
    lambda note: note.replace("\n\n", "\n\0\n", 1), lambda note: "\ufeff" + note,
])
def test_a_head_that_an_html_parser_would_mend_is_not_mended(
    tmp_path: Path, reader: Reader, change: Callable[[str], str]
) -> None:
    ledger = Ledger(tmp_path / "l.db", keys=tmp_path / "keys")
    SessionBuilder(ledger).spec().open().turn().close()
    ledger.close()
    trust = load_trust(tmp_path / "keys" / "self")
    assert reader.open(page_of_ledger(tmp_path / "l.db", trust)).state == "own"
    with unguarded(tmp_path / "l.db") as sql:
        (note,) = sql.execute("SELECT note FROM head").fetchone()
        sql.execute("UPDATE head SET note = ?", (change(note),))
    text = page_of_ledger(tmp_path / "l.db", trust)
    assert "safeloop audit said: record FAIL" in text
    seen = reader.open(text)
    assert (seen.state, seen.bad) == ("bad", []), seen
    assert "is not as safeloop report writes it" not in seen.text


def test_characters_that_are_not_seen_are_shown_as_escapes_and_in_no_other_way(reader: Reader, tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "l.db", keys=tmp_path / "keys")
    SessionBuilder(ledger).spec("a\u202eb\\c", "d", "e").open(model="m\u202e").turn().close()
    ledger.close()
    page = page_of_ledger(tmp_path / "l.db", load_trust(tmp_path / "keys" / "self"))
    assert reader.open(page).state == "own"
    number = next(each for each in range(1, 6) if 'data-form="escaped"' in row_html(page, each))
    raw = with_row(page, number, lambda text: text.replace('data-form="escaped"', 'data-form="exact"')
                   .replace("\\u{202e}", "\u202e").replace("\\\\", "\\"))
    assert reader.open(raw).bad == [number]
