"""Gzip in BINARY frames, as some exchanges send JSON: inflated in place, up to a limit.

    python examples/gzip_frames.py

This is the exchange's own format. It has nothing to do with permessage-deflate (compression.py).
"""

from __future__ import annotations

import gzip
import json
import zlib
from typing import Any

from picows_client import (
    WSCloseCode,
    WSMessage,
    WSMessageListener,
    WSMsgType,
    WSTransport,
    ws_connect,
)
from picows_server import WSConnection, serve

try:
    from uvloop import run
except ImportError:  # uvloop is optional: asyncio's own loop serves, too
    from asyncio import run  # type: ignore[assignment]

MAX_SIZE = 1 << 20  # bytes of JSON; a kilobyte of gzip may hold a megabyte


def inflate(message: WSMessage) -> bytes:
    decompressor = zlib.decompressobj(wbits=31)  # a gzip header, the largest window
    data = decompressor.decompress(message, MAX_SIZE)
    if not decompressor.eof:
        raise ValueError(f"more than {MAX_SIZE} bytes, or cut off")
    return data


class Feed(WSMessageListener):
    def on_ws_message(self, transport: WSTransport, message: WSMessage) -> None:
        if message.opcode is not WSMsgType.BINARY:
            return
        try:
            event = json.loads(inflate(message))
        except (zlib.error, ValueError) as error:
            transport.disconnect(code=WSCloseCode.INVALID_PAYLOAD_DATA, reason=str(error))
            return
        if "ping" in event:
            # These exchanges want a reply of their own form, as TEXT and not compressed.
            transport.send(WSMsgType.TEXT, json.dumps({"pong": event["ping"]}))
        else:
            print(f"{message.payload_size} bytes of gzip: {len(event['bids'])} bids")


async def serve_gzip(ws: WSConnection) -> None:
    """The server's end."""

    async def send(event: Any) -> None:
        await ws.send(gzip.compress(json.dumps(event).encode()))

    await send({"ping": 1700000000000})
    print(f"server: the client replies {await ws.recv()}")
    await send({"bids": [[100 - level / 2, level] for level in range(100)]})
    await ws.send(gzip.compress(bytes(8 * MAX_SIZE)))  # a bomb
    await ws.wait_closed()


async def main() -> None:
    async with serve(serve_gzip, "ws://127.0.0.1:0") as server:
        transport, _ = await ws_connect(server.url, Feed)
        await transport.wait_disconnected()
        print(f"The end: {transport.disconnect_cause}")


if __name__ == "__main__":
    run(main())
