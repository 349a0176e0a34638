"""How URLs are read."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from yarl import URL

from adapters.runtime.outbound_url import MalformedURL, Target, parse_url


@pytest.mark.parametrize(
    ("url", "host", "port", "path", "query"),
    [
        ("https://example.com", "example.com", 443, "/", ""),
        ("HTTP://EXAMPLE.com:8080/A/b?c=d&e=%20", "example.com", 8080, "/A/b", "c=d&e=%20"),
        ("https://hooks.slack.com/services/T0/B0/x-Y_z~", "hooks.slack.com", 443, "/services/T0/B0/x-Y_z~", ""),
        ("https://a_b.example.com?x", "a_b.example.com", 443, "/", "x"),
        ("https://8.8.8.8/", "8.8.8.8", 443, "/", ""),
        ("https://[2606:4700:0:0::1111]:8443/x", "2606:4700::1111", 8443, "/x", ""),
        ("https://[::ffff:8.8.8.8]/", "8.8.8.8", 443, "/", ""),
        ("https://münchen.example/", "xn--mnchen-3ya.example", 443, "/", ""),
        ("https://faß.example/", "xn--fa-hia.example", 443, "/", ""),
        ("https://example.com/a:b@c;d=e!$'()*+,", "example.com", 443, "/a:b@c;d=e!$'()*+,", ""),
        ("https://example.com/?q[]=1", "example.com", 443, "/", "q[]=1"),
        ("https://3com.example/", "3com.example", 443, "/", ""),
    ],
)
def test_a_usual_url_is_read(url: str, host: str, port: int, path: str, query: str) -> None:
    """Host in ASCII and lower case, the scheme's port, the path and query as they are."""
    target = parse_url(url)
    assert (target.host, target.port, target.path, target.query) == (host, port, path, query)


@pytest.mark.parametrize(
    "url",
    [
        "ftp://example.com/", "https:example.com", "https://user@example.com/", "https://example.com:0/",
        "https://example.com:65536/", "https://example.com:/", "https://example.com:08/", "https://example.com./",
        "https://exa mple.com/", "https://example.com/\r\nHost: x", "https://example.com/#x", "https://example.com/ä",
        "https://example.com/%zz", "https://example.com/a|b", "https://127.1/", "https://0x7f.1/", "https://1.2.3.4.5/",
        "https://2130706433/", "https://[::1%251]/", "https://[fe80::1%eth0]/", "https://-a.example/", "https://a..b/",
        "https://ⓛocalhost/", "https://１２７.0.0.1/", "https://example.com\\@x/", "https://" + "a." * 127 + "aa/",
        "https://example.com/" + "a" * 8_000,
    ],
)  # fmt: skip
def test_any_other_is_refused_without_being_repeated(url: str) -> None:
    """The reason may be shown; a URL may be a secret."""
    with pytest.raises(MalformedURL) as refused:
        parse_url(url)
    assert url not in str(refused.value)
    assert len(str(refused.value)) < 150


def test_credentials_are_told_apart() -> None:
    """They have a place elsewhere."""
    with pytest.raises(MalformedURL, match="user name"):
        parse_url("https://user:password@example.com/")


@given(st.text(st.sampled_from("htps:/\\@#?[]%.:0127fxlocalhost-ⓛ１。\t\n é"), max_size=40).map("https://".__add__))
def test_what_is_read_is_read_by_others_alike(url: str) -> None:
    """Whatever passes, another reader of URLs finds the same host and port in."""
    try:
        target = parse_url(url)
    except MalformedURL:
        return
    assert isinstance(target, Target)
    other = URL(url)
    assert (other.host_subcomponent or "").strip("[]").lower() == target.host or target.address is not None
    assert other.port == target.port
