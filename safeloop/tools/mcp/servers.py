"""The servers that an operator names: a closed TOML document, as values.

```toml
[servers.tickets]
command = ["/opt/tickets/bin/python", "-m", "tickets_mcp"]
folders = ["/opt/tickets"]
environment = ["TICKETS_TOKEN"]

[servers.search]
url = "https://mcp.example.org/mcp"
headers = { Authorization = "SEARCH_AUTHORIZATION" }
```
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import urlsplit

from safeloop.errors import SettingError
from safeloop.ledger.visible import visible

UNSANDBOXED = "it can read everything that I can, keys included"
"""What an operator must write, to the letter, to run a server without the sandbox."""

TIME_LIMIT_S = 60
_LONGEST_TIME_LIMIT_S = 600
_MOST_SERVERS = 20
_HINT = "safeloop help tools"
_KEYS = ("command", "url", "folders", "environment", "headers", "unsandboxed", "time_limit_s")
_IS_SERVER = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,30}[a-z0-9])?\Z")  # no `_`: the first `__` of a tool's name ends it
_IS_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,199}\Z")
_IS_HEADER = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]{0,99}\Z")
_OF_THE_FENCE = ("proc", "sys", "dev", "run", "staging", "workspace")


@dataclass(frozen=True, slots=True)
class Server:
    """One server.

    Args:
        name: The first part of its tools' names.
        command: The program and its arguments, spoken to over its standard input and output; or empty.
        url: Where it is asked over streamable HTTP; or empty.
        folders: What the sandbox shows of this machine, read-only and under the same names, beside the system's own.
        environment: Names of the variables that it gets; nothing else of the environment.
        headers: What each request carries: a header, and the name of the variable that holds its value.
        is_sandboxed: Its program runs in the sandbox.
        time_limit_s: Of a call, in seconds, inclusive.
    """

    name: str
    command: tuple[str, ...] = ()
    url: str = ""
    folders: tuple[Path, ...] = ()
    environment: tuple[str, ...] = ()
    headers: tuple[tuple[str, str], ...] = ()
    is_sandboxed: bool = True
    time_limit_s: int = TIME_LIMIT_S


@dataclass(frozen=True, slots=True)
class Supply:
    """The values of the variables that a server gets; they are in no error and in nothing that is printed.

    Args:
        environment: Of a program.
        headers: Of a request.
    """

    environment: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    headers: tuple[tuple[str, str], ...] = field(default=(), repr=False)


def parse_servers(text: str, where: str) -> tuple[Server, ...]:
    """Read the operator's servers.

    Args:
        text: TOML: tables `[servers.NAME]`.
        where: The file's name, for errors.

    Raises:
        SettingError: Something is unknown, missing, or of a wrong form; the message says what and where.
    """
    try:
        document = tomllib.loads(text)
    except RecursionError:
        raise SettingError(f"{where} is nested too deeply", hint=_HINT) from None
    except ValueError as error:
        raise SettingError(f"{where} is not TOML: {visible(str(error))}", hint=_HINT) from None
    tables = document.get("servers")
    if set(document) != {"servers"} or not isinstance(tables, dict) or len(tables) > _MOST_SERVERS:
        raise SettingError(
            f"{where} must hold tables [servers.NAME], at most {_MOST_SERVERS}, and nothing else", hint=_HINT
        )
    return tuple(_server(name, table, f"{where}: server {visible(name, 80)}") for name, table in tables.items())


def supply_of(server: Server, variables: Mapping[str, str]) -> Supply:
    """Look up what a server gets.

    Raises:
        SettingError: A variable is not set, or a header cannot be sent.
    """
    at = f"the MCP server {server.name}"
    headers = tuple((header, _value(name, at, variables)) for header, name in server.headers)
    for (_, name), (_, value) in zip(server.headers, headers, strict=True):
        if not (value.isascii() and value.isprintable()):
            raise SettingError(f"{at}: the variable {name} holds what no header can say", hint="one line of ASCII")
    return Supply(tuple((name, _value(name, at, variables)) for name in server.environment), headers)


def _server(name: str, table: object, at: str) -> Server:
    if not _IS_SERVER.match(name):
        raise SettingError(f"{at}: a server's name is 1 to 32 of a-z 0-9 -, with no - at either end", hint=_HINT)
    if not isinstance(table, dict):
        raise SettingError(f"{at} must be a table", hint=f"[servers.{name}]")
    for key in table:
        if key not in _KEYS:
            raise SettingError(f"{at}: there is no key {visible(key, 80)}", hint=f"known here: {', '.join(_KEYS)}")
    if ("command" in table) == ("url" in table):
        raise SettingError(f"{at} needs command or url, one of them", hint=_HINT)
    ours, others = ("command", ("headers",)) if "command" in table else (
        "url", ("folders", "environment", "unsandboxed")
    )
    for key in others:
        if key in table:
            raise SettingError(f"{at}: {key} has no meaning beside {ours}", hint=_HINT)
    is_sandboxed = _is_sandboxed(table, at)
    if not is_sandboxed and "folders" in table:
        raise SettingError(f"{at}: folders has no meaning without the sandbox", hint=_HINT)
    return Server(
        name, _command(table, at), _url(table, at), _folders(table, at), _environment(table, at), _headers(table, at),
        is_sandboxed, _time_limit(table, at),
    )


def _is_sandboxed(table: Mapping[str, Any], at: str) -> bool:
    if "unsandboxed" not in table:
        return True
    if table["unsandboxed"] != UNSANDBOXED:
        raise SettingError(f"{at}: unsandboxed must say what it means", hint=f'unsandboxed = "{UNSANDBOXED}"')
    return False


def _texts(table: Mapping[str, Any], key: str, at: str) -> tuple[str, ...]:
    values = table.get(key, [])
    if not isinstance(values, list) or not all(isinstance(value, str) and "\0" not in value for value in values):
        raise SettingError(f"{at}: {key} must be a list of texts", hint=f'{key} = ["..."]')
    return tuple(values)


def _command(table: Mapping[str, Any], at: str) -> tuple[str, ...]:
    words = _texts(table, "command", at)
    if "command" in table and not (words and PurePosixPath(words[0]).is_absolute()):
        raise SettingError(f"{at}: command must begin with a program's whole path", hint='command = ["/usr/bin/..."]')
    return words


def _url(table: Mapping[str, Any], at: str) -> str:
    if "url" not in table:
        return ""
    url = table["url"]
    if not isinstance(url, str) or not _is_address(url):
        raise SettingError(f"{at}: url must be a whole address over http or https", hint='url = "https://..."')
    if "@" in urlsplit(url).netloc:
        raise SettingError(f"{at}: url holds a user name, and rows and errors would show it", hint="use headers")
    return url


def _is_address(url: str) -> bool:
    try:
        parts = urlsplit(url)
        is_whole = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False
    return is_whole and url.isascii() and url.isprintable() and " " not in url


def _folders(table: Mapping[str, Any], at: str) -> tuple[Path, ...]:
    folders = tuple(map(Path, _texts(table, "folders", at)))
    for folder in folders:
        if not folder.is_absolute() or ".." in folder.parts or not _can_be_shown(folder.parts[1:]):
            raise SettingError(
                f"{at}: folders holds {visible(str(folder), 100)}, which cannot be shown in the sandbox",
                hint=f"whole paths, none of them / or /tmp or below /{', /'.join(_OF_THE_FENCE)}",
            )
    return folders


def _can_be_shown(parts: tuple[str, ...]) -> bool:
    return len(parts) > 0 and parts != ("tmp",) and parts[0] not in _OF_THE_FENCE


def _environment(table: Mapping[str, Any], at: str) -> tuple[str, ...]:
    names = _texts(table, "environment", at)
    for name in names:
        _check_variable(name, f"{at}: environment")
    return names


def _headers(table: Mapping[str, Any], at: str) -> tuple[tuple[str, str], ...]:
    headers = table.get("headers", {})
    if not isinstance(headers, dict) or not all(isinstance(name, str) for name in headers.values()):
        raise SettingError(
            f"{at}: headers must name a variable for each header", hint='headers = { Authorization = "VARIABLE" }'
        )
    for header, name in headers.items():
        if not _IS_HEADER.match(header):
            raise SettingError(f"{at}: {visible(header, 80)} is no name of a header", hint="letters, digits and -")
        _check_variable(name, f"{at}: header {header}")
    return tuple(headers.items())


def _check_variable(name: str, at: str) -> None:
    if not _IS_VARIABLE.match(name):  # it may be the secret itself, so it is not repeated
        raise SettingError(f"{at} holds what is no name of a variable", hint="name the variable, not its value")


def _value(name: str, at: str, variables: Mapping[str, str]) -> str:
    if name not in variables:
        raise SettingError(f"{at} gets the variable {name}, and it is not set", hint=f"export {name}=...")
    return variables[name]


def _time_limit(table: Mapping[str, Any], at: str) -> int:
    seconds = table.get("time_limit_s", TIME_LIMIT_S)
    if type(seconds) is not int or not 1 <= seconds <= _LONGEST_TIME_LIMIT_S:
        raise SettingError(f"{at}: time_limit_s must be from 1 to {_LONGEST_TIME_LIMIT_S} whole seconds", hint=_HINT)
    return seconds
