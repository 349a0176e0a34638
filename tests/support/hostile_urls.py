"""Addresses that a tenant may give and Sextant must never connect to, and the canary that would notice.

`hostile_urls(port)` are URLs, each meant to make a request arrive at a loopback address on `port`, where a `Canary`
listens; `hostile_hosts()` the same for a mail server's host. `HOSTILE_NAMES` are names whose owner answers look-ups
with what he likes; `HostileNames` is that name server, for an `OutboundClient`. Where it cannot be injected (a whole
server under test), the names do not exist, which is refused as well.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Final

PUBLIC: Final = "93.184.215.14"
"""A global address, for names that answer with one beside a private one; nothing is ever sent to it."""

LOOPBACK_HOSTS: Final = (
    # IPv4, as people and as resolvers write it.
    "127.0.0.1", "127.0.0.2", "127.1.2.3", "127.255.255.254", "0.0.0.0", "0.1.2.3", "127.1", "127.0.1", "127", "0",
    "0x7f000001", "0x7F000001", "0x7f.0.0.1", "0x7f.1", "0X7F.0X0.0X0.0X1", "0x7f.0x0.0x0.0x1", "2130706433",
    "4294967295", "017700000001", "0177.0.0.1", "0177.0.0.01", "0177.0.1", "0177.1", "00000177.0.0.1", "127.0.0.01",
    "127.00.00.01", "127.000.000.001", "0x7f.0.1", "127.0x0.0.1", "127.0.0.0x1", "127.0.0.1.", "127.0.0.1..",
    "127.0.0.1.0", "127..0.1", ".127.0.0.1", "127.0.0.256", "6425673729", "0x17f000001", "127.0.0.1e0", "+127.0.0.1",
    # Names.
    "localhost", "LOCALHOST", "LocalHost", "localhost.", "localhost..", "localhost.localdomain", "foo.localhost",
    "ip6-localhost", "ip6-loopback", "lvh.me", "localtest.me", "127.0.0.1.nip.io", "www.127.0.0.1.sslip.io",
    "7f000001.nip.io", "customer1.app.localhost.my.company.127.0.0.1.nip.io",
    # IPv6, plain and as a coat around IPv4.
    "[::1]", "[::]", "[0:0:0:0:0:0:0:1]", "[0000:0000:0000:0000:0000:0000:0000:0001]", "[::0:1]", "[0::1]",
    "[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "[0:0:0:0:0:ffff:127.0.0.1]", "[::FFFF:127.0.0.1]", "[::ffff:0.0.0.0]",
    "[::127.0.0.1]", "[::7f00:1]", "[::ffff:0:127.0.0.1]", "[64:ff9b::127.0.0.1]", "[64:ff9b::7f00:1]",
    "[64:ff9b::10.0.0.1]", "[64:ff9b:1::127.0.0.1]", "[64:ff9b:1:7f00:0:100::]", "[2002:7f00:1::]", "[2002:7f00:1::1]",
    "[2002:a00:1::1]", "[2001:0:5ef5:79fb::80ff:fffe]", "[2001:0:7f00:1::]", "[2001::1]", "[fe80::5efe:127.0.0.1]",
    "[2600::5efe:7f00:1]", "[2600::200:5efe:7f00:1]", "[::1%lo]", "[::1%25lo]", "[::1%251]", "[fe80::1%lo]",
    "[fe80::1%25eth0]", "[fec0::1]", "[fc00::1]", "[fd00:ec2::254]", "[fd20:ce::254]", "[ff02::1]", "[ff01::1]",
    "[2001:db8::1]", "[3fff::1]", "[5f00::1]", "[100::1]", "[::ffff:169.254.169.254]", "[v1.127]", "[127.0.0.1]",
    "[::1", "::1", "::ffff:127.0.0.1", "[]", "[::1]]", "[[::1]]", "[::1].example.com", "[:::1]", "[1::2::3]",
    # Private, shared, link-local, reserved; the clouds' metadata services.
    "10.0.0.1", "172.16.0.1", "172.31.255.255", "192.168.0.1", "192.168.255.255", "100.64.0.1", "100.100.100.200",
    "169.254.169.254", "169.254.170.2", "169.254.0.1", "192.0.0.192", "192.0.0.1", "192.0.2.1", "198.18.0.1",
    "198.51.100.1", "203.0.113.1", "192.88.99.1", "224.0.0.1", "239.255.255.250", "240.0.0.1", "255.255.255.255",
    "168.63.129.16", "0xa9fea9fe", "2852039166", "0251.0376.0251.0376", "metadata.google.internal", "metadata",
    "instance-data", "kubernetes.default.svc", "host.docker.internal",
    # Unicode that folds to ASCII, and characters that readers of URLs disagree about.
    "①②⑦.⓪.⓪.①", "127。0。0。1", "１２７.０.０.１", "127．0．0．1", "ⓛⓞⓒⓐⓛⓗⓞⓢⓣ",
    "ｌｏｃａｌｈｏｓｔ", "loc\u00adalhost", "localhos\u200bt", "١٢٧.٠.٠.١", "１٢７.0.0.1", "[∷1]", "[：：1]",
    "ⓔxample.com", "localhost\u3002", "l\u043ecalhost", "127.0.0.1\u2028",
    "127.0.0.1%00", "127.0.0.1%2e", "%31%32%37.0.0.1", "%6c%6f%63%61%6c%68%6f%73%74", "localhost%00.example.com",
    "127.0.0.1\x00", "127.0.0.1\t", "127.0.0.1\n", "127.0.0.1\r\n", " 127.0.0.1", "127.0.0.1 ", "127.0.0.1\x0b",
    "local host", "localhost,example.com", "localhost;example.com", "{localhost}", "-localhost-", "local_host!",
    "a" * 64 + ".example.com", ".".join(["a" * 60] * 5), "",
)  # fmt: skip
"""Hosts, each of which some reader takes for a place inside."""

_AUTHORITIES: Final = (
    "user@{canary}", "user:password@{canary}", "example.com@{canary}", "example.com:443@{canary}", "@{canary}",
    "example.com%40{canary}", "{canary}@example.com@{canary}", "example.com#@{canary}", "{canary}#@example.com",
    "example.com\\@{canary}", "{canary}\\@example.com", "nothing.invalid/@{canary}/..", "{canary}:80:80", "127.0.0.1:0",
    "127.0.0.1:65536", "127.0.0.1:-1", "127.0.0.1:+{port}", "127.0.0.1: {port}", "127.0.0.1:0x50", "127.0.0.1:",
    "127.0.0.1:{port}0000", "127.0.0.1:٨٠", "127.0.0.1:{port}:", "127.0.0.1:0{port}", "127.0.0.1::{port}",
    "localhost:{port}", "[::1]:{port}", "[::ffff:127.0.0.1]:{port}",
)  # fmt: skip
"""Ways to name a user, a port or a second host where only a host is looked for."""

_WHOLE: Final = (
    "file:///etc/passwd", "file://{canary}/", "gopher://{canary}/_GET", "ftp://{canary}/", "dict://{canary}/",
    "ldap://{canary}/", "tftp://{canary}/", "ws://{canary}/", "wss://{canary}/", "jar:http://{canary}!/", "data:,hello",
    "unix:///var/run/docker.sock", "http+unix://%2Fvar%2Frun%2Fdocker.sock/", "javascript:alert(1)", "//{canary}/",
    "///{canary}/", "http:{canary}", "http:/{canary}/", "http:///{canary}/", "https:///{canary}/",
    "https:\\\\{canary}\\",
    "https:/\\{canary}/", "\\\\{canary}\\share", "http://", "https://", "https:", "{canary}", "127.0.0.1", "localhost",
    "", " ", "https", "://{canary}/", "https ://{canary}/", "https://\t{canary}/", "https://\n{canary}/",
    "\thttp://{canary}/", " https://{canary}/", "hTTps://{canary}/", "HTTP://{canary}/", "https://?{canary}/",
    "https://#{canary}/", "https://{canary}?", "https://{canary}#", "https://{canary}/ HTTP/1.1\r\nHost: example.com",
    "https://{canary}/%0d%0aX: y", "https://{canary}/\u2028", "url:https://{canary}/", "https://https://{canary}/",
    "https://[{canary}]/", "https://{canary}\x00.example.com/", "https://{canary}\u2100example.com/",
    "https://example.com\uff0f@{canary}/", "https://example.com\uff03@{canary}/", "https://\u202e{canary}/",
    "https://{canary}/" + "a" * 10_000,
)  # fmt: skip
"""URLs that differ before or after the host."""

HOSTILE_NAMES: Final[dict[str, tuple[tuple[str, ...], ...]]] = {
    "loopback.hostile.example": (("127.0.0.1",),),
    "loopback6.hostile.example": (("::1",),),
    "mapped.hostile.example": (("::ffff:127.0.0.1",),),
    "nat64.hostile.example": (("64:ff9b::7f00:1",),),
    "six-to-four.hostile.example": (("2002:7f00:1::1",),),
    "metadata.hostile.example": (("169.254.169.254",),),
    "private.hostile.example": (("10.0.0.1",),),
    "mixed.hostile.example": ((PUBLIC, "127.0.0.1"),),
    "mixed-behind.hostile.example": (("127.0.0.1", PUBLIC),),
    "mixed6.hostile.example": ((PUBLIC, "::1"),),
    "unspecified.hostile.example": (("0.0.0.0",),),
    "nothing.hostile.example": ((),),
    "flood.hostile.example": (tuple(f"93.184.{n // 250}.{1 + n % 250}" for n in range(1_000)),),
    "xn--80ak6aa92e.hostile.example": (("127.0.0.1",),),
}
"""Names by what a look-up of theirs answers: the first time, the second …; the last answer stays."""

NAME: Final = "hooks.example.test"
"""A name that is a test's own."""
REBINDING_NAME: Final = "rebinding.hostile.example"
"""Its first answer is a public address, all later ones are loopback; not in `HOSTILE_NAMES`, because it passes."""


def hostile_urls(port: int) -> list[str]:
    """All of them, over https and http, for a canary at `port`; each once."""
    urls = [f"{scheme}://{host}:{port}/hook" for host in (*LOOPBACK_HOSTS, *HOSTILE_NAMES) for scheme in _SCHEMES]
    canary = f"127.0.0.1:{port}"
    fill = {"canary": canary, "port": str(port)}
    urls += [f"{scheme}://{_filled(authority, fill)}/hook" for authority in _AUTHORITIES for scheme in _SCHEMES]
    urls += [_filled(whole, fill) for whole in _WHOLE]
    return list(dict.fromkeys(urls))


def hostile_hosts() -> list[str]:
    """The hosts alone, as a mail server's would be given."""
    return [*LOOPBACK_HOSTS, *HOSTILE_NAMES]


_SCHEMES: Final = ("https", "http")


def _filled(template: str, fill: dict[str, str]) -> str:
    for name, value in fill.items():
        template = template.replace(f"{{{name}}}", value)
    return template


class HostileNames:
    """A resolver whose answers change; call it with a name. One that it does not know is loopback."""

    def __init__(self, names: dict[str, tuple[tuple[str, ...], ...]] | None = None) -> None:
        self._names = HOSTILE_NAMES if names is None else names
        self.lookups: list[str] = []

    async def __call__(self, host: str) -> Sequence[IPv4Address | IPv6Address]:
        """The next answer for `host`."""
        self.lookups.append(host)
        answers = self._names.get(host, (("127.0.0.1",),))
        return [ip_address(text) for text in answers[min(self.lookups.count(host), len(answers)) - 1]]


def answering(*addresses: str) -> HostileNames:
    """A resolver that says these of the name `NAME`."""
    return HostileNames({NAME: (addresses,)})


class Canary:
    """Counts what connects to a port of any loopback address, and answers nothing."""

    def __init__(self) -> None:
        self.connections = 0
        self.port = 0

    @contextlib.asynccontextmanager
    async def listening(self) -> AsyncIterator["Canary"]:
        """Listens on one port of all addresses, of IPv6 too where the machine has it."""
        server = await asyncio.start_server(self._connected, "0.0.0.0", 0)
        self.port = server.sockets[0].getsockname()[1]
        servers = [server]
        # A machine without IPv6 has no such address to connect to.
        with contextlib.suppress(OSError):
            servers.append(await asyncio.start_server(self._connected, "::1", self.port))
        try:
            yield self
        finally:
            for each in servers:
                each.close()
                await each.wait_closed()

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        writer.close()
