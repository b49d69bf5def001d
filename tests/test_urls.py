"""Client and server give one verdict on a URL, apart from what a server's URL cannot have."""

from __future__ import annotations

from typing import Optional, Tuple

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from picows_client import WSURL, WSInvalidURL
from picows_server.url import parse_server_url

# Pieces that parsers stumble over, more often than chance would have them.
PIECES = st.sampled_from(
    [
        "//",
        "/",
        "#",
        ":",
        "[",
        "]",
        "[::1]",
        "%",
        "%25",
        "\\",
        ".",
        "..",
        "80",
        "65536",
        "host",
        "ä",
    ]
)

Meaning = Tuple[str, str, int, str]


def client_verdict(url: str) -> Optional[Meaning]:
    try:
        parsed = WSURL.parse(url)
    except WSInvalidURL:
        return None
    return parsed.scheme, parsed.host, parsed.port, parsed.path


def server_verdict(url: str) -> Optional[Meaning]:
    try:
        parsed = parse_server_url(url)
    except WSInvalidURL:
        return None
    return parsed.scheme, parsed.host, parsed.port, parsed.path or "/"


@pytest.mark.parametrize(
    ("url", "is_valid"),
    [
        ("ws://host:", True),
        ("wss://[::1]:", True),
        ("WS://Host/", True),
        ("ws://[2001:DB8:0::1]:81/", True),
        ("ws://[fe80::1%25a~b]", True),
        ("ws://bücher.example/größe", True),
        ("ws://host/a[b]", True),
        ('ws://host/"<>', True),
        ("ws://127.1", False),
        ("ws://a..b", False),
        ("ws://" + "a" * 64, False),
        ("ws://host:65536", False),
        ("ws://host/100%", False),
        ("ws://host#", False),
        ("ws://host ", False),
        ("ws://\udc80", False),
    ],
)
def test_one_verdict(url: str, is_valid: bool) -> None:
    assert (client_verdict(url) is not None) == is_valid
    assert server_verdict(url) == client_verdict(url)


@given(st.lists(st.one_of(PIECES, st.text()), max_size=8).map("".join))
@example("host:")
@example("host:/")
def test_one_verdict_on_anything(text: str) -> None:
    url = f"ws://{text}"
    verdict = server_verdict(url)
    if "?" in text or "@" in text.split("/", maxsplit=1)[0]:
        assert verdict is None
    elif verdict is None or verdict[2] != 0:  # port 0 is for servers
        assert verdict == client_verdict(url)


@pytest.mark.parametrize("url", ["ws://host?", "ws://host/?a", "ws://user@host", "ws://a:b@host"])
def test_what_only_clients_may_say(url: str) -> None:
    assert client_verdict(url) is not None
    assert server_verdict(url) is None


def test_port_zero_is_for_servers() -> None:
    assert client_verdict("ws://host:0") is None
    assert server_verdict("ws://host:0") == ("ws", "host", 0, "/")
