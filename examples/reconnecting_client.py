"""Reconnecting client: connects again after the server was away, without overloading it.

    python examples/reconnecting_client.py

The server in this program is restarted again and again; the client ends after ten messages.
"""

from __future__ import annotations

import asyncio
import random

from picows_client import (
    WSCloseCode,
    WSConnectionError,
    WSHandshakeError,
    WSMessage,
    WSMessageListener,
    WSMsgType,
    WSTransport,
    ws_connect,
)
from picows_server import WSListener, ws_create_server

try:
    from uvloop import run
except ImportError:  # uvloop is optional: asyncio's own loop serves, too
    from asyncio import run  # type: ignore[assignment]

# Seconds; for a service across the network use 1 and 60, for example.
FIRST_DELAY = 0.1
LONGEST_DELAY = 5.0


class Feed(WSMessageListener):
    """Counts messages over all connections: the same object listens to one after another."""

    def __init__(self, wanted: int) -> None:
        self.wanted = wanted
        self.received = 0

    def on_ws_message(self, transport: WSTransport, message: WSMessage) -> None:
        self.received += 1
        print(f"client: message {self.received}: {message.get_payload_as_utf8_text()}")
        if self.received == self.wanted:
            transport.disconnect()


async def follow(url: str, feed: Feed) -> None:
    delay = FIRST_DELAY
    while feed.received < feed.wanted:
        before = feed.received
        try:
            # Automatic pings notice a peer that vanished without a CLOSE frame.
            async with ws_connect(url, feed, enable_auto_ping=True, auto_ping_idle_timeout=5.0) as (
                transport,
                _,
            ):
                await transport.wait_disconnected()
            print(f"client: disconnected: {transport.disconnect_cause}")
        except (OSError, WSConnectionError, WSHandshakeError) as error:
            print(f"client: cannot connect: {error}")
        # Exponential back-off, which begins again after a connection that delivered messages. Its
        # random part keeps many clients from coming back at the same moment.
        delay = FIRST_DELAY if feed.received > before else min(2 * delay, LONGEST_DELAY)
        if feed.received < feed.wanted:
            await asyncio.sleep(delay * random.uniform(0.5, 1.0))


class Ticker(WSListener):
    """Sends four messages, then nothing."""

    def on_ws_connected(self, transport: WSTransport) -> None:
        for tick in range(1, 5):
            transport.send(WSMsgType.TEXT, f"tick {tick}")


async def serve_with_interruptions(url: str) -> None:
    while True:
        async with ws_create_server(url, Ticker) as server:
            await asyncio.sleep(0.3)
            server.close_clients(WSCloseCode.SERVICE_RESTART, "back in a moment")
        await asyncio.sleep(0.3)


async def main() -> None:
    server = await ws_create_server("ws://127.0.0.1:0", Ticker, start_serving=False)
    url = server.url  # with the port that was free
    server.close()
    serving = asyncio.create_task(serve_with_interruptions(url))
    try:
        await follow(url, Feed(wanted=10))
    finally:
        serving.cancel()
        await asyncio.wait([serving])


if __name__ == "__main__":
    try:
        run(main())
    except KeyboardInterrupt:
        print("Stopped")
