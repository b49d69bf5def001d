"""The quick start's client; prints the reply that it gets from the URL on its command line."""

from __future__ import annotations

import asyncio
import sys

from picows_client import WSFrame, WSListener, WSMsgType, WSTransport, ws_connect


class ClientListener(WSListener):
    def on_ws_connected(self, transport: WSTransport) -> None:
        transport.send(WSMsgType.TEXT, b"Hello world")

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        print(f"Echo reply: {frame.get_payload_as_ascii_text()}")
        transport.disconnect()


async def main(endpoint: str) -> None:
    async with ws_connect(endpoint, ClientListener, "client") as (transport, _):
        await transport.wait_disconnected()


asyncio.run(main(sys.argv[1]))
