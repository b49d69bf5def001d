"""picows_codec.address: addresses for people."""

from __future__ import annotations

import pytest

from picows_codec.address import format_address


@pytest.mark.parametrize(
    ("address", "text"),
    [
        (("127.0.0.1", 80), "127.0.0.1:80"),
        (("::1", 80, 0, 0), "[::1]:80"),
        (("fe80::1%eth0", 80, 0, 2), "[fe80::1%eth0]:80"),
        ("/run/socket", "unix:/run/socket"),
        (b"/run/socket", "unix:/run/socket"),
        ("", "unix:"),
        (b"\0name", "unix:@name"),
        (None, "an unknown peer"),
        (7, "7"),
    ],
)
def test_format_address(address: object, text: str) -> None:
    assert format_address(address) == text
