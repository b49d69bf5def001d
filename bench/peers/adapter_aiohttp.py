"""aiohttp: client session and web server, without access log and heartbeat."""

from __future__ import annotations

import asyncio
from importlib import import_module
from typing import Any, Callable, List, Set, Union

from aiohttp import (
    ClientSession,
    ClientWebSocketResponse,
    TCPConnector,
    WSMsgType,
    set_zlib_backend,
    web,
)

from bench.peers.common import Adapter, Window, fail, main, spawn
from bench.peers.pacing import Pacer, send_when_due

__all__ = ["Aiohttp"]

ENGINES = {"isal": "isal.isal_zlib", "zlib-ng": "zlib_ng.zlib_ng"}
LARGEST_WINDOW = 15  # bits, aiohttp's own value wherever it compresses

Connection = Union[ClientWebSocketResponse, web.WebSocketResponse]


class Aiohttp(Adapter):
    """Coroutines: ``async for``, and ``send_str`` or ``send_bytes``."""

    distributions = ("aiohttp", "uvloop", "multidict")

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._context = self.arguments.client_context()
        self._session: Any = None
        if self.arguments.engine in ENGINES:
            set_zlib_backend(import_module(ENGINES[self.arguments.engine]))

    async def _connect(self) -> ClientWebSocketResponse:
        if self._session is None:
            self._session = ClientSession(
                connector=TCPConnector(limit=0, ssl=self._context or True)
            )
        websocket: ClientWebSocketResponse = await self._session.ws_connect(
            self.arguments.url,
            max_msg_size=0,
            compress=LARGEST_WINDOW if self.arguments.deflate else 0,
        )
        return websocket

    async def _serve(self, handler: Callable[[web.WebSocketResponse], Any]) -> int:
        async def upgrade(request: web.Request) -> web.WebSocketResponse:
            websocket = web.WebSocketResponse(compress=self.arguments.deflate, max_msg_size=0)
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
        limit = self.arguments.messages
        count = 0
        send: Callable[[Any], Any] = websocket.send_str if self.texts else websocket.send_bytes
        # CLOSE frames are only seen by whoever receives.
        reading = asyncio.ensure_future(websocket.receive())
        for burst in self.bursts():
            some = burst[: limit - count] if limit else burst
            for message in some:
                await send(message)
            count += len(some)
            counted(count)
            await asyncio.sleep(0)
            if reading.done() or count == limit:
                break
        if window is not None and limit:
            window.close()
        await reading

    async def _count(self, websocket: Connection, report: Callable[[Window], None]) -> Window:
        count = 0
        payload: Any = b""
        limit = self.arguments.messages or -1
        wanted = WSMsgType.TEXT if self.texts else WSMsgType.BINARY
        window = self.window(lambda: count, lambda: self.check(payload, count))
        report(window)
        window.begin()
        async for message in websocket:
            if message.type is not wanted:
                fail(f"unexpected: {message!r}")
            payload = message.data
            count += 1
            if count == limit:
                window.close()
        if not window.over:
            fail("the connection was closed early")
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
                is_text = message.type is WSMsgType.TEXT
                for one in everybody:
                    await (one.send_str if is_text else one.send_bytes)(message.data)

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
        windows: List[Window] = []
        connection = await self._connect()
        spawn(self._count(connection, windows.append))
        await asyncio.sleep(0)
        await windows[0].wait()
        return windows[0]

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

    async def tail(self) -> Window:
        pacer = Pacer(self)

        async def receive() -> None:
            async for message in websocket:
                pacer.echoed(message.data)

        websocket = await self._connect()
        spawn(receive())
        spawn(send_when_due(pacer, websocket.send_bytes))
        return await pacer.wait()

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
