"""picows.websockets: what picows 2 has for coroutines."""

from __future__ import annotations

from picows.websockets.asyncio.client import connect
from picows.websockets.asyncio.server import broadcast, serve
from picows.websockets.exceptions import ConnectionClosed

from bench.peers.common import main
from bench.peers.websockets_api import WebsocketsApi

__all__ = ["PicowsWebsockets"]


class PicowsWebsockets(WebsocketsApi):
    """See :class:`WebsocketsApi`."""

    distributions = ("picows", "aiofastnet", "uvloop", "multidict")
    connect = staticmethod(connect)
    serve = staticmethod(serve)
    broadcast = staticmethod(broadcast)
    connection_closed = ConnectionClosed


if __name__ == "__main__":
    main(PicowsWebsockets)
