"""picows_codec.url_grammar: the parts of a URL, whoever wants to know them."""

from __future__ import annotations

import pytest

from picows_codec import WSInvalidURL
from picows_codec.url_grammar import DEFAULT_PORTS, URLParts, host_in_url, invalid_url, split_url


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("ws://host", URLParts("ws", "host", None, "/", None, None, None)),
        ("WS://HOST:", URLParts("ws", "host", None, "/", None, None, None)),
        ("wss://[::1]:/", URLParts("wss", "::1", None, "/", None, None, None)),
        ("ws://[FE80:0::1%25eth0]:1/a", URLParts("ws", "fe80::1%eth0", 1, "/a", None, None, None)),
        ("ws://host?", URLParts("ws", "host", None, "/", "", None, None)),
        ("ws://host/a?b?c", URLParts("ws", "host", None, "/a", "b?c", None, None)),
        ("ws://@host", URLParts("ws", "host", None, "/", None, "", "")),
        ("ws://a%40:b@host:080", URLParts("ws", "host", 80, "/", None, "a@", "b")),
        ("ws://bücher/ä?ö", URLParts("ws", "xn--bcher-kva", None, "/%C3%A4", "%C3%B6", None, None)),
    ],
)
def test_parts(url: str, expected: URLParts) -> None:
    assert split_url(url, DEFAULT_PORTS) == expected


@pytest.mark.parametrize("url", ["ws://host/", "://host", "host", "socks5:/host", ""])
def test_scheme(url: str) -> None:
    with pytest.raises(WSInvalidURL, match="it must begin with http:// or socks5://"):
        split_url(url, ("http", "socks5"))


@pytest.mark.parametrize(("lowest", "port"), [(0, 0), (1, 1), (0, 65535), (1, 65535)])
def test_ports(lowest: int, port: int) -> None:
    assert split_url(f"ws://host:{port}", DEFAULT_PORTS, lowest_port=lowest).port == port
    for outside in (lowest - 1, 65536):
        with pytest.raises(WSInvalidURL, match=f"is not a port from {lowest} to 65535"):
            split_url(f"ws://host:{outside}", DEFAULT_PORTS, lowest_port=lowest)


@pytest.mark.parametrize("url", ["ws://", "ws:///", "ws://:80", "ws://user@", "ws://?a"])
def test_no_host(url: str) -> None:
    with pytest.raises(WSInvalidURL, match="there is no host"):
        split_url(url, DEFAULT_PORTS)
    with pytest.raises(WSInvalidURL, match="say where"):
        split_url(url, DEFAULT_PORTS, without_host="say where")


def test_host_in_url() -> None:
    assert host_in_url("host") == "host"
    assert host_in_url("::1") == "[::1]"
    assert host_in_url("fe80::1%eth0") == "[fe80::1%25eth0]"


def test_errors_hide_secrets() -> None:
    error = invalid_url("ws://user:secret@host/a?token=secret", "it is wrong")
    assert error.url == "ws://user:***@host/a?..."
    assert "secret" not in str(error)
    assert invalid_url("ws://host/a", "it is wrong").url == "ws://host/a"
