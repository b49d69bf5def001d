"""picows_client.url: what a URL means, and why it is none."""

from __future__ import annotations

import base64
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from picows_client import WSURL, WSInvalidURL, WSListener
from picows_codec import ClientHandshake, WSOptions


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("ws://example.com", WSURL("ws", "example.com", 80)),
        ("wss://example.com", WSURL("wss", "example.com", 443)),
        ("WSS://Example.COM/Path", WSURL("wss", "example.com", 443, "/Path")),
        ("ws://example.com:8080/a/b?c=d&e", WSURL("ws", "example.com", 8080, "/a/b", "c=d&e")),
        ("ws://example.com:/", WSURL("ws", "example.com", 80)),
        ("ws://example.com:080", WSURL("ws", "example.com", 80)),
        ("ws://example.com.", WSURL("ws", "example.com.", 80)),
        ("ws://under_score-1.example", WSURL("ws", "under_score-1.example", 80)),
        ("ws://127.0.0.1:9001", WSURL("ws", "127.0.0.1", 9001)),
        ("ws://[::1]", WSURL("ws", "::1", 80)),
        ("ws://[2001:DB8:0::1]:81/", WSURL("ws", "2001:db8::1", 81)),
        ("ws://[fe80::1%25eth0]/", WSURL("ws", "fe80::1%eth0", 80)),
        ("ws://[fe80::1%eth0]/", WSURL("ws", "fe80::1%eth0", 80)),
        ("ws://host?query", WSURL("ws", "host", 80, "/", "query")),
        ("ws://host/?", WSURL("ws", "host", 80)),
        ("ws://host/a?b?c=/@:", WSURL("ws", "host", 80, "/a", "b?c=/@:")),
        ("ws://host/a//b/../c", WSURL("ws", "host", 80, "/a//b/../c")),
        ("ws://host/%7e%C3%A4?%20", WSURL("ws", "host", 80, "/%7e%C3%A4", "%20")),
        ("ws://host/ä?ö=€", WSURL("ws", "host", 80, "/%C3%A4", "%C3%B6=%E2%82%AC")),
        ('ws://host/"<>^`{|}\\', WSURL("ws", "host", 80, "/%22%3C%3E%5E%60%7B%7C%7D%5C")),
        ("ws://host/a;b?x[]=1,2", WSURL("ws", "host", 80, "/a;b", "x[]=1,2")),
        ("ws://bücher.example", WSURL("ws", "xn--bcher-kva.example", 80)),
        ("ws://BÜCHER.example", WSURL("ws", "xn--bcher-kva.example", 80)),
        ("ws://例え。テスト", WSURL("ws", "xn--r8jz45g.xn--zckzah", 80)),
        ("ws://a:b@host", WSURL("ws", "host", 80, "/", "", "a", "b")),
        ("ws://a@host", WSURL("ws", "host", 80, "/", "", "a", "")),
        ("ws://a:b:c@host", WSURL("ws", "host", 80, "/", "", "a", "b:c")),
        ("ws://a%40b:%C3%A4%2F@host", WSURL("ws", "host", 80, "/", "", "a@b", "ä/")),
        ("ws://host/@:a", WSURL("ws", "host", 80, "/@:a")),
    ],
)
def test_parts(url: str, expected: WSURL) -> None:
    assert WSURL.parse(url) == expected


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("", "ws:// or wss://"),
        ("example.com", "ws:// or wss://"),
        ("//example.com", "ws:// or wss://"),
        ("http://example.com", "ws:// or wss://"),
        ("ws:example.com", "ws:// or wss://"),
        ("ws:/example.com", "ws:// or wss://"),
        ("ws://", "no host"),
        ("ws:///path", "no host"),
        ("ws://:80", "no host"),
        ("ws://user@", "no host"),
        ("ws://host#fragment", "%23"),
        ("ws://host/path#", "%23"),
        ("ws://host:0", "not a port"),
        ("ws://host:65536", "not a port"),
        ("ws://host:1000000", "not a port"),
        ("ws://host:-1", "not a port"),
        ("ws://host:8a", "not a port"),
        ("ws://host:+80", "not a port"),
        ("ws://host:٨٠", "not a port"),
        ("ws://host:80:80", "brackets"),
        ("ws://::1", "brackets"),
        ("ws://[::1", "[address]"),
        ("ws://[::1]80", "[address]"),
        ("ws://[::1]]", "[address]"),
        ("ws://[]", "not an IPv6 address"),
        ("ws://[127.0.0.1]", "not an IPv6 address"),
        ("ws://[::g]", "not an IPv6 address"),
        ("ws://[fe80::1%25]", "not an IPv6 zone"),
        ("ws://[fe80::1%25a/b]", "[address]"),
        ("ws://[fe80::1%25a:b]", "not an IPv6 zone"),
        ("ws://256.0.0.1", "not an IPv4 address"),
        ("ws://127.1", "not an IPv4 address"),
        ("ws://1", "not an IPv4 address"),
        ("ws://010.0.0.1", "not an IPv4 address"),
        ("ws://host.123", "not an IPv4 address"),
        ("ws://a..b", "not a host name"),
        ("ws://.a", "not a host name"),
        ("ws://" + "a" * 64, "not a host name"),
        ("ws://a%2eb", "not a host name"),
        ("ws://a,b", "not a host name"),
        ("ws://a\\b", "not a host name"),
        ("ws://good.example\\@bad.example", "percent-encoded"),
        ("ws://a:%zz@host", "percent-encoded"),
        ("ws://a:[b]@host", "percent-encoded"),
        ("ws://bad.example\uff0fgood.example", "not a host name"),
        ("ws://\u2100.example", "not a host name"),
        ("ws://\udc80", "not a host name"),
        ("ws://host/\udc80", "surrogate"),
        ("ws://host/?\ud800", "surrogate"),
        ("ws://host/%", "%25"),
        ("ws://host/?a=100%", "%25"),
        ("ws://host/%zz", "%25"),
        ("ws://a@b@host", "%40"),
        ("ws://a%3Ab:c@host", "colon"),
        ("ws://a:%0D%0A@host", "control character"),
        ("ws://%FF@host", "not UTF-8"),
        ("ws://\udc80@host", "not UTF-8"),
        (" ws://host", "%20"),
        ("ws://host ", "%20"),
        ("ws://host/a b", "%20"),
        ("ws://ho\tst", "%09"),
        ("ws://host/\r\nX-Injected: 1", "%0D"),
        ("ws://host/\n", "%0A"),
        ("ws://host\r\n", "%0D"),
        ("ws://host/\x00", "%00"),
        ("ws://host/\x7f", "%7F"),
        ("w\ns://host", "%0A"),
    ],
)
def test_invalid(url: str, reason: str) -> None:
    with pytest.raises(WSInvalidURL, match="not a valid WebSocket URL") as caught:
        WSURL.parse(url)
    assert reason in str(caught.value)


@pytest.mark.parametrize("value", [None, b"ws://host", 1, ["ws://host"]])
def test_other_types(value: Any) -> None:
    with pytest.raises(TypeError, match="a URL must be a str"):
        WSURL.parse(value)


@pytest.mark.parametrize(
    ("url", "header"),
    [
        ("ws://host", "host"),
        ("ws://host:80", "host"),
        ("ws://host:443", "host:443"),
        ("wss://host:443", "host"),
        ("wss://host:80", "host:80"),
        ("ws://127.0.0.1:8080", "127.0.0.1:8080"),
        ("ws://[::1]", "[::1]"),
        ("ws://[::1]:8080", "[::1]:8080"),
        ("ws://[fe80::1%25eth0]:8080", "[fe80::1]:8080"),
        ("ws://user:password@Bücher", "xn--bcher-kva"),
    ],
)
def test_host_header(url: str, header: str) -> None:
    assert WSURL.parse(url).host_header == header


@pytest.mark.parametrize(
    ("url", "target"),
    [
        ("ws://host", "/"),
        ("ws://host?", "/"),
        ("ws://host?a", "/?a"),
        ("ws://host/a", "/a"),
        ("ws://host/a?b=ä", "/a?b=%C3%A4"),
    ],
)
def test_target(url: str, target: str) -> None:
    assert WSURL.parse(url).target == target


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("wss://example.com.", "example.com"),
        ("wss://127.0.0.1", "127.0.0.1"),
        ("wss://[fe80::1%25eth0]", "fe80::1"),
    ],
)
def test_name_in_certificates(url: str, name: str) -> None:
    assert WSURL.parse(url).bare_host == name


def test_basic_credentials() -> None:
    assert WSURL.parse("ws://host").basic_credentials is None
    credentials = WSURL.parse("ws://user:p%C3%A4ss@host").basic_credentials
    assert credentials == "Basic " + base64.b64encode("user:päss".encode()).decode()
    empty = WSURL.parse("ws://user@host").basic_credentials
    assert empty == "Basic " + base64.b64encode(b"user:").decode()


def test_passwords_are_not_shown() -> None:
    url = WSURL.parse("ws://user:secret@host/path?query")
    assert "secret" not in repr(url)
    assert str(url) == "ws://host:80/path?query"
    assert url.for_log == "ws://host:80/path"
    with pytest.raises(WSInvalidURL, match=r"user:\*\*\*@") as caught:
        WSURL.parse("ws://user:secret@host:port")
    assert "secret" not in str(caught.value)
    assert "secret" not in caught.value.url


def test_str_is_a_url() -> None:
    for text in ("ws://[fe80::1%25eth0]:80/", "wss://host:443/a?b"):
        assert str(WSURL.parse(text)) == text


def test_is_a_value() -> None:
    url = WSURL.parse("ws://host")
    assert url == WSURL.parse("ws://HOST:80/")
    assert len({url, WSURL.parse("ws://host/")}) == 1
    with pytest.raises(AttributeError):
        url.host = "other"  # type: ignore[misc]


@pytest.mark.parametrize(
    ("base", "location", "expected"),
    [
        ("ws://host/a/b?c", "/d", "ws://host:80/d"),
        ("ws://host/a/b?c", "d?e", "ws://host:80/a/d?e"),
        ("ws://host/a/b?c", "../d", "ws://host:80/d"),
        ("ws://host/a/b?c", "?d", "ws://host:80/a/b?d"),
        ("ws://host/a", "//other:81/b", "ws://other:81/b"),
        ("ws://host/a", "ws://other", "ws://other:80/"),
        ("ws://host/a", "wss://other", "wss://other:443/"),
        ("ws://host/a", "http://other/b", "ws://other:80/b"),
        ("ws://host/a", "HTTPS://other/b", "wss://other:443/b"),
        ("wss://host/a", "b", "wss://host:443/b"),
        ("ws://host:81/a", "b#fragment", "ws://host:81/b"),
        ("ws://[::1]:81/a", "b", "ws://[::1]:81/b"),
        ("ws://host/a", "/ä", "ws://host:80/%C3%A4"),
    ],
)
def test_join(base: str, location: str, expected: str) -> None:
    assert str(WSURL.parse(base).join(location)) == expected


@pytest.mark.parametrize(
    "location", ["ftp://other/", "mailto:a@b", "http://[::1", "ws://other:0/", "/a b", "//a b/"]
)
def test_join_with_nonsense(location: str) -> None:
    with pytest.raises(WSInvalidURL):
        WSURL.parse("ws://host").join(location)


def test_join_keeps_credentials_within_the_origin() -> None:
    url = WSURL.parse("ws://user:secret@host/a")
    assert url.join("/b").username == "user"
    assert url.join("ws://host:80/b").password == "secret"
    assert url.join("ws://host:81/b").username is None
    assert url.join("wss://host/b").username is None
    assert url.join("ws://other/b").username is None
    assert url.join("ws://me:mine@other/b").username == "me"


# Pieces that parsers stumble over, more often than chance would have them.
PIECES = st.sampled_from(
    ["ws://", "wss://", "//", "/", "?", "#", "@", ":", "[", "]", "%", "%25", "\\", ".", "..", "80"]
)


@given(st.lists(st.one_of(PIECES, st.text()), max_size=8).map("".join))
@example("ws://host/\r\nX: y")
def test_whatever_is_accepted_makes_a_request(text: str) -> None:
    try:
        url = WSURL.parse(f"ws://{text}")
    except WSInvalidURL:
        return
    request = ClientHandshake(
        url.target, url.host_header, WSListener, options=WSOptions()
    ).take_to_send()
    line, host, *_ = request.split(b"\r\n")
    assert line == f"GET {url.target} HTTP/1.1".encode()
    assert host == f"Host: {url.host_header}".encode()
    assert request.count(b"\r\n") == 7
    # What is shown is the same URL, apart from the credentials.
    again = WSURL.parse(str(url))
    assert (again.origin, again.target) == (url.origin, url.target)


@given(st.text())
def test_locations_are_accepted_or_invalid(text: str) -> None:
    base = WSURL.parse("wss://host/path")
    try:
        url = base.join(text)
    except WSInvalidURL:
        return
    assert url.scheme in ("ws", "wss")
