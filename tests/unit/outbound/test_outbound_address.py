"""Which addresses pass."""

from ipaddress import ip_address, ip_network

import pytest

from adapters.runtime.outbound_address import is_global, is_listed, parsed_address, unmapped

GLOBAL = [
    "1.1.1.1", "8.8.8.8", "9.255.255.255", "11.0.0.0", "93.184.215.14", "100.63.255.255", "100.128.0.0",
    "126.255.255.255", "128.0.0.0", "169.253.255.255", "172.15.255.255", "172.32.0.0", "192.0.1.0", "192.167.255.255",
    "198.17.255.255", "198.20.0.0", "223.255.255.255", "::ffff:8.8.8.8", "64:ff9b::8.8.8.8", "2606:4700:4700::1111",
    "2a00:1450:4001::1", "2001:200::1", "2400:cb00::1", "2620:4f:8000::1",
]  # fmt: skip
NOT_GLOBAL = [
    "0.0.0.0", "0.255.255.255", "10.0.0.0", "10.255.255.255", "100.64.0.0", "100.127.255.255", "127.0.0.0",
    "127.255.255.255",
    "169.254.0.0", "169.254.169.254", "172.16.0.0", "172.31.255.255", "192.0.0.0", "192.0.0.255", "192.0.2.1",
    "192.88.99.1", "192.168.0.0", "192.168.255.255", "198.18.0.0", "198.19.255.255", "198.51.100.1", "203.0.113.1",
    "224.0.0.0", "239.255.255.255", "240.0.0.0", "255.255.255.255", "168.63.129.16", "::", "::1", "::127.0.0.1",
    "::8.8.8.8", "::ffff:127.0.0.1", "::ffff:10.0.0.1", "::ffff:0:8.8.8.8", "64:ff9b::127.0.0.1", "64:ff9b::10.1.2.3",
    "64:ff9b:1::8.8.8.8", "100::1", "2001::1", "2001:0:4136:e378:8000:63bf:3fff:fdd2", "2001:2::1", "2001:10::1",
    "2001:20::1", "2001:db8::1", "2002:808:808::1", "2002:7f00:1::1", "2600::5efe:7f00:1", "3fff::1", "4000::1",
    "5f00::1",
    "fc00::1", "fd00:ec2::254", "fe80::1", "fec0::1", "ff02::1",
]  # fmt: skip


@pytest.mark.parametrize("text", GLOBAL)
def test_a_global_unicast_address_passes(text: str) -> None:
    """Also right beside a special range, and where it carries a global IPv4 address."""
    assert is_global(ip_address(text))


@pytest.mark.parametrize("text", NOT_GLOBAL)
def test_a_special_address_does_not_pass(text: str) -> None:
    """Private, loopback, link-local, shared, reserved, documentation, multicast; and every coat around them."""
    assert not is_global(ip_address(text))


def test_a_zone_never_passes() -> None:
    """Not even on an address that would, and not by a list."""
    zoned = ip_address("2606:4700::1%eth0")
    assert not is_global(zoned)
    assert not is_listed(zoned, (ip_network("::/0"),))
    assert parsed_address("2606:4700::1%eth0") is None


def test_the_list_means_the_address_itself() -> None:
    """A mapped address is the IPv4 one; what lies behind NAT64 is another machine's."""
    loopback = (ip_network("127.0.0.0/8"),)
    assert unmapped(ip_address("::ffff:127.0.0.1")) == ip_address("127.0.0.1")
    assert is_listed(ip_address("::ffff:127.0.0.1"), loopback)
    assert not is_listed(ip_address("64:ff9b::127.0.0.1"), loopback)
    assert not is_listed(ip_address("::1"), loopback)
    assert is_listed(ip_address("::1"), (ip_network("::1/128"),))


@pytest.mark.parametrize("text", ["0177.0.0.1", "2130706433", "0x7f.1", "127.1", "1.2.3.4 ", "١.٢.٣.٤", ""])
def test_an_odd_spelling_is_no_address(text: str) -> None:
    """Only the usual ones are read."""
    assert parsed_address(text) is None
