"""Close a connection whose opening failed, or which nobody waits for any more."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from typing import Callable

from picows_client.protocol import ClientProtocol
from picows_codec import WSTransport

__all__ = ["abandon", "abort"]

# Loop iterations after which a transport that was aborted has called connection_lost and closed its
# socket. The known loops need two to four.
_CLOSING_ITERATIONS = 16


async def abort(transport: WSTransport) -> None:
    """Drop a connection and wait until it has ended."""
    transport.disconnect(graceful=False)
    await _wait_until(lambda: transport.is_disconnected)


async def abandon(protocol: ClientProtocol, sock: socket.socket) -> None:
    """Drop a connection whose opening over ``sock`` failed, however far it got.

    An asyncio transport that gives up closes its socket in a later iteration of the loop. If the
    socket were closed earlier, while it is watched, its number would stay in the selector.
    """
    try:
        if protocol.is_connected and protocol.transport is not None:
            await abort(protocol.transport)
        await _wait_until(lambda: sock.fileno() < 0)
    finally:
        if protocol.is_connected:  # pragma: no cover - depends on uvloop's timing
            # uvloop's create_connection, cancelled at certain moments, does not tell its protocol.
            protocol.connection_lost(None)
        protocol.give_up()
        with contextlib.suppress(OSError):
            sock.close()


async def _wait_until(condition: Callable[[], bool]) -> None:
    for _ in range(_CLOSING_ITERATIONS):
        if condition():
            return
        await asyncio.sleep(0)
