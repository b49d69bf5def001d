"""picows 2: its core API, with aiofastnet."""

from __future__ import annotations

from typing import Any, Callable

from picows import WSListener, WSMsgType, ws_connect, ws_create_server

from bench.peers.common import PATIENCE, Adapter, Window, main
from bench.peers.listeners import (
    new_broadcast_listener,
    new_echo_client,
    new_idle_client,
    new_server_source,
    new_sink,
    new_source,
    play_echo,
    play_source,
    play_tail,
    send_to_each,
)
from bench.peers.pacing import Pacer

__all__ = ["Picows"]

BINARY = WSMsgType.BINARY
CLOSE = WSMsgType.CLOSE


class Server(WSListener):  # type: ignore[misc]
    """Completes the closing handshake, which picows leaves to its user."""

    def on_ws_frame(self, transport: Any, frame: Any) -> None:
        if frame.msg_type == CLOSE:
            transport.send_close(frame.get_close_code(), frame.get_close_message())
            transport.disconnect()


class Echo(WSListener):  # type: ignore[misc]
    """The echo server of picows' own documentation."""

    def on_ws_frame(self, transport: Any, frame: Any) -> None:
        if frame.msg_type == CLOSE:
            transport.send_close(frame.get_close_code(), frame.get_close_message())
            transport.disconnect()
        else:
            transport.send(frame.msg_type, frame.get_payload_as_memoryview())


class OpenAndClose(WSListener):  # type: ignore[misc]
    """Starts the closing handshake and waits for the peer's CLOSE frame."""

    def on_ws_connected(self, transport: Any) -> None:
        transport.send_close()

    def on_ws_frame(self, transport: Any, frame: Any) -> None:
        if frame.msg_type == CLOSE:
            transport.disconnect()


class Picows(Adapter):
    """Listener callbacks; the echo server sends memoryviews, as documented."""

    distributions = ("picows", "aiofastnet", "uvloop", "multidict")

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._context = self.arguments.client_context()

    def _connect(self, factory: Callable[[], Any]) -> Any:
        options = {"websocket_handshake_timeout": PATIENCE} if self.arguments.messages else {}
        return ws_connect(factory, self.arguments.url, ssl_context=self._context, **options)

    async def _serve(self, factory: Callable[[Any], Any]) -> int:
        self._server = await ws_create_server(
            factory,
            "127.0.0.1",
            self.arguments.port,
            ssl=self.arguments.server_context(),
            backlog=1024,
        )
        return int(self._server.sockets[0].getsockname()[1])

    def _new_sink(self) -> Any:
        if self.arguments.listener == "compiled":
            from picows_listener import Sink

            return Sink(self.arguments.messages)
        return new_sink(WSListener, self)()

    # Servers

    async def serve_echo(self) -> int:
        if self.arguments.listener == "compiled":
            from picows_listener import Echo as CompiledEcho

            return await self._serve(lambda request: CompiledEcho())
        return await self._serve(lambda request: Echo())

    async def serve_broadcast(self) -> int:
        member = new_broadcast_listener(
            WSListener,
            send_to_each(
                lambda member, frame: member.send(BINARY, frame.get_payload_as_memoryview())
            ),
        )
        return await self._serve(lambda request: member())

    async def serve_sink(self, report: Callable[[Window], None]) -> int:
        def make() -> Any:
            sink = self._new_sink()
            sink.window = self.window(lambda: sink.count, sink.check)
            report(sink.window)
            return sink

        return await self._serve(lambda request: make())

    async def serve_source(self) -> int:
        source = new_server_source(Server, BINARY, self)
        return await self._serve(lambda request: source())

    # Clients

    async def echo(self) -> Window:
        transport, listener = await self._connect(
            new_echo_client(WSListener, BINARY, self.message, self.arguments.messages)
        )
        return await play_echo(transport, listener, BINARY, self)

    async def sink(self) -> Window:
        sink = self._new_sink()
        sink.window = self.window(lambda: sink.count, sink.check)
        await self._connect(lambda: sink)
        await sink.window.wait()
        window: Window = sink.window
        return window

    async def source(self) -> Window:
        transport, listener = await self._connect(new_source(Server))
        return await play_source(transport, listener, BINARY, self)

    async def tail(self) -> Window:
        return await play_tail(self._connect, WSListener, BINARY, Pacer(self))

    async def open_and_close(self) -> None:
        transport, _ = await self._connect(OpenAndClose)
        await transport.wait_disconnected()

    async def open_idle(self) -> object:
        transport, listener = await self._connect(new_idle_client(WSListener, BINARY, self.message))
        await listener.echoed
        return transport


if __name__ == "__main__":
    main(Picows)
