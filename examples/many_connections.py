"""Many connections: a feed for each of two hundred symbols, opened a few at a time.

    python examples/many_connections.py

Each connection connects again by itself. The server in this program is restarted once.
"""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from typing import Dict, List

from picows_client import (
    WSBackoff,
    WSMessage,
    WSMessageListener,
    WSMsgType,
    WSTransport,
    ws_keep_connected,
)
from picows_server import WSCloseCode, WSFrame, WSListener, ws_create_server

try:
    from uvloop import run
except ImportError:  # uvloop is optional: asyncio's own loop serves, too
    from asyncio import run  # type: ignore[assignment]

SYMBOLS = [f"SYM{number}" for number in range(200)]
AT_ONCE = 20  # connections that are being opened; servers limit how many they take in a second


class Feed(WSMessageListener):
    """One symbol's connections, one after another."""

    def __init__(self, symbol: str, prices: List[str], news: asyncio.Event) -> None:
        self.symbol = symbol
        self.prices = prices
        self.news = news

    def on_ws_connected(self, transport: WSTransport) -> None:
        transport.send(WSMsgType.TEXT, self.symbol)

    def on_ws_message(self, transport: WSTransport, message: WSMessage) -> None:
        self.prices.append(message.get_payload_as_utf8_text())
        self.news.set()


class Exchange(WSListener):
    """The server's end: a price for the symbol that the client names."""

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        if frame.opcode is WSMsgType.TEXT:
            transport.send(WSMsgType.TEXT, f"a price of {frame.get_payload_as_utf8_text()}")


async def main() -> None:
    prices: Dict[str, List[str]] = {symbol: [] for symbol in SYMBOLS}
    news = asyncio.Event()
    turn = asyncio.Semaphore(AT_ONCE)
    # The pauses are drawn: two hundred clients of one server do not come back in one moment.
    backoff = WSBackoff(base=0.2, longest=1.0)

    async def wait_for_prices(count: int) -> None:
        while any(len(of_symbol) < count for of_symbol in prices.values()):
            news.clear()
            await news.wait()

    async with ws_create_server("ws://127.0.0.1:0", Exchange, backlog=1024) as server:
        async with AsyncExitStack() as stack:  # leaves every block, also if one cannot be entered

            async def follow(symbol: str) -> None:
                feed = Feed(symbol, prices[symbol], news)
                link = ws_keep_connected(server.url, feed, backoff=backoff)
                async with turn:
                    await stack.enter_async_context(link)
                    await link.wait_connected()

            await asyncio.gather(*map(follow, SYMBOLS))
            await wait_for_prices(1)
            print(f"{server.connections} connections")
            server.close_clients(WSCloseCode.SERVICE_RESTART)
            await wait_for_prices(2)
            print(f"{server.connections} connections, each the second of its symbol")
        print("All are closed")


if __name__ == "__main__":
    run(main())
