"""Which URLs are fetched: judged before any name is looked up, the first one and each that a redirect names."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

import httpx2

from safeloop.tools.fetching.addresses import is_host
from safeloop.tools.fetching.failure import AddressRefused

if TYPE_CHECKING:
    from safeloop.tools.fetching.options import FetchOptions

URL_LIMIT: Final = 4_096
"""Characters of a URL, inclusive."""

_PORTS: Final = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True)
class Target:
    """A URL that may be asked for, if its address may be.

    Args:
        url: Without its fragment.
        host: In lowercase ASCII; IPv6 without brackets.
        port: The URL's, or its scheme's.
        called: What errors call it: the host, if the model wrote it, and no host that a server chose.
    """

    url: httpx2.URL
    host: str
    port: int
    called: str


def first_target(url: str, options: FetchOptions) -> Target:
    """Judge the URL that a model wrote.

    Raises:
        AddressRefused: It is none, or one that is not fetched.
    """
    if len(url) > URL_LIMIT:
        raise AddressRefused(f"the URL is longer than {URL_LIMIT} characters")
    try:
        return _judged(httpx2.URL(url), options)
    except (httpx2.InvalidURL, UnicodeError) as error:
        raise AddressRefused("this is not a URL") from error


def next_target(target: Target, location: str, options: FetchOptions) -> Target:
    """Judge where a redirect leads.

    Raises:
        AddressRefused: As in `first_target`, or it leads from https to http and may not.
    """
    if len(location) > URL_LIMIT:
        raise AddressRefused(f"{target.called} redirects to a URL of more than {URL_LIMIT} characters")
    try:
        after = _judged(target.url.join(location), options)
    except AddressRefused as error:
        raise AddressRefused(f"a redirect of {target.called} is not followed: {error.message}") from error
    except (httpx2.InvalidURL, UnicodeError) as error:
        raise AddressRefused(f"{target.called} redirects to what is not a URL") from error
    if target.url.scheme == "https" and after.url.scheme == "http" and not options.is_downgrade_allowed:
        raise AddressRefused(f"{target.called} redirects from https to http, which is not followed")
    if after.host == target.host or target.called != target.host:
        return replace(after, called=target.called)
    return replace(after, called=f"a server that {target.host} redirects to")


def _judged(url: httpx2.URL, options: FetchOptions) -> Target:
    if url.scheme not in _PORTS:
        raise AddressRefused("only http:// and https:// are fetched")
    if url.userinfo:
        raise AddressRefused("a URL with a user name or password is not fetched")
    host = url.raw_host.decode("ascii")
    if not is_host(host):
        raise AddressRefused("the URL has no host that could be looked up")
    port = _PORTS[url.scheme] if url.port is None else url.port
    if not options.may_ask(host):
        raise AddressRefused("this host is not one of those that may be fetched from")
    if not options.may_use_port(host, port):
        raise AddressRefused(f"port {port} is not one of those that may be connected to")
    return Target(url.copy_with(fragment=None), host, port, called=host)
