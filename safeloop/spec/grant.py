"""What a spec lets a session's tools do."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from safeloop.errors import SpecError
from safeloop.spec.wording import article, did_you_mean, has_unseen, quoted

PERMISSIONS = ("read", "write", "destructive")
"""Every permission a tool can need, from the least."""

_MOST_NAMES = 100
_LONGEST_NAME = 64  # the longest that the Messages API takes
_STATED = ("read", "write")


@dataclass(frozen=True, slots=True)
class ToolGrant:
    """The permissions that a session's tools may use, and optionally the only tools it may use at all.

    Args:
        permissions: Of `PERMISSIONS`; none at all means that no tool may run.
        names: The tools that may run; None is every registered tool within the permissions. A tool of an MCP server
            may stand here as `SERVER__TOOL:read` or `SERVER__TOOL:write`: what it does, by the word of whoever wrote
            the spec.

    Raises:
        SpecError: An unknown permission, a value twice, or a wrong type.
    """

    permissions: tuple[str, ...] = ("read", "write")
    names: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "permissions", _words("permissions", self.permissions))
        for permission in self.permissions:
            if permission not in PERMISSIONS:
                raise SpecError(
                    f"permission {quoted(permission)} is unknown", hint=did_you_mean(permission, PERMISSIONS)
                )
        if self.names is not None:
            object.__setattr__(self, "names", _words("names", self.names))
            _words("names", self.only)  # no tool twice, whatever is said of it

    @property
    def only(self) -> tuple[str, ...] | None:
        """The tools that may run, each by its name alone; None is every registered tool within the permissions."""
        return None if self.names is None else tuple(_stated(name)[0] for name in self.names)

    def permission_of(self, name: str) -> str:
        """Return what a tool of an MCP server does: what the spec does not say is destructive."""
        return dict(map(_stated, self.names or ())).get(name, "destructive")

    def as_row(self) -> dict[str, Any]:
        """The `tools` object of a `spec` row: `names` only where it is given."""
        row: dict[str, Any] = {"permissions": list(self.permissions)}
        if self.names is not None:
            row["names"] = list(self.names)
        return row

    @classmethod
    def of_row(cls, row: object) -> ToolGrant:
        """Read a closed object, from a row or a spec file.

        Raises:
            SpecError: An unknown key, or a value that `ToolGrant` refuses.
        """
        if not isinstance(row, dict):
            raise SpecError(f"must be a table, not {article(row)}", hint="begin it with a [tools] line")
        for key in row:
            if key not in ("permissions", "names"):
                raise SpecError(
                    f"key {quoted(key)} is unknown", hint=did_you_mean(key, ("permissions", "names"))
                )
        return cls(**row)


def _stated(name: str) -> tuple[str, str]:
    """Return a tool and what the spec says that it does; what else holds a colon is a name that no tool has."""
    tool, _, permission = name.rpartition(":")
    return (tool, permission) if permission in _STATED and "__" in tool else (name, "destructive")


def _words(key: str, value: object) -> tuple[str, ...]:
    """The value as a tuple, if it is a list of names, each once."""
    if not isinstance(value, list | tuple):
        raise SpecError(f"{key} must be a list of names, not {article(value)}", hint=f'{key} = ["..."]')
    if len(value) > _MOST_NAMES:
        raise SpecError(f"{key} has {len(value)} names, more than {_MOST_NAMES}", hint="grant fewer tools")
    for word in value:
        if not isinstance(word, str):
            raise SpecError(f"{key} must hold names, not {article(word)}", hint=f'{key} = ["..."]')
        if not word.strip() or has_unseen(word) or len(_stated(word)[0].encode("utf-8")) > _LONGEST_NAME:
            raise SpecError(
                f"{key} holds {quoted(word)}, which is no name", hint=f"one line, 1 to {_LONGEST_NAME} bytes"
            )
        if value.count(word) > 1:
            raise SpecError(f"{key} holds {quoted(word)} twice", hint="leave one out")
    return tuple(value)
