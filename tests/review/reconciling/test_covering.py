"""What a report should cover and does not, and until when it is certain: what is not there proves nothing."""

from __future__ import annotations

import dataclasses
import json

from safeloop.review.reconciling import covering
from safeloop.review.reconciling.counts import Counts
from safeloop.review.reconciling.covering import certain_until, lacks, missing
from safeloop.review.reconciling.reading import read_report
from safeloop.review.reconciling.report import SECOND, Run, UsageReport
from tests.review.reconciling.bills import DAY, HOUR, MINUTE, SONNET, Charge, Scene

ENDS = DAY + 6 * HOUR


def cut(scene: Scene, first: int, last: int) -> UsageReport:
    page = scene.pages()
    return read_report([json.dumps({**page, "data": page["data"][first:last]}).encode()])


def test_buckets_are_missing_at_both_ends_of_what_was_asked_for_and_between():
    whole, asked = Scene().report(), Run(DAY, ENDS)
    assert missing(whole, asked, ENDS) == missing(whole, None, ENDS) == ()
    assert missing(cut(Scene(), 0, 60), asked, ENDS) == (Run(DAY + HOUR, ENDS),)
    assert missing(cut(Scene(), 60, 360), asked, ENDS) == (Run(DAY, DAY + HOUR),)
    page = Scene().pages()
    del page["data"][100]
    gap = Run(DAY + 100 * MINUTE, DAY + 101 * MINUTE)
    report = read_report([json.dumps({**page, "data": page["data"][60:]}).encode()])
    assert missing(report, asked, ENDS) == (Run(DAY, DAY + HOUR), gap)
    assert missing(report, None, ENDS) == (gap,)


def test_only_whole_buckets_that_must_be_there_by_now_can_be_missing():
    report = cut(Scene(), 60, 120)
    asked = Run(DAY + HOUR - 30 * SECOND, DAY + 2 * HOUR + 59 * SECOND)
    assert missing(report, asked, ENDS) == ()
    assert missing(report, Run(DAY + HOUR - MINUTE, ENDS), DAY + 2 * HOUR) == (Run(DAY + HOUR - MINUTE, DAY + HOUR),)
    assert missing(report, Run(DAY + 4 * HOUR, DAY + 5 * HOUR), ENDS) == (Run(DAY + 4 * HOUR, DAY + 5 * HOUR),)
    assert missing(report, Run(DAY, ENDS), DAY) == ()
    assert missing(UsageReport(), Run(DAY, ENDS), ENDS) == ()


def test_a_report_is_as_new_as_its_newest_figures_and_never_of_the_future():
    scene = Scene()
    scene.charges.append(Charge(DAY + HOUR, SONNET, Counts(5)))
    report, newest = scene.report(), DAY + HOUR
    assert certain_until(report, ENDS) == newest
    assert certain_until(report, newest - MINUTE) == newest - MINUTE, "clocks differ by a minute"
    assert certain_until(report, newest - MINUTE - 1) == 0
    assert certain_until(report, newest - MINUTE - 1, newest) == 0, "whatever is said of it"
    assert certain_until(report, ENDS, DAY + 2 * HOUR) == DAY + 2 * HOUR
    assert certain_until(report, ENDS, ENDS + HOUR) == ENDS


def test_what_is_lacking_is_listed_so_that_it_is_told_once(monkeypatch):
    scene = Scene()
    scene.call(DAY + HOUR)
    assert list(lacks(scene.compared(), scene.report(), ())) == []
    report = dataclasses.replace(scene.report(), has_more=True)
    found = list(lacks(scene.compared(group=["model"]), report, (Run(DAY, ENDS),)))
    assert found == [{"lacks": "pages", "after": "2026-11-21T06:00:00Z"},
                     {"lacks": "buckets", "from": "2026-11-21T00:00:00Z", "to": "2026-11-21T06:00:00Z"},
                     {"lacks": "api_key_id"}]  # fmt: skip
    monkeypatch.setattr(covering, "_MOST_LISTED", 1)
    runs = tuple(Run(DAY + hour * HOUR, DAY + hour * HOUR + MINUTE) for hour in range(4))
    (_, further) = lacks(scene.compared(), scene.report(), runs)
    assert further == {"lacks": "further buckets", "from": "2026-11-21T01:00:00Z", "to": "2026-11-21T03:01:00Z"}
    scene.terms = dataclasses.replace(scene.terms, complete_until=DAY)
    assert [each["lacks"] for each in lacks(scene.compared(), scene.report(), ())] == ["complete buckets"]
    assert list(lacks(Scene().compared(), Scene().report(), ())) == [], "nothing was billed to any key"
