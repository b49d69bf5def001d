"""websockets: its asyncio implementation."""

from __future__ import annotations

from websockets.asyncio.client import connect
from websockets.asyncio.server import broadcast, serve
from websockets.exceptions import ConnectionClosed

from bench.peers.common import main
from bench.peers.websockets_api import WebsocketsApi

__all__ = ["Websockets"]


class Websockets(WebsocketsApi):
    """See :class:`WebsocketsApi`."""

    distributions = ("websockets", "uvloop")
    connect = staticmethod(connect)
    serve = staticmethod(serve)
    broadcast = staticmethod(broadcast)
    connection_closed = ConnectionClosed


if __name__ == "__main__":
    main(Websockets)
