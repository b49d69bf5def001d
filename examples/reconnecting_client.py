"""Reconnecting client: one feed over many connections.

    python examples/reconnecting_client.py

The server in this program is restarted again and again; the client ends after ten messages.
"""

from __future__ import annotations

import asyncio

from picows_client import (
    WSBackoff,
    WSCloseCode,
    WSLink,
    WSLinkState,
    WSMessage,
    WSMessageListener,
    WSMsgType,
    WSTransport,
    ws_keep_connected,
)
from picows_server import WSListener, ws_create_server

try:
    from uvloop import run
except ImportError:  # uvloop is optional: asyncio's own loop serves, too
    from asyncio import run  # type: ignore[assignment]


class Feed(WSMessageListener):
    """Counts messages over all connections: the same object listens to one after another."""

    def __init__(self, wanted: int) -> None:
        self.wanted = wanted
        self.received = 0
        self.is_complete = asyncio.Event()

    def on_ws_connected(self, transport: WSTransport) -> None:
        # Each connection begins here: nothing that an earlier one was told is repeated for you.
        transport.send(WSMsgType.TEXT, "subscribe ticks")

    def on_ws_message(self, transport: WSTransport, message: WSMessage) -> None:
        if self.is_complete.is_set():
            return
        self.received += 1
        print(f"client: message {self.received}: {message.get_payload_as_utf8_text()}")
        if self.received == self.wanted:
            self.is_complete.set()


def report(link: WSLink[Feed]) -> None:
    is_waiting = link.state is WSLinkState.WAITING
    print(f"client: {link.state.value}", f"({link.last_error})" if is_waiting else "")


async def follow(url: str, feed: Feed) -> None:
    # The default pauses, up to half a minute, suit a service across the network.
    backoff = WSBackoff(base=0.1, longest=1.0)
    # Automatic pings notice a server that vanished without a CLOSE frame.
    async with ws_keep_connected(
        url, feed, backoff=backoff, enable_auto_ping=True, on_change=report
    ):
        await feed.is_complete.wait()


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
