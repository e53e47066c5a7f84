"""Read an answer whatever it is made of: mappings, SDK models, dataclasses, namespaces, plain objects.

Nothing here raises because of what an answer holds: an answer was paid for, and is recorded as it came.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Mapping
from enum import Enum
from typing import Any, Final

MISSING: Final = object()
"""Says that a field is not there, where None is a value of its own."""

DEEPEST: Final = 200
"""Levels of nesting that are kept; what lies below is replaced by a word."""

_LONGEST_INT_BITS: Final = 13_000  # decimal text of longer ones is refused by Python (4,300 digits)

# What a block of the Messages API can carry, for objects that keep it in class attributes or properties.
_BLOCK_FIELDS: Final = ("type", "text", "id", "name", "input", "thinking", "signature", "data")


def field(source: object, name: str, default: Any = None) -> Any:
    """Read one field of a mapping or an object; `default` where it is not there."""
    if isinstance(source, Mapping):
        return source.get(name, default)
    return getattr(source, name, default)


def plain(value: object, inside: tuple[int, ...] = ()) -> Any:
    """Turn any value into JSON's types, unchanged where it consists of them already.

    Order and text are kept, lone surrogates too. What JSON cannot say becomes a word in angle brackets: a
    cycle, nesting below `DEEPEST` levels, an object without fields.
    """
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, Enum):
        return plain(value.value, inside)
    if isinstance(value, str):
        return str.__str__(value)
    if isinstance(value, int):
        return int(value) if value.bit_length() <= _LONGEST_INT_BITS else hex(value)
    if isinstance(value, float):
        return float(value)
    return _plain_container(value, inside)


def _plain_container(value: object, inside: tuple[int, ...]) -> Any:
    if id(value) in inside:
        return "<cycle>"
    if len(inside) >= DEEPEST:
        return "<too deep>"
    inside = (*inside, id(value))
    if isinstance(value, (list, tuple)):
        return [plain(item, inside) for item in value]
    members = value if isinstance(value, Mapping) else _members(value)
    if members is None:
        return f"<{type(value).__name__}>"
    return {_key(name): plain(member, inside) for name, member in members.items()}


def _key(name: object) -> str:
    return str.__str__(name) if isinstance(name, str) else str(plain(name))


def _members(value: object) -> Mapping[str, Any] | None:
    dump = getattr(value, "model_dump", None)
    if callable(dump) and callable(getattr(type(value), "model_dump", None)):
        return _dumped(value, dump)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        names = [item.name for item in dataclasses.fields(value) if hasattr(value, item.name)]
        return {name: getattr(value, name) for name in names}
    own = {name: item for name, item in getattr(value, "__dict__", {}).items() if name[:1] != "_"}
    for name in _BLOCK_FIELDS:
        inherited = getattr(value, name, None)
        if name not in own and isinstance(inherited, (str, Mapping, list)):
            own[name] = inherited
    return own or None


def _dumped(value: object, dump: Callable[..., Any]) -> Mapping[str, Any] | None:
    # Fields the server did not send stay away from the SDK's models: a block goes back as it came.
    # In anyone else's model a default is part of the answer.
    unset = any(base.__module__.split(".")[0] == "anthropic" for base in type(value).__mro__)
    try:
        members = dump(mode="json", exclude_unset=unset, warnings=False)
    except (TypeError, ValueError):  # not a pydantic model, or one that holds what JSON cannot say
        members = {name: item for name, item in vars(value).items() if name[:1] != "_"}
    return members if isinstance(members, Mapping) else None


def compact_json(value: object) -> bytes:
    """Write a value as compact JSON: UTF-8, or ASCII with escapes where it holds lone surrogates."""
    simple = plain(value)
    try:
        return json.dumps(simple, ensure_ascii=False, separators=(",", ":")).encode()
    except UnicodeEncodeError:
        return json.dumps(simple, separators=(",", ":")).encode("ascii")
