"""gzip, zlib and raw DEFLATE inside of messages, as many feeds send them."""

from __future__ import annotations

import zlib
from typing import Optional

__all__ = ["MOST_INFLATED", "TooMuchInflated", "inflated"]

MOST_INFLATED = 16 * 1024 * 1024  # as much as a message may have

_MOST_MEMBERS = 1000  # of gzip, which may be empty
_PIECE = 65536  # what is left of it is copied behind each member

_GZIP_OR_ZLIB = zlib.MAX_WBITS + 32
_RAW = -zlib.MAX_WBITS
_GZIP_MAGIC = b"\x1f\x8b"
_SYNC_FLUSH = b"\x00\x00\xff\xff"  # how a stream ends that goes on in other messages


class TooMuchInflated(Exception):
    """The message inflates to more than is allowed."""


def inflated(data: bytes, most: int = MOST_INFLATED) -> Optional[bytes]:
    """Return what ``data`` inflates to, or None if it is not compressed as a whole.

    :raises TooMuchInflated: it is more than ``most`` bytes, or more than 1,000 members of gzip.
    """
    for window in (_GZIP_OR_ZLIB, _RAW):
        try:
            result = _inflated(data, window, most)
        except zlib.error:
            continue
        if result is not None:
            return result
    return None


def _inflated(data: bytes, window: int, most: int) -> Optional[bytes]:
    parts = []
    left = most
    rest = memoryview(data)
    for _ in range(_MOST_MEMBERS):
        stream = zlib.decompressobj(window)
        while rest and not stream.eof:
            piece = rest[:_PIECE]
            part = stream.decompress(piece, left + 1)
            left -= len(part)
            if left < 0:
                raise TooMuchInflated(f"it inflates to more than {most} bytes")
            parts.append(part)
            rest = rest[len(piece) - len(stream.unused_data) :]
        if not stream.eof:
            return b"".join(parts) if data.endswith(_SYNC_FLUSH) else None
        if rest[:2] != _GZIP_MAGIC:  # else another member (RFC 1952, 2.2)
            return None if rest else b"".join(parts)
    raise TooMuchInflated(f"it has more than {_MOST_MEMBERS} members")
