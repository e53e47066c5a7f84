"""What is plainly right is right: whatever the quick way admits, the strict way admits, and says the same of it."""

from __future__ import annotations

import json
from datetime import datetime
from functools import partial
from itertools import product
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from safeloop.errors import EncodingError
from safeloop.ledger import encode, quick
from safeloop.ledger.content import commitments, manifest, manifest_entries
from safeloop.ledger.kinds import KINDS, check_data
from safeloop.ledger.quick import commitments_in, is_plain_request, plain_claims
from safeloop.ledger.rows import parse_row

SIGNATURE = b"s" * 64
BODY: dict[str, Any] = {
    "at": "2026-11-21T07:27:00.123456Z", "kind": "check", "ledger": "safeloop.local/6f1c", "n": 3, "prev": "0" * 64,
    "session": "one", "v": 1, "writer": "1" * 64, "data": {"criterion": "é", "pass_fail": True, "detail": None},
}  # fmt: skip


COMMITMENT = {"bytes": 5, "salted_sha256": "a" * 64, "type": "text/plain"}
USAGE = dict.fromkeys(("input", "cache_write", "cache_read", "output", "thinking", "searches"), 3)
ERROR = {"class": "Timeout", "status": None, "detail": COMMITMENT}
GRANTED = {"name": "list_files", "permission": "read", "schema": "0" * 64}
CRITERION = {"name": "report", "kind": "file"}
CRITERIA = CRITERION | {
    "file": "report.md", "contains": ["a \"word\"", ""], "not_contains": [], "matches": ["\\d+\n"], "min_chars": 0,
    "max_chars": 9, "schema": "s.json", "command": ["./check", "--all"], "retries": 2,
}  # fmt: skip
PLAINLY = [
    None, 0, 1, 10**15 - 1, True, False, "x", "é" * 100, "\x7f\u2028", "0" * 64, "bound", "read", "destructive",
    "completed", COMMITMENT, USAGE, ERROR, ERROR | {"status": 429, "detail": None},
    [], {}, {"turns": 5, "tokens": 15_000}, {"elapsed_ms": 1, "turns": 0}, [GRANTED], [GRANTED, GRANTED],
    "granted", "expired", "circuit_breaker", "parent", "accept", "reject", ["0" * 64], [3, 4],
    [CRITERION], [CRITERIA, CRITERION], [CRITERION] * 100, {"permissions": ["read", "write"]},
    {"permissions": [], "names": ["list_files", "files__read:read"]},
]  # fmt: skip
OTHERWISE = [
    10**15, 2**53 - 1, 2**53, -1, 1.0, 1.5, "é" * 101, 'a "quote"', "back\\slash", "tab\t", "\0", "\ud800", "g" * 64,
    "Read", COMMITMENT | {"bytes": -1}, COMMITMENT | {"more": 1}, COMMITMENT | {"type": "a" * 201}, USAGE | {"input": None},
    ERROR | {"class": 1}, ERROR | {"detail": {}},
    {"turns": -1}, {"turn": 1}, {"turns": 2**53}, [GRANTED | {"name": 1}], [GRANTED | {"permission": "all"}], [{}],
    [CRITERION] * 101, [CRITERION | {"more": 1}], [{"name": "no kind"}], [CRITERIA | {"retries": -1}],
    [CRITERION | {"contains": "x"}], {"permissions": ["all"]}, {"names": []}, {"permissions": [], "names": ["n" * 201]},
    {"permissions": [], "more": 1}, ["g" * 64], ["0" * 63], "n" * 4_001, "\x1f",
]  # fmt: skip


def bodies(kind: str, *, is_plain: bool) -> st.SearchStrategy[bytes]:
    """Bodies in which each value has the form that its key asks for; or any other, at times."""
    fields = {}
    for key, check in KINDS[kind].items():
        right = st.sampled_from([value for value in PLAINLY if check(value)])
        fields[key] = right if is_plain else st.one_of(right, right, right, st.sampled_from(PLAINLY + OTHERWISE))

    return st.fixed_dictionaries(fields).map(partial(encoded, kind))


def encoded(kind: str, data: dict[str, Any]) -> bytes:
    text = json.dumps(BODY | {"kind": kind, "data": data}, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return text.encode("utf-8", "surrogatepass")


@pytest.mark.parametrize("kind", sorted(quick.KINDS))
@given(data=st.data())
def test_what_is_plain_is_canonical_and_of_its_form_and_what_runs_write_is_plain(kind: str, data: st.DataObject) -> None:
    body = data.draw(bodies(kind, is_plain=True))
    assert plain_claims(body, SIGNATURE) == (BODY["ledger"].encode(), BODY["writer"].encode())
    body = data.draw(bodies(kind, is_plain=False))
    if plain_claims(body, SIGNATURE) is not None:
        row = parse_row(0, body, SIGNATURE)
        check_data(row.kind, row.data)


@pytest.mark.parametrize("kind", sorted(quick.KINDS))
def test_no_value_of_another_form_is_plain_wherever_it_stands(kind: str) -> None:
    right = {key: next(filter(check, PLAINLY)) for key, check in KINDS[kind].items()}
    for key, value in product(right, PLAINLY + OTHERWISE):
        if plain_claims(encoded(kind, right | {key: value}), SIGNATURE) is not None:
            check_data(kind, right | {key: value})


@given(data=st.data())
def test_a_change_of_a_byte_that_is_still_plain_is_still_strict(data: st.DataObject) -> None:
    body = bytearray(encode(BODY))
    assert plain_claims(bytes(body), SIGNATURE) == (b"safeloop.local/6f1c", b"1" * 64)
    body[data.draw(st.integers(0, len(body) - 1))] = data.draw(st.integers(0, 255))
    if plain_claims(bytes(body), SIGNATURE) is not None:
        row = parse_row(0, bytes(body), SIGNATURE)
        check_data(row.kind, row.data)


@pytest.mark.parametrize(
    "change",
    [
        {"at": "2026-02-30T07:27:00.123456Z"}, {"kind": "nothing"}, {"session": "latest"}, {"n": 2**53},
        {"ledger": "a/" + "b" * 199}, {"v": 2}, {"data": {"criterion": "a" * 201, "pass_fail": True, "detail": None}},
        {"data": {"criterion": "é" * 101, "pass_fail": True, "detail": None}}, {"data": {"criterion": "a"}},
    ],
)  # fmt: skip
def test_what_the_strict_way_refuses_is_not_plain(change: dict[str, Any]) -> None:
    body = json.dumps(BODY | change, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
    with pytest.raises(EncodingError):
        row = parse_row(0, body, SIGNATURE)
        check_data(row.kind, row.data)
    assert plain_claims(body, SIGNATURE) is None


ATTESTATION = {
    "decision": "accept", "reviewer": "alice", "frame": "0" * 64, "frame_text": COMMITMENT, "notes": "", "signature": None,
    "statement": "said",
}  # fmt: skip


def attested(**said: str) -> bytes:
    return encoded("attestation", ATTESTATION | said)


@pytest.mark.parametrize("text", ['"', "\\", "\b", "\f", "\n", "\r", "\t", "\x7f", "/", "é", '\\",', ""])
def test_a_text_is_plain_with_whatever_has_an_escape_of_its_own(text: str) -> None:
    for key in ("statement", "notes"):
        body = attested(**{key: f"a{text}b{text}"})
        assert plain_claims(body, SIGNATURE) is not None
        assert parse_row(0, body, SIGNATURE).data[key] == f"a{text}b{text}"


@pytest.mark.parametrize("escape", ["\\/", "\\u0041", "\\u000a", "\\u001f", "\\u00e9", "\\ud800", "\\x", "\\", "\n", "\x1f", "\0"])
def test_a_text_with_any_other_escape_is_not_plain(escape: str) -> None:
    for key in ("statement", "notes"):
        assert plain_claims(attested(**{key: "HERE"}).replace(b"HERE", escape.encode()), SIGNATURE) is None


@pytest.mark.parametrize("note", ["n" * 4_000, "\n" * 4_000, "é" * 2_000, "é" * 1_999 + '"\\'])
def test_notes_are_plain_up_to_as_many_bytes_as_they_may_have(note: str) -> None:
    assert plain_claims(attested(notes=note), SIGNATURE) is not None
    assert plain_claims(attested(notes=note + "n"), SIGNATURE) is None
    with pytest.raises(EncodingError):
        check_data("attestation", ATTESTATION | {"notes": note + "n"})


@pytest.mark.parametrize("piece", ["a", "\\n", "\\\\", "é"])
def test_the_longest_text_that_is_not_plain_is_looked_at_once(piece: str) -> None:
    long = attested(statement="HERE").replace(b"HERE", piece.encode() * (50_000 // len(piece.encode())))
    assert plain_claims(long, SIGNATURE) is not None
    for end in (b"\\/", b"\n", b"\xff"):  # tried again from every place it would take an hour
        assert plain_claims(long.replace(b'"},"kind"', end + b'"},"kind"'), SIGNATURE) is None
    for end in (b"\n", b"\xff"):
        assert plain_claims(long[:30_000] + end + long[30_000:], SIGNATURE) is None


@pytest.mark.parametrize("year", [0, 1, 4, 1900, 2000, 2026, 2028, 9999])
def test_exactly_the_days_that_exist_are_plain_but_for_one_in_four_hundred_years(year: int) -> None:
    for month, day in product(range(14), range(33)):
        at = f"{year:04}-{month:02}-{day:02}T07:27:00.123456Z"
        try:
            datetime.fromisoformat(at)
        except ValueError:
            exists = False
        else:
            exists = (year, month, day) != (2000, 2, 29)
        body = encode(BODY | {"at": at})
        assert (plain_claims(body, SIGNATURE) is not None) == exists, at


@pytest.mark.parametrize("hour", ["00:00:00", "23:59:59", "24:00:00", "23:60:00", "23:59:60", "29:00:00"])
def test_exactly_the_times_of_day_that_exist_are_plain(hour: str) -> None:
    is_plain = plain_claims(encode(BODY | {"at": f"2026-11-21T{hour}.000000Z"}), SIGNATURE) is not None
    assert is_plain == (hour in ("00:00:00", "23:59:59"))


def test_what_is_no_row_at_all_is_not_plain() -> None:
    body = encode(BODY)
    for other in (b"", b"{}", b',"kind":"check', body[:-1], body + b" ", b" " + body, body.replace("é".encode(), b"\xff")):
        assert plain_claims(other, SIGNATURE) is None
    assert plain_claims(body, SIGNATURE[1:]) is None


TEXTS = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=6)  # what a row can hold
TYPES = TEXTS | st.sampled_from(['"', "\\", '"}', '{"bytes":1', "text/plain; charset=utf-8"])
COMMITMENTS = st.builds(
    lambda size, fill, name: {"bytes": size, "salted_sha256": fill * 64, "type": name},
    st.integers(0, 2**53 - 1), st.sampled_from("0af"), TYPES,
)  # fmt: skip
KEYS = st.sampled_from(["a", "bytes", "content", "salted_sha256", "type"])
VALUES = st.recursive(
    COMMITMENTS | TYPES | st.integers(0, 9) | st.sampled_from([encode(COMMITMENT).decode(), {"salted_sha256": "0" * 64}]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3), max_leaves=8,
)


@given(value=VALUES)
def test_commitments_are_found_in_canonical_bytes_where_a_parser_finds_them_and_nowhere_else(value: Any) -> None:
    found = [
        {"bytes": size, "salted_sha256": name, "type": media_type}
        for size, name, media_type in commitments_in(encode(value))
    ]
    in_order = json.loads(encode(value))
    assert found == list(commitments(in_order))


@given(
    entries=st.lists(st.fixed_dictionaries({"content": COMMITMENTS, "role": TYPES}, optional={"more": TYPES}), max_size=3),
    cut=st.integers(0, 300), byte=st.binary(max_size=1),
)  # fmt: skip
def test_a_list_that_is_plainly_a_requests_is_a_manifest(entries: list[dict[str, Any]], cut: int, byte: bytes) -> None:
    whole = manifest(entries)
    for data in (whole, whole[:cut] + byte + whole[cut + 1 :]):
        if is_plain_request(data):
            assert all(entry.keys() == {"content", "role"} for entry in manifest_entries(data))


def test_the_list_of_every_request_of_a_run_is_plain() -> None:
    for length in range(3):
        assert is_plain_request(manifest([{"content": COMMITMENT, "role": "user"}] * length))
