"""A server with a compiled listener, and a client in Python that talks to it.

    pip install ./examples/compiled_listener
    python examples/compiled_listener/run.py

Pass the listener class to picows_server like a class in Python.
"""

from __future__ import annotations

from compiled_listener import EchoListener

from picows_client import WSFrame, WSListener, WSMsgType, WSTransport, ws_connect
from picows_server import ws_create_server

try:
    from uvloop import run
except ImportError:  # uvloop is optional: asyncio's own loop serves, too
    from asyncio import run  # type: ignore[assignment]


class Client(WSListener):
    def on_ws_connected(self, transport: WSTransport) -> None:
        transport.send(WSMsgType.TEXT, "no Python on the other side")

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        if frame.opcode is WSMsgType.TEXT:
            print(f"Echo reply: {frame.get_payload_as_utf8_text()}")
            transport.disconnect()


async def main() -> None:
    async with ws_create_server("ws://127.0.0.1:0", EchoListener) as server, ws_connect(
        server.url, Client
    ) as (transport, _):
        await transport.wait_disconnected()


if __name__ == "__main__":
    run(main())
