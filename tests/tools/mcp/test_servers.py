"""The operator's file of servers: what it says, and every way to say it wrong."""

from __future__ import annotations

from pathlib import Path

import pytest

from safeloop.errors import SettingError
from safeloop.tools.mcp import UNSANDBOXED, Server, parse_servers, supply_of

STDIO = '[servers.tickets]\ncommand = ["/opt/t/bin/python", "-m", "t"]\n'
HTTP = '[servers.search]\nurl = "https://mcp.example.org/mcp"\n'


def test_a_file_gives_its_servers_in_order_with_names_of_variables_and_never_their_values() -> None:
    text = (
        STDIO + 'folders = ["/opt/t"]\nenvironment = ["TOKEN"]\ntime_limit_s = 5\n'
        + HTTP + 'headers = { Authorization = "SEARCH" }\n' + STDIO.replace("tickets", "free") + f'unsandboxed = "{UNSANDBOXED}"'
    )
    tickets, search, free = parse_servers(text, "mcp.toml")
    assert tickets == Server(
        "tickets", ("/opt/t/bin/python", "-m", "t"), folders=(Path("/opt/t"),), environment=("TOKEN",), time_limit_s=5
    )
    assert search == Server("search", url="https://mcp.example.org/mcp", headers=(("Authorization", "SEARCH"),))
    assert (tickets.is_sandboxed, free.is_sandboxed) == (True, False)
    given = supply_of(tickets, {"TOKEN": "secret-1", "OTHER": "secret-2"})
    assert given.environment == (("TOKEN", "secret-1"),)
    assert "secret" not in repr(given) + repr(supply_of(search, {"SEARCH": "secret-3"}))


@pytest.mark.parametrize(("text", "says"), [
    ("servers = [", "is not TOML"),
    ("", "must hold tables"),
    ("servers = 3", "must hold tables"),
    (STDIO + "[other]\n", "must hold tables"),
    ("".join(f'[servers.s{number}]\nurl = "https://x.example/"\n' for number in range(21)), "at most 20"),
    ("[servers]\nx = 3", "server x must be a table"),
    (STDIO.replace("tickets", "my_tickets"), "name is 1 to 32 of"),
    (STDIO.replace("tickets", "a-"), "name is 1 to 32 of"),
    (STDIO.replace("tickets", '"\\u001b[2J"'), "\\u{1b}[2J"),
    ("[servers.x]\n", "needs command or url"),
    (STDIO + 'url = "https://x.example/"', "needs command or url, one of them"),
    (STDIO + "permission = 'read'", "there is no key permission"),
    (STDIO + 'headers = { A = "B" }', "headers has no meaning beside command"),
    (HTTP + 'folders = ["/opt"]', "folders has no meaning beside url"),
    (HTTP + 'environment = ["A"]', "environment has no meaning beside url"),
    (HTTP + f'unsandboxed = "{UNSANDBOXED}"', "unsandboxed has no meaning beside url"),
    (STDIO + "unsandboxed = true", "unsandboxed must say what it means"),
    (STDIO + f'unsandboxed = "{UNSANDBOXED.upper()}"', "unsandboxed must say what it means"),
    (STDIO + f'folders = ["/opt"]\nunsandboxed = "{UNSANDBOXED}"', "folders has no meaning without"),
    ('[servers.x]\ncommand = []', "whole path"),
    ('[servers.x]\ncommand = ["npx", "thing"]', "whole path"),
    ('[servers.x]\ncommand = "/bin/sh"', "list of texts"),
    ('[servers.x]\ncommand = ["/bin/sh", 3]', "list of texts"),
    ('[servers.x]\ncommand = ["/bin/sh\\u0000"]', "list of texts"),
    *((f'[servers.x]\nurl = {url}', "whole address") for url in (
        "3", '""', '"file:///etc/passwd"', '"https://"', '"https://[x/"', '"https://x.example:99999/"', '"https://x /"',
        '"https://x\\u202e.example/"')),
    ('[servers.x]\nurl = "https://me:secret@x.example/"', "holds a user name"),
    *((STDIO + f'folders = ["{folder}"]', "cannot be shown") for folder in (
        "/", "opt", "/opt/../etc", "/tmp", "/proc", "/proc/1", "/dev", "/sys/fs", "/run/user", "/workspace", "/staging")),
    (STDIO + 'environment = ["A=sk-secret"]', "holds what is no name of a variable"),
    (HTTP + 'headers = { Authorization = "Bearer sk-secret" }', "holds what is no name of a variable"),
    (HTTP + 'headers = ["A"]', "headers must name a variable"),
    (HTTP + 'headers = { A = 3 }', "headers must name a variable"),
    (HTTP + 'headers = { "A\\r\\nB" = "C" }', "no name of a header"),
    *((STDIO + f"time_limit_s = {limit}", "time_limit_s must be from 1 to 600") for limit in ("0", "601", "true", "1.5")),
])  # fmt: skip
def test_what_a_file_must_not_say_is_refused_with_its_place(text: str, says: str) -> None:
    with pytest.raises(SettingError) as caught:
        parse_servers(text, "mcp.toml")
    assert says in caught.value.message and caught.value.message.startswith("mcp.toml")
    assert caught.value.hint and "secret" not in str(caught.value)


def test_a_variable_that_is_not_set_or_that_no_header_can_hold_is_named_and_not_shown() -> None:
    search = Server("search", url="https://x.example/", headers=(("Authorization", "SEARCH"),))
    with pytest.raises(SettingError, match="search gets the variable SEARCH, and it is not set"):
        supply_of(search, {})
    for value in ("secret\r\nX: y", "secret\u00e9"):
        with pytest.raises(SettingError, match="the variable SEARCH holds what no header can say") as caught:
            supply_of(search, {"SEARCH": value})
        assert "secret" not in str(caught.value)
