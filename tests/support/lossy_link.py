"""A way from gateways to their engine on which messages can be lost."""

from __future__ import annotations

import asyncio
import re
from typing import Any, List, Optional

from tests.support.engines import Engine

__all__ = ["LossyLink"]

# Of a message as it comes to a subscriber, all that is before its payload; then the payload's size.
_NATS = re.compile(rb"MSG \S+ \S+ (\d+)\r\n")
_REDIS = re.compile(rb"\*3\r\n\$7\r\nmessage\r\n\$\d+\r\n\S+\r\n\$(\d+)\r\n")


class LossyLink:
    """Listens on a port of its own and passes everything on, but for messages that it loses.

    A message is expected to come in one piece: it has to be small.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._message = _NATS if engine.name == "nats" else _REDIS
        self._server: Optional[asyncio.AbstractServer] = None
        self._connections: List[asyncio.Future[Any]] = []
        #: What is in those that are lost.
        self.loses = b""
        self.lost = 0

    async def start(self) -> str:
        """Return the URL to use in place of the engine's."""
        self._server = server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        return self._engine.url.replace(f":{self._engine.port}", f":{port}")

    async def stop(self) -> None:
        """Accept no more, and wait for the connections to end with those who made them."""
        assert self._server is not None
        self._server.close()
        await asyncio.gather(*self._connections)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._connections.append(asyncio.ensure_future(self._serve(reader, writer)))

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        from_engine, to_engine = await asyncio.open_connection("127.0.0.1", self._engine.port)
        await asyncio.gather(
            self._pass_on(from_engine, writer, is_lossy=True), self._pass_on(reader, to_engine)
        )
        await writer.wait_closed()
        await to_engine.wait_closed()

    async def _pass_on(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        *,
        is_lossy: bool = False,
    ) -> None:
        while True:
            data = await reader.read(65536)
            if not data:
                writer.close()
                return
            writer.write(self._without_lost(data) if is_lossy else data)

    def _without_lost(self, data: bytes) -> bytes:
        kept, start = [], 0
        for head in self._message.finditer(data):
            end = head.end() + int(head[1]) + 2
            if self.loses and self.loses in data[head.end() : end]:
                kept.append(data[start : head.start()])
                start = end
                self.lost += 1
        return b"".join((*kept, data[start:]))
