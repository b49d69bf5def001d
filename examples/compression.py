"""permessage-deflate: a stream of quotes, plain and compressed, with and without context takeover.

    python examples/compression.py

The listener is the same for all three clients: it gets messages as they were before compression.
"""

from __future__ import annotations

import json
from typing import Optional

from picows_client import WSMessage, WSMessageListener, WSMsgType, ws_connect
from picows_server import WSListener, WSPermessageDeflate, WSTransport, ws_create_server

try:
    from uvloop import run
except ImportError:  # uvloop is optional: asyncio's own loop serves, too
    from asyncio import run  # type: ignore[assignment]

COUNT = 200


class Quotes(WSListener):
    """Sends a stream of JSON, then closes. Nothing in it knows whether it is compressed."""

    def on_ws_connected(self, transport: WSTransport) -> None:
        for number in range(COUNT):
            quote = {
                "symbol": "BTCUSDT",
                "bid": f"{60000 + number}.10",
                "ask": f"{60001 + number}.20",
            }
            transport.send(WSMsgType.TEXT, json.dumps(quote))
        transport.disconnect()


class Reader(WSMessageListener):
    """Counts messages and their bytes after inflating."""

    def __init__(self) -> None:
        self.count = 0
        self.size = 0

    def on_ws_message(self, transport: WSTransport, message: WSMessage) -> None:
        self.count += 1
        self.size += message.payload_size


async def read_all(url: str, compression: Optional[WSPermessageDeflate]) -> None:
    transport, reader = await ws_connect(url, Reader, compression=compression)
    await transport.wait_disconnected()
    agreed = transport.response.headers.get("Sec-WebSocket-Extensions", "no extension")
    print(f"{reader.count} messages, {reader.size} bytes of JSON, {agreed}")


async def main() -> None:
    # The server compresses for those who ask; each client chooses.
    compression = WSPermessageDeflate(min_size=32)
    async with ws_create_server("ws://127.0.0.1:0", Quotes, compression=compression) as server:
        url = f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        await read_all(url, None)
        await read_all(url, compression)
        await read_all(url, WSPermessageDeflate(server_no_context_takeover=True))


if __name__ == "__main__":
    run(main())
