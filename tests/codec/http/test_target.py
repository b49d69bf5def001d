from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from picows_codec.http.target import is_host, is_target

EVERY_BYTE = range(256)


def test_every_byte_in_a_target() -> None:
    for byte in EVERY_BYTE:
        assert is_target(b"/" + bytes([byte])) == (0x21 <= byte <= 0x7E and byte != 0x23)


@pytest.mark.parametrize(
    ("target", "valid"),
    [(b"", False), (b"/", True), (b"a", False), (b"http://a", True), (b"ws://a/", False)],
)
def test_target(target: bytes, valid: bool) -> None:
    assert is_target(target) is valid


@pytest.mark.parametrize(
    "host",
    [
        b"a",
        b"example.com",
        b"example.com.",
        b"EXAMPLE.com:80",
        b"a:0",
        b"a:65535",
        b"a:00080",
        b"a:",
        b"127.0.0.1:8080",
        b"[::1]",
        b"[::1]:443",
        b"[fe80::1%25eth0]:80",
        b"[v1.a:b]",
        b"under_score~!$&'()*+,;=",
        b"%C3%9C.example",
    ],
)
def test_host(host: bytes) -> None:
    assert is_host(host)


@pytest.mark.parametrize(
    "host",
    [
        b"",
        b":80",
        b"a:65536",
        b"a:000080",
        b"a:8a",
        b"a:-1",
        b"a:80:80",
        b"::1",
        b"[]",
        b"[]:80",
        b"[::1",
        b"[::1]80",
        b"[::1]]",
        b"::1]",
        b"[",
        b"user@a",
        b"user:password@a",
        b"a/b",
        b"a?b",
        b"a#b",
        b"a b",
        b"a\\b",
        b"a, b",
        b"%",
        b"%4",
        b"%zz",
        b"a%4g",
        b"\xc3\x9c",
        b"a\x00",
        b"a\r\nb: c",
        b"http://a",
    ],
)
def test_invalid_host(host: bytes) -> None:
    assert not is_host(host)


@given(st.binary(max_size=64))
def test_any_bytes_are_survived(data: bytes) -> None:
    assert is_target(data) in (True, False)
    assert is_host(data) in (True, False)
