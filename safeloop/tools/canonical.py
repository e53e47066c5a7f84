"""RFC 8785 (JCS) for JSON Schemas.

Schemas have camelCase keys and floats, which the ledger's restricted encoding refuses; their digests are
pinned in `open`, so their bytes must be those of any other JCS implementation.
"""

from __future__ import annotations

import hashlib
import json
from decimal import Decimal
from typing import Any

_MAX_INTEGER = 2**53 - 1  # RFC 8785, 3.2.2.3: larger integers are not the same in every parser


def canonical(value: Any) -> bytes:
    """Encode any JSON value as RFC 8785 does.

    Raises:
        ValueError: Not a JSON value, a lone surrogate, NaN, an infinity, or an integer of more than 53 bits.
        RecursionError: Nested too deeply.
    """
    return _text(value).encode("utf-8")


def schema_digest(schema: dict[str, Any]) -> str:
    """Give the SHA-256 of a schema's canonical bytes in lower-case hex; errors as in `canonical`."""
    return hashlib.sha256(canonical(schema)).hexdigest()


def _text(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ",".join(f"{_text(key)}:{_text(value[key])}" for key in _ordered(value)) + "}"
    if isinstance(value, (list, tuple)):
        return "[" + ",".join(map(_text, value)) + "]"
    if isinstance(value, bool) or value is None:
        return {True: "true", False: "false", None: "null"}[value]
    if isinstance(value, (int, float)):
        return _number(value)
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False)
    raise ValueError(f"a {type(value).__name__} is not a JSON value")


def _ordered(value: dict[Any, Any]) -> list[str]:
    if not all(isinstance(key, str) for key in value):
        raise ValueError("a key that is not a string")
    # RFC 8785, 3.2.3: by UTF-16 code units, which differs from Python's order beyond the basic plane.
    return sorted(value, key=lambda key: key.encode("utf-16-be", "surrogatepass"))


def _number(value: float) -> str:
    """Write a number as ECMAScript does (RFC 8785, 3.2.2.3)."""
    if isinstance(value, int):
        if abs(value) > _MAX_INTEGER:
            raise ValueError("an integer of more than 53 bits")
        return str(value)
    if value - value != 0:
        raise ValueError("NaN or an infinity")
    sign, digits_of, exponent = Decimal(repr(value)).normalize().as_tuple()
    digits = "".join(map(str, digits_of))
    point = len(digits) + int(exponent)  # where the decimal point stands, counted from the first digit
    minus = "-" if sign and value else ""
    if len(digits) <= point <= 21:
        return minus + digits + "0" * (point - len(digits))
    if 0 < point <= 21:
        return f"{minus}{digits[:point]}.{digits[point:]}"
    if -6 < point <= 0:
        return f"{minus}0.{'0' * -point}{digits}"
    fraction = f".{digits[1:]}" if len(digits) > 1 else ""
    return f"{minus}{digits[0]}{fraction}e{point - 1:+d}"
