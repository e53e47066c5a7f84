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

# Rows have the same few keys again and again.
_is_key = lru_cache(maxsize=1_024)(re.compile(r"[a-z0-9_]+\Z").match)
# One encoder for all rows; the settings that make it RFC 8785 within the restrictions above.
_ENCODER = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def encode(value: Any) -> bytes:
    """Encode a JSON value canonically.

    Args:
        value: dicts, lists, tuples, strings, integers, booleans and None, within the restrictions above.

    Raises:
        EncodingError: The value has no canonical encoding; the message says which part.
    """
    _check(value, 1)
    return _ENCODER.encode(value).encode("utf-8")


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
    """Refuse what the encoding does not allow; `depth` is the level of `value` if it is a container."""
    kind = type(value)
    if isinstance(value, str):
        _check_text(value)
    elif kind is int:
        if not -MAX_INTEGER <= value <= MAX_INTEGER:
            raise EncodingError("integer beyond ±(2^53-1)")
    elif kind is dict:
        _check_depth(depth)
        for key, item in value.items():
            if not isinstance(key, str) or not _is_key(key):
                raise EncodingError(f"key {str(key)[:40]!a} does not match [a-z0-9_]+")
            _check(item, depth + 1)
    elif kind is list or kind is tuple:
        _check_depth(depth)
        for item in value:
            _check(item, depth + 1)
    elif value is not None and kind is not bool:
        raise EncodingError(f"a {kind.__name__} has no canonical encoding")


def _check_depth(depth: int) -> None:
    if depth > MAX_DEPTH:
        raise EncodingError(f"nested deeper than {MAX_DEPTH} levels")


def _check_text(text: str) -> None:
    if "\0" in text:
        raise EncodingError("text holds U+0000")
    if not text.isascii():
        try:
            text.encode("utf-8")
        except UnicodeEncodeError:
            raise EncodingError("text holds a lone surrogate") from None
