"""The canonical encoding: RFC 8785 (JCS), restricted until Python's own `json` is exact.

Keys match `[a-z0-9_]+`; numbers are integers within ±(2⁵³−1); no floats, no U+0000, no lone surrogates, no
duplicate keys, nesting at most 16 with the outermost object as level 1. Nothing is normalised: two strings
that look alike stay two strings. A reader accepts only bytes that encode again to themselves, because
parsers disagree about everything else (`{"a":1,"a":2}`).
"""

from __future__ import annotations

import json
import re
from functools import lru_cache
from typing import Any

from safeloop.errors import EncodingError

MAX_DEPTH = 16
MAX_INTEGER = 2**53 - 1
MAX_BODY_BYTES = 60_000

_is_key = re.compile(r"[a-z0-9_]+\Z").match
# One encoder for all rows; the settings that make it RFC 8785 within the restrictions above.
# What refers to itself is refused as too deep before it is encoded, so that the encoder need not look for it.
_ENCODER = json.JSONEncoder(
    sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False, check_circular=False
)
_NO_CHECK = frozenset({str, bool, type(None)})  # a string is judged in the encoded text, all of them at once


def encode(value: Any) -> bytes:
    """Encode a JSON value canonically.

    Args:
        value: dicts, lists, tuples, strings, integers, booleans and None, within the restrictions above.

    Raises:
        EncodingError: The value has no canonical encoding; the message says which part.
    """
    _check(value, 1)
    text = _ENCODER.encode(value)
    # The encoder escapes U+0000 so and nothing else; but a backslash before a text of `u0000` looks the same.
    if "\\u0000" in text and _holds_null(value):
        raise EncodingError("text holds U+0000")
    try:
        return text.encode("utf-8")
    except UnicodeEncodeError:
        raise EncodingError("text holds a lone surrogate") from None


def encode_unchecked(value: Any) -> bytes | None:
    """Return the bytes of a value that has a canonical encoding, something else for others, or None.

    For whoever judges the bytes: what the encoding does not allow may be among them.
    """
    try:
        return _ENCODER.encode(value).encode("utf-8")
    except (TypeError, ValueError, RecursionError):
        return None


def parse(data: bytes) -> Any:
    """Parse bytes that are in the canonical encoding, and nothing else.

    Raises:
        EncodingError: Not UTF-8, not JSON, outside the restrictions, or not the canonical bytes of its value.
    """
    try:
        value = json.loads(data.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise EncodingError(f"not UTF-8 at byte {error.start}") from None
    except RecursionError:
        raise EncodingError(f"nested deeper than {MAX_DEPTH} levels") from None
    except ValueError as error:
        raise EncodingError(f"not JSON: {str(error)[:120]}") from None
    if encode(value) != data:
        raise EncodingError("not canonical: duplicate or unsorted keys, spaces, escapes or number forms")
    return value


def _check(value: Any, depth: int) -> None:
    """Refuse what the encoding does not allow, strings aside; `depth` is the level of `value` if it is a container."""
    kind = type(value)
    if kind is int:
        if not -MAX_INTEGER <= value <= MAX_INTEGER:
            raise EncodingError("integer beyond ±(2^53-1)")
    elif kind is dict:
        _check_depth(depth)
        _check_keys(tuple(value))
        for item in value.values():
            if type(item) not in _NO_CHECK:
                _check(item, depth + 1)
    elif kind is list or kind is tuple:
        _check_depth(depth)
        for item in value:
            if type(item) not in _NO_CHECK:
                _check(item, depth + 1)
    elif kind not in _NO_CHECK and not isinstance(value, str):
        raise EncodingError(f"a {kind.__name__} has no canonical encoding")


@lru_cache(maxsize=1_024)  # rows have the same few keys again and again
def _check_keys(keys: tuple[object, ...]) -> None:
    for key in keys:
        if not isinstance(key, str) or not _is_key(key):
            raise EncodingError(f"key {str(key)[:40]!a} does not match [a-z0-9_]+")


def _check_depth(depth: int) -> None:
    if depth > MAX_DEPTH:
        raise EncodingError(f"nested deeper than {MAX_DEPTH} levels")


def _holds_null(value: Any) -> bool:
    """Say whether a checked value has U+0000 in any of its strings; no key has."""
    if isinstance(value, str):
        return "\0" in value
    items = value.values() if type(value) is dict else value if type(value) in (list, tuple) else ()
    return any(map(_holds_null, items))
