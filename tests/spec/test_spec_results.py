"""Results: the definition of done as a value and as a row."""

import dataclasses
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from safeloop.errors import SpecError
from safeloop.ledger import encode, parse
from safeloop.ledger.kinds import check_data
from safeloop.spec import Ceilings, Criterion, SpecDraft, SpecResult, ToolGrant, from_row, to_row
from safeloop.spec.answers import is_blank

storable = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=60)
answers = storable.filter(lambda text: not is_blank(text))
words = st.text(string.ascii_letters + string.digits + " äß-_", min_size=1, max_size=30).filter(
    lambda text: text == text.strip() and text
)
texts = st.lists(storable, max_size=3).map(tuple)
limits = st.none() | st.integers(0, 2**53 - 1)
criteria = st.builds(
    Criterion, words, words, contains=texts, not_contains=texts,
    matches=st.lists(st.sampled_from(["^a", "b$", r"\d+", ".*"]), max_size=2),
    min_chars=st.none() | st.integers(0, 10), max_chars=st.none() | st.integers(10, 99),
)  # fmt: skip
grants = st.builds(
    ToolGrant,
    st.lists(st.sampled_from(["read", "write", "destructive"]), unique=True),
    st.none() | st.lists(words, unique=True, max_size=4),
)
specs = st.builds(
    SpecResult, answers, answers, answers, words,
    criteria=st.lists(criteria, max_size=4, unique_by=lambda criterion: criterion.name),
    ceilings=st.builds(Ceilings, turns=limits, tokens=limits, microusd=limits, errors=limits),
    tools=grants,
)  # fmt: skip


def test_a_result_built_by_hand_needs_only_the_tutorial_s_four_fields():
    spec = SpecResult("a", "b", "c", "sid")
    assert spec == SpecResult(what_it_does="a", what_it_does_not="b", done_looks_like="c", session_id="sid")
    assert (spec.criteria, spec.ceilings, spec.tools) == ((), Ceilings(), ToolGrant())
    assert hash(spec) == hash(SpecResult("a", "b", "c", "sid"))


def test_a_result_cannot_be_changed_after_the_fact():
    spec = SpecResult("a", "b", "c", "sid", criteria=[Criterion("c", "f")])
    with pytest.raises(dataclasses.FrozenInstanceError):
        spec.done_looks_like = "less"
    assert isinstance(spec.criteria, tuple)


def test_everything_beyond_the_four_fields_is_keyword_only():
    with pytest.raises(TypeError):
        SpecResult("a", "b", "c", "sid", (Criterion("c", "f"),))


@pytest.mark.parametrize("made", [SpecResult, SpecDraft])
def test_two_criteria_of_one_name_are_refused_in_a_value_too(made):
    fields = ("a", "b", "c", "sid")[: 4 if made is SpecResult else 3]
    with pytest.raises(SpecError, match="two criteria"):
        made(*fields, criteria=[Criterion("c", "f"), Criterion("c", "g")])


def test_a_draft_becomes_the_result_of_a_session():
    parts = {"criteria": (Criterion("c", "f"),), "ceilings": Ceilings(turns=3), "tools": ToolGrant(("read",))}
    assert SpecDraft("a", "b", "c", **parts).named("sid") == SpecResult("a", "b", "c", "sid", **parts)


@given(specs)
def test_a_row_gives_the_same_spec_back_through_the_ledger_s_own_encoding(spec):
    data = to_row(spec)
    check_data("spec", data)
    assert from_row(spec.session_id, parse(encode(data))) == spec


@given(specs, specs)
def test_two_specs_never_share_one_row(one, other):
    same = dataclasses.replace(one, session_id="s") == dataclasses.replace(other, session_id="s")
    assert (to_row(one) == to_row(other)) == same


def test_a_row_has_every_key_even_where_nothing_was_given():
    assert to_row(SpecResult("a", "b", "c", "sid")) == {
        "what_it_does": "a", "what_it_does_not": "b", "done_looks_like": "c", "criteria": [], "ceilings": {},
        "tools": {"permissions": ["read", "write"]},
    }  # fmt: skip


@pytest.mark.parametrize("answer", ["", " ", None, "a\0", "\ud800x", "x" * 8001])
@pytest.mark.parametrize("field", ["what_it_does", "what_it_does_not", "done_looks_like"])
def test_an_answer_that_cannot_stand_reaches_no_row(field, answer):
    with pytest.raises(SpecError, match=field):
        to_row(dataclasses.replace(SpecResult("a", "b", "c", "sid"), **{field: answer}))


def test_answers_that_grow_when_they_are_encoded_are_measured_encoded():
    grown = "x" + "\x01" * 7_000  # seven bytes each way in a text, six times as many in JSON
    with pytest.raises(SpecError, match="more than 58000"):
        to_row(SpecResult(grown, grown, grown, "sid"))


@pytest.mark.parametrize("key", ["what_it_does", "criteria", "ceilings", "tools"])
def test_a_row_with_a_key_too_few_is_refused(key):
    data = to_row(SpecResult("a", "b", "c", "sid"))
    del data[key]
    with pytest.raises(SpecError, match=f"key {key} of a spec row is missing"):
        from_row("sid", data)


def test_a_row_with_a_key_too_many_is_refused():
    data = to_row(SpecResult("a", "b", "c", "sid")) | {"retries": 3}
    with pytest.raises(SpecError, match='key "retries" of a spec row is unknown'):
        from_row("sid", data)


@pytest.mark.parametrize(
    ("key", "value"),
    [("criteria", {}), ("ceilings", []), ("tools", []), ("tools", None), ("what_it_does", 3), ("done_looks_like", ""),
     ("criteria", [{"kind": "command", "name": "c", "command": []}]), ("ceilings", {"turns": True}),
     ("tools", {"permissions": ["root"]}), ("tools", {"permissions": ["read"], "extra": 1}), ("criteria", [3])],
)  # fmt: skip
def test_a_row_that_says_what_this_version_cannot_keep_is_refused(key, value):
    with pytest.raises(SpecError):
        from_row("sid", to_row(SpecResult("a", "b", "c", "sid")) | {key: value})


def test_a_grant_of_a_wrong_shape_is_refused():
    for row, said in (
        (3, "must be a table"), ({"permissions": "read"}, "list of names"), ({"names": ["a__b", "a__b:read"]}, "twice"),
        ({"names": ["a__" + "b" * 62 + ":read"]}, "which is no name"),
    ):  # fmt: skip
        with pytest.raises(SpecError, match=said):
            ToolGrant.of_row(row)


def test_a_tool_of_an_mcp_server_is_destructive_unless_the_spec_says_less():
    grant = ToolGrant(names=["a__r:read", "a__w:write", "a__x", "read_file"])
    assert grant.only == ("a__r", "a__w", "a__x", "read_file")
    assert [grant.permission_of(name) for name in ("a__r", "a__w", "a__x", "A__R", "")] == [
        "read", "write", "destructive", "destructive", "destructive"
    ]
    assert grant.as_row()["names"] == ["a__r:read", "a__w:write", "a__x", "read_file"]
    strange = ("read_file:read", "a__b:destructive", "a__b:", ":read", "a__b:read ")
    assert ToolGrant(names=strange).only == strange
    assert (ToolGrant().only, ToolGrant().permission_of("a__r")) == (None, "destructive")
