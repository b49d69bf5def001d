"""Leaving nothing open: the end of a connection that did not come about, or came too late."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from typing import Callable

from picows_codec import WSEndpoint, WSTransport

__all__ = ["abandon", "abort_connection"]

# Turns of the loop after which a transport that was aborted has called connection_lost and closed
# its socket. The loops that are known need two to four.
_CLOSING_TURNS = 16


async def abort_connection(transport: WSTransport) -> None:
    """Drop a connection and wait until it has ended; one that never began is nothing."""
    if transport.underlying_transport is not None:
        transport.disconnect(graceful=False)
        await _wait_until(lambda: transport.is_disconnected)


async def abandon(protocol: WSEndpoint, transport: WSTransport, sock: socket.socket) -> None:
    """Drop a connection that did not come about, however far it got over ``sock``.

    An asyncio transport that gives up closes its socket in a later turn of the loop. To close it
    earlier, while it is watched, would leave its number in the selector.
    """
    try:
        await abort_connection(transport)
        await _wait_until(lambda: sock.fileno() < 0)
    finally:
        if transport.underlying_transport is not None:
            # uvloop's create_connection, cancelled at the wrong moment, forgets its protocol.
            protocol.connection_lost(None)
        with contextlib.suppress(OSError):
            sock.close()


async def _wait_until(condition: Callable[[], bool]) -> None:
    for _ in range(_CLOSING_TURNS):
        if condition():
            return
        await asyncio.sleep(0)
