"""picows_server.proxies.header: the PROXY protocol's header, versions 1 and 2."""

from __future__ import annotations

import socket
import struct
from typing import Any, Optional

import pytest

from picows_server.proxies.header import ProxyHeader, ProxyHeaderError, _crc32c

SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"


def version_2(
    family: int, addresses: bytes, fields: bytes = b"", *, command: int = 0x21, size: int = -1
) -> bytes:
    behind = addresses + fields
    length = len(behind) if size < 0 else size
    return SIGNATURE + struct.pack("!BBH", command, family, length) + behind


def field(kind: int, value: bytes) -> bytes:
    return struct.pack("!BH", kind, len(value)) + value


FOUR = (
    socket.inet_aton("203.0.113.9") + socket.inet_aton("10.0.0.1") + struct.pack("!HH", 4711, 443)
)
SIX = (
    socket.inet_pton(socket.AF_INET6, "2001:db8::7")
    + socket.inet_pton(socket.AF_INET6, "::1")
    + struct.pack("!HH", 4711, 443)
)
UNIX = b"/run/client.sock".ljust(108, b"\0") + b"/run/server.sock".ljust(108, b"\0")


def with_checksum(header: bytes, at: int) -> bytes:
    return header[:at] + struct.pack("!I", _crc32c(header)) + header[at + 4 :]


CHECKED = with_checksum(version_2(0x11, FOUR, field(3, bytes(4)) + field(2, b"a.org")), 16 + 12 + 3)

VALID = [
    (b"PROXY TCP4 203.0.113.9 10.0.0.1 4711 443\r\n", ("203.0.113.9", 4711)),
    (b"PROXY TCP4 1.1.1.1 1.1.1.1 0 0\r\n", ("1.1.1.1", 0)),
    (b"PROXY TCP4 255.255.255.255 255.255.255.255 65535 65535\r\n", ("255.255.255.255", 65535)),
    (b"PROXY TCP6 2001:db8::7 ::1 4711 443\r\n", ("2001:db8::7", 4711, 0, 0)),
    (b"PROXY TCP6 :: :: 1 1\r\n", ("::", 1, 0, 0)),
    (
        b"PROXY TCP6 ffff:f...f:ffff ffff:f...f:ffff 65535 65535\r\n".replace(
            b"f...f", b"ffff:ffff:ffff:ffff:ffff:ffff"
        ),
        ("ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", 65535, 0, 0),
    ),
    (b"PROXY TCP6 ::ffff:203.0.113.9 ::1 4711 443\r\n", ("203.0.113.9", 4711)),
    (b"PROXY UNKNOWN\r\n", None),
    (b"PROXY UNKNOWN ffff:: 1.2.3.4 what ever\r\n", None),
    (b"PROXY UNKNOWN " + b"x" * (107 - 16) + b"\r\n", None),
    (version_2(0x11, FOUR), ("203.0.113.9", 4711)),
    (version_2(0x12, FOUR), ("203.0.113.9", 4711)),
    (version_2(0x21, SIX), ("2001:db8::7", 4711, 0, 0)),
    (version_2(0x31, UNIX), "/run/client.sock"),
    (version_2(0x31, b"\0name".ljust(108, b"\0") + bytes(108)), b"\0name"),
    (version_2(0x31, bytes(216)), ""),
    (version_2(0x31, b"x" * 216), "x" * 108),
    (version_2(0x00, b""), None),
    (version_2(0x10, FOUR), None),
    (version_2(0x01, b"whatever"), None),
    (version_2(0x00, b"", command=0x20), None),
    (version_2(0xFF, b"whatever", command=0x20), None),
    (version_2(0x11, FOUR, field(2, b"a.org") + field(0xEA, b"")), ("203.0.113.9", 4711)),
    (version_2(0x11, FOUR, field(4, bytes(4096 - 12 - 3))), ("203.0.113.9", 4711)),
    (CHECKED, ("203.0.113.9", 4711)),
]


def read(data: bytes, most: Optional[int] = None) -> ProxyHeader:
    """Feed what a socket gives: what is wanted, or less of it. The header must end the data."""
    header = ProxyHeader()
    position = 0
    while header.wanted:
        size = min(header.wanted, most or header.wanted)
        piece = data[position : position + size]
        if not piece:
            raise EOFError
        header.feed(piece)
        position += len(piece)
    assert position == len(data)
    return header


@pytest.mark.parametrize("most", [None, 1, 5])
@pytest.mark.parametrize(("data", "source"), VALID)
def test_headers(data: bytes, source: Any, most: Optional[int]) -> None:
    assert read(data, most).source == source


@pytest.mark.parametrize(("data", "source"), VALID)
def test_a_header_that_is_cut_off(data: bytes, source: Any) -> None:
    for size in range(len(data)):
        with pytest.raises(EOFError):
            read(data[:size])


INVALID = [
    b"GET / HTTP/1.1\r\n",
    b"\x16\x03\x01\x02\x00\x01",
    b"proxy TCP4 1.1.1.1 1.1.1.1 1 1\r\n",
    b"PROXY\r\n",
    b"PROXY  TCP4 1.1.1.1 1.1.1.1 1 1\r\n",
    b"PROXY TCP5 1.1.1.1 1.1.1.1 1 1\r\n",
    b"PROXY UDP4 1.1.1.1 1.1.1.1 1 1\r\n",
    b"PROXY TCP4 1.1.1.1 1.1.1.1 1 1\n" + b"x" * 20,
    b"PROXY TCP4 1.1.1.1 1.1.1.1 1 1\r" + b"x" * 20,
    b"PROXY TCP4 1.1.1.1 1.1.1.1  1 1\r\n",
    b"PROXY TCP4 1.1.1.1 1.1.1.1 1 1 \r\n",
    b"PROXY TCP4 1.1.1.1 1.1.1.1 1 65536\r\n",
    b"PROXY TCP4 1.1.1.1 1.1.1.1 01 1\r\n",
    b"PROXY TCP4 1.1.1.1 1.1.1.1 -1 1\r\n",
    b"PROXY TCP4 1.1.1.1 1.1.1.1 +1 1\r\n",
    b"PROXY TCP4 1.1.1.1 1.1.1.1 1_1 1\r\n",
    b"PROXY TCP4 1.1.1.1 1.1.1.1 \xd9\xa1 1\r\n",
    b"PROXY TCP4 01.1.1.1 1.1.1.1 1 1\r\n",
    b"PROXY TCP4 1.1.1 1.1.1.1 123 1\r\n",
    b"PROXY TCP4 1.1.1.256 1.1.1.1 1 1\r\n",
    b"PROXY TCP4 1.1.1.1 1.1.1.x 1 1\r\n",
    b"PROXY TCP4 ::1 ::1 12345 12345\r\n",
    b"PROXY TCP6 1.1.1.1 1.1.1.1 1 1\r\n",
    b"PROXY TCP6 fe80::1%eth0 ::1 1 1\r\n",
    b"PROXY TCP4 \xff.1.1.1 1.1.1.1 1 1\r\n",
    b"PROXY TCP4 localhost 1.1.1.1 1 1\r\n",
    b"PROXY UNKNOWNX\r\n",
    b"PROXY UNKNOWN" + b" " * 200,
    b"PROXY TCP4 " + b"1" * 200,
    SIGNATURE[:11] + b"\r" + b"\x21\x11\0\0",
    version_2(0x11, FOUR, command=0x11),
    version_2(0x11, FOUR, command=0x22),
    version_2(0x11, FOUR, command=0x00),
    version_2(0x41, FOUR),
    version_2(0x13, FOUR),
    version_2(0x11, FOUR[:-1]),
    version_2(0x11, b""),
    version_2(0x21, FOUR),
    version_2(0x31, UNIX[:-1]),
    version_2(0x11, FOUR, b"\x01"),
    version_2(0x11, FOUR, b"\x01\x00"),
    version_2(0x11, FOUR, b"\x01\x00\x05abcd"),
    version_2(0x11, FOUR, field(1, b"h2") + b"\x01\xff\xff"),
    version_2(0x11, FOUR, field(3, bytes(4))),
    version_2(0x11, FOUR, field(3, bytes(3))),
    version_2(0x11, FOUR, field(3, b"")),
    CHECKED[:-1] + b"h",
    version_2(0x11, FOUR, size=4097) + bytes(5000),
    version_2(0x00, b"", command=0x20, size=65535) + bytes(65535),
]


@pytest.mark.parametrize("most", [None, 1])
@pytest.mark.parametrize("data", INVALID)
def test_what_is_no_header(data: bytes, most: Optional[int]) -> None:
    with pytest.raises(ProxyHeaderError) as raised:
        read(data, most)
    assert "\n" not in str(raised.value)


def test_checksum() -> None:
    assert _crc32c(b"123456789") == 0xE3069283  # RFC 3720, B.4 has more of them
    assert _crc32c(bytes(32)) == 0x8A9136AA
    assert _crc32c(b"\xff" * 32) == 0x62A8AB43
