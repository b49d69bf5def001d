"""What ``ws_connect`` returns."""

from __future__ import annotations

import asyncio
from typing import Tuple, TypeVar

from picows_client.tasks import undisturbed
from picows_codec import WSListener, WSTransport
from picows_codec.calls import OpeningCall

__all__ = ["WSConnectCall", "end_in_order"]

ListenerT = TypeVar("ListenerT", bound=WSListener)


class WSConnectCall(OpeningCall[Tuple[WSTransport, ListenerT]]):
    """A coroutine that opens a connection; ``async with`` ends it."""

    __slots__ = ()

    async def _end(self, opened: Tuple[WSTransport, ListenerT]) -> None:
        await end_in_order(opened[0])


async def end_in_order(transport: WSTransport) -> None:
    """Close, and wait for the end; if that is cancelled, drop the connection."""
    transport.disconnect()
    try:
        await transport.wait_disconnected()
    except asyncio.CancelledError:
        # Mostly a second cancellation: do not wait for the peer, but tell the listener.
        transport.disconnect(graceful=False)
        await undisturbed(transport.wait_disconnected())
        raise
