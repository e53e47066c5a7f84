"""A function's type hints and Google-style docstring, read as a tool's schema.

pydantic and docstring_parser come with the model's SDK. They are imported where they are used, so that a
program which only reviews never loads them.
"""

from __future__ import annotations

import inspect
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, get_type_hints

from safeloop.errors import SettingError
from safeloop.ledger.visible import visible
from safeloop.tools.arguments import Problem

if TYPE_CHECKING:
    from collections.abc import Callable

    from pydantic import BaseModel

    from safeloop.tools.arguments import Fit

MAX_PROBLEMS = 20  # told to the model; the rest repeat themselves
_ANY_NAME = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)


@dataclass(frozen=True, slots=True)
class Signature:
    """A function as the model sees it, and the check of what the model passes."""

    description: str
    parameters: dict[str, Any]
    fit: Fit


def read_signature(handler: Callable[..., Any]) -> Signature:
    """Read a tool from its function.

    A type is never coerced, a key that is no parameter is refused, and a parameter with a default may be left
    out: the function's own default applies. Nested models and enums arrive as what the hints say.

    Raises:
        SettingError: A parameter without a type hint, a type without a JSON Schema, `*args`, `**kwargs`, or a
            parameter that cannot be passed by name.
    """
    description, about = _docstring(handler)
    model, names = _model(handler, about)
    parameters = _schema(handler, model)
    return Signature(description, parameters, _fit(model, names))


def _docstring(handler: Callable[..., Any]) -> tuple[str, dict[str, str]]:
    """Give the description and what the docstring says about each argument."""
    import docstring_parser  # noqa: PLC0415 (comes with the model's SDK, which review and audit do without)

    text = inspect.getdoc(handler) or ""
    try:
        parsed = docstring_parser.parse(text, docstring_parser.DocstringStyle.GOOGLE)
    except docstring_parser.ParseError as error:
        raise SettingError(f"the docstring of {_name(handler)} is not in Google style: {error}") from error
    about = {entry.arg_name: entry.description or "" for entry in parsed.params}
    return parsed.description or "", about


def _model(handler: Callable[..., Any], about: dict[str, str]) -> tuple[type[BaseModel], dict[str, str]]:
    """Make the pydantic model of a function's parameters, and the parameter behind each of its fields."""
    import pydantic  # noqa: PLC0415 (as above)

    fields: dict[str, Any] = {}
    names: dict[str, str] = {}
    for place, (name, hint, parameter) in enumerate(_parameters(handler)):
        default = ... if parameter.default is parameter.empty else parameter.default
        # By alias: as a field, `schema` or `_path` would collide with pydantic's own names.
        said = about.get(name)
        field = pydantic.Field(alias=name, description=said) if said else pydantic.Field(alias=name)
        fields[f"p{place}"] = (Annotated[hint, field], default)
        names[f"p{place}"] = name
    config = pydantic.ConfigDict(strict=True, extra="forbid")
    try:
        return pydantic.create_model("Arguments", __config__=config, **fields), names
    except (pydantic.errors.PydanticUserError, NameError, TypeError) as error:
        raise _unusable(handler, error) from error


def _parameters(handler: Callable[..., Any]) -> list[tuple[str, Any, inspect.Parameter]]:
    try:
        hints = get_type_hints(handler, include_extras=True)
        parameters = inspect.signature(handler).parameters
    except (NameError, TypeError, ValueError) as error:
        raise _unusable(handler, error) from error
    for name, parameter in parameters.items():
        if parameter.kind not in _ANY_NAME:
            raise SettingError(f"the parameter {name} of {_name(handler)} cannot be passed by name")
        if name not in hints:
            raise SettingError(
                f"the parameter {name} of {_name(handler)} has no type hint", hint=f"write `{name}: str`"
            )
    return [(name, hints[name], parameter) for name, parameter in parameters.items()]


def _schema(handler: Callable[..., Any], model: type[BaseModel]) -> dict[str, Any]:
    import pydantic  # noqa: PLC0415 (as above)

    try:
        schema = model.model_json_schema(by_alias=True)
    except pydantic.errors.PydanticUserError as error:
        raise _unusable(handler, error) from error
    schema.pop("title")
    for described in schema["properties"].values():
        described.pop("title", None)  # pydantic's own: the name again, in capitals
    return schema


def _fit(model: type[BaseModel], names: dict[str, str]) -> Fit:
    def fit(arguments: dict[str, Any]) -> dict[str, Any] | tuple[Problem, ...]:
        import pydantic  # noqa: PLC0415 (as above)

        try:
            # As JSON: only there does strict mean what a model can write (an enum is its value).
            read = model.model_validate_json(json.dumps(arguments))
        except pydantic.ValidationError as error:
            found = error.errors(include_input=False, include_url=False, include_context=False)
            return tuple(
                Problem(visible(".".join(map(str, each["loc"]))), visible(each["msg"], 500))
                for each in found[:MAX_PROBLEMS]
            )
        return {names[field]: getattr(read, field) for field in names if field in read.model_fields_set}

    return fit


def _unusable(handler: Callable[..., Any], error: Exception) -> SettingError:
    reason = visible(str(error).partition("\n")[0], 500)
    return SettingError(f"no schema can be made from the type hints of {_name(handler)}: {reason}")


def _name(handler: Callable[..., Any]) -> str:
    return visible(getattr(handler, "__name__", type(handler).__name__))
