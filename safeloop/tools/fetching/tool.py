"""`fetch_url`, the one tool that reaches the network."""

from __future__ import annotations

import functools
import ssl
from typing import Final

import httpx2

from safeloop.errors import SettingError
from safeloop.tools.fetching.budget import Budget
from safeloop.tools.fetching.document import document
from safeloop.tools.fetching.exchange import ask
from safeloop.tools.fetching.options import FetchOptions
from safeloop.tools.fetching.reading import READING_S, can_read
from safeloop.tools.permission import Permission
from safeloop.tools.registry import ToolRegistry

INSTALL: Final = "pip install 'safeloop[fetch]'"
_MARGIN_S: Final = 5.0  # so that the tool's own words about its limits come before the runtime's


def what_is_missing() -> str | None:
    """Say why there is no `fetch_url` on this machine; None if there is."""
    return None if can_read() else "fetch_url needs the package beautifulsoup4, which reads HTML"


def fetch_tools(options: FetchOptions | None = None) -> ToolRegistry:
    """Give a registry with `fetch_url`.

    It needs no approval: it is `READ`, because it changes nothing here, and asks servers with GET only.

    Args:
        options: Where it may go and what it may take; None for public addresses and the default limits.

    Raises:
        SettingError: What reads HTML is not installed; the hint says what to install.
    """
    missing = what_is_missing()
    if missing is not None:
        raise SettingError(missing, hint=INSTALL)
    limits = FetchOptions() if options is None else options
    registry = ToolRegistry()

    @functools.cache
    def tls() -> ssl.SSLContext:
        # Without the environment: a variable could point to other authorities.
        return httpx2.create_ssl_context(trust_env=False) if limits.tls is None else limits.tls

    @registry.tool(
        permission=Permission.READ, is_idempotent=True, time_limit_s=limits.seconds + READING_S + _MARGIN_S
    )
    def fetch_url(url: str) -> str:
        """Fetch a public web page or text over http or https and give its text.

        Redirects are followed. The result begins with lines about the page (url, status, title, what was cut), then an
        empty line, then its text. Scripts are not run.

        Args:
            url: The whole URL, beginning with http:// or https://.
        """
        return document(ask(url, limits, Budget(limits.seconds, limits.wire_bytes), tls()), limits.text_characters)

    return registry
