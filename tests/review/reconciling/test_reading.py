"""Reports as files hold them: unknown fields, other zones, gaps, overlaps, pages; what is hostile is refused."""

from __future__ import annotations

import json
import tracemalloc
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from safeloop.errors import SettingError
from safeloop.review.reconciling import reading, report
from safeloop.review.reconciling.counts import Counts
from safeloop.review.reconciling.reading import read_report
from safeloop.review.reconciling.report import Payer, UsageReport, joined, moment
from tests.review.reconciling.bills import DAY, HOUR, KEY, MINUTE, SHOP, SONNET, Scene, result


def bucket(begins: int, *results: Any, width: int = MINUTE) -> dict[str, Any]:
    return {"starting_at": moment(begins), "ending_at": moment(begins + width), "results": list(results)}


def page(*buckets: Any, **more: Any) -> dict[str, Any]:
    return {"data": list(buckets), "has_more": False, "next_page": None, **more}


def read(*pages: Any) -> UsageReport:
    return read_report(["\n".join(json.dumps(each) for each in pages).encode()])


ONE = result(KEY, SHOP, SONNET, Counts(1, 2, 3, 4, 5))


@given(size=st.integers(1, 400), seed=st.integers(0, 99))
def test_where_the_bytes_are_cut_makes_no_difference(size, seed):
    scene = Scene(hours=1)
    scene.call(DAY + seed * 20 * 1_000_000, Counts(1, 2, 3, seed))
    data = json.dumps(scene.pages(), indent=seed % 3, ensure_ascii=False).encode()
    pieces = [data[place : place + size] for place in range(0, len(data), size)]
    assert read_report(pieces).digest() == read_report([data]).digest() == scene.report().digest()


def test_a_byte_order_mark_says_nothing():
    data = json.dumps(page(bucket(DAY, ONE))).encode()
    for size in (1, 2, 1_000):
        marked = b"\xef\xbb\xbf" + data
        pieces = [marked[place : place + size] for place in range(0, len(marked), size)]
        assert read_report(pieces).digest() == read(page(bucket(DAY, ONE))).digest()


def test_what_a_bucket_says_first_is_not_hidden_by_what_it_says_last():
    text = json.dumps(page(bucket(DAY, ONE)))
    for name, hidden in (("results", "[]"), ("uncached_input_tokens", "90000")):
        twice = text.replace(f'"{name}": ', f'"{name}": {hidden}, "{name}": ', 1)
        with pytest.raises(SettingError, match="something twice"):
            read_report([twice.encode()])


def test_every_class_is_read_and_what_is_not_known_is_passed_over():
    found = read(page(bucket(DAY, ONE, ONE), more={"a": [[{}]]}))
    (series,) = found.series.values()
    assert list(series.between(0, DAY + HOUR)) == [(DAY, Counts(2, 4, 6, 8, 10))]
    assert list(found.series) == [(Payer(KEY, SHOP), SONNET)]


def test_pages_in_a_list_one_after_another_or_in_several_files_are_one_report():
    pages = [page(bucket(DAY + n * MINUTE, ONE), has_more=n < 2) for n in range(3)]
    whole = read(page(*(bucket(DAY + n * MINUTE, ONE) for n in range(3))))
    assert read(*pages).digest() == read(pages).digest() == whole.digest()
    assert joined([read(pages[2]), read(pages[0]), read(pages[1])]).digest() == whole.digest()
    overlapping = [page(bucket(DAY, ONE), bucket(DAY + MINUTE, ONE)), page(bucket(DAY + MINUTE, ONE), bucket(DAY + 2 * MINUTE, ONE))]
    assert read(*overlapping).digest() == whole.digest()
    assert read(*pages[:2]).has_more
    assert not read(*pages[:2], page()).has_more, "an empty last page is the last"


def test_another_zone_is_the_same_time():
    shifted = page({"starting_at": "2026-11-21T02:00:00+02:00", "ending_at": "2026-11-20T18:01:00-06:00", "results": [ONE]})
    assert read(shifted).digest() == read(page(bucket(DAY, ONE))).digest()


def test_a_bucket_that_is_missing_is_a_gap_and_no_zero():
    found = read(page(bucket(DAY), bucket(DAY + 2 * MINUTE, ONE)))
    assert found.gaps == ((DAY + MINUTE, DAY + 2 * MINUTE),)


def test_a_digest_changes_with_every_figure():
    digests = {read(page(bucket(DAY, result(KEY, SHOP, SONNET, Counts(*(int(at == each) for each in range(5))))))).digest()
               for at in range(6)}  # fmt: skip
    digests |= {read(page(bucket(DAY, ONE), has_more=more)).digest() for more in (False, True)}
    digests |= {read(page(bucket(DAY, {**ONE, name: "x"}))).digest() for name in ("model", "api_key_id", "workspace_id")}
    assert len(digests) == 11


DEEP = '{"data": [], "has_more": false, "x": ' + "[" * 100_000 + "]" * 100_000 + "}"
BAD = [
    ("", "empty"), ("[]", "empty"), ("null", "no {"), ("5", "no {"), ('{"data": []}', "does not say"), ('{"has_more": false}', "no data"),
    ('{"data": {}, "has_more": false}', "no ["), ('{"data": [', "cut off"), ('{"data": [{"a": ', "cut off"), (DEEP, "deeply"),
    ('{"data": [], "data": [], "has_more": false}', "twice"), ('{"data": [], "has_more": 1}', "neither true"),
    ('{"data": [5], "has_more": false}', "no results"), ('{"data": [], "has_more": NaN}', "not JSON"),
    (b"\xff\xfe{}", "not UTF-8"), ('{"data": [], "has_more": ' + "9" * 5_000 + "}", "not JSON"),
    ('{"data": [{"results": [1], "results": []}], "has_more": false}', "something twice"),
    ('{"data": [], 5: 6, "has_more": false}', "twice"), ('{"data": [] "has_more": false}', "no ,"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "words"), BAD, ids=lambda value: str(value)[:30])
def test_what_is_no_report_is_refused(text, words):
    with pytest.raises(SettingError, match=words.replace("[", r"\[").replace("{", r"\{")):
        read_report([text if isinstance(text, bytes) else text.encode()])


@pytest.mark.parametrize(("spoiled", "words"), [
    ({"uncached_input_tokens": -1}, "not a count"), ({"output_tokens": 1.5}, "not a count: 1.5"), ({"output_tokens": True}, "not a count"),
    ({"output_tokens": "5"}, "not a count"), ({"cache_read_input_tokens": 10**15}, "not a count"), ({"model": 5}, "model is neither"),
    ({"cache_creation": 5}, "not an object"), ({"cache_creation": {"ephemeral_9d_input_tokens": -5}}, "not a count"),
    ({"server_tool_use": []}, "not an object"), ({"api_key_id": {}}, "api_key_id is neither"),
])  # fmt: skip
def test_a_figure_that_is_none_is_refused(spoiled, words):
    with pytest.raises(SettingError, match=words):
        read(page(bucket(DAY, {**ONE, **spoiled})))
    for lacking in ("uncached_input_tokens", "output_tokens"):
        with pytest.raises(SettingError, match=f"no {lacking}"):
            read(page(bucket(DAY, {name: value for name, value in ONE.items() if name != lacking})))


@pytest.mark.parametrize(("buckets", "words"), [
    ([bucket(DAY), bucket(DAY)], "comes twice"), ([bucket(DAY + MINUTE), bucket(DAY)], "after a later one"),
    ([bucket(DAY, width=2 * MINUTE)], "not as wide"), ([bucket(DAY), bucket(DAY + MINUTE, width=HOUR)], "not as wide"),
    ([{**bucket(DAY), "starting_at": "2026-11-21T00:00:00"}], "with its zone"), ([{**bucket(DAY), "ending_at": None}], "with its zone"),
    ([{**bucket(DAY), "ending_at": "9999-99-99T00:00:00Z"}], "with its zone"), ([{**bucket(DAY), "ending_at": "0001-01-01T00:00:00+14:00"}], "zone"),
    ([{**bucket(DAY), "starting_at": "2026-11-21T00:00:00.5Z"}], "with its zone"), ([{**bucket(DAY), "results": {}}], "no results"),
    ([bucket(DAY, 5)], "not an object"),
])  # fmt: skip
def test_a_bucket_that_is_none_is_refused(buckets, words):
    with pytest.raises(SettingError, match=words):
        read(page(*buckets))


def test_reports_that_contradict_each_other_are_refused():
    other = result(KEY, SHOP, SONNET, Counts(1, 2, 3, 4, 6))
    for second in (page(bucket(DAY, other)), page(bucket(DAY)), page(bucket(DAY, {**ONE, "model": "x"}))):
        with pytest.raises(SettingError, match="different things"):
            read(page(bucket(DAY, ONE)), second)
    with pytest.raises(SettingError, match="not with the same buckets"):
        read(page(bucket(DAY), bucket(DAY + 2 * MINUTE)), page(bucket(DAY + MINUTE), bucket(DAY + 3 * MINUTE)))
    with pytest.raises(SettingError, match="buckets of 1m"):
        read(page(bucket(DAY)), page(bucket(DAY + HOUR, width=HOUR)))


def test_names_are_kept_so_that_they_can_be_shown():
    found = read(page(bucket(DAY, {**ONE, "model": "\x1b[2J\u202e" + "m" * 500})))
    ((_, model),) = found.series
    assert model is not None
    assert model.isprintable() and len(model.encode()) <= 200


def test_bounds_are_bounds(monkeypatch):
    monkeypatch.setattr(reading, "MOST_RESULTS", 2)
    monkeypatch.setattr(reading, "MOST_PAGES", 2)
    assert read(page(bucket(DAY, ONE, ONE)), page()).size == 1
    with pytest.raises(SettingError, match="more than 2 results"):
        read(page(bucket(DAY, ONE, ONE, ONE)))
    with pytest.raises(SettingError, match="more than 2 pages"):
        read(page(), page(), page())
    monkeypatch.setattr(reading, "MOST_BYTES", 100)
    with pytest.raises(SettingError, match="larger than 100 bytes"):
        read(page(bucket(DAY, ONE, ONE)))
    monkeypatch.undo()
    monkeypatch.setattr(reading, "_MOST_ITEM", 1_000)
    with pytest.raises(SettingError, match="not JSON, or it is cut off"):
        read_report([b'{"data": ["', *([b"x" * 1_000_000] * 5), b'"]}'])


def test_memory_is_that_of_what_was_billed_however_many_buckets_are_empty():
    def long() -> Any:
        yield b'{"has_more": false, "data": ['
        for start in range(0, 30_000, 1_000):
            rows = (json.dumps(bucket(DAY + (start + n) * MINUTE)) for n in range(1_000))
            yield (("," if start else "") + ",".join(rows)).encode()
        yield b"]}"

    tracemalloc.start()
    try:
        found = read_report(long())
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert (found.size, found.ends - found.begins) == (0, 30_000 * MINUTE)
    assert peak < 8_000_000
    assert report.MOST_RESULTS >= 1_000_000
