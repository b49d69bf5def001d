"""The market on topics: what is published, and how subscribers that fall behind are treated.

| topic | is | who falls behind |
|---|---|---|
| ``book.SYMBOL`` | both sides of the book, whole | gets the newest one when it reads again |
| ``ticker`` | a price, by symbol | gets the newest price of each symbol |
| ``trades.SYMBOL`` | each trade | gets all of them, also after a reconnect |
"""

from __future__ import annotations

import asyncio
import json
import time
from typing import TYPE_CHECKING, Any, Dict, Optional

from picows_server.topics import Position, Topics

from .simulation import Market

if TYPE_CHECKING:
    from .lease import Lease

__all__ = ["BACKFILL", "INTERVAL", "Publisher", "configure"]

INTERVAL = 0.05  # seconds between two steps of the market, each of which is published
TICKER_STEPS = 10  # steps between two prices of the ticker
HISTORY = 2000  # trades of each symbol that are kept for those who come back
BACKFILL = 1000  # trades that are sent to those who come for the first time


def configure(topics: Topics) -> None:
    """Say what each kind of topic is."""
    # Only the newest book is worth anything. It is kept for those who come later.
    topics.configure("book.", when_slow="latest", retain=True)
    # Likewise, but for each key: the symbols.
    topics.configure("ticker", when_slow="latest", retain=True)
    # Every trade counts: who has missed some can have them.
    topics.configure("trades.", history=HISTORY, envelope=with_position)


def with_position(topic: str, payload: bytes, position: Optional[Position]) -> bytes:
    """Write into a trade where it is in its topic; called once for each, however many get it."""
    assert position is not None  # the topic has a history
    place = {"topic": topic, "offset": position.offset, "epoch": position.epoch}
    return encoded(place)[:-1] + b"," + payload[1:]


def encoded(message: Dict[str, Any]) -> bytes:
    return json.dumps(message, separators=(",", ":")).encode()


def now() -> float:
    """Milliseconds since 1970, as browsers count."""
    return round(time.time() * 1000, 1)


class Publisher:
    """Lets time pass in the market and publishes what happens, while it holds the lease, if any."""

    def __init__(
        self, topics: Topics, market: Market, name: str, lease: Optional[Lease] = None
    ) -> None:
        self._topics = topics
        self._market = market
        self._name = name
        self._lease = lease
        self._opened_at = market.prices()
        self._step = 0

    async def run(self) -> None:
        due = time.monotonic()
        while True:
            # A process that was stopped for a while does not make up for it.
            due = max(due + INTERVAL, time.monotonic())
            await asyncio.sleep(due - time.monotonic())
            if self._lease is None or self._lease.is_held():
                self.publish()

    def publish(self) -> None:
        """Make one step. Each subscriber gets all of it in one write."""
        trades = self._market.step(INTERVAL)
        self._step += 1
        at = now()
        with self._topics.batch():
            for trade in trades:
                message = {"time": at, **trade._asdict()}
                self._topics.publish(f"trades.{message.pop('symbol')}", encoded(message))
            for symbol in self._market.symbols:
                self._publish_book(symbol, at)
            if self._step % TICKER_STEPS == 1:
                for symbol in self._market.symbols:
                    self._publish_price(symbol, at)

    def _publish_book(self, symbol: str, at: float) -> None:
        topic = f"book.{symbol}"
        # Who has missed some sees it in the number.
        message = {"topic": topic, "by": self._name, "number": self._step, "time": at}
        self._topics.publish(topic, encoded({**message, **self._market.book(symbol)._asdict()}))

    def _publish_price(self, symbol: str, at: float) -> None:
        price = self._market.price(symbol)
        change = price / self._opened_at[symbol] - 1.0
        message = {"topic": "ticker", "symbol": symbol, "time": at, "price": price}
        text = encoded({**message, "change": round(change, 6)})
        self._topics.publish("ticker", text, key=symbol)
