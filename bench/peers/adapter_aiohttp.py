"""aiohttp: client session and web server, without compression, access log and heartbeat."""

from __future__ import annotations

import asyncio
from typing import Any, Callable, Set, Union

from aiohttp import ClientSession, ClientWebSocketResponse, TCPConnector, WSMsgType, web

from bench.peers.common import BATCH, Adapter, Window, check_number, fail, main

__all__ = ["Aiohttp"]

Connection = Union[ClientWebSocketResponse, web.WebSocketResponse]


class Aiohttp(Adapter):
    """Coroutines: ``receive`` and ``send_bytes``."""

    distributions = ("aiohttp", "uvloop", "multidict")

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._context = self.arguments.client_context()
        self._session: Any = None

    async def _connect(self) -> ClientWebSocketResponse:
        if self._session is None:
            self._session = ClientSession(
                connector=TCPConnector(limit=0, ssl=self._context or True)
            )
        websocket: ClientWebSocketResponse = await self._session.ws_connect(
            self.arguments.url, max_msg_size=0, compress=0
        )
        return websocket

    async def _serve(self, handler: Callable[[web.WebSocketResponse], Any]) -> int:
        async def upgrade(request: web.Request) -> web.WebSocketResponse:
            websocket = web.WebSocketResponse(compress=False, max_msg_size=0)
            await websocket.prepare(request)
            await handler(websocket)
            return websocket

        app = web.Application()
        app.router.add_get("/", upgrade)
        self._runner = web.AppRunner(app, access_log=None)
        await self._runner.setup()
        await web.TCPSite(
            self._runner,
            "127.0.0.1",
            self.arguments.port,
            ssl_context=self.arguments.server_context(),
            backlog=1024,
        ).start()
        return int(self._runner.addresses[0][1])

    async def _pump(
        self, websocket: Connection, window: Any, counted: Callable[[int], None]
    ) -> None:
        message, limit = self.message, self.arguments.messages
        count = 0
        # CLOSE frames are only seen by whoever receives.
        reading = asyncio.ensure_future(websocket.receive())
        while not reading.done() and (not limit or count < limit):
            for _ in range(min(BATCH, limit - count) if limit else BATCH):
                await websocket.send_bytes(message)
                count += 1
            counted(count)
            await asyncio.sleep(0)
        if window is not None and limit:
            window.close()
        await reading

    async def _count(self, websocket: Connection, report: Callable[[Window], None]) -> Window:
        count = 0
        payload = b""
        limit = self.arguments.messages or -1
        window = self.window(lambda: count, lambda: check_number(payload, count))
        report(window)
        window.begin()
        while not window.over:
            message = await websocket.receive()
            if message.type is not WSMsgType.BINARY:
                fail(f"unexpected: {message!r}")
            payload = message.data
            count += 1
            if count == limit:
                window.close()
        return window

    # Servers

    async def serve_echo(self) -> int:
        async def echo(websocket: web.WebSocketResponse) -> None:
            async for message in websocket:
                await websocket.send_bytes(message.data)

        return await self._serve(echo)

    async def serve_broadcast(self) -> int:
        everybody: Set[web.WebSocketResponse] = set()

        async def member(websocket: web.WebSocketResponse) -> None:
            everybody.add(websocket)
            async for message in websocket:
                for one in everybody:
                    await one.send_bytes(message.data)

        return await self._serve(member)

    async def serve_sink(self, report: Callable[[Window], None]) -> int:
        async def sink(websocket: web.WebSocketResponse) -> None:
            await self._count(websocket, report)

        return await self._serve(sink)

    async def serve_source(self) -> int:
        async def source(websocket: web.WebSocketResponse) -> None:
            await self._pump(websocket, None, lambda count: None)

        return await self._serve(source)

    # Clients

    async def echo(self) -> Window:
        message, limit = self.message, self.arguments.messages or -1
        count = 0
        websocket = await self._connect()
        window = self.window(lambda: count)
        window.begin()
        for _ in range(self.arguments.window):
            await websocket.send_bytes(message)
        while not window.over:
            reply = await websocket.receive()
            if reply.data != message:
                fail("the echo is not what was sent")
            count += 1
            if count == limit:
                window.close()
                break
            await websocket.send_bytes(message)
        return window

    async def sink(self) -> Window:
        return await self._count(await self._connect(), lambda window: None)

    async def source(self) -> Window:
        sent = 0

        def counted(count: int) -> None:
            nonlocal sent
            sent = count

        websocket = await self._connect()
        window = self.window(lambda: sent)
        window.begin()
        await self._pump(websocket, window, counted)
        if not window.over:
            fail("the connection was closed early")
        return window

    async def open_and_close(self) -> None:
        websocket = await self._connect()
        await websocket.close()

    async def open_idle(self) -> object:
        websocket = await self._connect()
        await websocket.send_bytes(self.message)
        if (await websocket.receive()).data != self.message:
            fail("the echo is not what was sent")
        return websocket


if __name__ == "__main__":
    main(Aiohttp)
