"""Tools, defined once and known twice: as a schema for the model, as a function for the runtime."""

from __future__ import annotations

import copy
import inspect
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

from safeloop.errors import SettingError
from safeloop.ledger.visible import visible
from safeloop.tools.arguments import hand_written
from safeloop.tools.canonical import canonical, schema_digest
from safeloop.tools.limiting import check_time_limit
from safeloop.tools.permission import Permission, is_granted
from safeloop.tools.signature import read_signature

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from safeloop.tools.arguments import Fit

Handler = TypeVar("Handler", bound="Callable[..., Any]")
_NAME = re.compile(r"[a-zA-Z0-9_-]{1,64}\Z")  # the Messages API's own rule


@dataclass(frozen=True, slots=True)
class Tool:
    """One tool.

    Args:
        name: What the model calls it.
        description: What the model reads; never empty.
        parameters: The JSON Schema of its arguments.
        handler: The function; it is called with the arguments as keywords.
        permission: What it may do.
        fit: The check of its arguments.
        is_idempotent: Running it twice does what running it once does, so that a call which may have run, when its
            process was killed, can simply be run again.
        time_limit_s: How long one call may take, in seconds, inclusive; None means `TIME_LIMIT_S`.
    """

    name: str
    description: str
    parameters: dict[str, Any]
    handler: Callable[..., Any]
    permission: Permission
    fit: Fit = field(repr=False, compare=False)
    is_idempotent: bool = False
    time_limit_s: float | None = None


class ToolRegistry:
    """The tools of a run, in the order in which they were registered."""

    def __init__(self) -> None:
        self._tools: dict[str, Tool] = {}

    def tool(
        self,
        *,
        permission: Permission | str = Permission.DESTRUCTIVE,
        is_idempotent: bool = False,
        time_limit_s: float | None = None,
    ) -> Callable[[Handler], Handler]:
        """Register the decorated function under its own name; it stays what it was.

        The schema comes from the type hints, the descriptions from the docstring (Google style).

        Args:
            permission: What it may do; unknown or not given means `DESTRUCTIVE`.
            is_idempotent: See `Tool`; not given means no.
            time_limit_s: See `Tool`.

        Raises:
            SettingError: As in `add`, or the function has no schema (see `read_signature`).
        """

        def register(handler: Handler) -> Handler:
            read = read_signature(handler)
            name = handler.__name__
            described = read.description or name.replace("_", " ")
            allowed = Permission(permission)
            self.add(
                Tool(name, described, read.parameters, handler, allowed, read.fit, is_idempotent, time_limit_s)
            )
            return handler

        return register

    def register(
        self,
        *,
        name: str,
        description: str,
        parameters: dict[str, Any],
        handler: Callable[..., Any],
        permission: Permission | str = Permission.DESTRUCTIVE,
        is_idempotent: bool = False,
        time_limit_s: float | None = None,
    ) -> Tool:
        """Register a function under a hand-written JSON Schema.

        Only the schema's top level is checked when the tool is called (see `hand_written`).

        Raises:
            SettingError: As in `add`, or the schema is not one of an object.
        """
        own = copy.deepcopy(parameters)
        described = description or str(name).replace("_", " ")
        fit = hand_written(own, handler)
        tool = Tool(name, described, own, handler, Permission(permission), fit, is_idempotent, time_limit_s)
        self.add(tool)
        return tool

    def add(self, tool: Tool) -> None:
        """Take in a tool, also one of another registry.

        Raises:
            SettingError: The name is taken, or not 1 to 64 of `a-z A-Z 0-9 _ -`; the handler is asynchronous
                or cannot be called; the schema is not JSON; the time limit is not above 0 and up to an hour.
        """
        if not (isinstance(tool.name, str) and _NAME.match(tool.name)):
            message = f"{visible(str(tool.name))} cannot be the name of a tool"
            raise SettingError(message, hint="use 1 to 64 of a-z A-Z 0-9 _ -")
        if tool.name in self._tools:
            raise SettingError(f"a tool named {tool.name} is already registered")
        if not callable(tool.handler):
            raise SettingError(f"the handler of the tool {tool.name} cannot be called")
        if inspect.iscoroutinefunction(tool.handler) or inspect.isasyncgenfunction(tool.handler):
            raise SettingError(f"the handler of the tool {tool.name} is asynchronous: use a plain function")
        check_time_limit(tool.name, tool.time_limit_s)
        try:
            canonical(tool.parameters)
        except (ValueError, RecursionError) as error:
            message = f"the schema of the tool {tool.name} has no canonical JSON: {visible(str(error))}"
            raise SettingError(message) from error
        self._tools[tool.name] = tool

    def get(self, name: object) -> Tool | None:
        """Find a tool by its exact name; None for anything else, whatever its type."""
        return self._tools.get(name) if isinstance(name, str) else None

    def definitions(self) -> list[dict[str, Any]]:
        """Give what the model is told, in order; the caller may change it without effect here."""
        return [
            {
                "name": tool.name,
                "description": tool.description,
                "input_schema": copy.deepcopy(tool.parameters),
            }
            for tool in self
        ]

    def pinned(self) -> list[dict[str, str]]:
        """Give what an `open` row pins, in order: name, permission, SHA-256 of the schema's JCS in hex."""
        return [
            {
                "name": tool.name,
                "permission": tool.permission.value,
                "schema": schema_digest(tool.parameters),
            }
            for tool in self
        ]

    def granted(self, permissions: Iterable[str], names: Iterable[str] | None = None) -> ToolRegistry:
        """Give a registry of only what a spec grants, in this one's order.

        Args:
            permissions: Values of `Permission`; unknown ones grant nothing.
            names: The only tools allowed; None allows every tool whose permission is granted.

        Raises:
            SettingError: A name is not registered: a spec with a typo would run without its tool.
        """
        only = None if names is None else tuple(names)
        for name in only or ():
            if self.get(name) is None:
                known = ", ".join(self._tools) or "none"
                raise SettingError(
                    f"the spec grants {visible(str(name))}, and no such tool is registered",
                    hint=f"registered tools: {known}",
                )
        allowed = tuple(permissions)
        registry = ToolRegistry()
        for tool in self:
            if is_granted(tool.name, tool.permission, allowed, only):
                registry.add(tool)
        return registry

    def __len__(self) -> int:
        return len(self._tools)

    def __iter__(self) -> Iterator[Tool]:
        return iter(tuple(self._tools.values()))
