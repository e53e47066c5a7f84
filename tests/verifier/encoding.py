"""The encoding of the page: RFC 8785, restricted, parsed late and refused when two readers could differ."""

import json
import re
from typing import Any

MOST_DEEP = 16
LARGEST = 2**53 - 1
KEY = re.compile(r"[a-z0-9_]+")


class BadEncoding(ValueError):
    """These bytes are not in the encoding."""


def encode(value: Any) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def decode(raw: bytes) -> Any:
    """Parse, check the restrictions, encode again, and refuse what is not the same."""
    if _depth(raw) > MOST_DEEP:
        raise BadEncoding("nested too deep")
    try:
        value = json.loads(raw.decode("utf-8"), object_pairs_hook=_pairs, parse_float=_no_number, parse_int=_integer,
                           parse_constant=_no_number)
        _check(value)
        again = encode(value)
    except BadEncoding:
        raise
    except (ValueError, RecursionError) as error:
        raise BadEncoding(str(error)) from None
    if again != raw:
        raise BadEncoding("not the canonical bytes")
    return value


def _depth(raw: bytes) -> int:
    """Return how deep the brackets outside strings go, without recursion."""
    deepest = depth = 0
    for mark in re.findall(rb'"(?:[^"\\]|\\.)*"|[\[{]|[\]}]', raw, re.DOTALL):
        if mark in (b"[", b"{"):
            depth += 1
            deepest = max(deepest, depth)
        elif mark in (b"]", b"}"):
            depth -= 1
    return deepest


def _pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise BadEncoding("a key twice")
    for key in found:
        if not KEY.fullmatch(key):
            raise BadEncoding("a key of other characters")
    return found


def _no_number(text: str) -> Any:
    raise BadEncoding(f"not an integer: {text[:20]}")


def _integer(text: str) -> int:
    if len(text) > 17 or abs(int(text)) > LARGEST:
        raise BadEncoding("an integer beyond 2^53 - 1")
    return int(text)


def _check(value: Any) -> None:
    if isinstance(value, str):
        if "\0" in value or any("\ud800" <= mark <= "\udfff" for mark in value):
            raise BadEncoding("a string with U+0000 or a lone surrogate")
    elif isinstance(value, list):
        for item in value:
            _check(item)
    elif isinstance(value, dict):
        for item in value.values():
            _check(item)
