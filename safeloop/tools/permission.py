"""What a tool may do to the world, and whether a spec lets it."""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable


class Permission(Enum):
    """The closed set of permissions; the values are what rows and specs hold.

    Anything that is none of them means `DESTRUCTIVE`: `Permission("wipe") is Permission.DESTRUCTIVE`.
    """

    READ = "read"
    WRITE = "write"
    DESTRUCTIVE = "destructive"

    @classmethod
    def _missing_(cls, value: object) -> Permission:  # noqa: ARG003 (enum's own signature)
        return cls.DESTRUCTIVE


def is_granted(
    name: str, permission: Permission, permissions: Iterable[str], names: Iterable[str] | None
) -> bool:
    """Say whether a spec lets a tool run.

    Args:
        name: The tool's name.
        permission: What the tool may do.
        permissions: The values the spec names; one that is unknown grants nothing.
        names: The only tools the spec allows; None allows every tool whose permission is granted.
    """
    # Tuples: `"read" in "readwrite"` must not grant anything.
    return permission.value in tuple(permissions) and (names is None or name in tuple(names))
