"""Reconnecting client: one feed over many connections.

    python examples/reconnecting_client.py

The server in this program closes one connection and falls silent on the next; the client ends after
ten messages.
"""

from __future__ import annotations

import asyncio
import itertools

from picows_client import (
    WSBackoff,
    WSCloseCode,
    WSFrame,
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
    # Automatic pings notice a server that vanished without a CLOSE frame; data_timeout (seconds)
    # notices one that answers pings, but whose feed is stale.
    async with ws_keep_connected(
        url, feed, backoff=backoff, enable_auto_ping=True, data_timeout=0.5, on_change=report
    ):
        await feed.is_complete.wait()


class Ticker(WSListener):
    """Sends four ticks to who subscribes; then it closes, or every other time says nothing more."""

    connections = itertools.count(1)

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        if frame.opcode is not WSMsgType.TEXT:
            return
        for tick in range(1, 5):
            transport.send(WSMsgType.TEXT, f"tick {tick}")
        if next(self.connections) % 2:
            transport.disconnect(code=WSCloseCode.SERVICE_RESTART, reason="back in a moment")


async def main() -> None:
    async with ws_create_server("ws://127.0.0.1:0", Ticker) as server:
        await follow(server.url, Feed(wanted=10))


if __name__ == "__main__":
    try:
        run(main())
    except KeyboardInterrupt:
        print("Stopped")
