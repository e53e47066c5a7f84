"""Tools of servers that speak the Model Context Protocol, named by the operator and trusted with nothing.

Whoever needs them imports `offering`, which needs the package `mcp`; the settings can be read without it.
"""

from safeloop.tools.mcp.servers import UNSANDBOXED, Server, Supply, parse_servers, supply_of
from safeloop.tools.mcp.wanted import Wanted, registry_name

__all__ = ["UNSANDBOXED", "Server", "Supply", "Wanted", "parse_servers", "registry_name", "supply_of"]
