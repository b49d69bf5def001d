"""A gateway for prices: each client gets the quotes of the symbols that it asks for.

    cd examples/gateway
    python -m picows_server gateway:routes --lifespan gateway:lifespan --workers 2

README.md beside this file tells how to run it on a server, in a container and in a cluster.
"""

from __future__ import annotations

import asyncio
import json
import random
import time
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import AsyncIterator, Dict, Set

from picows_server import (
    WSCloseCode,
    WSMessage,
    WSMessageListener,
    WSMsgType,
    WSPreparedMessage,
    WSServer,
    WSTransport,
    WSUpgradeRequest,
    WSUpgradeResponse,
    broadcast,
    health,
    page,
    ready,
)

PRICES = {"EURUSD": 1.08, "GBPUSD": 1.27, "USDJPY": 151.4}
INTERVAL = 0.5  # seconds between two quotes of a symbol
STALE = 10.0  # seconds without a quote, after which clients should go elsewhere


class Feed:
    """Where the quotes come from. Yours may be connected to an exchange or a message broker."""

    def __init__(self) -> None:
        self.prices = dict(PRICES)
        self.newest: Dict[str, WSPreparedMessage] = {}
        self.subscribers: Dict[str, Set[Client]] = {symbol: set() for symbol in PRICES}
        self.heard_at = 0.0
        self._quote()

    @property
    def is_fresh(self) -> bool:
        return time.monotonic() - self.heard_at < STALE

    async def run(self) -> None:
        while True:
            await asyncio.sleep(INTERVAL)
            self._quote()

    def _quote(self) -> None:
        self.heard_at = time.monotonic()
        for symbol in self.prices:
            self.prices[symbol] *= random.uniform(0.9999, 1.0001)
            quote = {"symbol": symbol, "price": round(self.prices[symbol], 5)}
            # Checked and encoded once, whoever many get it.
            self.newest[symbol] = WSPreparedMessage(WSMsgType.TEXT, json.dumps(quote))
            broadcast(self.subscribers[symbol], self.newest[symbol])


class Client(WSMessageListener):
    """One connection. ``{"subscribe": ["EURUSD"]}`` is all that it may say."""

    def __init__(self, feed: Feed) -> None:
        self.feed = feed
        self.symbols: Set[str] = set()
        self.is_behind = False

    def on_ws_message(self, transport: WSTransport, message: WSMessage) -> None:
        try:
            symbols = self._symbols(message.get_payload_as_utf8_text())
        except (ValueError, TypeError, KeyError):
            transport.disconnect(True, WSCloseCode.POLICY_VIOLATION, "unknown request")
            return
        self.symbols |= symbols
        for symbol in symbols:
            transport.send_prepared(self.feed.newest[symbol])
        if not self.is_behind:
            self._subscribe()

    def _symbols(self, text: str) -> Set[str]:
        symbols = set(json.loads(text)["subscribe"])
        if not symbols <= self.feed.newest.keys():
            raise ValueError(symbols)
        return symbols

    def pause_writing(self) -> None:
        # It does not read as fast as quotes come: it misses some...
        self.is_behind = True
        self._unsubscribe()

    def resume_writing(self) -> None:
        # ...and goes on with the newest.
        self.is_behind = False
        self._subscribe()

    def on_ws_disconnected(self, transport: WSTransport) -> None:
        self._unsubscribe()

    def _subscribe(self) -> None:
        for symbol in self.symbols:
            self.feed.subscribers[symbol].add(self)

    def _unsubscribe(self) -> None:
        for symbol in self.symbols:
            self.feed.subscribers[symbol].discard(self)


@asynccontextmanager
async def lifespan(server: WSServer) -> AsyncIterator[Feed]:
    """What lives as long as a worker serves; handlers find it at ``request.server.state``."""
    feed = Feed()
    task = asyncio.ensure_future(feed.run())
    server.ready_checks["feed"] = lambda: feed.is_fresh
    try:
        yield feed
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


def quotes(request: WSUpgradeRequest) -> Client:
    """Open a WebSocket."""
    return Client(request.server.state)


def prices(request: WSUpgradeRequest) -> WSUpgradeResponse:
    """Respond to a plain GET."""
    text = json.dumps(request.server.state.prices) + "\n"
    return WSUpgradeResponse.create_ok_response(text, {"Content-Type": "application/json"})


routes = {
    "/": page(Path(__file__).with_name("index.html")),
    "/quotes": quotes,
    "/prices": prices,
    "/healthz": health,
    "/readyz": ready,
}
