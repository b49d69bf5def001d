"""How to reach the first hop: the arguments of ``ws_connect`` for that."""

from __future__ import annotations

import os
import socket
import ssl
from dataclasses import dataclass
from typing import Awaitable, Callable, Optional, Tuple, Union

from picows_client.url import WSURL
from picows_codec import WSInvalidOptionError
from picows_codec.socket_address import UnixPath

__all__ = ["FirstHop", "SocketFactory", "check_stream_socket"]

SocketFactory = Callable[
    [WSURL], Union[Optional[socket.socket], Awaitable[Optional[socket.socket]]]
]


@dataclass(frozen=True)
class FirstHop:
    """A way to the server, or to the proxy if there is one; by default TCP to the URL's host.

    Raises :class:`TypeError` and :class:`WSInvalidOptionError` for what makes no sense.
    """

    sock: Optional[socket.socket] = None
    unix_path: Optional[UnixPath] = None
    socket_factory: Optional[SocketFactory] = None
    local_addr: Optional[Tuple[str, int]] = None
    family: int = socket.AF_UNSPEC

    @property
    def is_plain_tcp(self) -> bool:
        """Whether the client makes the socket itself and no option says how."""
        return (
            self.sock is None
            and self.unix_path is None
            and self.socket_factory is None
            and self.local_addr is None
        )

    def __post_init__(self) -> None:
        _check_family(self.family)
        if self.is_plain_tcp:
            return
        ways = [
            name
            for name in ("sock", "unix_path", "socket_factory")
            if getattr(self, name) is not None
        ]
        if len(ways) > 1:
            raise WSInvalidOptionError(f"{' and '.join(ways)} exclude each other")
        if self.sock is not None:
            check_stream_socket("sock", self.sock)
        if self.unix_path is not None:
            _check_unix_path(self.unix_path)
        if self.socket_factory is not None and not callable(self.socket_factory):
            raise TypeError(
                f"socket_factory must be callable, not {type(self.socket_factory).__name__}"
            )
        if self.local_addr is not None:
            _check_local_address(self.local_addr)
        is_fixed = self.sock is not None or self.unix_path is not None
        if is_fixed and (self.local_addr is not None or self.family):
            raise WSInvalidOptionError(f"local_addr and family have no meaning with {ways[0]}")


def check_stream_socket(what: str, sock: object) -> None:
    """Raise TypeError or WSInvalidOptionError about ``what`` unless a connection can use it."""
    if not isinstance(sock, socket.socket):
        raise TypeError(f"{what} must be a socket.socket, not {type(sock).__name__}")
    if isinstance(sock, ssl.SSLSocket):
        raise TypeError(f"{what} must be a plain socket: a wss:// URL adds the TLS")
    if sock.type != socket.SOCK_STREAM:
        raise WSInvalidOptionError(f"{what} must be a stream socket, not {sock!r}")


def _check_unix_path(path: UnixPath) -> None:
    if not hasattr(socket, "AF_UNIX"):
        raise WSInvalidOptionError("unix_path: this platform has no Unix sockets")
    if not isinstance(path, (str, bytes, os.PathLike)):
        raise TypeError(f"unix_path must be a str, bytes or path, not {type(path).__name__}")
    if not os.fspath(path):
        raise WSInvalidOptionError("unix_path must not be empty")


def _check_family(family: object) -> None:
    if not isinstance(family, int):
        raise TypeError(f"family must be an int, not {type(family).__name__}")
    if family not in (socket.AF_UNSPEC, socket.AF_INET, socket.AF_INET6):
        raise WSInvalidOptionError(
            f"family must be 0 (any), socket.AF_INET or socket.AF_INET6, not {family}"
        )


def _check_local_address(address: object) -> None:
    if not isinstance(address, tuple) or len(address) != 2:
        raise TypeError(f"local_addr must be a tuple (host, port), not {address!r}")
    host, port = address
    if not isinstance(host, str) or not isinstance(port, int):
        raise TypeError(f"local_addr must be a host (str) and a port (int), not {address!r}")
    if not 0 <= port <= 65535:
        raise WSInvalidOptionError(f"the port of local_addr must be 0 to 65535, not {port}")
