"""UvicornProtocol over a transport that is only memory. Needs uvicorn."""

from __future__ import annotations

import asyncio
from typing import Any, Type

from picows_server.asgi import UvicornProtocol
from tests.support.asgi import MockTransport, uvicorn_config
from tests.support.rawclient import upgrade_request

__all__ = ["FullTransport", "Mock", "masked"]


def masked(opcode: int, payload: bytes) -> bytes:
    assert len(payload) < 126
    return bytes([0x80 | opcode, 0x80 | len(payload), 0, 0, 0, 0]) + payload


class Mock:
    """A protocol over a transport that is only memory."""

    def __init__(
        self,
        app: Any,
        protocol: Type[UvicornProtocol] = UvicornProtocol,
        *,
        is_secure: bool = False,
        transport: Any = None,
        **options: Any,
    ) -> None:
        from uvicorn.server import ServerState  # noqa: PLC0415

        options.setdefault("ws_ping_interval", None)
        self.config = uvicorn_config(app, **options)
        self.state = ServerState()
        self.state.default_headers = [(b"server", b"uvicorn")]
        self.protocol = protocol(config=self.config, server_state=self.state, app_state={"x": 1})
        self.transport = transport or MockTransport(is_secure=is_secure)
        self.protocol.connection_made(self.transport)

    async def open(self) -> None:
        self.protocol.data_received(upgrade_request())
        await self.settle()
        assert self.transport.take().startswith(b"HTTP/1.1 101 ")

    async def settle(self) -> None:
        for _ in range(10):
            await asyncio.sleep(0)

    async def cancel(self) -> None:
        """End a connection whose application does not."""
        for task in self.state.tasks:
            task.cancel()
        await self.end()

    async def end(self) -> None:
        self.protocol.connection_lost(None)
        while self.state.tasks:
            await asyncio.sleep(0)


class FullTransport(MockTransport):
    """What most transports have beyond that."""

    has_ended = False

    def write(self, data: Any) -> None:
        assert not self.has_ended
        super().write(data)

    def can_write_eof(self) -> bool:
        return True

    def write_eof(self) -> None:
        self.has_ended = True

    def is_reading(self) -> bool:
        return True

    def get_write_buffer_size(self) -> int:
        return 0

    def set_write_buffer_limits(self, high: int, low: int) -> None:
        pass

    def abort(self) -> None:
        self.close()
