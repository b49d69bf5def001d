"""Our coroutine connections: ``connect`` and ``serve``."""

from __future__ import annotations

from typing import Any, Callable, List

from bench.peers.common import Window
from bench.peers.ours_options import options_of
from bench.peers.websockets_api import WebsocketsApi

__all__ = ["OursCoroutine"]


class OursCoroutine(WebsocketsApi):
    """With the listener "many", ``recv_many`` and ``send_many``."""

    def __init__(self, *arguments: Any) -> None:
        # Not imported by our other peers, whose memory is measured.
        from picows_client import WSConnectionClosed, connect
        from picows_server import broadcast, serve

        super().__init__(*arguments)
        self.connect = connect
        self.serve = serve
        self.broadcast = broadcast
        self.connection_closed = WSConnectionClosed
        self._options = options_of(self.arguments)
        self._takes_many = self.arguments.listener == "many"

    def _connect(self) -> Any:
        return self.connect(self.arguments.url, ssl_context=self._context, **self._options)

    async def _serve(self, handler: Callable[[Any], Any]) -> int:
        self._server = await self.serve(
            handler,
            self.arguments.url,
            ssl_context=self.arguments.server_context(),
            **self._options,
        )
        return int(self._server.sockets[0].getsockname()[1])

    async def _send_all(self, connection: Any, messages: List[Any]) -> None:
        if self._takes_many:
            await connection.send_many(messages)
        else:
            await super()._send_all(connection, messages)

    async def _count(self, connection: Any, report: Callable[[Window], None]) -> Window:
        if not self._takes_many:
            return await super()._count(connection, report)
        count = 0
        payload: Any = b""
        window = self.window(lambda: count, lambda: self.check(payload, count))
        report(window)
        window.begin()
        while not window.over:
            some: List[Any] = await connection.recv_many()
            payload = some[-1]
            count += len(some)
            if count == self.arguments.messages:
                window.close()
        return window
