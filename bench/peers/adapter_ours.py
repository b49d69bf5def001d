"""picows_client and picows_server: the wheels of this repository."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Callable, Type

from bench.peers.adapter_ours_coroutine import OursCoroutine
from bench.peers.common import Adapter, Window, main
from bench.peers.listeners import (
    new_batch_sink,
    new_broadcast_listener,
    new_echo_client,
    new_idle_client,
    new_server_source,
    new_sink,
    new_source,
    new_text_sink,
    play_echo,
    play_source,
    play_tail,
    send_to_each,
)
from bench.peers.ours_options import options_of
from bench.peers.pacing import Pacer

if TYPE_CHECKING:
    from picows_server import WSServer

__all__ = ["Ours"]


class Ours(Adapter):
    """A client imports the client's wheel only, a server the server's."""

    distributions = (
        "picows-codec",
        "picows-client",
        "picows-server",
        "uvloop",
        "aiofastnet",
        "multidict",
    )

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._options = options_of(self.arguments)

    def _connect(self, factory: Callable[[], Any]) -> Any:
        from picows_client import ws_connect

        context = self._client_context()
        return ws_connect(self.arguments.url, factory, ssl_context=context, **self._options)

    def _client_context(self) -> Any:
        if not hasattr(self, "_context"):
            self._context = self.arguments.client_context()
        return self._context

    async def _serve(self, factory: Callable[[], Any]) -> int:
        from picows_server import ws_create_server

        self._server: WSServer = await ws_create_server(
            self.arguments.url,
            factory,
            ssl_context=self.arguments.server_context(),
            **self._options,
        )
        return int(self._server.sockets[0].getsockname()[1])

    def _new_sink(self, base: Type[Any]) -> Any:
        if self.arguments.listener == "compiled":
            from ours_listener import Sink

            return Sink(self.arguments.messages)
        if self.arguments.listener == "batch":
            from picows_codec import WSBatchListener

            return new_batch_sink(WSBatchListener, self)()
        return (new_text_sink if self.texts else new_sink)(base, self)()

    def _opcode(self, enum: Any) -> Any:
        return enum.TEXT if self.texts else enum.BINARY

    # Servers

    async def serve_echo(self) -> int:
        if self.arguments.listener == "compiled":
            from ours_listener import Echo

            return await self._serve(Echo)
        from picows_server import WSFrame, WSListener, WSMsgType, WSTransport

        binary = WSMsgType.BINARY

        class Echo(WSListener):  # type: ignore[no-redef]
            def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
                if frame.opcode is binary:
                    transport.send(binary, frame)

        return await self._serve(Echo)

    async def serve_broadcast(self) -> int:
        from picows_server import WSListener, WSMsgType

        if self.arguments.listener == "batch":
            from picows_server import broadcast

            return await self._serve(new_broadcast_listener(WSListener, broadcast))
        opcode = self._opcode(WSMsgType)
        send_to_all = send_to_each(lambda member, frame: member.send(opcode, frame))
        return await self._serve(new_broadcast_listener(WSListener, send_to_all))

    async def serve_sink(self, report: Callable[[Window], None]) -> int:
        from picows_server import WSListener

        def factory() -> Any:
            sink = self._new_sink(WSListener)
            sink.window = self.window(lambda: sink.count, sink.check)
            report(sink.window)
            return sink

        return await self._serve(factory)

    async def serve_source(self) -> int:
        from picows_server import WSListener, WSMsgType

        return await self._serve(new_server_source(WSListener, self._opcode(WSMsgType), self))

    # Clients

    async def echo(self) -> Window:
        from picows_client import WSListener, WSMsgType

        transport, listener = await self._connect(
            new_echo_client(WSListener, WSMsgType.BINARY, self.message, self.arguments.messages)
        )
        return await play_echo(transport, listener, WSMsgType.BINARY, self)

    async def sink(self) -> Window:
        from picows_client import WSListener

        sink = self._new_sink(WSListener)
        sink.window = self.window(lambda: sink.count, sink.check)
        await self._connect(lambda: sink)
        await sink.window.wait()
        return sink.window

    async def source(self) -> Window:
        from picows_client import WSListener, WSMsgType

        transport, listener = await self._connect(new_source(WSListener))
        return await play_source(transport, listener, self._opcode(WSMsgType), self)

    async def tail(self) -> Window:
        from picows_client import WSListener, WSMsgType

        return await play_tail(self._connect, WSListener, WSMsgType.BINARY, Pacer(self))

    async def open_and_close(self) -> None:
        from picows_client import WSListener

        transport, _ = await self._connect(WSListener)
        transport.disconnect()
        await transport.wait_disconnected()

    async def open_idle(self) -> object:
        from picows_client import WSListener, WSMsgType

        transport, listener = await self._connect(
            new_idle_client(WSListener, WSMsgType.BINARY, self.message)
        )
        await listener.echoed
        return transport


if __name__ == "__main__":
    main(Ours, {"coroutine": OursCoroutine, "many": OursCoroutine})
