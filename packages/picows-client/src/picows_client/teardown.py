"""Leaving nothing open: the end of a connection that did not come about, or came too late."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from typing import Callable

from picows_client.protocol import ClientProtocol
from picows_codec import WSTransport

__all__ = ["abandon", "abort"]

# Turns of the loop after which a transport that was aborted has called connection_lost and closed
# its socket. The loops that are known need two to four.
_CLOSING_ITERATIONS = 16


async def abort(transport: WSTransport) -> None:
    """Drop a connection and wait until it has ended."""
    transport.disconnect(graceful=False)
    await _wait_until(lambda: transport.is_disconnected)


async def abandon(protocol: ClientProtocol, sock: socket.socket) -> None:
    """Drop a connection that did not come about, however far it got over ``sock``.

    An asyncio transport that gives up closes its socket in a later turn of the loop. To close it
    earlier, while it is watched, would leave its number in the selector.
    """
    try:
        if protocol.is_connected and protocol.transport is not None:
            await abort(protocol.transport)
        await _wait_until(lambda: sock.fileno() < 0)
    finally:
        if protocol.is_connected:  # pragma: no cover - depends on uvloop's timing
            # uvloop's create_connection, cancelled at the wrong moment, forgets its protocol.
            protocol.connection_lost(None)
        protocol.give_up()
        with contextlib.suppress(OSError):
            sock.close()


async def _wait_until(condition: Callable[[], bool]) -> None:
    for _ in range(_CLOSING_ITERATIONS):
        if condition():
            return
        await asyncio.sleep(0)
