"""What kind of address an IP address is. Only public ones are fetched from without being named.

The networks are those of the IANA special-purpose registries for IPv4 and IPv6 (RFC 6890 and its successors), of
transition mechanisms that carry an IPv4 address inside an IPv6 one, and the metadata services of clouds. What is in
no list and in no network that is handed out as global unicast is reserved.
"""

from __future__ import annotations

import re
from enum import Enum
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import Final

IPAddress = IPv4Address | IPv6Address

_NAME = re.compile(r"(?=.{1,253}\Z)[a-z0-9_-]{1,63}(?:\.[a-z0-9_-]{1,63})*\.?\Z")


class AddressKind(Enum):
    """The kinds, each with the words for it in a refusal."""

    PUBLIC = "a public address"
    LOOPBACK = "a loopback address"
    PRIVATE = "a private address"
    SHARED = "an address behind a carrier's NAT"
    LINK_LOCAL = "a link-local address"
    METADATA = "the metadata service of a cloud"
    MULTICAST = "a multicast address"
    TRANSLATED = "an IPv4 address in the clothes of an IPv6 one"
    UNSPECIFIED = "the unspecified address"
    RESERVED = "a reserved address"


# The first network that holds an address decides, so a metadata service is found before its private network is.
_LISTED: Final = tuple(
    (ip_network(network), kind)
    for kind, networks in (
        (
            AddressKind.METADATA,
            # AWS, Azure, Google and many others; AWS containers; Alibaba; Oracle; Azure's own; AWS and Google by IPv6.
            "169.254.169.254/32 169.254.170.2/32 169.254.170.23/32 100.100.100.200/32 192.0.0.192/32 168.63.129.16/32"
            " fd00:ec2::254/128 fd00:ec2::23/128 fd20:ce::254/128",
        ),
        (AddressKind.UNSPECIFIED, "0.0.0.0/32 ::/128"),
        (AddressKind.LOOPBACK, "127.0.0.0/8 ::1/128"),
        (AddressKind.PRIVATE, "10.0.0.0/8 172.16.0.0/12 192.168.0.0/16 fc00::/7 fec0::/10"),
        (AddressKind.SHARED, "100.64.0.0/10"),
        (AddressKind.LINK_LOCAL, "169.254.0.0/16 fe80::/10"),
        (AddressKind.MULTICAST, "224.0.0.0/4 ff00::/8"),
        (
            AddressKind.TRANSLATED,
            # IPv4-mapped, -translated and -compatible; NAT64 and its local use; Teredo; 6to4 and its relays.
            "::ffff:0:0/96 ::ffff:0:0:0/96 ::/96 64:ff9b::/96 64:ff9b:1::/48 2001::/32 2002::/16 192.88.99.0/24",
        ),
        (
            AddressKind.RESERVED,
            # "This network", protocol assignments, AS112, AMT, documentation, benchmarks, the future and broadcast.
            "0.0.0.0/8 192.0.0.0/24 192.31.196.0/24 192.52.193.0/24 192.175.48.0/24 192.0.2.0/24 198.51.100.0/24"
            " 203.0.113.0/24 198.18.0.0/15 240.0.0.0/4 2001::/23 2001:db8::/32 3fff::/20 2620:4f:8000::/48",
        ),
    )
    for network in networks.split()
)
_GLOBAL_UNICAST: Final = ip_network("2000::/3")  # of IPv6, the only part that IANA hands out


def kind_of(address: IPAddress) -> AddressKind:
    """Say what kind of address this is; one with a zone (`%eth0`) is link-local."""
    if isinstance(address, IPv6Address) and address.scope_id is not None:
        return AddressKind.LINK_LOCAL
    for network, kind in _LISTED:
        if address.version == network.version and address in network:
            return kind
    if isinstance(address, IPv6Address) and address not in _GLOBAL_UNICAST:
        return AddressKind.RESERVED
    return AddressKind.PUBLIC


def literal(host: str) -> IPAddress | None:
    """Read a host that is written as an address; None for a name.

    Forms that only a resolver takes for an address (`127.1`, `0x7f000001`) are names here, and are judged by what the
    resolver makes of them.
    """
    try:
        return ip_address(host)
    except ValueError:
        return None


def is_host(host: str) -> bool:
    """Say whether this is an address, or a name that could be looked up: lowercase ASCII, IPv6 without brackets."""
    return literal(host) is not None or _NAME.match(host) is not None
