"""The forms of data: each kind has exactly its keys, each key its form."""

import json
import re
from typing import Any

from tests.verifier import page


def fits_kind(kind: str, data: dict[str, Any]) -> str | None:
    """Return what is wrong with the data of a row of this kind, or nothing."""
    return _exactly(page.kinds()[kind], data, "data")


def is_commitment(value: Any) -> bool:
    return fits("commitment", value) is None


def fits(form: str, value: Any) -> str | None:
    """Return what is wrong with a value of this form, or nothing."""
    if " | " in form:
        return None if any(fits(part, value) is None for part in form.split(" | ")) else f"not one of {form}"
    if form.endswith("?"):
        return None if value is None else fits(form[:-1], value)
    if listed := re.fullmatch(r"\[(\w+)(?: ≤ (\d+))?\]", form):
        if not isinstance(value, list) or len(value) > int(listed[2] or len(value)):
            return f"not a list {form}"
        return next((wrong for item in value if (wrong := fits(listed[1], item))), None)
    if form.startswith('"') or re.fullmatch(r"null|true|false|\d+", form):
        literal = json.loads(form)
        return None if type(value) is type(literal) and value == literal else f"not {form}"
    return _named(form, value)


def _named(form: str, value: Any) -> str | None:
    said = page.forms()[form]
    if said.startswith("integer from "):
        return None if type(value) is int and value >= int(said.split()[-1]) else f"not a {form}"
    if said == "true or false":
        return None if isinstance(value, bool) else f"not a {form}"
    if said == "64 hex digits":
        return None if isinstance(value, str) and re.fullmatch("[0-9a-f]{64}", value) else f"not a {form}"
    if said == "string":
        return None if isinstance(value, str) else f"not a {form}"
    if most := re.fullmatch(r"string of at most (\d+) bytes of UTF-8", said):
        return None if isinstance(value, str) and len(value.encode()) <= int(most[1]) else f"not a {form}"
    if said.startswith("exactly "):
        return _exactly(said.removeprefix("exactly "), value, form)
    if said.startswith("some of "):
        return _some(said.removeprefix("some of "), value, form)
    return fits(said, value)


def _fields(text: str) -> dict[str, str]:
    pairs = [part.split(": ", 1) for part in text.split(", ")]
    return {pair[0]: pair[1] for pair in pairs}


def _exactly(text: str, value: Any, name: str) -> str | None:
    fields = _fields(text)
    if not isinstance(value, dict) or set(value) != set(fields):
        return f"{name} has other keys"
    return next((f"{key}: {wrong}" for key, form in fields.items() if (wrong := fits(form, value[key]))), None)


def _some(text: str, value: Any, name: str) -> str | None:
    fields = _fields(text)
    needed = {key[:-1] for key in fields if key.endswith("!")}
    forms = {key.rstrip("!"): form for key, form in fields.items()}
    if not isinstance(value, dict) or not needed <= set(value) <= set(forms):
        return f"{name} has other keys"
    return next((f"{key}: {wrong}" for key, item in value.items() if (wrong := fits(forms[key], item))), None)
