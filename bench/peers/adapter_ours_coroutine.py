"""Our coroutine connections: ``connect`` and ``serve``."""

from __future__ import annotations

import asyncio
from typing import Any, Callable, List, Set

from bench.peers.common import Adapter, Window, fail, spawn
from bench.peers.ours_options import options_of

__all__ = ["OursCoroutine"]


class OursCoroutine(Adapter):
    """``async for`` and ``send``; with the listener "many", ``recv_many`` and ``send_many``."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._options = options_of(self.arguments)
        self._context = self.arguments.client_context()
        self._takes_many = self.arguments.listener == "many"

    def _connect(self) -> Any:
        from picows_client import connect

        return connect(self.arguments.url, ssl_context=self._context, **self._options)

    async def _serve(self, handler: Callable[[Any], Any]) -> int:
        from picows_server import serve

        self._server: Any = await serve(
            handler,
            self.arguments.url,
            ssl_context=self.arguments.server_context(),
            **self._options,
        )
        return int(self._server.sockets[0].getsockname()[1])

    async def _pump(self, connection: Any, window: Any, counted: Callable[[int], None]) -> None:
        from picows_codec import WSConnectionClosed

        limit = self.arguments.messages
        count = 0
        try:
            for burst in self.bursts():
                some = burst[: limit - count] if limit else burst
                if self._takes_many:
                    await connection.send_many(some)
                else:
                    for message in some:
                        await connection.send(message)
                count += len(some)
                counted(count)
                # send() returns at once while the write buffer has room.
                await asyncio.sleep(0)
                if count == limit:
                    break
        except WSConnectionClosed:
            return
        if window is not None:
            window.close()
        await connection.wait_closed()

    async def _count(self, connection: Any, report: Callable[[Window], None]) -> Window:
        count = 0
        payload: Any = b""
        limit = self.arguments.messages or -1
        window = self.window(lambda: count, lambda: self.check(payload, count))
        report(window)
        window.begin()
        if self._takes_many:
            while not window.over:
                some: List[Any] = await connection.recv_many()
                payload = some[-1]
                count += len(some)
                if count == limit:
                    window.close()
        else:
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
        from picows_server import broadcast

        everybody: Set[Any] = set()

        async def member(connection: Any) -> None:
            everybody.add(connection)
            async for message in connection:
                broadcast(everybody, message)
            everybody.discard(connection)

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

    async def open_and_close(self) -> None:
        async with self._connect():
            pass

    async def open_idle(self) -> object:
        connection = await self._connect()
        await connection.send(self.message)
        if await connection.recv() != self.message:
            fail("the echo is not what was sent")
        return connection
