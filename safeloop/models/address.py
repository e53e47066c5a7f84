"""A server's address as it is shown and recorded."""

from __future__ import annotations

from urllib.parse import urlsplit, urlunsplit


def shown_address(base_url: str) -> str:
    """Return where requests go, without credentials, query and final slash."""
    parts = urlsplit(base_url)
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path.rstrip("/"), "", ""))
