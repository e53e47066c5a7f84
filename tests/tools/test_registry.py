import dataclasses
import hashlib
import json
import math
import subprocess
import sys
from collections.abc import Callable
from typing import Annotated, Any, Literal, Optional

import pytest
import rfc8785
from pydantic import BaseModel, Field

from safeloop.errors import SettingError
from safeloop.tools import Permission, ToolRegistry


class Place(BaseModel):
    city: str


def schema_of(handler: Any) -> dict[str, Any]:
    registry = ToolRegistry()
    registry.tool(permission=Permission.READ)(handler)
    return registry.definitions()[0]["input_schema"]


def registry_with(**permissions: Permission) -> ToolRegistry:
    registry = ToolRegistry()
    for name, permission in permissions.items():
        registry.register(
            name=name, description="d", parameters={"type": "object"}, handler=dict, permission=permission
        )
    return registry


def test_a_decorated_function_is_known_to_the_model_by_its_hints_and_docstring() -> None:
    registry = ToolRegistry()

    @registry.tool(permission=Permission.READ)
    def read_file(path: str) -> str:
        """Read a text file of the workspace.

        Also a long one.

        Args:
            path: Relative to the workspace.

        Returns:
            The text.
        """
        return path

    assert registry.definitions() == [
        {
            "name": "read_file",
            "description": "Read a text file of the workspace.\n\nAlso a long one.",
            "input_schema": {
                "type": "object",
                "properties": {"path": {"type": "string", "description": "Relative to the workspace."}},
                "required": ["path"],
                "additionalProperties": False,
            },
        }
    ]
    assert read_file("stays a function") == "stays a function"


def test_optionals_lists_literals_and_defaults_are_in_the_schema() -> None:
    def search(
        words: list[str],
        mode: Literal["any", "all"] = "all",
        inside: Optional[str] = None,  # noqa: UP045 (the old spelling is what users write)
        limit: Annotated[int, Field(ge=1, description="How many.")] = 10,
        near: Place | None = None,
    ) -> str:
        """Search.

        Args:
            words: What to look for.
            nothing: An argument that is not there.
        """
        return ""

    schema = schema_of(search)
    assert schema["required"] == ["words"]
    assert schema["properties"]["words"] == {
        "type": "array",
        "items": {"type": "string"},
        "description": "What to look for.",
    }
    assert schema["properties"]["mode"] == {"enum": ["any", "all"], "type": "string", "default": "all"}
    assert schema["properties"]["inside"] == {"anyOf": [{"type": "string"}, {"type": "null"}], "default": None}
    assert schema["properties"]["limit"] == {
        "type": "integer",
        "minimum": 1,
        "default": 10,
        "description": "How many.",
    }
    assert schema["$defs"]["Place"]["required"] == ["city"]
    assert "nothing" not in json.dumps(schema)


def test_a_parameter_may_have_a_name_that_pydantic_wants_for_itself() -> None:
    def odd(schema: str, model_config: str, _hidden: str, title: str, self: str = "") -> str:
        return ""

    assert list(schema_of(odd)["properties"]) == ["schema", "model_config", "_hidden", "title", "self"]


def test_a_function_without_docstring_is_described_by_its_name() -> None:
    registry = ToolRegistry()

    @registry.tool(permission=Permission.READ)
    def look_around() -> str:
        return ""

    registry.register(name="by_hand", description="", parameters={"type": "object"}, handler=dict)
    assert [each["description"] for each in registry.definitions()] == ["look around", "by hand"]


def no_hint(path):  # type: ignore[no-untyped-def]
    return path


def any_number(*paths: str) -> str:
    return ""


def any_keyword(**paths: str) -> str:
    return ""


def by_place(path: str, /) -> str:
    return path


def strange(path: "Nowhere") -> str:  # type: ignore[name-defined]  # noqa: F821
    return ""


def unspeakable(path: ToolRegistry) -> str:
    return ""


def no_schema(path: Callable[[], int]) -> str:
    return ""


def badly_documented(path: str) -> str:
    """Read.

    Args:
    path: not indented
    """
    return ""


@pytest.mark.parametrize(
    ("handler", "says"),
    [
        (no_hint, "the parameter path of no_hint has no type hint"),
        (any_number, "the parameter paths of any_number cannot be passed by name"),
        (any_keyword, "the parameter paths of any_keyword cannot be passed by name"),
        (by_place, "the parameter path of by_place cannot be passed by name"),
        (strange, "no schema can be made from the type hints of strange"),
        (unspeakable, "no schema can be made from the type hints of unspeakable"),
        (no_schema, "no schema can be made from the type hints of no_schema"),
        (badly_documented, "the docstring of badly_documented is not in Google style"),
        (7, "no schema can be made from the type hints of int"),
    ],
)
def test_a_function_that_no_schema_can_describe_is_refused_by_name(handler: Any, says: str) -> None:
    with pytest.raises(SettingError, match=says):
        ToolRegistry().tool(permission=Permission.READ)(handler)


@pytest.mark.parametrize("name", ["", "a b", "a\n", "x" * 65, "naïve", "a/b", "a.b", "\ud800", 7, None])
def test_a_name_that_the_api_would_refuse_is_refused_here(name: Any) -> None:
    with pytest.raises(SettingError, match="cannot be the name of a tool"):
        ToolRegistry().register(
            name=name, description="d", parameters={"type": "object"}, handler=dict, permission=Permission.READ
        )


def test_the_longest_name_is_accepted() -> None:
    assert len(registry_with(**{"x" * 64: Permission.READ})) == 1


def test_a_second_tool_of_one_name_is_refused_however_it_is_registered() -> None:
    registry = registry_with(look=Permission.READ)
    with pytest.raises(SettingError, match="a tool named look is already registered"):
        registry.register(name="look", description="d", parameters={"type": "object"}, handler=dict)

    def look() -> str:
        return ""

    with pytest.raises(SettingError, match="a tool named look is already registered"):
        registry.tool(permission=Permission.READ)(look)
    assert len(registry) == 1


@pytest.mark.parametrize("permission", ["wipe", "READ", "", None, 3, [], {}])
def test_a_permission_nobody_knows_means_destructive(permission: Any) -> None:
    assert Permission(permission) is Permission.DESTRUCTIVE
    registry = ToolRegistry()
    registry.tool(permission=permission)(by_name)
    registry.register(
        name="b", description="d", parameters={"type": "object"}, handler=dict, permission=permission
    )
    assert [tool.permission for tool in registry] == [Permission.DESTRUCTIVE, Permission.DESTRUCTIVE]


def test_a_permission_that_was_not_given_means_destructive() -> None:
    registry = ToolRegistry()
    registry.tool()(by_name)
    registry.register(name="b", description="d", parameters={"type": "object"}, handler=dict)
    assert [tool.permission for tool in registry] == [Permission.DESTRUCTIVE, Permission.DESTRUCTIVE]


def by_name(path: str) -> str:
    return path


def test_a_permission_is_also_known_by_its_value() -> None:
    registry = ToolRegistry()
    registry.tool(permission="write")(by_name)
    assert [tool.permission for tool in registry] == [Permission.WRITE]


async def later() -> str:
    return ""


async def many() -> Any:
    yield ""


@pytest.mark.parametrize(("handler", "says"), [(later, "asynchronous"), (many, "asynchronous"), (7, "called")])
def test_a_handler_that_the_loop_cannot_call_is_refused(handler: Any, says: str) -> None:
    with pytest.raises(SettingError, match=says):
        ToolRegistry().register(name="a", description="d", parameters={"type": "object"}, handler=handler)


@pytest.mark.parametrize(
    ("parameters", "says"),
    [
        (None, "with `type` `object`"),
        ({}, "with `type` `object`"),
        ({"type": "array"}, "with `type` `object`"),
        ({"type": "object", "properties": []}, "`properties`"),
        ({"type": "object", "required": "path"}, "`required`"),
        ({"type": "object", "required": [1]}, "`required`"),
        ({"type": "object", "properties": {"p": True}}, "parameter p must be an object"),
        ({"type": "object", "properties": {"p": {"type": "text"}}}, "parameter p has the unknown type text"),
        ({"type": "object", "properties": {"p": {"type": ["null", []]}}}, "unknown type"),
        ({"type": "object", "default": math.nan}, "NaN"),
        ({"type": "object", "default": 2**53}, "53 bits"),
        ({"type": "object", "default": {1: 2}}, "not a string"),
        ({"type": "object", "default": {1}}, "a set is not a JSON value"),
        ({"type": "object", "title": "\ud800"}, "no canonical JSON"),
    ],
)
def test_a_hand_written_schema_that_is_none_is_refused(parameters: Any, says: str) -> None:
    with pytest.raises(SettingError, match=says):
        ToolRegistry().register(name="a", description="d", parameters=parameters, handler=dict)


def test_definitions_and_pins_keep_the_order_of_registration_and_cannot_be_changed_from_outside() -> None:
    mine: dict[str, Any] = {"type": "object", "properties": {"p": {"type": "string"}}}
    registry = ToolRegistry()
    for name in ("z", "a", "m"):
        registry.register(
            name=name, description=name, parameters=mine, handler=by_name, permission=Permission.WRITE
        )
    pinned = registry.pinned()
    mine["properties"]["p"]["type"] = "integer"
    registry.definitions()[0]["input_schema"]["properties"].clear()
    assert [each["name"] for each in registry.definitions()] == ["z", "a", "m"] == [tool.name for tool in registry]
    assert registry.definitions()[0]["input_schema"]["properties"] == {"p": {"type": "string"}}
    assert registry.pinned() == pinned


def test_a_pin_is_the_digest_that_another_jcs_implementation_gives() -> None:
    schema = {
        "type": "object",
        "properties": {
            "\U0001f600": {"type": "number", "multipleOf": 0.1, "maximum": 1e21, "minimum": -1.5e-7},
            "\ufb33": {"type": "string", "default": "é\u2028\"\\\x01", "title": "first by code point only"},
        },
        "additionalProperties": False,
        "examples": [[], {}, None, True, -0.0, 5e-324, 123456789012345680000.0, 1e-6, 100.0, 12.5],
    }
    registry = ToolRegistry()
    registry.register(
        name="a", description="d", parameters=schema, handler=dict, permission=Permission.READ
    )
    digest = hashlib.sha256(rfc8785.dumps(schema)).hexdigest()
    assert registry.pinned() == [{"name": "a", "permission": "read", "schema": digest}]


def test_get_finds_by_exact_name_only() -> None:
    registry = registry_with(look=Permission.READ)
    tool = registry.get("look")
    assert tool is not None
    assert (tool.name, tool.description, tool.permission) == ("look", "d", Permission.READ)
    assert [registry.get(name) for name in ("Look", "look ", "\ud800", 7, None, ["look"], {})] == [None] * 7
    with pytest.raises(dataclasses.FrozenInstanceError):
        tool.name = "other"  # type: ignore[misc]


def test_granted_leaves_only_what_the_spec_names_in_the_registrys_order() -> None:
    registry = registry_with(
        read=Permission.READ, write=Permission.WRITE, wipe=Permission.DESTRUCTIVE, look=Permission.READ
    )

    def names(*given: Any) -> list[str]:
        return [tool.name for tool in registry.granted(*given)]

    assert names(("read",)) == ["read", "look"]
    assert names(("read", "write"), ("look", "write", "wipe")) == ["write", "look"]
    assert names(("destructive",), None) == ["wipe"]
    assert names((), None) == []
    assert names(("read", "write"), ()) == []
    assert names(("everything", "READ")) == []
    assert names("read") == []  # a text is not a list of permissions, and grants none
    assert len(registry) == 4


def test_a_spec_that_grants_a_tool_nobody_registered_is_refused() -> None:
    with pytest.raises(SettingError, match="grants raed, and no such tool") as caught:
        registry_with(read=Permission.READ).granted(("read",), ("raed",))
    assert caught.value.hint == "registered tools: read"
    with pytest.raises(SettingError) as caught:
        ToolRegistry().granted(("read",), ("read",))
    assert caught.value.hint == "registered tools: none"


def test_tools_of_another_registry_can_be_taken_in_once() -> None:
    ours, theirs = registry_with(a=Permission.READ), registry_with(b=Permission.WRITE)
    for tool in theirs:
        ours.add(tool)
    assert [tool.name for tool in ours] == ["a", "b"]
    with pytest.raises(SettingError, match="already registered"):
        ours.add(next(iter(theirs)))


def test_importing_the_room_loads_neither_pydantic_nor_a_docstring_parser_nor_an_sdk() -> None:
    program = (
        "import sys, safeloop.tools; "
        "print([name for name in ('pydantic', 'docstring_parser', 'anthropic') if name in sys.modules])"
    )
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert run.stdout == "[]\n"
