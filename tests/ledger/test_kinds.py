"""The closed object of every kind: what is missing, unknown or of another form is named."""

from __future__ import annotations

from typing import Any

import pytest

from safeloop.errors import EncodingError
from safeloop.ledger import kinds
from safeloop.ledger.kinds import KINDS, check_data
from tests.ledger.making import turn

HEX = "ab" * 32
CONTENT = {"bytes": 3, "salted_sha256": HEX, "type": "application/json"}
ERROR = {"class": "APIError", "status": 500, "detail": CONTENT}
CEILINGS = {"turns": 5, "tokens": 15_000}
SETTLED = {"session": "s", "n": 0, "charged_tokens": 5, "billed_tokens": 4, "charged_microusd": None,
           "billed_microusd": 3}

GOOD: dict[str, dict[str, Any]] = {
    "spec": {
        "what_it_does": "a", "what_it_does_not": "b", "done_looks_like": "c",
        "criteria": [{"name": "c", "kind": "file", "file": "x", "contains": ["y"], "min_chars": 3}],
        "ceilings": CEILINGS, "tools": {"permissions": ["read", "write"]},
    },
    "limits": {"hour": {}, "day": {"tokens": 5}, "month": {"microusd": 5, "sessions": 0}},
    "open": {
        "spec": HEX, "task": CONTENT, "input_hash": HEX, "model": "m", "endpoint": "e", "ceilings": CEILINGS,
        "parent": None, "continues": "s", "workspace": CONTENT, "billing_workspace": None, "api_key_id": None,
        "tools": [{"name": "t", "permission": "destructive", "schema": HEX}], "software": "safeloop 0.1.0",
    },
    "intent": {
        "turn": 1, "attempt": 1, "model": "m", "wanted_max_tokens": 9, "max_tokens": 8, "request": CONTENT,
        "bound": "counted", "reserved_tokens": 7, "reserved_microusd": None, "elapsed_ms": 0,
    },
    "attempt": {
        "turn": 1, "attempt": 2, "intent": 0, "charged_tokens": 0, "charged_microusd": 4, "error": ERROR,
        "execution_time_ms": 1, "elapsed_ms": 2, "in_doubt": True,
    },
    "turn": dict(turn().data) | {
        "usage": {"input": 1, "cache_write": 0, "cache_read": 0, "output": 2, "thinking": 1, "searches": 0}
    },
    "call": {"turn": 1, "call": "id", "tool": "t", "permission": "write", "arguments": CONTENT},
    "tool": {
        "turn": 1, "call": "id", "tool": "t", "permission": "read", "arguments": CONTENT, "result": CONTENT,
        "execution_time_ms": 0, "pass_fail": False, "error": None,
    },
    "approval": {"call": HEX, "decision": "granted", "by": "a", "expires_at": None, "statement": "s", "signature": "x"},
    "breach": {
        "turn": 2, "state_origin": "circuit_breaker", "breach_reason": "turn_ceiling", "scope": "session", "limit": 1,
        "spent": 1, "next_at_most": 1, "input_hash": HEX, "pass_fail": False, "token_delta": 0,
        "execution_time_ms": 0,
    },
    "check": {"criterion": "c", "pass_fail": True, "detail": None},
    "close": {
        "outcome": "completed", "reason": None, "turns": 1, "total_tokens": 2, "cost_microusd": None, "elapsed_ms": 3,
        "output": CONTENT, "files": CONTENT, "file_count": 1,
    },
    "resume": {"after": 3, "in_doubt": [1, 2], "software": "safeloop 0.1.0"},
    "attestation": {
        "decision": "accept", "reviewer": "r", "frame": HEX, "frame_text": CONTENT, "notes": "n" * 4_000,
        "statement": "{}", "signature": None,
    },
    "release": {"attestations": [HEX], "policy": "p", "files": CONTENT, "file_count": 0, "destination": "/out"},
    "erase": {"contents": CONTENT, "count": 1, "reason": "asked"},
    "reconcile": {"source": "s", "window": "w", "findings": CONTENT, "settled": [SETTLED] * 100},
    "key": {"event": "adopt", "key": "k", "proof": None, "not_after_size": None, "checkpoint": "c"},
}

BAD: list[tuple[str, str, list[Any]]] = [
    ("spec", "criteria", [None, [{"name": "c"}], [{"name": "c", "kind": "k", "else": 1}],
                          [{"name": "c", "kind": "k"}] * 101, [{"name": "c", "kind": "k", "retries": -1}]]),
    ("spec", "ceilings", [None, {"turns": None}, {"turns": -1}, {"turns": 1.0}, {"turns": True}, {"time": 1}]),
    ("spec", "tools", [{}, {"permissions": ["READ"]}, {"permissions": "read"}, {"permissions": [], "more": 1}]),
    ("limits", "hour", [None, {"tokens": -1}, {"turns": 1}]),
    ("open", "spec", [None, HEX.upper(), HEX[:-1], HEX + "\n", 5]),
    ("open", "task", [None, {}, CONTENT | {"bytes": -1}, CONTENT | {"type": None}, CONTENT | {"more": 1}, "text"]),
    ("open", "tools", [[{"name": "t", "permission": "admin", "schema": HEX}], [{"name": "t"}], {}]),
    ("intent", "turn", [0, None, "1", True]),
    ("intent", "bound", ["guess", None]),
    ("intent", "reserved_microusd", [-1, "5"]),
    ("attempt", "error", [None, {"class": "c"}, ERROR | {"class": None}]),
    ("attempt", "in_doubt", [None, 0, 1]),
    ("turn", "turn", [-1, None]),
    ("turn", "attempt", [0, -1]),
    ("turn", "usage", [{}, GOOD["turn"]["usage"] | {"input": None}]),
    ("turn", "model", ["m" * 201, "é" * 101, 5]),
    ("turn", "pass_fail", [None, 1]),
    ("breach", "state_origin", ["llm", None]),
    ("breach", "pass_fail", [True, None, 0]),
    ("breach", "token_delta", [1, False, None]),
    ("breach", "execution_time_ms", [1, False, 0.0]),
    ("breach", "scope", ["world"]),
    ("close", "outcome", ["ok", None]),
    ("resume", "in_doubt", [None, [None], [-1]]),
    ("attestation", "notes", ["n" * 4_001, "é" * 2_001, None]),
    ("attestation", "decision", ["maybe"]),
    ("release", "attestations", [["x"], HEX]),
    ("reconcile", "settled", [[SETTLED] * 101, [{}], [SETTLED | {"n": None}], [SETTLED | {"else": 1}]]),
    ("key", "event", ["make"]),
]


def test_every_kind_of_the_format_is_here_and_no_other() -> None:
    assert KINDS.keys() == GOOD.keys()


@pytest.mark.parametrize("kind", GOOD)
def test_a_whole_object_is_accepted(kind: str) -> None:
    check_data(kind, GOOD[kind])


@pytest.mark.parametrize("kind", GOOD)
def test_every_missing_key_is_named(kind: str) -> None:
    for key in GOOD[kind]:
        data = {name: value for name, value in GOOD[kind].items() if name != key}
        with pytest.raises(EncodingError, match=f"a {kind} row's {key} is missing"):
            check_data(kind, data)


@pytest.mark.parametrize("kind", GOOD)
def test_an_unknown_key_is_named(kind: str) -> None:
    with pytest.raises(EncodingError, match=f"a {kind} row's surplus is missing, unknown"):
        check_data(kind, GOOD[kind] | {"surplus": 1})


@pytest.mark.parametrize(("kind", "key", "values"), BAD, ids=lambda part: part if isinstance(part, str) else "")
def test_a_value_of_another_form_is_named(kind: str, key: str, values: list[Any]) -> None:
    for value in values:
        with pytest.raises(EncodingError, match=f"a {kind} row's {key} is"):
            check_data(kind, GOOD[kind] | {key: value})


@pytest.mark.parametrize("kind", GOOD)
def test_no_kind_lets_nonsense_into_any_of_its_keys(kind: str) -> None:
    for key in GOOD[kind]:
        for nonsense in (object(), 0.5, b"bytes", {"a": 1}, ["\0"], -7):
            if nonsense == ["\0"] and kinds.KINDS[kind][key](["x"]):
                continue
            with pytest.raises(EncodingError, match=key):
                check_data(kind, GOOD[kind] | {key: nonsense})


def test_all_that_is_wrong_is_said_at_once_and_safely() -> None:
    with pytest.raises(EncodingError, match=r"\\u\{1b\}\[2J, 1, after, in_doubt is") as caught:
        check_data("resume", {"software": "s", "\x1b[2J": 1, 1: 2})  # type: ignore[dict-item]
    assert "\x1b" not in str(caught.value)


@pytest.mark.parametrize("kind", ["", "note", "TURN", "turn\n", "\x1b[2J"])
def test_an_unknown_kind_cannot_be_written(kind: str) -> None:
    with pytest.raises(EncodingError, match="there is no kind of row") as caught:
        check_data(kind, {})
    assert "\x1b" not in str(caught.value)


def test_optional_keys_take_null_and_the_others_do_not() -> None:
    nullable = {
        kind: {key for key, check in fields.items() if check(None)} for kind, fields in KINDS.items()
    }
    assert nullable["turn"] == {
        "attempt", "intent", "model", "response", "stop_reason", "usage", "cost_microusd", "elapsed_ms", "overrun",
        "breach_reason",
    }
    assert nullable["breach"] == {"scope", "limit", "spent", "next_at_most"}
    assert nullable["intent"] == {"reserved_microusd"}
    assert nullable["open"] == {"parent", "continues", "workspace", "billing_workspace", "api_key_id"}
    assert nullable["close"] == {"reason", "cost_microusd", "output"}
    assert nullable["approval"] == {"by", "expires_at", "statement", "signature"}
    assert nullable["spec"] == nullable["limits"] == nullable["call"] == nullable["release"] == set()


def test_a_name_is_measured_in_bytes_even_where_it_cannot_be_encoded() -> None:
    assert kinds.name("é" * 100)
    assert not kinds.name("é" * 101)
    assert not kinds.name("\ud800" * 67)
    assert not kinds.notes("\ud800" * 1_334)
