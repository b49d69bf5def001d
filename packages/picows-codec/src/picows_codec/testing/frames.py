"""Build and parse frames and opening handshakes in plain Python, as a peer does."""

from __future__ import annotations

import base64
import hashlib
import struct
from dataclasses import dataclass
from typing import List, Optional, Tuple, Union

__all__ = [
    "BINARY",
    "CLOSE",
    "CONTINUATION",
    "KEY",
    "PING",
    "PONG",
    "TEXT",
    "Frame",
    "accept_of",
    "build",
    "close_payload",
    "header",
    "mask",
    "parse",
    "parse_all",
    "size_of",
    "upgrade_request",
    "upgrade_response",
]

CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10

KEY = b"\x37\xfa\x21\x3d"  # RFC 6455, 5.7

_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # RFC 6455, 1.3


@dataclass(frozen=True)
class Frame:
    """A frame as it was on the wire, its payload unmasked.

    ``opcode``, ``payload`` and ``fin`` are those of RFC 6455, 5.2. ``rsv`` has the reserved bits:
    RSV1 is 4, RSV2 is 2, RSV3 is 1. ``key`` is the masking key, None if the frame was not masked.
    """

    opcode: int
    payload: bytes = b""
    fin: bool = True
    rsv: int = 0
    key: Optional[bytes] = None

    @property
    def text(self) -> str:
        """The payload as UTF-8."""
        return self.payload.decode()


def mask(payload: bytes, key: bytes) -> bytes:
    """XOR with the masking key (RFC 6455, 5.3)."""
    size = len(payload)
    repeated = (key * (size // 4 + 1))[:size]
    both = int.from_bytes(payload, "big") ^ int.from_bytes(repeated, "big")
    return both.to_bytes(size, "big")


def header(
    opcode: int,
    size: int,
    *,
    fin: bool = True,
    rsv: int = 0,
    key: Optional[bytes] = None,
    width: Optional[int] = None,
) -> bytes:
    """A frame header. ``width`` (7, 16 or 64 bits) forces the encoding of the length."""
    if width is None:
        width = 7 if size < 126 else 16 if size < 65536 else 64
    masked = 0x80 if key is not None else 0
    first = bytes([(0x80 if fin else 0) | rsv << 4 | opcode])
    if width == 7:
        length = struct.pack("!B", masked | size)
    elif width == 16:
        length = struct.pack("!BH", masked | 126, size)
    else:
        length = struct.pack("!BQ", masked | 127, size)
    return first + length + (key or b"")


def build(
    opcode: int,
    payload: bytes = b"",
    *,
    fin: bool = True,
    rsv: int = 0,
    key: Optional[bytes] = None,
    width: Optional[int] = None,
) -> bytes:
    """A whole frame, masked if there is a key."""
    head = header(opcode, len(payload), fin=fin, rsv=rsv, key=key, width=width)
    return head + (mask(payload, key) if key is not None else payload)


def close_payload(code: int, reason: bytes = b"") -> bytes:
    """Return the payload of a CLOSE frame (RFC 6455, 5.5.1)."""
    return struct.pack("!H", code) + reason


def size_of(data: Union[bytes, bytearray]) -> Optional[int]:
    """The size in bytes of the frame whose beginning this is; None while that cannot be told."""
    if len(data) < 2:
        return None
    size, position = data[1] & 0x7F, 2
    if size > 125:
        position += 2 if size == 126 else 8
        size = int.from_bytes(data[2:position], "big")
    if data[1] & 0x80:
        position += 4
    return position + size if len(data) >= position else None


def parse(data: bytes) -> Tuple[Optional[Frame], int]:
    """The frame at the front of the data and its size in bytes; (None, 0) while it is incomplete.

    Checks nothing.
    """
    size = size_of(data)
    if size is None or len(data) < size:
        return None, 0
    position = 2 + {126: 2, 127: 8}.get(data[1] & 0x7F, 0)
    key = None
    if data[1] & 0x80:
        key = data[position : position + 4]
        position += 4
    payload = data[position:size]
    if key is not None:
        payload = mask(payload, key)
    return Frame(data[0] & 0x0F, payload, bool(data[0] & 0x80), data[0] >> 4 & 7, key), size


def parse_all(data: bytes) -> Tuple[List[Frame], bytes]:
    """All complete frames, and what is left behind them."""
    frames: List[Frame] = []
    while True:
        frame, size = parse(data)
        if frame is None:
            return frames, data
        frames.append(frame)
        data = data[size:]


# Opening handshake


def accept_of(key: bytes) -> bytes:
    """Sec-WebSocket-Accept for a Sec-WebSocket-Key (RFC 6455, 4.2.2)."""
    return base64.b64encode(hashlib.sha1(key + _GUID).digest())  # noqa: S324 - the RFC wants it


def upgrade_request(target: str = "/", extra: bytes = b"") -> bytes:
    """A valid request (RFC 6455, 4.1); ``extra`` is whole header lines."""
    return (
        b"GET %b HTTP/1.1\r\n"
        b"Host: localhost\r\n"
        b"Upgrade: websocket\r\n"
        b"Connection: Upgrade\r\n"
        b"Sec-WebSocket-Key: %b\r\n"
        b"Sec-WebSocket-Version: 13\r\n"
        b"%b\r\n"
    ) % (target.encode(), base64.b64encode(b"sixteen byte key"), extra)


def upgrade_response(request: bytes, extra: bytes = b"") -> bytes:
    """The response that accepts a request (RFC 6455, 4.2.2)."""
    (key,) = (
        line.split(b": ", 1)[1]
        for line in request.split(b"\r\n")
        if line.lower().startswith(b"sec-websocket-key:")
    )
    return (
        b"HTTP/1.1 101 Switching Protocols\r\n"
        b"Upgrade: websocket\r\n"
        b"Connection: Upgrade\r\n"
        b"Sec-WebSocket-Accept: %b\r\n"
        b"%b\r\n"
    ) % (accept_of(key), extra)
