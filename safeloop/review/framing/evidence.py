"""The evidence: one line for every row up to the cut."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from safeloop.review.framing.layout import INDENT, folded, word

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from safeloop.ledger import Row

# What says where a row comes from, by kind; tokens, cost and milliseconds only where they are spent, so that a
# column adds up.
_ORIGIN = {
    "open": "model", "intent": "bound", "turn": "state_origin", "call": "tool", "tool": "tool",
    "approval": "decision", "breach": "state_origin", "check": "criterion", "close": "outcome",
}
_TOKENS = {"turn": "token_delta", "attempt": "charged_tokens", "breach": "token_delta"}
_COST = {"turn": "cost_microusd", "attempt": "charged_microusd"}
_MILLISECONDS = ("turn", "attempt", "tool", "breach")
_NOTHING = "-"
_LONGEST_PLAIN = 20


def evidence_lines(row: Row) -> tuple[str, ...]:
    """Return a row's line: number, kind, turn, origin, tokens, cost in micro-dollars, milliseconds, verdict, breach.

    It is broken where a word of it is long or quoted, and could be made to look like a line of its own.
    """
    line = _line(row)
    tame = all(each == _NOTHING or (len(each) <= _LONGEST_PLAIN and each[0] != '"') for each in _outside(row))
    return (line,) if tame else folded(line)


def _outside(row: Row) -> Iterator[str]:
    yield word(row.kind)
    yield _origin(row)
    if row.data.get("breach_reason"):
        yield _shown(row.data["breach_reason"])


def _line(row: Row) -> str:
    data = row.data
    columns = (
        ("row", str(row.id), 5),
        ("kind", word(row.kind), 11),
        ("turn", _shown(data.get("turn")), 3),
        ("state", _origin(row), 16),
        ("tokens", _figure(row.kind, data, _TOKENS), 6),
        ("microusd", _figure(row.kind, data, _COST), 6),
        ("ms", _shown(data.get("execution_time_ms")) if row.kind in _MILLISECONDS else _NOTHING, 6),
    )
    parts = [f"{name}={value:<{width}}" for name, value, width in columns]
    parts.append(_verdict(data.get("pass_fail")))
    if data.get("breach_reason"):
        parts.append(f"breach={_shown(data['breach_reason'])}")
    return INDENT + " ".join(parts)


def _origin(row: Row) -> str:
    if row.kind == "attempt":
        return word(row.data["error"]["class"])
    return _shown(row.data.get(_ORIGIN.get(row.kind, "")))


def _figure(kind: str, data: Mapping[str, Any], keys: Mapping[str, str]) -> str:
    return _shown(data.get(keys.get(kind, "")))


def _verdict(passed: object) -> str:
    return ("PASS" if passed else "FAIL") if isinstance(passed, bool) else _NOTHING


def _shown(value: object) -> str:
    """Return a value as one word; what is not a text or a number is nothing (rows of unknown kinds hold anything)."""
    if isinstance(value, str):
        return word(value)
    return str(value) if type(value) is int else _NOTHING
