"""websockets: its asyncio implementation, without compression."""

from __future__ import annotations

import asyncio
from typing import Any, Callable, Dict, Set

from websockets.asyncio.client import connect
from websockets.asyncio.server import ServerConnection, broadcast, serve
from websockets.exceptions import ConnectionClosed

from bench.peers.common import BATCH, Adapter, Window, check_number, fail, main

__all__ = ["Websockets"]

OPTIONS: Dict[str, Any] = {"compression": None, "max_size": None, "ping_interval": None}


class Websockets(Adapter):
    """Coroutines: ``recv`` and ``send``."""

    distributions = ("websockets", "uvloop")

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._context = self.arguments.client_context()

    def _connect(self) -> Any:
        return connect(self.arguments.url, ssl=self._context, proxy=None, **OPTIONS)

    async def _serve(self, handler: Callable[[ServerConnection], Any]) -> int:
        self._server = await serve(
            handler,
            "127.0.0.1",
            self.arguments.port,
            ssl=self.arguments.server_context(),
            backlog=1024,
            **OPTIONS,
        )
        return int(next(iter(self._server.sockets)).getsockname()[1])

    async def _pump(self, connection: Any, window: Any, counted: Callable[[int], None]) -> None:
        message, limit = self.message, self.arguments.messages
        count = 0
        try:
            while not limit or count < limit:
                for _ in range(min(BATCH, limit - count) if limit else BATCH):
                    await connection.send(message)
                    count += 1
                counted(count)
                # send() returns at once while the write buffer has room.
                await asyncio.sleep(0)
            if window is not None:
                window.close()
            await connection.wait_closed()
        except ConnectionClosed:
            return

    async def _count(self, connection: Any, report: Callable[[Window], None]) -> Window:
        count = 0
        payload = b""
        limit = self.arguments.messages or -1
        window = self.window(lambda: count, lambda: check_number(payload, count))
        report(window)
        window.begin()
        try:
            while not window.over:
                payload = await connection.recv(decode=None)
                count += 1
                if count == limit:
                    window.close()
        except ConnectionClosed:
            if not window.over:
                fail("the connection was closed early")
        return window

    # Servers

    async def serve_echo(self) -> int:
        async def echo(connection: ServerConnection) -> None:
            async for message in connection:
                await connection.send(message)

        return await self._serve(echo)

    async def serve_broadcast(self) -> int:
        everybody: Set[ServerConnection] = set()

        async def member(connection: ServerConnection) -> None:
            everybody.add(connection)
            async for message in connection:
                broadcast(everybody, message)

        return await self._serve(member)

    async def serve_sink(self, report: Callable[[Window], None]) -> int:
        async def sink(connection: ServerConnection) -> None:
            await self._count(connection, report)

        return await self._serve(sink)

    async def serve_source(self) -> int:
        async def source(connection: ServerConnection) -> None:
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
                if await connection.recv(decode=None) != message:
                    fail("the echo is not what was sent")
                count += 1
                if count == limit:
                    window.close()
                    break
                await connection.send(message)
            return window

    async def sink(self) -> Window:
        connection = await self._connect()
        return await self._count(connection, lambda window: None)

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
        if await connection.recv(decode=None) != self.message:
            fail("the echo is not what was sent")
        return connection


if __name__ == "__main__":
    main(Websockets)
