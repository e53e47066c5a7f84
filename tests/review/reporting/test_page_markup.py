"""The page as a document, by rules that need no browser: landmarks, headings, tables, labels, policy, no network."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from itertools import pairwise

import pytest
from bs4 import BeautifulSoup, Tag

from safeloop.ledger import Ledger
from safeloop.ledger.trust import load_trust
from safeloop.ledger.upkeep.limiting import set_limits
from safeloop.review.reporting import charts, page
from tests.review.reporting.conftest import Made
from tests.review.reporting.made import data_of, page_of_ledger, page_of_session
from tests.review.sessions import SessionBuilder, completed

KINDS = ("session", "ledger")


@pytest.fixture(scope="module")
def texts(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Pages with all that a page can have: charts with and without ceilings, windows, breaches, many turns."""
    folder = tmp_path_factory.mktemp("texts")
    ledger = Ledger(folder / "ledger.db", keys=folder / "keys")
    set_limits(ledger, {("day", "tokens"): 5_000, ("month", "sessions"): 9})
    completed(ledger)
    long = SessionBuilder(ledger).spec().open()
    for _ in range(70):
        long.turn("on", tokens=10, cost_microusd=12, intent={"reserved_microusd": 50})
    long.breach().close("breached", output="a\tb")
    ledger.close()
    trust = load_trust(folder / "keys" / "self")
    return {"session": page_of_session(folder / "ledger.db", trust, long.session),
            "ledger": page_of_ledger(folder / "ledger.db", trust)}


@pytest.fixture(scope="module", params=KINDS)
def soup(request: pytest.FixtureRequest, texts: dict[str, str]) -> BeautifulSoup:
    return BeautifulSoup(texts[request.param], "html.parser")


def tags(soup: BeautifulSoup | Tag, *names: str) -> list[Tag]:
    return [tag for tag in soup.find_all(list(names)) if isinstance(tag, Tag)]


def test_headings_descend_by_one_and_there_is_one_of_the_first_level(soup: BeautifulSoup) -> None:
    levels = [int(tag.name[1]) for tag in tags(soup, "h1", "h2", "h3", "h4")]
    assert levels[0] == 1 and levels.count(1) == 1
    assert all(after <= before + 1 for before, after in pairwise(levels))


def test_landmarks_and_the_link_that_skips_to_them(soup: BeautifulSoup) -> None:
    assert [len(tags(soup, name)) for name in ("header", "main", "footer")] == [1, 1, 1]
    first = tags(soup.body, "a")[0]
    assert first["href"] == "#main" and soup.find(id="main").name == "main"
    ids = {tag["id"] for tag in soup.find_all(id=True)}
    named = [tag["aria-labelledby"] for tag in soup.find_all(attrs={"aria-labelledby": True})]
    assert {word for names in named for word in names.split()} <= ids
    assert all(section.has_attr("aria-labelledby") for section in tags(soup, "section"))
    assert soup.html["lang"] == "en" and soup.title.string


def test_no_two_elements_have_one_id(soup: BeautifulSoup) -> None:
    ids = [tag["id"] for tag in soup.find_all(id=True)]
    assert len(ids) == len(set(ids))


def test_tables_have_captions_and_headings_with_their_scope(soup: BeautifulSoup) -> None:
    found = tags(soup, "table")
    assert found
    for table in found:
        assert table.caption and table.caption.get_text(strip=True)
        headings = tags(table, "th")
        assert headings and {heading["scope"] for heading in headings} == {"col", "row"}
        columns = len(tags(table.thead, "th"))
        assert all(len(tags(row, "th", "td")) == columns for row in tags(table, "tr"))


def test_controls_have_labels_and_a_verdict_is_announced(soup: BeautifulSoup) -> None:
    labels = {label["for"] for label in tags(soup, "label")}
    for control in tags(soup, "textarea", "input", "select"):
        assert control["id"] in labels
    assert all(button.get_text(strip=True) and button["type"] == "button" for button in tags(soup, "button"))
    assert soup.find(id="verdict-title").find_parent(attrs={"aria-live": "polite"})
    assert soup.find(id="progress")["aria-live"] == "polite"
    assert all(details.summary for details in tags(soup, "details"))
    assert all(region["tabindex"] == "0" for region in soup.find_all(class_="wide"))  # what scrolls can be reached


def test_charts_have_title_and_description_and_a_table_beside_them(soup: BeautifulSoup) -> None:
    drawn = tags(soup, "svg")
    assert len(drawn) == 2
    for chart in drawn:
        title, text = (soup.find(id=each) for each in chart["aria-labelledby"].split())
        assert chart["role"] == "img" and (title.name, text.name) == ("title", "desc")
        assert title.get_text(strip=True) and text.get_text(strip=True)
        assert tags(chart.find_parent("section"), "table")


def test_nothing_in_a_page_reaches_out_or_carries_style_or_handlers(soup: BeautifulSoup) -> None:
    for tag in soup.find_all(True):
        for name, value in tag.attrs.items():
            assert not name.startswith("on") and name not in ("style", "src", "srcset", "action", "xlink:href"), tag
            if name == "href":
                assert value.startswith("#"), tag
    assert [tag.get("type") for tag in tags(soup, "script")] == ["application/json", None]
    assert len(tags(soup, "style")) == 1 and not tags(soup, "link", "iframe", "img", "object", "base")


def test_the_policy_names_exactly_this_style_and_this_script(soup: BeautifulSoup) -> None:
    content = soup.find("meta", attrs={"http-equiv": "Content-Security-Policy"})["content"]
    rules = {name: sources for name, _, sources in (rule.strip().partition(" ") for rule in content.split(";"))}

    def digest(tag: Tag) -> str:
        return f"'sha256-{base64.b64encode(hashlib.sha256(tag.string.encode()).digest()).decode()}'"

    assert rules == {
        "default-src": "'none'", "script-src": digest(tags(soup, "script")[1]), "style-src": digest(tags(soup, "style")[0]),
        "base-uri": "'none'", "form-action": "'none'", "require-trusted-types-for": "'script'", "trusted-types": "'none'",
    }
    assert soup.head.find("meta", attrs={"http-equiv": True}).find_previous("style") is None  # it is first


def test_the_default_text_says_that_nothing_was_verified(soup: BeautifulSoup) -> None:
    assert soup.find(id="verdict")["data-state"] == "none"
    assert soup.find(id="verdict-title").string == "Nothing was verified"
    assert {mark.string for mark in soup.find_all(class_="mark")} == {"○ not checked"}
    assert all(tag.has_attr("hidden") for tag in soup.find_all(attrs={"data-needs-script": True}))


def test_the_program_cannot_end_its_element_and_loads_nothing() -> None:
    text = page.script().lower()
    for word in ("</script", "<!--", "fetch(", "xmlhttprequest", "import(", "innerhtml", "eval(", "websocket", "sendbeacon"):
        assert word not in text
    assert "url(" not in page.style() and "@import" not in page.style()


def test_a_page_holds_public_keys_and_no_private_ones(made: Made) -> None:
    keys = made.path.parent / "keys"
    secrets = [file.read_bytes() for file in keys.rglob("*") if file.is_file() and b"PRIVATE" in file.read_bytes()]
    assert secrets
    for text in (made.session, made.ledger):
        assert "PRIVATE" not in text
        for secret in secrets:
            for line in secret.decode().splitlines()[1:-1]:
                assert line not in text
    data = data_of(made.session)
    assert sorted(data) == ["count", "leaves", "logs", "revoked", "rows", "safeloop_page", "scope", "session", "writers"]
    assert data["leaves"] == [] and all(len(proof) > 0 for _, _, proof in data["rows"])


def test_the_page_of_a_ledger_shows_no_content(made: Made) -> None:
    assert "nothing is wrong" in made.session  # the frame shows what the session wrote
    assert "nothing is wrong" not in made.ledger


def test_without_the_extra_the_page_has_its_tables_alone(made: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "pygal", None)
    assert not charts.can_draw()
    text = page_of_session(made.path, made.trust, made.sessions[0])
    assert "<svg" not in text and "Timeline of turns" in text
    assert "<svg" in made.session


def test_a_chart_is_the_same_every_day_and_of_whole_numbers(made: Made) -> None:
    assert page_of_session(made.path, made.trust, made.sessions[0]) == made.session
    figures = re.findall(r"<text[^>]*>([^<]*)</text>", made.session)
    assert figures and all(re.fullmatch(r"[0-9,]+|charged so far|ceiling", each) for each in figures)


def test_the_data_is_json_that_no_element_can_end(texts: dict[str, str]) -> None:
    for text in texts.values():
        raw = re.search(r'id="safeloop-data">(.*?)</script>', text, re.S)[1]
        assert json.loads(raw)["safeloop_page"] == 1
        assert not re.search(r"[<>&\u2028\u2029]", raw)
