"""How the end of a connection looks to whoever receives from it or sends on it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from picows_codec.constants import WSCloseCode
from picows_codec.disconnect import WSDisconnectKind, WSState
from picows_codec.errors import WSConnectionClosed

if TYPE_CHECKING:
    from picows_codec.transport import WSTransport

__all__ = [
    "close_code_of",
    "close_reason_of",
    "connection_closed",
    "ends_iteration",
    "no_message_comes",
]

# A peer that is done, or leaves; 1005 is a browser's close() without a code.
_PEACEFUL = frozenset({1000, 1001, 1005})
_LOCAL = frozenset(
    {
        WSDisconnectKind.LOCAL_CLOSE,
        WSDisconnectKind.LOCAL_ABORT,
        WSDisconnectKind.CLOSE_TIMEOUT,
    }
)


def connection_closed(transport: WSTransport) -> WSConnectionClosed:
    """Make the error for a connection that is closed, or is being closed."""
    handshake = transport.close_handshake
    cause = transport.disconnect_cause
    error = WSConnectionClosed(
        close_code_of(transport),
        close_reason_of(transport),
        cause,
        None if handshake is None else handshake.recv,
        None if handshake is None else handshake.sent,
    )
    if cause is not None:
        error.__cause__ = cause.exception
    return error


def ends_iteration(transport: WSTransport) -> bool:
    """Tell whether iteration ends without an error: the peer is done, or this side has closed."""
    cause = transport.disconnect_cause
    if cause is None:
        return True
    if cause.kind is WSDisconnectKind.PEER_CLOSE:
        return close_code_of(transport) in _PEACEFUL
    if cause.kind is WSDisconnectKind.LOCAL_ABORT:
        return cause.exception is None
    return cause.kind in _LOCAL


def no_message_comes(transport: WSTransport) -> bool:
    """Tell whether the peer's CLOSE frame has arrived or the connection has ended."""
    handshake = transport.close_handshake
    has_closed = handshake is not None and handshake.recv is not None
    return has_closed or transport.state is WSState.CLOSED


def close_code_of(transport: WSTransport) -> int:
    """Return the code that the peer sent, else the one that it was sent, else 1006."""
    handshake = transport.close_handshake
    info = None if handshake is None else handshake.recv or handshake.sent
    return WSCloseCode.ABNORMAL_CLOSURE if info is None else info.code


def close_reason_of(transport: WSTransport) -> str:
    """Return the reason that belongs to that code, "" if there is none."""
    handshake = transport.close_handshake
    info = None if handshake is None else handshake.recv or handshake.sent
    return "" if info is None else info.reason
