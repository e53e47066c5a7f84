"""A server's address: as it is checked, and as it is shown and recorded."""

from __future__ import annotations

import re
from urllib.parse import SplitResult, urlsplit, urlunsplit

from safeloop.errors import SettingError


def shown_address(base_url: str) -> str:
    """Return where requests go, without credentials, query and final slash."""
    parts = urlsplit(base_url)
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path.rstrip("/"), "", ""))


def checked_address(base_url: str, *, key: str) -> SplitResult:
    """Take an address apart, or refuse it; what it holds is not repeated, as it may be a password.

    Args:
        key: The variable that credentials belong into.

    Raises:
        SettingError: It is no address of a server.
    """
    hint = "such as http://127.0.0.1:8080/v1"
    if not isinstance(base_url, str) or re.search(r"[^!-~]", base_url):
        raise SettingError("the base URL holds a space or a letter that no URL has", hint=hint)
    try:
        parts = urlsplit(base_url)
        port_is_wrong = parts.port == 0
    except ValueError:
        raise SettingError("the base URL's host or port is none", hint=hint) from None
    if parts.username is not None or parts.password is not None:
        raise SettingError("the base URL holds credentials, and it is recorded", hint=f"export {key}=...")
    if parts.scheme not in ("http", "https") or not parts.hostname or port_is_wrong:
        raise SettingError("the base URL does not begin with https:// or http:// and a host", hint=hint)
    if "?" in base_url or "#" in base_url:
        raise SettingError("the base URL has a query or a fragment, and paths are added to it", hint=hint)
    return parts
