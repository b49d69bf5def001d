"""Echo client: sends messages, prints what comes back, and measures the way there and back.

    python examples/echo_client.py [URL [MESSAGE ...]]  (default: ws://127.0.0.1:9001 "Hello world")

Start examples/echo_server.py first.
"""

from __future__ import annotations

import asyncio
import sys
from typing import Sequence

from picows_client import WSMessage, WSMessageListener, WSMsgType, WSTransport, ws_connect

try:
    from uvloop import run
except ImportError:  # uvloop is optional: asyncio's own loop serves, too
    from asyncio import run  # type: ignore[assignment]


class EchoClient(WSMessageListener):
    """Callbacks on one side, a queue for coroutines on the other."""

    def __init__(self) -> None:
        self.replies: asyncio.Queue[str] = asyncio.Queue()

    def on_ws_message(self, transport: WSTransport, message: WSMessage) -> None:
        self.replies.put_nowait(message.get_payload_as_utf8_text())


async def main(url: str, messages: Sequence[str]) -> None:
    async with ws_connect(url, EchoClient) as (transport, client):
        for message in messages:
            transport.send(WSMsgType.TEXT, message)
            reply = await asyncio.wait_for(client.replies.get(), timeout=5)
            print(f"Echo reply: {reply}")
        best = min(await transport.measure_roundtrip_time(rounds=5))
        print(f"Fastest of five pings: {best * 1e6:.0f} microseconds")


if __name__ == "__main__":
    url = sys.argv[1] if len(sys.argv) > 1 else "ws://127.0.0.1:9001"
    try:
        run(main(url, sys.argv[2:] or ["Hello world"]))
    except OSError as error:
        sys.exit(f"No answer from {url}: {error}. Is examples/echo_server.py running?")
