"""Criteria: what may be asked of a file, and what comes of it."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from safeloop.errors import SpecError
from safeloop.spec import Criterion, check
from safeloop.spec.checks import LONGEST_DETAIL, LONGEST_SEARCHED
from safeloop.spec.criteria import require_criteria
from safeloop.spec.search import search_within

REPORT = Criterion("report", "report.md", contains=("Title", "Headings"), not_contains=("TODO",), min_chars=5)


def in_process(patterns, text):
    """The same search without a process of its own, for tests that search often."""
    return tuple(re.search(pattern, text, re.MULTILINE) is not None for pattern in patterns)


def judged(data, **conditions):
    return check(Criterion("c", "f.txt", **conditions), {"f.txt": data}, search=in_process)


def test_a_file_that_meets_every_condition_passes():
    verdict = check(REPORT, {"report.md": b"Title\nHeadings\n", "other": b""})
    assert verdict.passed
    assert verdict.criterion == "report"
    assert verdict.detail == "report.md: 4 of 4 conditions hold"


def test_one_failed_condition_fails_the_criterion_and_is_the_one_named():
    verdict = check(REPORT, {"report.md": b"Title only, TODO"})
    assert not verdict.passed
    assert verdict.detail == 'report.md: does not contain "Headings"; contains "TODO"'


@pytest.mark.parametrize("files", [{}, {"Report.md": b"Title Headings"}, {"./report.md": b"Title Headings"}])
def test_a_missing_file_fails_and_no_other_name_stands_in_for_it(files):
    verdict = check(REPORT, files)
    assert not verdict.passed
    assert verdict.detail == "report.md: missing"


@pytest.mark.parametrize("data", [b"", b" \n\t\r\n", b"\xef\xbb\xbf", b"\xef\xbb\xbf \n", "\u00a0\u2003".encode()])
@pytest.mark.parametrize(
    "conditions", [{}, {"not_contains": ("x",)}, {"max_chars": 10}, {"min_chars": 0}, {"matches": (".*",)}]
)
def test_an_empty_file_passes_no_check_whatever_is_asked(data, conditions):
    verdict = judged(data, **conditions)
    assert not verdict.passed
    assert "empty" in verdict.detail


def test_without_conditions_a_file_must_only_hold_something():
    assert judged(b"x").detail == "f.txt: is there and not empty"
    assert judged(b"\xff\xfe\x00binary").passed


@pytest.mark.parametrize(
    "conditions",
    [{"contains": ("a",)}, {"not_contains": ("a",)}, {"matches": ("a",)}, {"min_chars": 0}, {"max_chars": 9}],
)
def test_a_file_that_is_no_text_fails_every_text_condition(conditions):
    verdict = judged(b"ab\xff", **conditions)
    assert not verdict.passed
    assert verdict.detail == "f.txt: not UTF-8 at byte 2, so its text cannot be checked"


def test_lengths_are_characters_and_inclusive():
    four = "é😀é😀".encode()
    assert judged(four, min_chars=4, max_chars=4).passed
    assert judged(four, min_chars=5).detail == "f.txt: 4 characters, fewer than min_chars 5"
    assert judged(four, max_chars=3).detail == "f.txt: 4 characters, more than max_chars 3"


def test_a_byte_order_mark_is_not_part_of_the_text():
    assert judged(b"\xef\xbb\xbfTitle", matches=("^Title",), max_chars=5).passed


def test_patterns_are_searched_line_by_line_and_all_must_be_found():
    text = b"intro\n# Title\nend"
    assert judged(text, matches=("^# T", "^end$", r"\Aintro")).passed
    verdict = judged(text, matches=("^# T", r"\A# T", "^End"))
    assert verdict.detail == 'f.txt: does not match "\\\\A# T"; does not match "^End"'


def test_texts_are_compared_exactly():
    assert not judged(b"title", contains=("Title",)).passed
    assert not judged("e\u0301".encode(), contains=("\u00e9",)).passed
    assert judged(b"a\r\nb", contains=("a\r\nb",)).passed
    assert not judged(b"a\r\nb", contains=("a\nb",)).passed


def test_a_text_longer_than_patterns_are_searched_in_fails_unsearched():
    def never(patterns, text):
        raise AssertionError("searched")

    criterion = Criterion("c", "f.txt", matches=("a",))
    verdict = check(criterion, {"f.txt": b"a" * (LONGEST_SEARCHED + 1)}, search=never)
    assert not verdict.passed
    assert str(LONGEST_SEARCHED) in verdict.detail
    assert check(criterion, {"f.txt": b"a" * LONGEST_SEARCHED}, search=in_process).passed


def test_a_search_without_an_answer_fails():
    verdict = check(Criterion("c", "f.txt", matches=("a",)), {"f.txt": b"a"}, search=lambda patterns, text: None)
    assert not verdict.passed
    assert "did not end" in verdict.detail


def test_a_catastrophic_pattern_on_a_hostile_text_is_stopped():
    assert search_within(("(a+)+$",), "a" * 60 + "b", seconds=0.5) is None


def test_a_search_runs_in_a_process_of_its_own_and_answers_for_each_pattern():
    assert search_within(("^b", "^c", "é\U0001f600"), "a\nb é\U0001f600") == (True, False, True)
    assert check(Criterion("c", "f", matches=("^b$",)), {"f": b"a\nb"}).passed


def test_a_search_that_cannot_be_run_is_no_pass(monkeypatch, tmp_path):
    monkeypatch.setattr("sys.executable", str(tmp_path / "gone"))
    assert search_within(("a",), "a") is None


def test_a_pattern_that_breaks_the_searching_process_is_no_pass():
    assert search_within(("(",), "a") is None


def test_a_detail_is_bounded_and_says_how_much_it_left_out():
    wanted = tuple(f"{number} \u202e" + "x" * 500 for number in range(100))
    verdict = judged(b"nothing of it", contains=wanted)
    assert len(verdict.detail.encode()) <= LONGEST_DETAIL
    assert re.search(r"; and \d\d more$", verdict.detail)
    assert "\u202e" not in verdict.detail
    shown = verdict.detail.count("does not contain")
    assert verdict.detail.endswith(f"and {100 - shown} more")


def test_a_model_s_text_never_reaches_the_detail():
    verdict = judged(b"SECRET\x1b[2J", contains=("a",), not_contains=("E",), matches=("^b",), max_chars=3)
    assert "SECRET" not in verdict.detail
    assert "\x1b" not in verdict.detail


@given(st.binary(), st.lists(st.text(min_size=1).filter(lambda t: "\0" not in t), max_size=3))
def test_a_pass_means_that_every_text_is_there(data, wanted):
    if judged(data, contains=wanted).passed:
        assert all(text.encode() in data for text in wanted)
        assert data.strip()


@pytest.mark.parametrize(
    "file",
    ["", " ", "/etc/passwd", "..", "../a", "a/../b", "a/..", ".", "./a", "a/./b", "a//b", "a/", "a\\b", "C:a", "c:/a",
     "a\x00", "a\nb", "a\u202eb", "a\ud800", " a", "a ", "x" * 1_001, "x" * 256, 7, None, ["a"]],
)  # fmt: skip
def test_a_file_that_could_point_elsewhere_is_refused(file):
    with pytest.raises(SpecError, match="file") as caught:
        Criterion("c", file)
    assert caught.value.hint


@pytest.mark.parametrize("file", ["report.md", "out/a b/é.txt", ".hidden", "..a", "a..b", "x" * 255, "ab:c"])
def test_a_relative_file_is_taken_as_it_is(file):
    assert Criterion("c", file).file == file


@pytest.mark.parametrize("name", ["", "  ", "a\nb", "a\x00", "\u200b", "x" * 201, "a\ud800", None, 5])
def test_a_name_that_cannot_be_shown_is_refused(name):
    with pytest.raises(SpecError, match="name"):
        Criterion(name, "f")


@pytest.mark.parametrize("key", ["contains", "not_contains", "matches"])
@pytest.mark.parametrize("value", ["T", None, {"a": 1}, [1], [None], [""], ["a", ""], ["\0"], ["\ud800"], ["a"] * 101])
def test_a_condition_that_is_no_list_of_texts_is_refused_by_name(key, value):
    with pytest.raises(SpecError, match=key):
        Criterion("c", "f", **{key: value})


@pytest.mark.parametrize("key", ["min_chars", "max_chars"])
@pytest.mark.parametrize("value", [-1, True, 1.5, "9", 2**53])
def test_a_length_that_is_no_whole_number_is_refused_by_name(key, value):
    with pytest.raises(SpecError, match=key):
        Criterion("c", "f", **{key: value})


@pytest.mark.parametrize("bounds", [{"max_chars": 0}, {"min_chars": 6, "max_chars": 5}])
def test_lengths_that_no_file_can_have_are_refused(bounds):
    with pytest.raises(SpecError, match="can never hold"):
        Criterion("c", "f", **bounds)


@pytest.mark.parametrize("pattern", ["(", "[a", "*", "(?P<a>x)(?P<a>y)", "a{99999999999999999999}", "(?z)"])
def test_a_pattern_that_is_no_regular_expression_is_refused_before_anything_is_spent(pattern):
    with pytest.raises(SpecError, match="no regular expression"):
        Criterion("c", "f", matches=[pattern])


def test_lists_become_tuples_so_that_a_criterion_cannot_change():
    texts = ["a"]
    criterion = Criterion("c", "f", contains=texts)
    texts.append("b")
    assert criterion.contains == ("a",)
    assert hash(criterion) == hash(Criterion("c", "f", contains=("a",)))


@pytest.mark.parametrize("kind", ["files", None, 3, ["file"]])
def test_an_unknown_kind_is_refused(kind):
    with pytest.raises(SpecError, match=r"kind .* is unknown"):
        Criterion.of_row({"name": "c", "kind": kind, "file": "f"})


@pytest.mark.parametrize("missing", ["name", "file"])
def test_a_criterion_without_a_name_or_file_is_refused(missing):
    row = {"name": "c", "file": "f"}
    del row[missing]
    with pytest.raises(SpecError, match=f"{missing} is missing"):
        Criterion.of_row(row)


def test_a_misspelt_key_is_refused_and_the_right_one_told():
    with pytest.raises(SpecError, match='"contain" is unknown') as caught:
        Criterion.of_row({"name": "c", "file": "f", "contain": ["a"]})
    assert '"contains"' in caught.value.hint


def test_a_row_holds_only_the_keys_that_were_given_and_its_kind():
    assert Criterion("c", "f").as_row() == {"kind": "file", "name": "c", "file": "f"}
    assert Criterion("c", "f", matches=("a",), min_chars=0).as_row() == {
        "kind": "file", "name": "c", "file": "f", "matches": ["a"], "min_chars": 0,
    }


def test_two_criteria_of_one_name_are_refused():
    with pytest.raises(SpecError, match='two criteria are named "c"'):
        require_criteria([Criterion("c", "f"), Criterion("c", "g")])


def test_a_hundred_criteria_are_taken_and_one_more_is_not():
    many = [Criterion(str(number), "f") for number in range(101)]
    assert len(require_criteria(many[:100])) == 100
    with pytest.raises(SpecError, match="101 criteria"):
        require_criteria(many)


def test_what_is_no_criterion_is_refused():
    with pytest.raises(SpecError, match="not a table"):
        require_criteria([{"name": "c", "file": "f"}])
