"""What a reconciliation says: what was found, what was not compared and why, and what it cannot show at all."""

from __future__ import annotations

import dataclasses
import json

from safeloop.review.reconciling import telling
from safeloop.review.reconciling.counts import Counts
from safeloop.review.reconciling.covering import missing
from safeloop.review.reconciling.reading import read_report
from safeloop.review.reconciling.recording import Recording, Settled
from safeloop.review.reconciling.report import Payer
from safeloop.review.reconciling.settling import prove
from safeloop.review.reconciling.telling import Told, source_of
from tests.review.reconciling.bills import DAY, HOUR, MINUTE, SHOP, SONNET, Charge, Scene


def told(scene: Scene, report=None, *, settled=(), group=("api_key_id", "workspace_id", "model")) -> Told:
    report = scene.report(group=group) if report is None else report
    found = scene.compared(group=group)
    return Told(report, source_of(report, "1m"), scene.recorded, found, Recording((7,), found.findings, settled, None), DAY,
                missing(report, None, 0), prove(found, report.width, lambda *_: None, until=1 << 60).kept)  # fmt: skip


def test_a_session_that_agrees_says_so_and_what_cannot_be_shown_all_the_same():
    scene = Scene()
    scene.call(DAY + HOUR)
    lines = told(scene).text().splitlines()
    assert lines[0] == "2026-11-21T00:00:00Z to 2026-11-21T06:00:00Z, buckets of 1m: 1 reply compared; no findings; row 7"
    assert [line.partition(":")[0] for line in lines[1:]] == ["cannot show"] * 3


def test_each_finding_is_a_line_with_its_figures_and_its_rows():
    scene = Scene()
    call, charge = scene.call(DAY + HOUR)
    charge.counts = Counts(100, 0, 0, 60, 2)
    (line,) = [line for line in told(scene).text().splitlines() if line.startswith("alert")]
    assert "token_mismatch" in line
    assert "recorded 100 in + 50 out, billed 100 in + 60 out, 2 searches" in line
    assert line.endswith(f"[s n {call.n}]")
    facts = told(scene, settled=(Settled("s", 3, 900, 0),)).facts()
    assert (facts["alerts"], facts["counts"]["token_mismatch"], facts["settled"][0]["billed_tokens"]) == (1, 1, 0)
    json.dumps(facts)


def test_hostile_names_are_shown_as_what_they_are():
    scene = Scene()
    scene.charges.append(Charge(DAY + HOUR, "\x1b[2J\u202eevil\nalert  ghost_call", Counts(5)))
    text = told(scene).text()
    assert "\x1b" not in text and "\u202e" not in text
    assert len([line for line in text.splitlines() if line.startswith("alert")]) == 1


def test_what_was_not_compared_is_told():
    scene = Scene()
    scene.call(DAY + HOUR)
    scene.call(DAY + 6 * HOUR - MINUTE, billed=False)
    scene.charges.append(Charge(DAY + HOUR, SONNET, Counts(9), Payer("apikey_other", SHOP)))
    page = scene.pages()
    page["data"] = [each for place, each in enumerate(page["data"]) if place % 40 != 20]
    page["has_more"] = True
    report = read_report([json.dumps(page).encode()])
    words = "\n".join(told(scene, report).notes())
    for said in ("pages are missing after 2026-11-21T06:00:00Z", "buckets are missing from 2026-11-21T00:20:00Z",
                 "in 4 further places", "1 replies lie at an edge", "9 tokens were billed to other keys"):  # fmt: skip
        assert said in words, said
    assert told(scene, report).is_partial
    words = "\n".join(told(scene, group=("workspace_id",)).notes())
    assert "not grouped by model" in words and "the report is not grouped by them" in words
    scene.terms = type(scene.terms)(Payer(None, None), DAY + HOUR, scene.terms.thresholds, {})
    assert "from 2026-11-21T01:00:00Z on may not be complete" in "\n".join(told(scene).notes())


def test_what_is_not_settled_says_why():
    scene = Scene()
    scene.doubt(DAY + HOUR)
    scene.doubt(DAY + HOUR)
    result = told(scene)
    assert result.facts()["unsettled"] == {"proof": 2}
    assert "2 attempts in doubt not settled: no reply of its API key" in "\n".join(result.notes())


def test_what_is_lacking_asks_for_a_look_the_first_time():
    scene = Scene()
    scene.call(DAY + HOUR)
    assert not told(scene).asks_for_a_look
    first = dataclasses.replace(told(scene), recording=Recording((7,), (), (), None, ({"lacks": "pages"},)))
    assert first.asks_for_a_look


def test_a_long_list_is_cut_where_it_is_shown_and_nowhere_else(monkeypatch):
    monkeypatch.setattr(telling, "MOST_SHOWN", 2)
    scene = Scene()
    scene.charges = [Charge(DAY + minute * MINUTE, SONNET, Counts(10)) for minute in range(5)]
    assert "… and 3 more: the same command with --json" in told(scene).text()
    assert len(told(scene).facts()["findings"]) == 5
