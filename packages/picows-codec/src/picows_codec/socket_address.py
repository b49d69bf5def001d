"""Addresses of sockets: their type, their text for people, and how to keep one in few bytes."""

from __future__ import annotations

import os
from functools import lru_cache
from typing import Optional, Tuple, Union

from picows_codec.log_text import one_line

__all__ = ["SocketAddress", "UnixPath", "format_address", "pack_address", "unpack_address"]

# IPv4; IPv6 with flow label and scope; the path of a Unix socket; its name in Linux's abstract
# namespace; None if it is not known.
SocketAddress = Union[Tuple[str, int], Tuple[str, int, int, int], str, bytes, None]

# What a caller may give as the path of a Unix socket.
UnixPath = Union[str, bytes, "os.PathLike[str]", "os.PathLike[bytes]"]

# Stands before the octets of a packed address and makes the number negative, because a positive int
# is an address of another kind of socket.
_PACKED = b"\xff"
_MAX_PORT = 65535


def format_address(address: object) -> str:
    """Write what ``socket.getpeername`` gives as ``127.0.0.1:80``, ``[::1]:80``, ``unix:/path``.

    A Unix socket without a name is ``unix:(unnamed)``, one with a name in Linux's abstract
    namespace ``unix:@name``, and None, where nothing is known, ``unknown address``.
    """
    if isinstance(address, (str, bytes)):
        return "unix:" + one_line(_path(address) or "(unnamed)")
    if isinstance(address, tuple) and len(address) >= 2:
        host = one_line(str(address[0]))
        return f"[{host}]:{address[1]}" if ":" in host else f"{host}:{address[1]}"
    return "unknown address" if address is None else one_line(str(address))


def pack_address(address: object) -> object:
    """Return what to keep of ``address`` as long as a connection lives.

    ``("127.0.0.1", 80)`` is a tuple, a string and an int, 176 bytes together. An address of IPv4
    becomes a single int of 32 bytes, any other stays as it is.
    """
    if isinstance(address, tuple) and len(address) == 2:
        host, port = address
        if type(host) is str and type(port) is int and 0 <= port <= _MAX_PORT:
            packed_host = _pack_host(host)
            if packed_host is not None:
                return packed_host + port
    return address


# One side of a connection mostly has an address that others have, too.
@lru_cache(maxsize=64)
def _pack_host(host: str) -> Optional[int]:
    """Return the packed address with port 0; None for anything but IPv4 as sockets write it."""
    try:
        octets = bytes(map(int, host.split(".")))
        packed = int.from_bytes(_PACKED + octets + b"\0\0", "big", signed=True)
        return packed if unpack_address(packed) == (host, 0) else None
    except (OverflowError, ValueError):
        return None


def unpack_address(packed: object) -> object:
    """Return the address that :func:`pack_address` was given."""
    if not isinstance(packed, int) or packed >= 0:
        return packed
    _, a, b, c, d, high, low = packed.to_bytes(7, "big", signed=True)
    return f"{a}.{b}.{c}.{d}", high << 8 | low


def _path(address: Union[str, bytes]) -> str:
    path = address if isinstance(address, str) else address.decode("utf-8", "backslashreplace")
    return "@" + path[1:] if path[:1] == "\0" else path
