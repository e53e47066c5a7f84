"""Which tools of MCP servers a session may have, before any server is asked. Pure."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from safeloop.spec import ToolGrant
from safeloop.tools.permission import Permission, is_granted


def registry_name(server: str, tool: str) -> str:
    """Return what a model calls a tool, whether or not it can be called so."""
    return f"{server}__{tool}"


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which tools a session may have.

    Args:
        grant: What its spec allows.
        opened_with: The tools of a session that goes on; None for one that begins.
    """

    grant: ToolGrant
    opened_with: Collection[str] | None = None

    def has(self, name: str) -> bool:
        """Say whether a tool of that name is one of them."""
        permission = self.grant.permission_of(name)
        is_there = self.opened_with is None or name in self.opened_with
        return is_there and is_granted(name, Permission(permission), self.grant.permissions, self.grant.only)

    def needs(self, server: str) -> bool:
        """Say whether any tool of a server can be one of them: one that is not needed is not started."""
        grant = self.grant
        if self.opened_with is None and grant.names is None and Permission.DESTRUCTIVE.value in grant.permissions:
            return True
        known = (*(self.opened_with or ()), *(grant.only or ()))
        return any(name.startswith(registry_name(server, "")) and self.has(name) for name in known)
