"""What a model passed to a tool, checked before anything runs.

Two ways of knowing a tool's schema, so two checks with one outcome: the keyword arguments for the handler, or
every problem found. This module has what both need, and the check for hand-written schemas.
"""

from __future__ import annotations

import inspect
import json
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from safeloop.errors import SettingError
from safeloop.ledger.visible import visible

MAX_DEPTH = 64  # levels of objects and arrays, the arguments themselves being level 1
_MAX_BITS = 1024  # of an integer; more has no use, and Python refuses to write very long ones


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong with the arguments of a call.

    Args:
        at: Where: the argument, and the way into it; visible text, empty for the arguments as a whole.
        problem: What is wrong, in one sentence.
    """

    at: str
    problem: str


# Takes what `plain_object` let through.
Fit = Callable[[dict[str, Any]], dict[str, Any] | tuple[Problem, ...]]

_TYPES: dict[str, tuple[type, ...]] = {
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
    "array": (list,),
    "object": (dict,),
    "null": (type(None),),
}


def plain_object(arguments: object) -> dict[str, Any] | Problem:
    """Take the arguments of a call as a plain JSON object, or say why they are none.

    Refused: anything but an object; values that JSON cannot say (NaN, tuples, bytes); keys that are not
    strings; lone surrogates; integers of more than 1,024 bits; nesting deeper than `MAX_DEPTH`.
    """
    if not isinstance(arguments, dict):
        return Problem("", f"must be an object, not {_kind(arguments)}")
    level: list[object] = [arguments]
    for depth in range(1, MAX_DEPTH + 2):
        if depth > MAX_DEPTH and any(isinstance(value, (dict, list)) for value in level):
            return Problem("", f"nested deeper than {MAX_DEPTH} levels")
        for value in level:
            if (fault := _own_fault(value)) is not None:
                return Problem("", fault)
        level = [inner for value in level for inner in _inside(value)]
    return arguments


def arguments_bytes(arguments: object) -> bytes:
    """Give bytes to commit to for the arguments of any call, refused ones included; it never fails.

    Equal JSON values give equal bytes: keys sorted, no spaces. What JSON or UTF-8 cannot say is written as a
    JSON string that names its type.
    """
    plain = plain_object(arguments)
    said = f"[{_kind(arguments)}: {plain.problem}]" if isinstance(plain, Problem) else plain
    return json.dumps(said, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode("utf-8")


def hand_written(parameters: dict[str, Any], handler: Callable[..., Any]) -> Fit:
    """Make the check of a hand-written schema.

    It looks at the top level only: `required`, `additionalProperties: false`, the `type` of each property,
    and whether the handler takes the names. Formats, ranges, enums and nested schemas are the handler's to
    check: a full validator would be another dependency.

    Raises:
        SettingError: Not an object schema, or its top level is not well formed.
    """
    properties = _properties(parameters)
    required = parameters.get("required", [])
    if not (isinstance(required, list) and all(isinstance(name, str) for name in required)):
        raise SettingError("`required` of a tool's parameters must be a list of names")
    allowed = {name: _allowed_types(name, schema) for name, schema in properties.items()}
    closed = parameters.get("additionalProperties") is False

    def fit(arguments: dict[str, Any]) -> dict[str, Any] | tuple[Problem, ...]:
        problems = [Problem(name, "is missing") for name in required if name not in arguments]
        problems += [
            Problem(visible(name), "is not a parameter of this tool")
            for name in arguments
            if closed and name not in properties
        ]
        problems += [
            Problem(visible(name), f"must be {' or '.join(allowed[name])}, not {_kind(value)}")
            for name, value in arguments.items()
            if allowed.get(name) and not any(_is(value, kind) for kind in allowed[name])
        ]
        copy: dict[str, Any] = json.loads(json.dumps(arguments))  # the handler may change its own
        return tuple(problems) or _taken(handler, copy)

    return fit


def _taken(handler: Callable[..., Any], arguments: dict[str, Any]) -> dict[str, Any] | tuple[Problem, ...]:
    """Ask whether the handler takes these names: an open schema may let more through than its function."""
    try:
        inspect.signature(handler).bind(**arguments)
    except ValueError:
        pass  # a builtin without a signature: the call itself will tell
    except TypeError as error:
        return (Problem("", visible(str(error))),)
    return arguments


def _properties(parameters: object) -> dict[str, Any]:
    if not isinstance(parameters, dict) or parameters.get("type") != "object":
        raise SettingError("a tool's parameters must be a JSON Schema with `type` `object`")
    properties = parameters.get("properties", {})
    if not isinstance(properties, dict):
        raise SettingError("`properties` of a tool's parameters must be an object")
    return properties


def _allowed_types(name: str, schema: object) -> tuple[str, ...]:
    """Give the types that a property allows; empty where its schema names none."""
    if not isinstance(schema, dict):
        raise SettingError(f"the schema of the parameter {visible(str(name))} must be an object")
    named = schema.get("type", [])
    kinds = tuple(named) if isinstance(named, list) else (named,)
    for kind in kinds:
        if not (isinstance(kind, str) and kind in _TYPES):
            raise SettingError(
                f"the parameter {visible(str(name))} has the unknown type {visible(str(kind))}",
                hint=f"known types: {', '.join(_TYPES)}",
            )
    return kinds


def _is(value: object, kind: str) -> bool:
    # bool is an int in Python, never in JSON Schema.
    return isinstance(value, _TYPES[kind]) and (kind == "boolean" or not isinstance(value, bool))


def _kind(value: object) -> str:
    return next((kind for kind in _TYPES if _is(value, kind)), visible(type(value).__name__))


def _inside(value: object) -> list[object]:
    if isinstance(value, dict):
        return [*value, *value.values()]
    return list(value) if isinstance(value, list) else []


def _own_fault(value: object) -> str | None:
    """Say what is wrong with one value, apart from what is inside it."""
    if isinstance(value, str):
        return None if _is_unicode(value) else "a text has a lone surrogate, which UTF-8 cannot say"
    if isinstance(value, dict):
        return None if all(isinstance(key, str) for key in value) else "a key is not a string"
    if isinstance(value, bool) or value is None or isinstance(value, list):
        return None
    if isinstance(value, int):
        return None if value.bit_length() <= _MAX_BITS else f"an integer has more than {_MAX_BITS} bits"
    if isinstance(value, float):
        return None if math.isfinite(value) else "NaN and infinities are not JSON"
    return f"{visible(type(value).__name__)} is not a JSON value"


def _is_unicode(text: str) -> bool:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True
