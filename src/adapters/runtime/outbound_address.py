"""Which addresses this server may connect to on a tenant's behalf.

Theory of operation. Only global unicast addresses pass, by the registries of special-purpose addresses
(https://www.iana.org/assignments/iana-ipv4-special-registry, …-ipv6-special-registry), and what an operator listed. The
lists are written out here because `ipaddress.is_global` differs between Python's patch releases. An IPv6 address that
carries an IPv4 one is judged by both: an IPv4-mapped one *is* the IPv4 address, to the kernel too; behind NAT64's
well-known prefix is another machine, so what it carries must be global, whatever the operator listed for this one; the
other transition forms (IPv4-compatible, IPv4-translated, 6to4, Teredo, ISATAP, NAT64's local prefix) are obsolete or
local and never pass by themselves.
"""

from collections.abc import Iterable
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import Final

IPAddress = IPv4Address | IPv6Address
IPNetwork = IPv4Network | IPv6Network

_REFUSED_V4: Final = tuple(
    IPv4Network(network)
    for network in (
        "0.0.0.0/8",  # this network
        "10.0.0.0/8",
        "100.64.0.0/10",  # carriers' NAT, and some clouds' metadata
        "127.0.0.0/8",
        "168.63.129.16/32",  # Azure's host agent, a metadata service at a global address
        "169.254.0.0/16",  # link-local, where metadata services are
        "172.16.0.0/12",
        "192.0.0.0/24",
        "192.0.2.0/24",  # documentation
        "192.88.99.0/24",  # 6to4 relays
        "192.168.0.0/16",
        "198.18.0.0/15",  # benchmarks
        "198.51.100.0/24",  # documentation
        "203.0.113.0/24",  # documentation
        "224.0.0.0/4",  # multicast
        "240.0.0.0/4",  # reserved, and broadcast
    )
)
_GLOBAL_V6: Final = IPv6Network("2000::/3")
"""All that was ever given out as global unicast."""
_REFUSED_V6: Final = tuple(
    IPv6Network(network)
    for network in (
        "2001::/23",  # protocols: Teredo, benchmarks, ORCHID
        "2001:db8::/32",  # documentation
        "2002::/16",  # 6to4
        "3fff::/20",  # documentation
    )
)
_NAT64: Final = IPv6Network("64:ff9b::/96")
"""RFC 6052's well-known prefix, as IPv6-only networks use it to reach the IPv4 internet."""
_ISATAP: Final = frozenset({0x0000_5EFE, 0x0200_5EFE})
"""The upper half of an ISATAP interface identifier (RFC 5214); the lower is an IPv4 address."""


def unmapped(address: IPAddress) -> IPAddress:
    """The IPv4 address that an IPv4-mapped one is; any other as it is."""
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return address if mapped is None else mapped


def is_global(address: IPAddress) -> bool:
    """Whether `address` is global unicast, and so is whatever it carries."""
    address = unmapped(address)
    if isinstance(address, IPv4Address):
        return not _within(address, _REFUSED_V4)
    if address.scope_id is not None:
        return False
    if address in _NAT64:
        return is_global(IPv4Address(int(address) & 0xFFFF_FFFF))
    if int(address) >> 32 & 0xFFFF_FFFF in _ISATAP:
        return False
    return address in _GLOBAL_V6 and not _within(address, _REFUSED_V6)


def is_listed(address: IPAddress, allow: Iterable[IPNetwork]) -> bool:
    """Whether an operator let `address` through; a zone makes it another address, which cannot be listed."""
    address = unmapped(address)
    return getattr(address, "scope_id", None) is None and _within(address, allow)


def parsed_address(text: str) -> IPAddress | None:
    """The address that `text` is in its usual spelling; None for anything else, odd spellings and zones too."""
    try:
        address = ip_address(text)
    except ValueError:
        return None
    return None if "%" in text else address


def _within(address: IPAddress, networks: Iterable[IPNetwork]) -> bool:
    return any(address in network for network in networks)
