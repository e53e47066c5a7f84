"""JSON documents against JSON Schemas, by the library `jsonschema` (an extra), with an end.

The document is a model's: a schema's patterns can take forever on a text that was written to make them so. So the
library works in a process of its own, as patterns do, which is killed at the limit. References lead to nowhere
outside the schema: nothing is fetched.
"""

from __future__ import annotations

import importlib.util
import json
import sys
from importlib import import_module

from safeloop.errors import SpecError
from safeloop.ledger import visible
from safeloop.spec.search import SECONDS, answer_within

MOST_FAULTS = 10
_LONGEST_FAULT = 200  # bytes, of which much may be the document's own

_PROGRAM = r"""
import itertools, json, math, re, sys
paths, schema, text, most = json.loads(sys.stdin.buffer.read())
sys.path[:] = paths
from jsonschema.validators import Draft202012Validator, validator_for
from referencing import Registry

def once(pairs):
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("an object has a key twice")
    return found

def refuse(word):
    raise ValueError(word + " is not JSON")

def finite(word):
    return float(word) if math.isfinite(float(word)) else refuse(word[:40] + ", which is too large for a number,")

# A `$` is the end, as in JSON Schema: Python's own is before a last newline too.
tokens = re.compile(r"\\.|\[\^?\]?(?:\\.|[^\]\\])*\]|\$", re.DOTALL)
searched = re.search

def search(pattern, text, flags=0):
    if isinstance(pattern, str):
        pattern = tokens.sub(lambda token: r"\Z" if token[0] == "$" else token[0], pattern)
    return searched(pattern, text, flags)

re.search = search

def faults():
    try:
        document = json.loads(text, object_pairs_hook=once, parse_constant=refuse, parse_float=finite)
    except (ValueError, RecursionError) as error:
        return ["is not JSON: " + str(error)]
    validator = validator_for(json.loads(schema), default=Draft202012Validator)(json.loads(schema), registry=Registry())
    try:
        return [e.json_path + ": " + e.message for e in itertools.islice(validator.iter_errors(document), most)]
    except Exception as error:
        return ["cannot be checked: " + type(error).__name__ + ": " + str(error)]

json.dump(faults(), sys.stdout)
"""


def schema_faults(schema: str, text: str, *, seconds: float = SECONDS) -> tuple[str, ...]:
    """Say where a document does not fit a schema; nothing if it does.

    Args:
        schema: A JSON object, as text; without `$schema` it is of the draft 2020-12. Formats are not asserted.
            Patterns are Python's, except that `$` is the very end.
        text: The document. Keys that occur twice, NaN, infinities, numbers that are read as such, and a byte order
            mark are refused: readers disagree about them.
        seconds: How long it may take; no answer is a fault.
    """
    found = answer_within(_PROGRAM, [sys.path, schema, text, MOST_FAULTS], seconds=seconds)
    if found is None:
        return (f"the check against its schema did not end within {seconds:g} s, or could not be made",)
    return tuple(visible(fault, _LONGEST_FAULT) for fault in found)


def require_validator(schema: str, where: str) -> None:
    """Check that the library is installed and takes the schema.

    Args:
        schema: A JSON object, as text.
        where: What asks for it, for the error.

    Raises:
        SpecError: It is not, or it does not.
    """
    if importlib.util.find_spec("jsonschema") is None:
        raise SpecError(
            f"{where} needs the package jsonschema, which is not installed", hint="pip install 'safeloop[jsonschema]'"
        )
    validators, exceptions = import_module("jsonschema.validators"), import_module("jsonschema.exceptions")
    read = json.loads(schema)
    try:
        validators.validator_for(read, default=validators.Draft202012Validator).check_schema(read)
    except exceptions.SchemaError as error:
        reason = visible(f"{error.json_path}: {error.message}", 300)
        raise SpecError(f"{where} has a schema that is none: {reason}", hint="https://json-schema.org") from None
