"""A NATS server that reads slowly, or not at all."""

from __future__ import annotations

import asyncio
import socket
from contextlib import suppress
from typing import Any, List

from tests.support.receivers import until

__all__ = ["SlowNats"]


class SlowNats:
    """Speaks as much of NATS as a publisher needs; with ``stops`` it reads up to the next PING."""

    def __init__(self) -> None:
        self.messages = 0
        self.pings = 0
        self.stops = False
        self._may_read = asyncio.Event()
        self._serving: List[asyncio.Task[Any]] = []

    async def start(self) -> str:
        sock = socket.socket()
        # As little as possible fits into the connection.
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, 536)
        sock.bind(("127.0.0.1", 0))
        self._server = await asyncio.start_server(self._serve, sock=sock, limit=4096)
        return f"nats://127.0.0.1:{sock.getsockname()[1]}"

    async def read_to_ping(self) -> None:
        pings = self.pings
        self._may_read.set()
        await until(lambda: self.pings > pings)

    def resume(self) -> None:
        """Read without a stop."""
        self.stops = False
        self._may_read.set()

    async def refuse(self) -> None:
        """Complain, and break the connection."""
        self._writer.write(b"-ERR 'Slow Consumer'\r\n")
        await asyncio.sleep(0.01)
        self._writer.transport.abort()
        self.stops = False
        self._may_read.set()

    async def stop(self) -> None:
        self._server.close()
        self._may_read.set()
        await asyncio.gather(*self._serving)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._serving.append(task)
        self._writer = writer
        # uvloop's transports raise RuntimeError once they are closed.
        with suppress(ConnectionError, asyncio.IncompleteReadError, RuntimeError):
            await self._read(reader, writer)
        writer.close()

    async def _read(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b'INFO {"server_id":"x","version":"2.10.0","max_payload":1048576}\r\n')
        while True:
            words = (await reader.readline()).split()
            if not words:
                return
            if words[0] == b"PUB":
                await reader.readexactly(int(words[-1]) + 2)
                self.messages += 1
            elif words[0] == b"PING":
                self.pings += 1
                writer.write(b"PONG\r\n")
                if self.stops:
                    self._may_read.clear()
                    await self._may_read.wait()
