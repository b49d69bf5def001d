"""picows_server.url: the server's URL."""

from __future__ import annotations

import pytest

from picows_server import WSInvalidURL
from picows_server.url import ServerURL, parse_server_url


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("ws://127.0.0.1:9001", ServerURL("ws", "127.0.0.1", 9001, None)),
        ("ws://127.0.0.1:9001/", ServerURL("ws", "127.0.0.1", 9001, None)),
        ("ws://localhost", ServerURL("ws", "localhost", 80, None)),
        ("wss://localhost", ServerURL("wss", "localhost", 443, None)),
        ("WSS://Example.org:8443/a", ServerURL("wss", "example.org", 8443, "/a")),
        ("ws://localhost:0/chat/room", ServerURL("ws", "localhost", 0, "/chat/room")),
        ("ws://a_b.local:65535/%7Ea;b=1@c", ServerURL("ws", "a_b.local", 65535, "/%7Ea;b=1@c")),
        ("ws://host//", ServerURL("ws", "host", 80, "//")),
        ("ws://[::1]:9001/x", ServerURL("ws", "::1", 9001, "/x")),
        ("ws://[::]", ServerURL("ws", "::", 80, None)),
        ("ws://[fe80::1%25eth0]:1", ServerURL("ws", "fe80::1%eth0", 1, None)),
        ("ws://[fe80::1%eth0]:1", ServerURL("ws", "fe80::1%eth0", 1, None)),
        ("ws://host:", ServerURL("ws", "host", 80, None)),
        ("wss://[::1]:/a", ServerURL("wss", "::1", 443, "/a")),
        ("ws://bücher.example", ServerURL("ws", "xn--bcher-kva.example", 80, None)),
        ("ws://host/é", ServerURL("ws", "host", 80, "/%C3%A9")),
    ],
)
def test_valid_url(url: str, expected: ServerURL) -> None:
    assert parse_server_url(url) == expected


@pytest.mark.parametrize(
    ("url", "complaint"),
    [
        ("", "ws:// or wss://"),
        ("localhost:9001", "ws:// or wss://"),
        ("http://localhost", "ws:// or wss://"),
        ("ws:/localhost", "ws:// or wss://"),
        ("ws+unix:///tmp/socket", "ws:// or wss://"),
        (" ws://localhost", "%20"),
        ("ws://localhost/#", "fragment"),
        ("ws://localhost/a#b", "fragment"),
        ("ws://localhost/?", "query"),
        ("ws://localhost?a=1", "query"),
        ("ws://user@localhost", "user information"),
        ("ws://user:password@localhost/", "user information"),
        ("ws://", "no host"),
        ("ws:///path", "no host"),
        ("ws://:9001", "no host"),
        ("ws://::1", "brackets"),
        ("ws://2001:db8::1/", "brackets"),
        ("ws://[::1", "an IPv6 address is written as"),
        ("ws://[::1]9001", "an IPv6 address is written as"),
        ("ws://[127.0.0.1]", "IPv6 address"),
        ("ws://[]", "IPv6 address"),
        ("ws://[fe80::1%25]", "IPv6 zone"),
        ("ws://two words", "%20"),
        ("ws://a,b", "host name"),
        ("ws://127.1", "IPv4 address"),
        ("ws://host\n", "%0A"),
        ("ws://host:http", "port"),
        ("ws://host:-1", "port"),
        ("ws://host:+1", "port"),
        ("ws://host:65536", "port"),
        ("ws://host:000080", "port"),
        ("ws://host:\u0661", "port"),
        ("ws://host/a b", "%20"),
        ("ws://host/a\r\nb", "%0D"),
        ("ws://host/%zz", "%25"),
        ("ws://host/100%", "%25"),
    ],
)
def test_invalid_url(url: str, complaint: str) -> None:
    with pytest.raises(WSInvalidURL, match=complaint) as caught:
        parse_server_url(url)
    assert "password" not in str(caught.value)
    assert isinstance(caught.value, ValueError)


@pytest.mark.parametrize("url", [None, b"ws://localhost", 9001])
def test_url_of_another_type(url: object) -> None:
    with pytest.raises(TypeError, match="url must be a str"):
        parse_server_url(url)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("url", "port", "expected"),
    [
        ("ws://127.0.0.1:0", 5001, "ws://127.0.0.1:5001"),
        ("ws://localhost:0/chat", 80, "ws://localhost/chat"),
        ("wss://localhost:0/chat", 443, "wss://localhost/chat"),
        ("wss://localhost:0/", 80, "wss://localhost:80"),
        ("ws://[::1]:0/chat", 5001, "ws://[::1]:5001/chat"),
        ("ws://[fe80::1%eth0]:0", 5001, "ws://[fe80::1%25eth0]:5001"),
    ],
)
def test_url_with_the_port_that_was_chosen(url: str, port: int, expected: str) -> None:
    parsed = parse_server_url(url)
    assert parsed.with_port(port) == expected
    assert parsed.is_secure == url.startswith("wss")
