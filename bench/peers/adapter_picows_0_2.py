"""picows 0.2.1: an early release, to show the progress since then."""

from __future__ import annotations

from typing import Any, Callable

from picows import WSListener, WSMsgType, ws_connect, ws_create_server

from bench.peers.common import Adapter, Window, main
from bench.peers.listeners import (
    new_echo_client,
    new_server_source,
    new_sink,
    new_source,
    play_echo,
    play_source,
)

__all__ = ["EarlyPicows"]

BINARY = WSMsgType.BINARY


class Echo(WSListener):  # type: ignore[misc]
    """Sends frames back as views of the receive buffer."""

    def on_ws_frame(self, transport: Any, frame: Any) -> None:
        transport.send(frame.opcode, frame.get_payload_as_memoryview())


class Peer(WSListener):  # type: ignore[misc]
    """Ends the connection on what it takes for a CLOSE frame: a source gets no other."""

    def on_ws_frame(self, transport: Any, frame: Any) -> None:
        transport.disconnect()


class EarlyPicows(Adapter):
    """Echo and streams; its server wants a port and has no closing handshake."""

    distributions = ("picows", "uvloop")

    def _connect(self, factory: Callable[[], Any]) -> Any:
        return ws_connect(self.arguments.url, factory, "client", self.arguments.client_context())

    async def _serve(self, factory: Callable[[], Any]) -> int:
        self._server = await ws_create_server(
            self.arguments.url, factory, "server", self.arguments.server_context()
        )
        await self._server.start_serving()
        return int(self._server.sockets[0].getsockname()[1])

    # Servers

    async def serve_echo(self) -> int:
        return await self._serve(Echo)

    async def serve_sink(self, report: Callable[[Window], None]) -> int:
        def factory() -> Any:
            sink = new_sink(WSListener, self)()
            sink.window = self.window(lambda: sink.count, sink.check)
            report(sink.window)
            return sink

        return await self._serve(factory)

    async def serve_source(self) -> int:
        return await self._serve(new_server_source(Peer, BINARY, self))

    # Clients

    async def echo(self) -> Window:
        transport, listener = await self._connect(
            new_echo_client(WSListener, BINARY, self.message, self.arguments.messages)
        )
        return await play_echo(transport, listener, BINARY, self)

    async def sink(self) -> Window:
        sink = new_sink(WSListener, self)()
        sink.window = self.window(lambda: sink.count, sink.check)
        await self._connect(lambda: sink)
        await sink.window.wait()
        window: Window = sink.window
        return window

    async def source(self) -> Window:
        transport, listener = await self._connect(new_source(Peer))
        return await play_source(transport, listener, BINARY, self)


if __name__ == "__main__":
    main(EarlyPicows)
