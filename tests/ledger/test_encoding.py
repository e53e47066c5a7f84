"""The canonical encoding, against an independent RFC 8785 and against bytes that only look like it."""

from __future__ import annotations

import json
from enum import IntEnum, StrEnum
from typing import Any

import pytest
import rfc8785
from hypothesis import example, given, settings
from hypothesis import strategies as st

from safeloop.errors import EncodingError, ExitCode
from safeloop.ledger import encode, parse
from safeloop.ledger.encoding import MAX_DEPTH, MAX_INTEGER

TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"))
KEYS = st.from_regex(r"[a-z0-9_]{1,12}", fullmatch=True)
SCALARS = st.none() | st.booleans() | st.integers(-MAX_INTEGER, MAX_INTEGER) | TEXT
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=4), max_leaves=12
)


class Colour(StrEnum):
    RED = "red"


class Size(IntEnum):
    BIG = 3


@given(VALUES)
def test_what_was_encoded_is_parsed_back(value: Any) -> None:
    assert parse(encode(value)) == value


@given(VALUES)
@example({"text": "\u2028\x7f\x1f\"\\/</script>\U0001f600"})
def test_the_bytes_are_those_of_an_independent_rfc_8785(value: Any) -> None:
    assert encode(value) == rfc8785.dumps(value)


@given(st.binary(max_size=200))
def test_arbitrary_bytes_are_parsed_or_refused_and_nothing_else(data: bytes) -> None:
    try:
        value = parse(data)
    except EncodingError:
        return
    assert encode(value) == data


@settings(max_examples=150)
@given(VALUES, st.data())
def test_a_changed_encoding_is_another_value_or_refused(value: Any, data: st.DataObject) -> None:
    whole = bytearray(encode(value))
    position = data.draw(st.integers(0, len(whole)))
    change = data.draw(st.sampled_from(["drop", "put", "double"]))
    if change == "drop":
        del whole[position : position + 1]
    elif change == "put":
        whole[position : position + 1] = data.draw(st.binary(min_size=1, max_size=2))
    else:
        whole[position:position] = whole[position : position + data.draw(st.integers(1, 8))]
    try:
        found = parse(bytes(whole))
    except EncodingError:
        return
    assert bytes(whole) == encode(found)
    assert (found == value and type(found) is type(value)) == (bytes(whole) == encode(value))


@given(st.text(st.sampled_from('{}[]",:0123456789.eE+-truefalsn \\u"a'), max_size=40))
def test_what_is_accepted_is_json_for_everybody_else_too(text: str) -> None:
    try:
        value = parse(text.encode())
    except EncodingError:
        return
    assert json.loads(text) == value
    assert rfc8785.dumps(value) == text.encode()


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "not JSON"),
        (b"\xff", "not UTF-8 at byte 0"),
        (b'{"a":"\xed\xa0\x80"}', "not UTF-8 at byte 6"),
        (b'{"a":1,"a":2}', "not canonical"),
        (b'{"a":1,"a":1}', "not canonical"),
        (b'{"b":1,"a":2}', "not canonical"),
        (b'{"a": 1}', "not canonical"),
        (b' {"a":1}', "not canonical"),
        (b'{"a":1}\n', "not canonical"),
        (b'{"a":1}{}', "not JSON"),
        (b'{"a":1.0}', "a float has no canonical encoding"),
        (b'{"a":1e3}', "a float has no canonical encoding"),
        (b'{"a":1e999}', "a float has no canonical encoding"),
        (b'{"a":NaN}', "a float has no canonical encoding"),
        (b'{"a":-Infinity}', "a float has no canonical encoding"),
        (b'{"a":-0}', "not canonical"),
        (b'{"a":01}', "not JSON"),
        (b'{"a":9007199254740992}', "integer beyond"),
        (b'{"a":-9007199254740992}', "integer beyond"),
        (b"9" * 10_000, "not JSON"),
        (rb'{"a":"\u0061"}', "not canonical"),
        (rb'{"a":"\/"}', "not canonical"),
        (rb'{"a":"\u001F"}', "not canonical"),
        (rb'{"a":"\ud800"}', "lone surrogate"),
        (rb'{"a":"\ud83d\ude00"}', "not canonical"),
        (rb'{"a":"\u0000"}', "U+0000"),
        (b'{"a":"\x00"}', "not JSON"),
        (b'{"a":"\x1f"}', "not JSON"),
        (b"\xef\xbb\xbf{}", "not JSON"),
        (b'{"A":1}', "key 'A' does not match"),
        (b'{"":1}', "key '' does not match"),
        (b'{"a b":1}', "does not match"),
        (b'{"a\\n":1}', r"does not match"),
        ('{"é":1}'.encode(), "does not match"),
        (b"[" * 100_000, "nested deeper than 16"),
        (b"[" * 17 + b"]" * 17, "nested deeper than 16"),
        (b'{"a":' * 17 + b"1" + b"}" * 17, "nested deeper than 16"),
        ('{"a":1}'.encode("utf-16"), "not UTF-8"),
    ],
)
def test_bytes_on_which_parsers_disagree_are_refused_with_the_reason(data: bytes, reason: str) -> None:
    with pytest.raises(EncodingError, match=reason.replace("+", r"\+")) as caught:
        parse(data)
    assert caught.value.exit_code == ExitCode.VERIFICATION_FAILED
    assert len(str(caught.value)) < 200


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (1.0, "a float has"),
        (float("nan"), "a float has"),
        (b"bytes", "a bytes has"),
        ({1, 2}, "a set has"),
        (Size.BIG, "a Size has"),
        (object(), "an? object has"),
        (MAX_INTEGER + 1, "integer beyond"),
        (-MAX_INTEGER - 1, "integer beyond"),
        ("a\0b", r"U\+0000"),
        ("\ud800", "lone surrogate"),
        ("\ude00\ud83d", "lone surrogate"),
        ({1: 2}, "key '1' does not match"),
        ({None: 2}, "key 'None' does not match"),
        ({"a\n": 2}, r"key 'a\\n' does not match"),
        ({"é" * 100: 2}, "does not match"),
    ],
)
def test_values_without_an_encoding_are_refused_wherever_they_hide(value: Any, reason: str) -> None:
    for hidden in (value, [value], {"a": {"b": (1, value)}}):
        with pytest.raises(EncodingError, match=reason):
            encode(hidden)


def test_a_cycle_is_too_deep_and_no_endless_loop() -> None:
    cycle: list[Any] = []
    cycle.append(cycle)
    with pytest.raises(EncodingError, match="nested deeper than 16"):
        encode(cycle)


@pytest.mark.parametrize("bracket", ["[]", "{}"])
def test_sixteen_levels_are_allowed_and_seventeen_are_not(bracket: str) -> None:
    value: Any = [] if bracket == "[]" else {}
    for _ in range(MAX_DEPTH - 1):
        value = [value] if bracket == "[]" else {"a": value}
    assert parse(encode(value)) == value
    with pytest.raises(EncodingError):
        encode([value])


def test_the_largest_integers_and_look_alikes_stay_what_they_are() -> None:
    assert parse(encode([MAX_INTEGER, -MAX_INTEGER])) == [MAX_INTEGER, -MAX_INTEGER]
    composed, decomposed = "\u00e9", "e\u0301"
    assert encode(composed) != encode(decomposed)
    assert encode([True, 1, False, 0, None]) == b"[true,1,false,0,null]"


def test_a_tuple_is_a_list_and_a_string_enum_its_string() -> None:
    assert encode({"a": (1, "x"), "b": Colour.RED}) == b'{"a":[1,"x"],"b":"red"}'


@pytest.mark.parametrize("text", ["\\u0000", "\\\\u0000", "a\\u0000b", "\\", "u0000"])
def test_text_that_looks_like_an_escaped_null_is_text(text: str) -> None:
    for value in (text, {"a": [text]}, {"a": {"b": (1, text)}}):
        assert json.loads(encode(value)) == json.loads(json.dumps(value))
        assert encode(json.loads(encode(value))) == encode(value)


@pytest.mark.parametrize("value", ["\0", "\\u0000\0", {"a": ["\\u0000", {"b": ("x", "\0")}]}, ["\\", "\0u0000"]])
def test_a_null_is_found_wherever_it_is_and_whatever_is_beside_it(value: object) -> None:
    with pytest.raises(EncodingError, match=r"text holds U\+0000"):
        encode(value)
