"""The nine keys of a body: what a reader accepts, and what a writer can make."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from safeloop.errors import EncodingError
from safeloop.ledger import Draft, encode, rows, seal
from safeloop.ledger.rows import (
    NO_ROW,
    UnknownVersion,
    encode_body,
    is_origin,
    is_session_id,
    parse_row,
    sealed_row,
    timestamp,
)
from tests.ledger.making import vector

GOLDEN = json.loads(vector("rows.json"))["rows"]
BAD = json.loads(vector("bad_bodies.json"))
SIGNATURE = b"s" * 64
BODY: dict[str, Any] = json.loads(GOLDEN[3]["body"])

REASONS = {
    "duplicate key": "not canonical",
    "duplicate key inside data": "not canonical",
    "float": "a float has no canonical encoding",
    "exponent": "a float has no canonical encoding",
    "NaN": "a float has no canonical encoding",
    "integer beyond 2^53-1": "integer beyond",
    "negative zero": "not canonical",
    "keys out of order": "not canonical",
    "white space": "not canonical",
    "escaped where not needed": "not canonical",
    "lone surrogate": "lone surrogate",
    "nesting of 17": "nested deeper than 16",
    "NUL": r"U\+0000",
    "upper-case key": "key 'X' does not match",
    "unknown top-level key": "not the nine of the format",
    "missing key": "not the nine of the format",
    "n is a string": "n is not an integer from 0",
    "n negative": "n is not an integer from 0",
    "boolean n": "n is not an integer from 0",
    "prev not hex": "prev is not of the format's form",
    "prev upper case": "prev is not of the format's form",
    "at without fraction": "at is not of the format's form",
    "at with offset": "at is not of the format's form",
    "at impossible": "at is not a time that exists",
    "version 2.0": "a float has no canonical encoding",
    "origin with a space": "ledger is not of the format's form",
    "array instead of object": "the body is not an object",
    "trailing newline": "not canonical",
    "byte order mark": "not JSON",
    "too long": "more than 60000",
}


@pytest.mark.parametrize("golden", GOLDEN, ids=lambda golden: f"row-{golden['index']}")
def test_every_golden_row_is_read_and_made_again_byte_for_byte(golden: dict[str, Any]) -> None:
    body, signature = golden["body"].encode(), bytes.fromhex(golden["signature"])
    row = parse_row(golden["index"], body, signature)
    value = json.loads(golden["body"])
    for key in ("at", "data", "kind", "ledger", "n", "prev", "session", "writer"):
        assert getattr(row, key) == value[key]
    assert (row.idx, row.id, row.body, row.sig, row.leaf) == (
        golden["index"], golden["index"] + 1, body, signature, golden["leaf"]
    )
    draft = Draft(row.session, row.kind, row.data)
    made = encode_body(draft, ledger=row.ledger, n=row.n, prev=row.prev, at=row.at, writer=row.writer)
    assert made == body
    assert sealed_row(golden["index"], made, signature) == row


@pytest.mark.parametrize("bad", BAD, ids=lambda bad: bad["why"].replace(" ", "-"))
def test_every_bad_body_is_refused_for_its_own_reason(bad: dict[str, str]) -> None:
    with pytest.raises(EncodingError, match=REASONS[bad["why"]]):
        parse_row(0, bad["body"].encode("utf-8", "surrogatepass"), SIGNATURE)


@given(st.sampled_from(GOLDEN), st.data())
def test_a_flipped_bit_in_a_body_is_refused_or_changes_the_leaf(golden: dict[str, Any], data: st.DataObject) -> None:
    body = bytearray(golden["body"].encode())
    bit = data.draw(st.integers(0, len(body) * 8 - 1))
    body[bit // 8] ^= 1 << bit % 8
    try:
        row = parse_row(0, bytes(body), bytes.fromhex(golden["signature"]))
    except EncodingError:
        return
    assert row.leaf != golden["leaf"]


@given(st.binary(max_size=100), st.binary(max_size=70))
def test_arbitrary_bytes_are_refused_as_encoding_errors(body: bytes, signature: bytes) -> None:
    with pytest.raises(EncodingError):
        parse_row(0, body, signature)


@pytest.mark.parametrize("length", [0, 63, 65])
def test_a_signature_of_another_length_is_refused(length: int) -> None:
    with pytest.raises(EncodingError, match=f"the signature has {length} bytes"):
        parse_row(0, GOLDEN[0]["body"].encode(), b"s" * length)


def test_sixty_thousand_bytes_fit_and_one_more_does_not() -> None:
    room = 60_000 - len(encode(BODY | {"data": {"x": ""}}))
    fits = encode(BODY | {"data": {"x": "a" * room}})
    assert len(fits) == 60_000
    assert parse_row(0, fits, SIGNATURE).data == {"x": "a" * room}
    with pytest.raises(EncodingError, match="the body has 60001 bytes"):
        parse_row(0, encode(BODY | {"data": {"x": "a" * (room + 1)}}), SIGNATURE)
    assert _made(data={"x": "a" * room})
    with pytest.raises(EncodingError, match="a note row of 60001 bytes is longer than 60000"):
        _made(data={"x": "a" * (room + 1)})
    with pytest.raises(EncodingError, match="longer than 60000"):
        _made(data={"x": "é" * (room // 2 + 1)})


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"v": True}, "v is not an integer"),
        ({"v": "1"}, "v is not an integer"),
        ({"v": None}, "v is not an integer"),
        ({"data": []}, "data is not an object"),
        ({"data": None}, "data is not an object"),
        ({"n": -1}, "n is not"),
        ({"kind": ""}, "kind is not"),
        ({"kind": "Turn"}, "kind is not"),
        ({"kind": "a" * 33}, "kind is not"),
        ({"kind": "turn\n"}, "kind is not"),
        ({"kind": 1}, "kind is not"),
        ({"ledger": "example"}, "ledger is not"),
        ({"ledger": "example/"}, "ledger is not"),
        ({"ledger": "Example/x"}, "ledger is not"),
        ({"ledger": "e/" + "a" * 199}, "ledger is not"),
        ({"ledger": "e/x\n"}, "ledger is not"),
        ({"prev": "0" * 63}, "prev is not"),
        ({"prev": "0" * 64 + "\n"}, "prev is not"),
        ({"writer": "0" * 65}, "writer is not"),
        ({"session": ""}, "session is not"),
        ({"session": "latest"}, "session is not"),
        ({"session": ".."}, "session is not"),
        ({"session": "a/b"}, "session is not"),
        ({"session": "é"}, "session is not"),
        ({"session": "a" * 129}, "session is not"),
        ({"session": "a\n"}, "session is not"),
        ({"at": "2026-11-21 07:00:00.000000Z"}, "at is not of"),
        ({"at": "2026-11-21T07:00:00.000000z"}, "at is not of"),
        ({"at": "٢٠٢٦-11-21T07:00:00.000000Z"}, "at is not of"),
        ({"at": "2026-11-21T24:00:00.000000Z"}, "time that exists"),
        ({"at": "2026-11-21T23:59:60.000000Z"}, "time that exists"),
        ({"at": "0000-01-01T00:00:00.000000Z"}, "time that exists"),
        ({"at": 5}, "at is not of"),
    ],
)
def test_an_envelope_with_one_thing_wrong_is_refused_by_reader_and_writer(change: dict[str, Any], reason: str) -> None:
    with pytest.raises(EncodingError, match=reason):
        parse_row(0, encode(BODY | change), SIGNATURE)
    with pytest.raises(EncodingError, match=reason):
        rows.check_envelope(BODY | change)


@pytest.mark.parametrize("version", [0, 2, -1, 2**53 - 1])
def test_another_version_is_unknown_and_not_wrong(version: int) -> None:
    with pytest.raises(UnknownVersion, match=f"version {version} is not known"):
        parse_row(0, encode(BODY | {"v": version}), SIGNATURE)
    with pytest.raises(UnknownVersion):
        parse_row(0, encode({"v": version, "shape": "quite another"}), SIGNATURE)


@pytest.mark.parametrize("form", ["a", "a" * 128, "A.b_c:d-e", "0", "ledger", "latest.1", "Latest"])
def test_the_longest_and_oddest_ids_that_are_allowed(form: str) -> None:
    assert parse_row(0, encode(BODY | {"session": form}), SIGNATURE).session == form


def test_what_can_be_a_session_and_what_an_origin() -> None:
    assert is_session_id("5f0c2b1e-0000-4000-8000-000000000001")
    for bad in ("latest", "ledger", "", "-a", "a/b", "a" * 129, 5, None, b"a"):
        assert not is_session_id(bad)
    assert is_origin("safeloop.local/6f1c")
    assert is_origin("e/" + "a" * 198)
    for origin in ("", "e", "e/", "/e", "e/" + "a" * 199, "E/x", "e/x\n", "e x/y"):
        assert not is_origin(origin)


def test_the_widest_body_of_all_still_has_only_sixteen_levels() -> None:
    deep: Any = 1
    for _ in range(15):
        deep = {"x": deep}
    assert _made(data=deep)
    with pytest.raises(EncodingError, match="deeper"):
        _made(data={"x": deep})


def test_a_row_does_not_change_with_the_draft_that_it_was_made_from() -> None:
    data = {"list": [1, 2]}
    body = _made(data=data)
    row = sealed_row(0, body, SIGNATURE)
    data["list"].append(3)
    assert row.data == {"list": [1, 2]}
    assert row == parse_row(0, body, SIGNATURE)
    assert row.leaf == seal.leaf(body, SIGNATURE).hex()


@given(st.datetimes(timezones=st.just(UTC)))
def test_every_time_is_rendered_so_that_a_reader_takes_it(moment: datetime) -> None:
    at = timestamp(moment)
    assert parse_row(0, encode(BODY | {"at": at}), SIGNATURE).at == at
    assert datetime.fromisoformat(at) == moment


def test_a_whole_second_in_an_early_year_keeps_all_its_digits() -> None:
    assert timestamp(datetime(7, 1, 2, tzinfo=UTC)) == "0007-01-02T00:00:00.000000Z"


def test_secrets_and_bodies_stay_out_of_what_is_printed() -> None:
    row = parse_row(0, GOLDEN[0]["body"].encode(), SIGNATURE)
    assert "b'{" not in repr(row)
    assert "ssss" not in repr(row)


def _made(data: dict[str, Any]) -> bytes:
    return encode_body(
        Draft(BODY["session"], "note", data), ledger=BODY["ledger"], n=BODY["n"], prev=NO_ROW, at=BODY["at"],
        writer=BODY["writer"],
    )
