"""The header of the PROXY protocol, versions 1 and 2: bytes to the client's address.

The specification is HAProxy's doc/proxy-protocol.txt; the numbers of sections are its.
"""

from __future__ import annotations

import os
import re
from ipaddress import IPv4Address, IPv6Address
from typing import Optional

from picows_codec.socket_address import SocketAddress
from picows_server.proxies.networks import parse_ip

__all__ = ["ProxyHeader", "ProxyHeaderError"]

_SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
_PREFIX = b"PROXY "

# 2.1: bytes of the longest line, and of the shortest one of each kind.
_LONGEST_LINE = 107
_SHORTEST_LINES = (
    (b"PROXY TCP4 ", len(b"PROXY TCP4 1.1.1.1 1.1.1.1 1 1\r\n")),
    (b"PROXY TCP6 ", len(b"PROXY TCP6 :: :: 1 1\r\n")),
    (b"PROXY UNKNOWN", len(b"PROXY UNKNOWN\r\n")),
)
_PORT = re.compile(rb"0|[1-9][0-9]{0,4}")
_LARGEST_PORT = 65535

# 2.2: signature, version and command, family and protocol, size of the rest
_HEAD = 16
# Bytes behind that which are accepted. A proxy that passes certificates on sends some 2,000.
_MOST_BEHIND = 4096
_LOCAL, _PROXY = 0x20, 0x21
_IPV4, _IPV6, _UNIX = 1, 2, 3
_ADDRESSES = {_IPV4: 12, _IPV6: 36, _UNIX: 216}
_PATH = 108
_CRC32C = 0x03


class ProxyHeaderError(ValueError):
    """The bytes are no header of the PROXY protocol; the text shows none of them.

    ``status``: of the response that the peer got, or None.
    """

    def __init__(self, text: str, status: Optional[int] = None) -> None:
        super().__init__(text)
        self.status = status


class ProxyHeader:
    """A header that arrives in pieces, of which none may have bytes behind it.

    ``wanted``: bytes that certainly belong to the header; never feed more of them. 0: it is
    complete, and ``source`` is the client's address, or None if the proxy does not pass one on: it
    speaks for itself, or does not know.
    """

    def __init__(self) -> None:
        self.wanted = len(_SIGNATURE)
        self.source: SocketAddress = None
        self._data = b""

    def feed(self, data: bytes) -> None:
        """Take the next bytes, at most ``wanted``; raises :class:`ProxyHeaderError`."""
        self._data += data
        known = self._data[: len(_SIGNATURE)]
        if known == _SIGNATURE[: len(known)]:
            self._look_at_binary()
        elif known[: len(_PREFIX)] == _PREFIX[: len(known)]:
            self._look_at_line()
        else:
            raise ProxyHeaderError("the connection does not begin with the PROXY protocol")

    # Version 1: a line

    def _look_at_line(self) -> None:
        data = self._data
        if data.endswith(b"\r\n"):
            self.wanted = 0
            self.source = _source_of_line(data[:-2])
            return
        shortest = len(_SIGNATURE)
        if len(data) >= len(_SIGNATURE):
            shortest = _shortest_line(data)
        if len(data) >= _LONGEST_LINE or b"\n" in data or b"\r" in data[:-1]:
            raise ProxyHeaderError("the line of the PROXY protocol does not end (2.1)")
        self.wanted = max(shortest - len(data), 1)

    # Version 2: binary

    def _look_at_binary(self) -> None:
        data = self._data
        if len(data) < _HEAD:
            self.wanted = _HEAD - len(data)
            return
        behind = int.from_bytes(data[14:16], "big")
        if data[12] not in (_LOCAL, _PROXY):
            raise ProxyHeaderError("unknown version or command of the PROXY protocol (2.2)")
        family, protocol = data[13] >> 4, data[13] & 0x0F
        if data[12] == _PROXY and (family > _UNIX or protocol > 2):
            raise ProxyHeaderError("unknown address family of the PROXY protocol (2.2)")
        if behind > _MOST_BEHIND:
            raise ProxyHeaderError("the header of the PROXY protocol is too large")
        self.wanted = _HEAD + behind - len(data)
        if self.wanted == 0 and data[12] == _PROXY and family and protocol:
            self.source = _source_of_binary(data, family)


def _shortest_line(data: bytes) -> int:
    for start, size in _SHORTEST_LINES:
        if data[: len(start)] == start[: len(data)]:
            return size
    raise ProxyHeaderError("the line of the PROXY protocol has an unknown protocol (2.1)")


def _source_of_line(line: bytes) -> SocketAddress:
    if line.startswith(b"PROXY UNKNOWN") and line[13:14] in (b"", b" "):
        return None  # 2.1: what follows must be ignored
    fields = line.split(b" ")
    if len(fields) != 6 or fields[1] not in (b"TCP4", b"TCP6"):
        raise ProxyHeaderError("the line of the PROXY protocol has not six fields (2.1)")
    source, _, port, _ = fields[2:]
    is_six = fields[1] == b"TCP6"
    for host in fields[2:4]:
        if not _is_host(host, is_six=is_six):
            raise ProxyHeaderError("the line of the PROXY protocol has no IP address (2.1)")
    for number in fields[4:]:
        if _PORT.fullmatch(number) is None or int(number) > _LARGEST_PORT:
            raise ProxyHeaderError("the line of the PROXY protocol has no port (2.1)")
    return _address(source.decode("ascii"), int(port))


def _is_host(host: bytes, *, is_six: bool) -> bool:
    try:
        text = host.decode("ascii")
    except UnicodeDecodeError:
        return False
    return (":" in text) == is_six and parse_ip(text) is not None


def _address(host: str, port: int) -> SocketAddress:
    address = parse_ip(host)
    if isinstance(address, IPv6Address):
        return str(address), port, 0, 0
    return str(address), port


def _source_of_binary(data: bytes, family: int) -> SocketAddress:
    behind = data[_HEAD:]
    size = _ADDRESSES[family]
    if len(behind) < size:
        raise ProxyHeaderError("the addresses of the PROXY protocol are cut off (2.2)")
    _check_fields(data, _HEAD + size)
    if family == _UNIX:
        return _path_of(behind[:_PATH])
    if family == _IPV4:
        return str(IPv4Address(behind[:4])), int.from_bytes(behind[8:10], "big")
    return _address(str(IPv6Address(behind[:16])), int.from_bytes(behind[32:34], "big"))


def _path_of(field: bytes) -> SocketAddress:
    if field.startswith(b"\0"):  # a name in Linux's abstract namespace, or none
        return field.rstrip(b"\0") or ""
    return os.fsdecode(field.partition(b"\0")[0])


def _check_fields(data: bytes, position: int) -> None:
    """2.2: the rest is fields of a type, a size and a value. A checksum must be right."""
    while position < len(data):
        if len(data) - position < 3:
            raise ProxyHeaderError("a field of the PROXY protocol is cut off (2.2)")
        start = position + 3
        end = start + int.from_bytes(data[position + 1 : start], "big")
        if end > len(data):
            raise ProxyHeaderError("a field of the PROXY protocol is cut off (2.2)")
        if data[position] == _CRC32C:
            # 2.2.4: computed over the header with zeros in the place of the checksum
            without = data[:start] + bytes(end - start) + data[end:]
            if end - start != 4 or int.from_bytes(data[start:end], "big") != _crc32c(without):
                raise ProxyHeaderError("the checksum of the PROXY protocol is wrong (2.2.4)")
        position = end


def _crc32c(data: bytes) -> int:
    """The checksum of RFC 4960, appendix B; zlib has another one."""
    value = 0xFFFFFFFF
    for byte in data:
        value = value >> 8 ^ _CRC_TABLE[(value ^ byte) & 0xFF]
    return value ^ 0xFFFFFFFF


def _crc_of_byte(byte: int) -> int:
    for _ in range(8):
        byte = byte >> 1 ^ (0x82F63B78 if byte & 1 else 0)
    return byte


_CRC_TABLE = tuple(map(_crc_of_byte, range(256)))
