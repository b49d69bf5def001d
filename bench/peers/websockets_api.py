"""The API of websockets' asyncio implementation, which picows.websockets and we have, too."""

from __future__ import annotations

import asyncio
from typing import Any, Callable, Dict, List, Set, Type

from bench.peers.common import Adapter, Window, fail, spawn
from bench.peers.pacing import Pacer, send_when_due

__all__ = ["WebsocketsApi"]


class WebsocketsApi(Adapter):
    """Coroutines: ``async for`` and ``send``. A subclass says whose."""

    connect: Callable[..., Any]
    serve: Callable[..., Any]
    broadcast: Callable[..., object]
    connection_closed: Type[BaseException]

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._context = self.arguments.client_context()
        self._options: Dict[str, Any] = {"max_size": None, "ping_interval": None}
        if not self.arguments.deflate:
            self._options["compression"] = None

    def _connect(self) -> Any:
        return self.connect(self.arguments.url, ssl=self._context, proxy=None, **self._options)

    async def _serve(self, handler: Callable[[Any], Any]) -> int:
        self._server = await self.serve(
            handler,
            "127.0.0.1",
            self.arguments.port,
            ssl=self.arguments.server_context(),
            backlog=1024,
            **self._options,
        )
        return int(next(iter(self._server.sockets)).getsockname()[1])

    async def _pump(self, connection: Any, window: Any, counted: Callable[[int], None]) -> None:
        limit = self.arguments.messages
        count = 0
        try:
            for burst in self.bursts():
                some = burst[: limit - count] if limit else burst
                await self._send_all(connection, some)
                count += len(some)
                counted(count)
                # send() returns at once while the write buffer has room.
                await asyncio.sleep(0)
                if count == limit:
                    break
            if window is not None:
                window.close()
            await connection.wait_closed()
        except self.connection_closed:
            return

    async def _send_all(self, connection: Any, messages: List[Any]) -> None:
        for message in messages:
            await connection.send(message)

    async def _count(self, connection: Any, report: Callable[[Window], None]) -> Window:
        count = 0
        payload: Any = b""
        limit = self.arguments.messages or -1
        window = self.window(lambda: count, lambda: self.check(payload, count))
        report(window)
        window.begin()
        async for payload in connection:  # noqa: B007 - the window looks at it
            count += 1
            if count == limit:
                window.close()
        if not window.over:
            fail("the connection was closed early")
        return window

    # Servers

    async def serve_echo(self) -> int:
        async def echo(connection: Any) -> None:
            async for message in connection:
                await connection.send(message)

        return await self._serve(echo)

    async def serve_broadcast(self) -> int:
        everybody: Set[Any] = set()

        async def member(connection: Any) -> None:
            everybody.add(connection)
            async for message in connection:
                self.broadcast(everybody, message)

        return await self._serve(member)

    async def serve_sink(self, report: Callable[[Window], None]) -> int:
        async def sink(connection: Any) -> None:
            await self._count(connection, report)

        return await self._serve(sink)

    async def serve_source(self) -> int:
        async def source(connection: Any) -> None:
            await self._pump(connection, None, lambda count: None)

        return await self._serve(source)

    # Clients

    async def echo(self) -> Window:
        message, limit = self.message, self.arguments.messages or -1
        count = 0
        async with self._connect() as connection:
            window = self.window(lambda: count)
            window.begin()
            for _ in range(self.arguments.window):
                await connection.send(message)
            while not window.over:
                if await connection.recv() != message:
                    fail("the echo is not what was sent")
                count += 1
                if count == limit:
                    window.close()
                    break
                await connection.send(message)
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

        async with self._connect() as connection:
            window = self.window(lambda: sent)
            window.begin()
            await self._pump(connection, window, counted)
        if not window.over:
            fail("the connection was closed early")
        return window

    async def tail(self) -> Window:
        pacer = Pacer(self)

        async def receive() -> None:
            async for payload in connection:
                pacer.echoed(payload)

        connection = await self._connect()
        spawn(receive())
        spawn(send_when_due(pacer, connection.send))
        return await pacer.wait()

    async def open_and_close(self) -> None:
        async with self._connect():
            pass

    async def open_idle(self) -> object:
        connection = await self._connect()
        await connection.send(self.message)
        if await connection.recv() != self.message:
            fail("the echo is not what was sent")
        return connection
