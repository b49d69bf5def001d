"""What ``ws_create_server`` returns."""

from __future__ import annotations

from picows_codec.calls import OpeningCall
from picows_server.server import WSServer

__all__ = ["WSCreateServerCall"]


class WSCreateServerCall(OpeningCall[WSServer]):
    """A coroutine that starts a server; ``async with`` closes it."""

    __slots__ = ()

    async def _end(self, opened: WSServer) -> None:
        await opened.__aexit__(None, None, None)
