"""Tornado: message callbacks on both sides, without compression."""

from __future__ import annotations

import asyncio
from typing import Any, Callable, List, Optional, Set, Type, Union

from tornado.httpclient import HTTPRequest
from tornado.httpserver import HTTPServer
from tornado.netutil import bind_sockets
from tornado.web import Application
from tornado.websocket import (
    WebSocketClientConnection,
    WebSocketClosedError,
    WebSocketHandler,
    websocket_connect,
)

from bench.peers.common import BATCH, Adapter, Window, check_number, fail, main, spawn

__all__ = ["Tornado"]

MAX_MESSAGE = 64 * 1024 * 1024
Message = Union[str, bytes, None]


class Handler(WebSocketHandler):
    """A server's end of a connection."""

    def check_origin(self, origin: str) -> bool:
        return True

    def on_message(self, message: Message) -> None:
        fail("a message was not expected")


class Tornado(Adapter):
    """Callbacks; a source waits for the last write of each burst."""

    distributions = ("tornado", "uvloop")

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._context = self.arguments.client_context()

    async def _connect(
        self, on_message: Optional[Callable[[Message], None]] = None
    ) -> WebSocketClientConnection:
        request = HTTPRequest(self.arguments.url, ssl_options=self._context)
        return await websocket_connect(
            request, on_message_callback=on_message, max_message_size=MAX_MESSAGE
        )

    async def _serve(self, handler: Type[WebSocketHandler]) -> int:
        app = Application([("/", handler)], websocket_max_message_size=MAX_MESSAGE)
        sockets = bind_sockets(self.arguments.port, "127.0.0.1", backlog=1024)
        self._server = HTTPServer(app, ssl_options=self.arguments.server_context())
        self._server.add_sockets(sockets)
        return int(sockets[0].getsockname()[1])

    async def _pump(self, connection: Any, window: Any, counted: Callable[[int], None]) -> None:
        message, limit = self.message, self.arguments.messages
        count = 0
        try:
            while not limit or count < limit:
                burst = min(BATCH, limit - count) if limit else BATCH
                for _ in range(burst - 1):
                    connection.write_message(message, binary=True)
                await connection.write_message(message, binary=True)
                count += burst
                counted(count)
                await asyncio.sleep(0)
        except WebSocketClosedError:
            return
        if window is not None:
            window.close()

    # Servers

    async def serve_echo(self) -> int:
        class Echo(Handler):
            def on_message(self, message: Message) -> None:
                self.write_message(message or b"", binary=True)

        return await self._serve(Echo)

    async def serve_broadcast(self) -> int:
        everybody: Set[WebSocketHandler] = set()

        class Member(Handler):
            def open(self) -> None:
                everybody.add(self)

            def on_message(self, message: Message) -> None:
                for member in everybody:
                    member.write_message(message or b"", binary=True)

        return await self._serve(Member)

    async def serve_sink(self, report: Callable[[Window], None]) -> int:
        adapter = self

        class Sink(Handler):
            count = 0
            last: Message = b""

            def open(self) -> None:
                self.limit = adapter.arguments.messages or -1
                self.window = adapter.window(
                    lambda: self.count, lambda: check_number(self.last, self.count)
                )
                report(self.window)
                self.window.begin()

            def on_message(self, message: Message) -> None:
                self.last = message
                self.count += 1
                if self.count == self.limit:
                    self.window.close()

        return await self._serve(Sink)

    async def serve_source(self) -> int:
        adapter = self
        pumps: List[object] = []

        class Source(Handler):
            def open(self) -> None:
                pumps.append(spawn(adapter._pump(self, None, lambda count: None)))

        return await self._serve(Source)

    # Clients

    async def echo(self) -> Window:
        message, limit = self.message, self.arguments.messages or -1
        count = 0

        def on_message(reply: Message) -> None:
            nonlocal count
            if reply != message:
                fail("the echo is not what was sent")
            count += 1
            if count == limit:
                window.close()
                return
            connection.write_message(message, binary=True)

        connection = await self._connect(on_message)
        window = self.window(lambda: count)
        window.begin()
        for _ in range(self.arguments.window):
            connection.write_message(message, binary=True)
        await window.wait()
        return window

    async def sink(self) -> Window:
        count = 0
        limit = self.arguments.messages or -1
        last: Any = b""

        def on_message(message: Message) -> None:
            nonlocal count, last
            last = message
            count += 1
            if count == limit:
                window.close()

        window = self.window(lambda: count, lambda: check_number(last, count))
        connection = await self._connect(on_message)
        window.begin()
        await window.wait()
        connection.close()
        return window

    async def source(self) -> Window:
        sent = 0

        def counted(count: int) -> None:
            nonlocal sent
            sent = count

        connection = await self._connect()
        window = self.window(lambda: sent)
        window.begin()
        await self._pump(connection, window, counted)
        if not window.over:
            fail("the connection was closed early")
        return window

    async def open_and_close(self) -> None:
        closed = asyncio.get_running_loop().create_future()

        def on_message(message: Message) -> None:
            if message is None and not closed.done():
                closed.set_result(None)

        connection = await self._connect(on_message)
        connection.close()
        await closed

    async def open_idle(self) -> object:
        connection = await self._connect()
        await connection.write_message(self.message, binary=True)
        if await connection.read_message() != self.message:
            fail("the echo is not what was sent")
        return connection


if __name__ == "__main__":
    main(Tornado)
