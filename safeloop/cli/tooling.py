"""Which tools a run has: the built-in ones that its spec grants, and the operator's own."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Collection, Iterable, Iterator
from pathlib import Path

from safeloop.cli.importing_tools import imported_tools
from safeloop.cli.mcp_servers import held_tools, operator_servers
from safeloop.cli.settings import Settings
from safeloop.errors import SettingError
from safeloop.ledger import Ledger
from safeloop.loop.place import check_workspace
from safeloop.spec import ToolGrant
from safeloop.tools import ContainmentError, Permission, Root, Tool, ToolRegistry, file_tools
from safeloop.tools.mcp import Server, Wanted, registry_name
from safeloop.tools.permission import is_granted
from safeloop.tools.sandbox import Sandbox, SandboxMissing, code_tools, find_sandbox

BUILT_IN = {
    "list_files": Permission.READ, "read_file": Permission.READ, "search_files": Permission.READ,
    "write_file": Permission.WRITE, "edit_file": Permission.WRITE, "fetch_url": Permission.READ,
    "run_python": Permission.DESTRUCTIVE, "run_command": Permission.DESTRUCTIVE,
}
_CODE = ("run_python", "run_command")


@contextlib.contextmanager
def tools_in(
    settings: Settings, workspace: Path | None, ledger: Ledger, grant: ToolGrant, own: str | None = None, *,
    opened_with: Collection[str] | None = None,
) -> Iterator[Callable[[Root], ToolRegistry]]:
    """Give the tools of a run, made around its staging folder; all that can be refused is refused before.

    Args:
        settings: They say which hosts a fetch may ask, and which MCP servers there are.
        workspace: What the file tools read, if anything.
        ledger: Its files are out of reach.
        grant: What the spec allows. `fetch_url` is there only where it is named: it is the one tool through which what
            was read could leave, and a promise that grants reading says nothing of that.
        own: The operator's tools, as `--tools` takes them.
        opened_with: The tools of a session that goes on: it gets no others.

    Raises:
        SettingError: The spec names a tool that is not there or that it does not permit, a tool cannot work on this
            machine, or the workspace is none.
    """
    added = ToolRegistry() if own is None else imported_tools(own)
    servers = operator_servers(settings, ledger)
    _check_names(grant, added, servers)
    fetching = _fetching(settings, grant) if opened_with is None or "fetch_url" in opened_with else ()
    sandbox = _sandbox(grant) if opened_with is None or set(_CODE) & set(opened_with) else None
    with _root(workspace, ledger) as root, held_tools(servers, Wanted(grant, opened_with), workspace) as remote:
        for tool in remote:
            if added.get(tool.name) is not None:
                raise SettingError(f"--tools: {tool.name} is the name of an MCP tool", hint="give it another name")

        def made(staging: Root) -> ToolRegistry:
            registry = ToolRegistry()
            code = () if sandbox is None else code_tools(sandbox, workspace, staging.path)
            for tool in (*file_tools(root, staging), *fetching, *code, *added, *remote):
                if opened_with is None or tool.name in opened_with:
                    registry.add(tool)
            return registry

        yield made


@contextlib.contextmanager
def _root(workspace: Path | None, ledger: Ledger) -> Iterator[Root | None]:
    if workspace is None:
        yield None
        return
    try:
        root = Root(workspace)
    except ContainmentError as error:
        raise SettingError(f"workspace {error}", hint="name a folder that the tools may read") from None
    with root:
        check_workspace(workspace, ledger)
        yield root


def _check_names(grant: ToolGrant, own: ToolRegistry, servers: Iterable[Server]) -> None:
    """Check that a tool is known by one name, and that the spec speaks of no tool in vain."""
    prefixes = tuple(registry_name(server.name, "") for server in servers)
    for name in grant.only or ():
        if name not in (grant.names or ()) and not name.startswith(prefixes):  # with what it does
            raise SettingError(
                f"the spec says what the tool {name} of an MCP server does, and no such server is set up",
                hint="name it in the file of the setting mcp_servers: safeloop help tools",
            )
    for tool in own:
        if tool.name in BUILT_IN:
            raise SettingError(f"--tools: {tool.name} is the name of a built-in tool", hint="give it another name")
    remote = (name for name in grant.only or () if name.startswith(prefixes))
    permissions = BUILT_IN | {tool.name: tool.permission for tool in own}
    permissions |= {name: Permission(grant.permission_of(name)) for name in remote}
    for name in grant.only or ():
        if name not in permissions:
            raise SettingError(
                f"the spec names the tool {name}, and there is none",
                hint=f"there are {', '.join(permissions)}; more with --tools package.module:registry, or by MCP",
            )
        if permissions[name].value not in grant.permissions:
            bare = name.partition(":")[0]
            said = f'; if it does less, name it "{bare}:read" or "{bare}:write"' if name.startswith(prefixes) else ""
            raise SettingError(
                f"the spec names the tool {name} and does not grant its permission, {permissions[name].value}",
                hint=f'add "{permissions[name].value}" to permissions under [tools], or leave {name} out{said}',
            )


def _fetching(settings: Settings, grant: ToolGrant) -> tuple[Tool, ...]:
    """Return `fetch_url` where the spec names it, with the hosts that the settings name."""
    if "fetch_url" not in (grant.only or ()):
        return ()
    from safeloop.tools.fetching import FetchOptions, fetch_tools  # noqa: PLC0415 (loads an HTTP client: few runs need it)

    only, allowed = _hosts(settings, "fetch_hosts"), _hosts(settings, "fetch_allow")
    return tuple(fetch_tools(FetchOptions(allowed_hosts=allowed or (), only_hosts=only)))


def _hosts(settings: Settings, name: str) -> tuple[str, ...] | None:
    value = settings.get(name).value
    if value is None:
        return None
    return tuple(host.strip() for host in value.split(",") if host.strip())


def _sandbox(grant: ToolGrant) -> Sandbox | None:
    """Return a sandbox if the spec grants a tool that runs code; one that is named must be there."""
    if not any(is_granted(name, BUILT_IN[name], grant.permissions, grant.only) for name in _CODE):
        return None
    try:
        return find_sandbox()
    except SandboxMissing:
        if grant.names is None:
            return None  # it grants what tools of the operator's own may need, and names none of these
        raise
