"""What a page sums up of rows: the session in a few lines, limits, people's acts, money, and how far charts reach."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from bs4 import BeautifulSoup, Tag

from safeloop.ledger import Ledger
from safeloop.ledger.trust import load_trust
from safeloop.ledger.upkeep.limiting import set_limits
from safeloop.review.reporting.charts import Chart, Line, Unit, draw
from safeloop.review.reporting.figures import steps
from safeloop.review.reporting.markup import UNSIGNED
from tests.review.reporting.browser import Browser
from tests.review.reporting.conftest import Seen
from tests.review.reporting.made import page_of_ledger, page_of_session
from tests.review.sessions import SessionBuilder, paper
from tests.review.test_inbox import attested, released

TASK = "Audit <b>every</b> page. " + "It is short. " * 40
CEILINGS = {"turns": 8, "tokens": 60_000, "microusd": 500_000}


def reviewed(session: SessionBuilder) -> SessionBuilder:
    session.spec(TASK, "Change <i>nothing</i>", "report.md lists every fault").open(ceilings=CEILINGS)
    session.turn(tokens=1_823, cost_microusd=11_500).turn(tokens=1_000, cost_microusd=3_000)
    session.close(output="x" * 200, cost_microusd=14_500, files={"a.md": (None, b"A")})
    attested(attested(session, "reject", "bob"), "accept", "alice")
    return released(attested(session, "accept", "carol", signed=False))


@pytest.fixture(scope="module")
def texts(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    folder = tmp_path_factory.mktemp("summed")
    path = folder / "ledger.db"
    ledger = Ledger(path, keys=folder / "keys")
    set_limits(ledger, {("day", "tokens"): 40_000, ("month", "microusd"): 5_000_000, ("month", "sessions"): 9})
    SessionBuilder(ledger).spec().open().turn().close("unmet")
    session = reviewed(SessionBuilder(ledger)).session
    ledger.close()
    trust = load_trust(folder / "keys" / "self")
    return {"session": page_of_session(path, trust, session), "ledger": page_of_ledger(path, trust)}


def part(text: str, name: str) -> Tag:
    found = BeautifulSoup(text, "html.parser").find("section", attrs={"aria-labelledby": name})
    assert isinstance(found, Tag)
    return found


def test_a_session_is_summed_up_and_the_summary_says_that_no_verdict_covers_it(texts: dict[str, str]) -> None:
    summary = part(texts["session"], "glance")
    assert summary.find("p", class_="unsigned").text == UNSIGNED
    said = {name.text: name.find_next("dd").text for name in summary.find_all("dt")}
    assert said.pop("Purpose").startswith("Audit <b>every</b> page. It is short.")
    assert said == {
        "Outcome": "completed", "Tokens": "2,823 of 60,000 (5 %)", "Cost": "$0.0145 of $0.50 (3 %)",
        "Accepted by": "alice (row 15), carol (row 16, not signed)", "Rejected by": "bob (row 14)", "Released": "row 17",
    }
    assert summary.find("b") is None and len(summary.dl.find("dd").text) == 301


def test_what_people_did_after_the_end_is_no_turn_of_the_model() -> None:
    rows = reviewed(paper()).rows
    *_, last, after = steps(rows)
    assert (last.name, last.happened[-1]) == ("2", "close completed")
    assert (after.name, after.tokens, after.happened) == (
        "after", 0, ("attestation reject by bob", "attestation accept by alice", "attestation accept by carol", "release"))
    assert [step.name for step in steps(rows)] == ["before", "1", "2", "after"]


def test_money_is_in_dollars_wherever_the_page_sums_up(texts: dict[str, str]) -> None:
    for text, names in ((texts["session"], ("glance", "later", "turns")), (texts["ledger"], ("glance", "sessions"))):
        for name in names:
            assert not re.search("micro-?(usd|dollar)", str(part(text, name)), re.I)
    marks = [mark.text for mark in part(texts["session"], "turns").find_all("svg")[1].find_all("text")]
    assert {"$0.00", "$0.50"} <= set(marks)


def test_a_limit_is_drawn_as_its_part_of_a_hundred_percent(texts: dict[str, str]) -> None:
    glance = part(texts["ledger"], "glance")
    drawn = glance.find_all("svg")[1]
    marks = [mark.text for mark in drawn.find_all("text")]
    assert {"0 %", "100 %", "day tokens (7 %)", "month cost (0 %)", "month sessions (22 %)"} <= set(marks)
    assert "2,923 of 40,000 (7 %)" in glance.text and "$0.0145 of $5.00 (0 %)" in glance.text
    widths = sorted(float(bar.get("width", 0)) for bar in drawn.find_all("rect", class_="rect"))
    assert widths[0] == 0 and widths[1] * 22 == pytest.approx(widths[2] * 7) and 0 < widths[2] < 600 * 0.22


@pytest.mark.parametrize(("figure", "end"), [(0, "100 %"), (7, "100 %"), (100, "100 %"), (101, "120 %"), (250, "250 %")])
def test_percents_reach_from_nothing_to_all_and_beyond_only_where_a_figure_is(figure: int, end: str) -> None:
    text = draw(Chart("chart-a", "A", "a", ("one",), (Line("A", (figure,)),), is_bars=True, unit=Unit.PERCENT))
    marks = re.findall(r"<text[^>]*>(\d+ %)</text>", text)
    assert max(marks, key=lambda mark: int(mark[:-2])) == end and "0 %" in marks


def test_bars_of_few_figures_are_no_thicker_than_those_of_many() -> None:
    def thickness(count: int) -> float:
        labels = tuple(f"label {number}" for number in range(count))
        text = draw(Chart("chart-a", "A", "a", labels, (Line("A", (3,) * count),), is_bars=True))
        bars = BeautifulSoup(text, "html.parser").find_all("rect", class_="rect")
        return max(float(bar["height"]) for bar in bars)

    assert thickness(1) < 24 and thickness(2) < 24 and thickness(9) > 6


def test_the_ledger_says_of_each_session_what_reviewers_decided(texts: dict[str, str]) -> None:
    lines = [[cell.text for cell in line.find_all(["th", "td"])] for line in part(texts["ledger"], "sessions").find_all("tr")]
    assert lines[0] == ["Session", "Began", "Outcome", "Reviewed", "Released", "Rows", "Tokens", "First row"]
    assert [line[2:5] for line in lines[2:]] == [
        ["unmet", "-", "-"],
        ["completed", "reject in row 14, accept in row 15, accept in row 16", "row 17"],
    ]


def test_a_narrow_window_scrolls_frame_and_tables_sideways_shows_it_and_never_the_page(
    texts: dict[str, str], browser: Browser, tmp_path: Path
) -> None:
    file = tmp_path / "session.html"
    file.write_text(texts["session"], encoding="utf-8")
    page = browser.open(file.as_uri())
    assert Seen.of(page).state == "own"
    size = {"height": 900, "deviceScaleFactor": 1}
    page.call("Emulation.setDeviceMetricsOverride", width=400, mobile=True, **size)
    assert page.value("document.documentElement.scrollWidth") == 400
    for name in ("#frame", "section[aria-labelledby=turns] .wide"):
        measured = f"(() => {{ const part = document.querySelector('{name}'); const style = getComputedStyle(part); part.focus();"
        assert page.value(measured + "return [part.scrollWidth > part.clientWidth, part.scrollHeight <= part.clientHeight,"
                          "style.maxHeight, document.activeElement === part, style.outlineStyle !== 'none',"
                          "style.backgroundAttachment]; })()") == [
            True, True, "none", True, True, "local, local, scroll, scroll, scroll"]
    page.call("Emulation.setDeviceMetricsOverride", width=1280, mobile=False, **size)
    left, *_, right = page.value(
        "[...document.querySelectorAll('figure')].map((each) => each.getBoundingClientRect()).flatMap((each) => [each.left, each.right])")
    room = page.value("(() => { const each = document.querySelector('#frame').getBoundingClientRect(); return [each.left, each.right]; })()")
    assert abs(left - room[0]) < 2 and room[1] - right < 16
    page.close()


def test_what_no_loop_ended_and_what_may_spend_nothing_is_said_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "l.db"
    ledger = Ledger(path, keys=tmp_path / "keys")
    by_hand = SessionBuilder(ledger).spec().turn(tokens=5)
    idle = SessionBuilder(ledger).spec().open(ceilings={"turns": 1, "microusd": 0}).close("failed")
    brim = SessionBuilder(ledger).spec().open(ceilings={"tokens": 1_000}).turn(tokens=999).close()
    ledger.close()
    trust = load_trust(tmp_path / "keys" / "self")

    def said(session: SessionBuilder) -> str:
        return part(page_of_session(path, trust, session.session), "glance").dl.text

    assert "none: no loop ended it" in said(by_hand) and "$0.00, without a ceiling; not all is known" in said(by_hand)
    assert "$0.00 of $0.00 (100 %)" in said(idle) and "Accepted bynobody" in said(idle)
    assert "999 of 1,000 (99 %)" in said(brim)  # a hundred percent is what is used up
