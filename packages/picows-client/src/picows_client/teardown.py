"""Leaving nothing open: the end of a connection that did not come about, or came too late."""

from __future__ import annotations

import asyncio
import socket

from picows_codec import WSTransport

__all__ = ["abandon", "abort_connection"]

# Turns of the loop after which a transport that was aborted has closed its socket. asyncio and
# aiofastnet need two, uvloop one more.
_CLOSING_TURNS = 16


async def abort_connection(transport: WSTransport) -> None:
    """Drop a connection and wait until it has ended; a connection that never began is nothing."""
    if transport.underlying_transport is not None:
        transport.disconnect(graceful=False)
        await transport.wait_disconnected()


async def abandon(transport: WSTransport, sock: socket.socket) -> None:
    """Drop a connection that did not come about, however far it got over ``sock``.

    An asyncio transport that gives up closes its socket in a later turn of the loop. To close it
    earlier, while it is watched, would leave its number in the selector.
    """
    try:
        await abort_connection(transport)
        for _ in range(_CLOSING_TURNS):
            if sock.fileno() < 0:
                break
            await asyncio.sleep(0)
    finally:
        sock.close()
