"""The kinds of rows and the closed object that each holds.

A writer checks every draft against this table before it signs. Readers do not: a kind that is not here is
verified as bytes, and the audit then says INCOMPLETE. Every key is always present; `optional` allows null.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from safeloop.errors import EncodingError
from safeloop.ledger.visible import visible

Check = Callable[[Any], bool]

Claim = tuple[int, str, str]
"""A commitment in short: its length, its digest and its type."""

_HEX = re.compile(r"[0-9a-f]{64}\Z")
_VISIBLE_BYTES = 200
_NOTES_BYTES = 4_000


def check_data(kind: str, data: Mapping[str, Any]) -> None:
    """Check a kind's object.

    Raises:
        EncodingError: An unknown kind, a missing or unknown key, or a value of another form; all are named.
    """
    fields = KINDS.get(kind)
    if fields is None:
        raise EncodingError(f"there is no kind of row {visible(str(kind))!r}")
    if data.keys() == fields.keys():
        for key, check in fields.items():
            if not check(data[key]):
                break
        else:
            return  # the way of nearly every row; what is wrong is looked for where something is
    wrong = sorted(map(str, data.keys() ^ fields.keys()))
    wrong += sorted(key for key in fields.keys() & data.keys() if not fields[key](data[key]))
    if wrong:
        raise EncodingError(f"a {kind} row's {visible(', '.join(wrong))} is missing, unknown or of another form")


def count(value: Any) -> bool:
    """An integer from 0."""
    return type(value) is int and value >= 0


def ordinal(value: Any) -> bool:
    """An integer from 1."""
    return type(value) is int and value >= 1


def flag(value: Any) -> bool:
    """True or false."""
    return type(value) is bool


def text(value: Any) -> bool:
    """A string of any length that the body can hold."""
    return isinstance(value, str)


def name(value: Any) -> bool:
    """A string from outside, as `visible` leaves it: at most 200 UTF-8 bytes."""
    return isinstance(value, str) and len(value.encode("utf-8", "surrogatepass")) <= _VISIBLE_BYTES


def notes(value: Any) -> bool:
    """A reviewer's words, at most 4,000 UTF-8 bytes."""
    return isinstance(value, str) and len(value.encode("utf-8", "surrogatepass")) <= _NOTES_BYTES


def digest(value: Any) -> bool:
    """64 lower-case hex digits."""
    return isinstance(value, str) and bool(_HEX.match(value))


def one_of(*values: str) -> Check:
    """One of these strings."""
    return lambda value: isinstance(value, str) and value in values


def optional(check: Check) -> Check:
    """The same, or null."""
    return lambda value: value is None or check(value)


def several(check: Check, most: int | None = None) -> Check:
    """A list of such values."""
    return lambda value: (
        isinstance(value, list | tuple) and (most is None or len(value) <= most) and all(map(check, value))
    )


def record(**fields: Check) -> Check:
    """An object with exactly these keys."""
    return lambda value: (
        type(value) is dict
        and value.keys() == fields.keys()
        and all(check(value[key]) for key, check in fields.items())
    )


def partial(required: tuple[str, ...] = (), **fields: Check) -> Check:
    """An object with the required keys and any of the others; an absent key means not given."""
    return lambda value: (
        type(value) is dict
        and value.keys() <= fields.keys()
        and all(key in value for key in required)
        and all(fields[key](item) for key, item in value.items())
    )


commitment = record(bytes=count, salted_sha256=digest, type=name)
error = record(**{"class": name, "status": optional(count), "detail": optional(commitment)})
usage = record(input=count, cache_write=count, cache_read=count, output=count, thinking=count, searches=count)
ceilings = partial(
    turns=count, tokens=count, microusd=count, elapsed_ms=count, tool_calls=count, errors=count, repeats=count
)
permission = one_of("read", "write", "destructive")
criterion = partial(
    ("name", "kind"), name=name, kind=name, file=text, contains=several(text), not_contains=several(text),
    matches=several(text), min_chars=count, max_chars=count, schema=text, command=several(text), retries=count,
)
granted_tools = partial(("permissions",), permissions=several(permission), names=several(name))
window = partial(tokens=count, microusd=count, sessions=count)

KINDS: dict[str, dict[str, Check]] = {
    "spec": {
        "what_it_does": text, "what_it_does_not": text, "done_looks_like": text,
        "criteria": several(criterion, 100), "ceilings": ceilings, "tools": granted_tools,
    },
    "limits": {"hour": window, "day": window, "month": window},
    "open": {
        "spec": digest, "task": commitment, "input_hash": digest, "model": name, "endpoint": name,
        "ceilings": ceilings, "parent": optional(name), "continues": optional(name),
        "workspace": optional(commitment), "billing_workspace": optional(name), "api_key_id": optional(name),
        "tools": several(record(name=name, permission=permission, schema=digest)), "software": name,
    },
    "intent": {
        "turn": ordinal, "attempt": ordinal, "model": name, "wanted_max_tokens": count, "max_tokens": count,
        "request": commitment, "bound": one_of("bound", "counted", "estimate"), "reserved_tokens": count,
        "reserved_microusd": optional(count), "elapsed_ms": count,
    },
    "attempt": {
        "turn": ordinal, "attempt": ordinal, "intent": count, "charged_tokens": count,
        "charged_microusd": optional(count), "error": error, "execution_time_ms": count, "elapsed_ms": count,
        "in_doubt": flag,
    },
    # The tutorial numbers turns written by hand from 0, so `turn` is a count here.
    "turn": {
        "turn": count, "attempt": optional(ordinal), "intent": optional(count), "state_origin": name,
        "model": optional(name), "input_hash": digest, "response": optional(commitment),
        "stop_reason": optional(name), "usage": optional(usage), "token_delta": count,
        "cost_microusd": optional(count), "execution_time_ms": count, "elapsed_ms": optional(count),
        "pass_fail": flag, "overrun": optional(flag), "breach_reason": optional(name),
    },
    "call": {
        "turn": ordinal, "call": name, "tool": name, "permission": permission, "arguments": commitment,
    },
    "tool": {
        "turn": ordinal, "call": name, "tool": name, "permission": permission, "arguments": commitment,
        "result": commitment, "execution_time_ms": count, "pass_fail": flag, "error": optional(error),
    },
    "approval": {
        "call": digest, "decision": one_of("granted", "refused", "expired"), "by": optional(name),
        "expires_at": optional(text), "statement": optional(text), "signature": optional(text),
    },
    "breach": {
        "turn": count, "state_origin": one_of("circuit_breaker"), "breach_reason": name,
        "scope": optional(one_of("session", "parent")), "limit": optional(count), "spent": optional(count),
        "next_at_most": optional(count), "input_hash": digest, "pass_fail": lambda value: value is False,
        "token_delta": lambda value: type(value) is int and value == 0,
        "execution_time_ms": lambda value: type(value) is int and value == 0,
    },
    "check": {"criterion": name, "pass_fail": flag, "detail": optional(commitment)},
    "close": {
        "outcome": one_of("completed", "unmet", "breached", "failed", "refused", "suspended"),
        "reason": optional(name), "turns": count, "total_tokens": count, "cost_microusd": optional(count),
        "elapsed_ms": count, "output": optional(commitment), "files": commitment, "file_count": count,
    },
    "resume": {"after": count, "in_doubt": several(count), "software": name},
    "attestation": {
        "decision": one_of("accept", "reject"), "reviewer": name, "frame": digest, "frame_text": commitment,
        "notes": notes, "statement": text, "signature": optional(text),
    },
    "release": {
        "attestations": several(digest), "policy": text, "files": commitment, "file_count": count,
        "destination": text,
    },
    "erase": {"contents": commitment, "count": count, "reason": text},
    "reconcile": {
        "source": name, "window": text, "findings": commitment,
        "settled": several(
            partial(
                ("session", "n", "charged_tokens", "billed_tokens"), session=name, n=count,
                charged_tokens=count, billed_tokens=count, charged_microusd=optional(count),
                billed_microusd=optional(count),
            ),
            100,
        ),
    },
    "key": {
        "event": one_of("rotate", "revoke", "adopt"), "key": text, "proof": optional(text),
        "not_after_size": optional(count), "checkpoint": optional(text),
    },
}

_COMMITMENT = {"bytes": 0, "salted_sha256": "0" * 64, "type": ""}
_ERROR = {"class": "", "status": None, "detail": _COMMITMENT}


def _keys_that_take(value: Any) -> dict[str, tuple[str, ...]]:
    return {kind: tuple(key for key, check in fields.items() if check(value)) for kind, fields in KINDS.items()}


_COMMITTING, _ERRING = _keys_that_take(_COMMITMENT), _keys_that_take(_ERROR)


def claims_in(kind: str, data: Mapping[str, Any]) -> list[Claim]:
    """Return the commitments of a row, in short.

    Args:
        kind: One that is known.
        data: Of that kind's form.
    """
    found = [
        (each["bytes"], each["salted_sha256"], each["type"])
        for key in _COMMITTING[kind] if (each := data[key]) is not None
    ]
    for key in _ERRING[kind]:
        if data[key] is not None and (detail := data[key]["detail"]) is not None:
            found.append((detail["bytes"], detail["salted_sha256"], detail["type"]))
    return found
