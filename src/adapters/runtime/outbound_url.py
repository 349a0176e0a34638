"""URLs and host names as the outbound guard reads them: one spelling only, so that nobody after it can read another.

What is refused here is refused for its form; addresses are judged once names are resolved.
"""

import re
from typing import Final

import idna
import msgspec

from adapters.runtime.outbound_address import IPAddress, parsed_address, unmapped

URL_CHARS_MAX: Final = 8_000
"""The longest that servers commonly take."""
NAME_CHARS_MAX: Final = 253
"""A DNS name's length, by RFC 1035."""

_URL = re.compile(
    r"(?P<scheme>https?)://(?P<authority>[^/?#]*)(?P<path>/[^?#]*)?(?:\?(?P<query>[^#]*))?\Z",
    re.ASCII | re.IGNORECASE | re.DOTALL,
)
_PORT = re.compile(r"[1-9][0-9]{0,4}\Z", re.ASCII)
_PATH = re.compile(r"(?:[A-Za-z0-9\-._~!$&'()*+,;=:@/]|%[0-9A-Fa-f]{2})*\Z", re.ASCII)
_QUERY = re.compile(r"(?:[A-Za-z0-9\-._~!$&'()*+,;=:@/?\[\]]|%[0-9A-Fa-f]{2})*\Z", re.ASCII)
_LABEL = re.compile(r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?\Z", re.ASCII)
_NUMBER = re.compile(r"(?:[0-9]+|0x[0-9a-f]*)\Z", re.ASCII)
_PORTS: Final = {"http": 80, "https": 443}


class MalformedURL(ValueError):
    """The text is no URL, or host, that is taken; says why without repeating it, because it may be a secret.

    Its text continues a sentence whose subject is the URL, or the host.
    """


class Target(msgspec.Struct, frozen=True):
    """Where a URL points, read once."""

    scheme: str
    host: str
    """A DNS name in ASCII and lower case, or an address in its usual spelling, without brackets."""
    port: int
    path: str
    query: str
    address: IPAddress | None
    """Set where `host` is an address."""


def parse_url(url: str) -> Target:
    """Reads an http or https URL; raises `MalformedURL`."""
    if len(url) > URL_CHARS_MAX:
        raise MalformedURL(f"is longer than {URL_CHARS_MAX} characters")
    if not url.isprintable() or " " in url or "\\" in url:
        raise MalformedURL("contains a space, a backslash or a control character; percent-encode it")
    if "#" in url:
        raise MalformedURL("has a fragment (#…), which is never sent; leave it out")
    match = _URL.match(url)
    if match is None:
        raise MalformedURL("must begin with https:// or http:// and a host")
    scheme = match["scheme"].lower()
    path, query = match["path"] or "/", match["query"] or ""
    if not (_PATH.match(path) and _QUERY.match(query)):
        raise MalformedURL("has characters in its path or query that must be percent-encoded")
    host, port = _authority(match["authority"], _PORTS[scheme])
    try:
        name, address = parse_host(host)
    except MalformedURL as error:
        raise MalformedURL(f"has a host that {error}") from None
    return Target(scheme, name, port, path, query, address)


def parse_host(host: str) -> tuple[str, IPAddress | None]:
    """The one spelling of a DNS name or of an address (IPv6 without brackets); raises `MalformedURL`."""
    if ":" in host or (address := parsed_address(host)) is not None:
        address = parsed_address(host)
        if address is None:
            raise MalformedURL("is an IPv6 address that is malformed or has a zone")
        address = unmapped(address)
        return str(address), address
    name = _ascii_name(host)
    labels = name.split(".")
    if len(name) > NAME_CHARS_MAX or not all(_LABEL.match(label) for label in labels):
        raise MalformedURL("is neither a plain DNS name nor an IP address")
    if _NUMBER.match(labels[-1]):
        # Resolvers read 0177.1, 2130706433 and 0x7f.1 as addresses.
        raise MalformedURL("ends in a number and is no IPv4 address of four decimal parts")
    return name, None


def _authority(authority: str, port_default: int) -> tuple[str, int]:
    if "@" in authority:
        raise MalformedURL("contains a user name or password; credentials belong into a secret")
    if authority.startswith("["):
        host, bracket, rest = authority[1:].partition("]")
        if not bracket or ":" not in host:
            raise MalformedURL("names an IPv6 address that is malformed")
    else:
        host, colon, rest = authority.partition(":")
        rest = colon + rest
    if not rest:
        return host, port_default
    if not rest.startswith(":") or not _PORT.match(rest[1:]) or int(rest[1:]) > 65_535:
        raise MalformedURL("has a port that is not a number from 1 to 65535")
    return host, int(rest[1:])


def _ascii_name(host: str) -> str:
    """The name in lower-case ASCII; one that only becomes ASCII by Unicode's folding, such as ⓛocalhost, is refused."""
    if host.isascii():
        return host.lower()
    if len(host) > NAME_CHARS_MAX:
        raise MalformedURL("is longer than a DNS name may be")
    try:
        name = idna.encode(host.lower(), uts46=True).decode("ascii")
    except (idna.IDNAError, UnicodeError):
        raise MalformedURL("is not a valid international domain name") from None
    if "xn--" not in name:
        raise MalformedURL("has characters that only look like ASCII; write it in ASCII")
    return name
