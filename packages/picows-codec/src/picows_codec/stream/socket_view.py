"""A connection's socket, as the users of the connection see it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from socket import socket

__all__ = ["SocketView"]

# What somebody may do to a socket without owning it, as with asyncio's.
_ALLOWED = frozenset(
    (
        "dup",
        "family",
        "fileno",
        "get_inheritable",
        "getpeername",
        "getsockname",
        "getsockopt",
        "gettimeout",
        "proto",
        "setsockopt",
        "timeout",
        "type",
    )
)


class SocketView:
    """A connection's socket, to look at and to set options of: it cannot be closed or read from."""

    __slots__ = ("_socket",)

    def __init__(self, sock: socket) -> None:
        self._socket = sock

    def __getattr__(self, name: str) -> Any:
        if name not in _ALLOWED:
            raise AttributeError(
                f"{name!r}: the socket belongs to the connection; use its WSTransport, or dup()"
            )
        return getattr(self._socket, name)

    def __repr__(self) -> str:
        return f"<SocketView {self._socket!r}>"
